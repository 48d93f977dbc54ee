//! The requests in histograms, span metrics and the service graph.

use std::collections::{BTreeMap, BTreeSet};

use super::{Planned, answers, some};
use crate::backend::{Labels, Prometheus, Sample};
use crate::backends::Part;
use crate::report::Failure;
use crate::verify::{Run, asking_prometheus};

/// A counter, who it is about, and what it counts.
struct Counter {
    name: &'static str,
    query: &'static str,
    expect: Expect,
    look: &'static str,
}

#[derive(Clone, Copy)]
enum Expect {
    /// Each request for users that was sent.
    EachUsers,
    /// The request for albums.
    One,
}

const SCRAPED: &str = "OTEL_METRICS_EXPORTER of users, its /metrics, target `users` in Prometheus";
const PUSHED: &str = "OTEL_METRICS_EXPORTER of edge, `./lab logs otel-collector`, target `otel-collector` in Prometheus";
const CONNECTORS: &str =
    "the connectors in infra/otel-collector/config.yaml, `./lab logs otel-collector`";

const USERS_COUNT: &str =
    r#"http_server_request_duration_seconds_count{job="users",http_route="/users"}"#;
const EDGE_COUNT: &str =
    r#"http_server_request_duration_seconds_count{job="edge",http_route="/users"}"#;
const EDGE_CALLS: &str = r#"traces_span_metrics_calls_total{service_name="edge",span_name="GET /users",span_kind="SPAN_KIND_SERVER"}"#;
const USERS_CALLS: &str = r#"traces_span_metrics_calls_total{service_name="users",span_name="GET /users",span_kind="SPAN_KIND_SERVER"}"#;
const EDGE_USERS: &str = r#"traces_service_graph_request_total{client="edge",server="users"}"#;
const USERS_POSTGRES: &str =
    r#"traces_service_graph_request_total{client="users",server="postgres"}"#;
const EDGE_ALBUMS: &str = r#"traces_service_graph_request_total{client="edge",server="albums"}"#;

pub(super) const COUNTERS: [&str; 7] = [
    USERS_COUNT,
    EDGE_COUNT,
    EDGE_CALLS,
    USERS_CALLS,
    EDGE_USERS,
    USERS_POSTGRES,
    EDGE_ALBUMS,
];

const COUNTED: [Counter; 7] = [
    Counter {
        name: "requests counted by users",
        query: USERS_COUNT,
        expect: Expect::EachUsers,
        look: SCRAPED,
    },
    Counter {
        name: "requests counted by edge",
        query: EDGE_COUNT,
        expect: Expect::EachUsers,
        look: PUSHED,
    },
    Counter {
        name: "span metrics of edge",
        query: EDGE_CALLS,
        expect: Expect::EachUsers,
        look: CONNECTORS,
    },
    Counter {
        name: "span metrics of users",
        query: USERS_CALLS,
        expect: Expect::EachUsers,
        look: CONNECTORS,
    },
    Counter {
        name: "service graph: edge -> users",
        query: EDGE_USERS,
        expect: Expect::EachUsers,
        look: CONNECTORS,
    },
    Counter {
        name: "service graph: users -> postgres",
        query: USERS_POSTGRES,
        expect: Expect::EachUsers,
        look: CONNECTORS,
    },
    Counter {
        name: "service graph: edge -> albums",
        query: EDGE_ALBUMS,
        expect: Expect::One,
        look: CONNECTORS,
    },
];

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let needs = [Part::Edge, Part::Prometheus];
    let asked = |query: &str| {
        run.prometheus()
            .map(|prometheus| prometheus.asked("/api/v1/query", query))
            .unwrap_or_default()
    };
    let mut links: Vec<Planned<'a>> = COUNTED
        .iter()
        .map(|counter| {
            Planned::new(
                counter.name,
                &needs,
                asked(counter.query),
                counted(run, counter),
            )
        })
        .collect();
    links.insert(
        2,
        Planned::new(
            "labels are equal and few",
            &needs,
            asked(r#"{__name__=~"(http_(server|client)|db_client)_.+_seconds_.+"}"#),
            labels(run),
        ),
    );
    links
}

async fn counted(run: &Run<'_>, counter: &Counter) -> Result<String, Failure> {
    let requests = &run.requests;
    let sent = match counter.expect {
        Expect::EachUsers => {
            answers::answer(&requests.users)?;
            requests.users_answered()
        }
        Expect::One => {
            answers::answer(&requests.albums)?;
            1
        }
    };
    run.until(counter.name, || async {
        let rise = run.rise(counter.query).await?;
        // Counters are whole numbers: half a request is enough of a margin for rounding.
        if rise + 0.5 < sent as f64 {
            return Err(Failure::new(
                format!("a rise by {sent}, the number of requests sent"),
                format!("a rise by {rise}"),
                counter.look,
            ));
        }
        Ok(format!("rose by {rise}, {sent} sent"))
    })
    .await
}

/// A histogram and the labels it may have besides those that Prometheus adds.
struct Family {
    name: &'static str,
    labels: &'static [&'static str],
    /// Labels that every series must have.
    required: &'static [&'static str],
}

const FAMILIES: [Family; 3] = [
    Family {
        name: "http_server_request_duration_seconds",
        labels: &[
            "http_request_method",
            "http_route",
            "http_response_status_code",
            "url_scheme",
            "error_type",
        ],
        required: &["http_request_method"],
    },
    Family {
        name: "http_client_request_duration_seconds",
        labels: &[
            "http_request_method",
            "http_response_status_code",
            "server_address",
            "server_port",
            "service_peer_name",
            "error_type",
        ],
        required: &["http_request_method", "server_address", "service_peer_name"],
    },
    Family {
        name: "db_client_operation_duration_seconds",
        labels: &[
            "db_system_name",
            "db_operation_name",
            "db_collection_name",
            "error_type",
        ],
        required: &["db_system_name"],
    },
];

