//! The series that exist before anything happened: without them the first errors after a start are in no rate.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use opentelemetry_sdk::metrics::InMemoryMetricExporter;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use support::settings;
use telemetry::database::Statement;
use telemetry::{Builder, Telemetry};
use tower::ServiceExt;

const LIST: Statement = Statement {
    operation: "SELECT",
    collection: "users",
    text: "SELECT 1",
};

/// Of each histogram, the count of each series by its labels.
type Counts = BTreeMap<String, u64>;

/// A service that was started and asked nothing yet; it is scraped and pushes.
struct Fresh {
    telemetry: Telemetry,
    pushed: InMemoryMetricExporter,
    app: Router,
}

fn fresh() -> Fresh {
    let pushed = InMemoryMetricExporter::default();
    let telemetry = Builder::new(
        "test",
        "1",
        settings(&[("OTEL_METRICS_EXPORTER", "prometheus")]),
    )
    .with_metric_exporter(pushed.clone())
    .build();
    let upstream = "http://users:8000/".parse().unwrap();
    // It calls nothing.
    let http = reqwest::Client::builder().timeout(Duration::ZERO).build();
    let _ = telemetry
        .http_client(http.unwrap(), "users")
        .with_known_upstream(&upstream);
    let pool = sqlx::PgPool::connect_lazy("postgres://nobody@localhost/nothing").unwrap();
    let _ = telemetry
        .database(pool, "postgres")
        .with_known_statements(&[LIST]);
    let app = Router::new()
        .route("/users", get(|| async { StatusCode::BAD_GATEWAY }))
        .layer(telemetry.http_server().with_known_routes(["/users"]));
    Fresh {
        telemetry,
        pushed,
        app,
    }
}

impl Fresh {
    fn scraped(&self) -> Counts {
        let page = self.telemetry.metrics().exposition().unwrap();
        page.lines()
            .filter(|line| line.contains("_duration_seconds_count{"))
            .map(|line| {
                let (series, count) = line.rsplit_once(' ').unwrap();
                (series.to_owned(), count.parse().unwrap())
            })
            .collect()
    }

    async fn fail(&self) {
        let request = Request::builder().uri("/users").body(Body::empty());
        let answer = self.app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 502);
    }

    /// What the last push has, named as on the page.
    async fn pushed(self) -> Counts {
        self.telemetry.shutdown().await.unwrap();
        let all = self.pushed.get_finished_metrics().unwrap();
        let mut counts = Counts::new();
        for metric in all
            .iter()
            .flat_map(|each| each.scope_metrics())
            .flat_map(|scope| scope.metrics())
        {
            let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else {
                continue;
            };
            for point in histogram.data_points() {
                assert_eq!(
                    (point.min(), point.max()),
                    (None, None),
                    "{}",
                    metric.name()
                );
                assert_eq!(
                    point.bounds().count(),
                    telemetry::metrics::DURATION_BUCKETS.len()
                );
                let mut labels: Vec<String> = point
                    .attributes()
                    .map(|kv| format!("{}=\"{}\"", kv.key.as_str().replace('.', "_"), kv.value))
                    .collect();
                labels.sort();
                let name = metric.name().replace('.', "_");
                counts.insert(
                    format!("{name}_seconds_count{{{}}}", labels.join(",")),
                    point.count(),
                );
            }
        }
        counts
    }
}

const SERVER: &str = "http_server_request_duration_seconds_count";
const CLIENT: &str = "http_client_request_duration_seconds_count";
const DATABASE: &str = "db_client_operation_duration_seconds_count";

/// The values that a label has in the series of a histogram; empty where a series lacks it.
fn values(counts: &Counts, histogram: &str, label: &str) -> Vec<String> {
    let label = format!("{label}=\"");
    let mut values: Vec<String> = counts
        .keys()
        .filter(|series| series.starts_with(histogram))
        .map(|series| {
            let value = series
                .split_once(&label)
                .and_then(|(_, rest)| rest.split_once('"'));
            value.map_or(String::new(), |(value, _)| value.to_owned())
        })
        .collect();
    values.sort();
    values
}

#[tokio::test]
async fn every_error_that_is_to_be_expected_is_there_at_zero_scraped_and_pushed() {
    let fresh = fresh();
    let scraped = fresh.scraped();
    assert!(scraped.values().all(|count| *count == 0), "{scraped:#?}");
    let errors = ["", "500", "502", "503", "504", "cancelled"];
    assert_eq!(values(&scraped, SERVER, "error_type"), errors);
    let statuses = ["", "200", "500", "502", "503", "504"];
    assert_eq!(
        values(&scraped, SERVER, "http_response_status_code"),
        statuses
    );
    let errors = [
        "",
        "500",
        "502",
        "503",
        "504",
        "cancelled",
        "connect",
        "request",
        "timeout",
    ];
    assert_eq!(values(&scraped, CLIENT, "error_type"), errors);
    assert_eq!(values(&scraped, CLIENT, "service_peer_name"), ["users"; 9]);
    let errors = [
        "",
        "57P01",
        "57P03",
        "cancelled",
        "connection",
        "pool_timeout",
    ];
    assert_eq!(values(&scraped, DATABASE, "error_type"), errors);
    assert_eq!(fresh.pushed().await, scraped);
}

#[tokio::test]
async fn a_burst_of_errors_is_counted_in_the_series_that_were_there() {
    let fresh = fresh();
    let before = fresh.scraped();
    for _ in 0..7 {
        fresh.fail().await;
    }
    let after = fresh.scraped();
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    assert_eq!(after.values().sum::<u64>(), 7);
    let failed: Vec<_> = after.iter().filter(|(_, count)| **count > 0).collect();
    assert!(
        failed.len() == 1 && failed[0].0.contains("error_type=\"502\""),
        "{failed:?}"
    );
    assert_eq!(fresh.pushed().await, after);
}