/// Every series has these from Prometheus, or from the histogram itself.
const ALWAYS: [&str; 4] = ["__name__", "job", "instance", "le"];

async fn labels(run: &Run<'_>) -> Result<String, Failure> {
    let look = "crates/telemetry, the prometheus exporter in infra/otel-collector/config.yaml";
    run.until("labels are equal and few", || async {
        let prometheus = run.prometheus()?;
        let mut series = 0;
        for family in &FAMILIES {
            let query = format!(
                r#"{{__name__=~"{0}_(bucket|count|sum)",job=~"edge|users"}}"#,
                family.name
            );
            let samples = prometheus.query(&query).await.map_err(asking_prometheus)?;
            if samples.is_empty() {
                return Err(Failure::new(
                    format!("series of {}", family.name),
                    "none",
                    look,
                ));
            }
            let wrong = unexpected(&samples, family);
            if !wrong.is_empty() {
                let expected = format!("{} with labels {}", family.name, family.labels.join(", "));
                return Err(Failure::new(expected, some(&wrong), look).settled());
            }
            series += samples.len();
        }
        equal(prometheus, look).await?;
        Ok(format!(
            "{series} series with allowed labels only; edge and users have the same"
        ))
    })
    .await
}

/// What a family has that it must not have, or lacks.
fn unexpected(samples: &[Sample], family: &Family) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for sample in samples {
        let who = format!("{} of {}", sample.label("__name__"), sample.label("job"));
        for label in sample.labels.keys() {
            if !ALWAYS.contains(&label.as_str()) && !family.labels.contains(&label.as_str()) {
                wrong.insert(format!("{who} has {label}"));
            }
        }
        for label in family.required {
            if sample.label(label).is_empty() {
                wrong.insert(format!("{who} lacks {label}"));
            }
        }
    }
    wrong.into_iter().collect()
}

/// The same request must look the same whether it was scraped or pushed.
async fn equal(prometheus: &Prometheus, look: &str) -> Result<(), Failure> {
    let query = r#"http_server_request_duration_seconds_bucket{job=~"edge|users",http_route="/users",http_response_status_code="200"}"#;
    let samples = prometheus.query(query).await.map_err(asking_prometheus)?;
    let shapes = shapes(&samples);
    let shape = |job: &str| {
        shapes
            .get(job)
            .ok_or_else(|| Failure::new(format!("buckets of {job} for /users"), "none", look))
    };
    let (edge, users) = (shape("edge")?, shape("users")?);
    for (what, ours, theirs) in [
        ("labels", &edge.labels, &users.labels),
        ("buckets", &edge.buckets, &users.buckets),
    ] {
        if ours != theirs {
            let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
            return Err(Failure::new(
                format!("equal {what} of edge and users"),
                format!("edge: {}; users: {}", list(ours), list(theirs)),
                look,
            )
            .settled());
        }
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq)]
struct Shape {
    labels: BTreeSet<String>,
    buckets: BTreeSet<String>,
}

fn shapes(samples: &[Sample]) -> BTreeMap<String, Shape> {
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    for sample in samples {
        let shape = shapes.entry(sample.label("job").to_owned()).or_default();
        shape.labels.extend(label_names(&sample.labels));
        shape.buckets.insert(sample.label("le").to_owned());
    }
    shapes
}

/// Scraped series have an instance; pushed ones have it only where the service names its own.
fn label_names(labels: &Labels) -> impl Iterator<Item = String> + '_ {
    labels.keys().filter(|name| *name != "instance").cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(labels: &[(&str, &str)]) -> Sample {
        Sample {
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            value: 1.0,
        }
    }

    #[test]
    fn only_allowed_labels_pass() {
        let good = sample(&[
            ("__name__", "http_server_request_duration_seconds_count"),
            ("job", "edge"),
            ("instance", "127.0.0.1:8889"),
            ("http_request_method", "GET"),
            ("http_route", "/users"),
        ]);
        assert!(unexpected(std::slice::from_ref(&good), &FAMILIES[0]).is_empty());
        let mut scope = good.clone();
        scope
            .labels
            .insert("otel_scope_name".to_owned(), "telemetry".to_owned());
        let mut path = good.clone();
        path.labels
            .insert("url_path".to_owned(), "/user/x".to_owned());
        path.labels.remove("http_request_method");
        assert_eq!(
            unexpected(&[good, scope, path], &FAMILIES[0]),
            [
                "http_server_request_duration_seconds_count of edge has otel_scope_name",
                "http_server_request_duration_seconds_count of edge has url_path",
                "http_server_request_duration_seconds_count of edge lacks http_request_method",
            ]
        );
    }

    #[test]
    fn shapes_tell_buckets_apart() {
        let edge = sample(&[("job", "edge"), ("le", "1"), ("http_route", "/users")]);
        let users = sample(&[
            ("job", "users"),
            ("le", "1.0"),
            ("http_route", "/users"),
            ("instance", "i"),
        ]);
        let shapes = shapes(&[edge, users]);
        assert_eq!(shapes["edge"].labels, shapes["users"].labels);
        assert_ne!(shapes["edge"].buckets, shapes["users"].buckets);
    }

    #[test]
    fn every_counter_is_noted_before() {
        for counter in &COUNTED {
            assert!(COUNTERS.contains(&counter.query), "{}", counter.name);
        }
    }
}
