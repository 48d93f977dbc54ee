//! Prometheus' query API.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::http::{self, AskError, Http};
use crate::traceparent::TraceId;

#[derive(Clone, Debug)]
pub struct Prometheus {
    http: Http,
    base: Url,
}

pub type Labels = BTreeMap<String, String>;

/// A series with its value now.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Labels,
    pub value: f64,
}

impl Sample {
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// A series with its values over a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    pub labels: Labels,
    pub values: Vec<f64>,
}

/// A request that stands for those in its bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub series: Labels,
    pub labels: Labels,
    pub value: f64,
    /// Seconds since 1970.
    pub time: f64,
}

impl Exemplar {
    /// The trace it names: the Collector says `trace_id`, Tempo `traceID`.
    #[must_use]
    pub fn trace(&self) -> Option<TraceId> {
        let id = self
            .labels
            .get("trace_id")
            .or_else(|| self.labels.get("traceID"))?;
        TraceId::padded(id)
    }
}

/// Something that Prometheus scrapes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    pub labels: Labels,
    #[serde(default)]
    pub scrape_url: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    #[serde(default)]
    pub last_error: String,
    /// In RFC 3339; a target that was never scraped has the year 1.
    #[serde(default)]
    pub last_scrape: String,
}

/// An alert whose condition holds.
#[derive(Clone, Debug, Deserialize)]
pub struct ActiveAlert {
    pub labels: Labels,
    /// `pending` or `firing`.
    pub state: String,
}

impl ActiveAlert {
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.state == "firing"
    }

    /// The alert as people name it: its name, and the objective or the job it is about.
    #[must_use]
    pub fn title(&self) -> String {
        let label = |name| self.labels.get(name).map(String::as_str);
        let name = label("alertname").unwrap_or("an alert without a name");
        let about = label("slo").or_else(|| label("job"));
        let severity = label("severity");
        let rest: Vec<&str> = about.into_iter().chain(severity).collect();
        if rest.is_empty() {
            name.to_owned()
        } else {
            format!("{name} ({})", rest.join(", "))
        }
    }
}

impl Target {
    #[must_use]
    pub fn job(&self) -> &str {
        self.labels.get("job").map_or("", String::as_str)
    }

    /// Whether it was scraped after `time`.
    #[must_use]
    pub fn scraped_since(&self, time: SystemTime) -> bool {
        let scraped: Option<jiff::Timestamp> = self.last_scrape.parse().ok();
        scraped.is_some_and(|scraped| SystemTime::from(scraped) >= time)
    }
}

impl Prometheus {
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    #[must_use]
    pub fn asked(&self, path: &str, query: &str) -> String {
        let url = http::at(&self.base, path, &[]);
        if query.is_empty() {
            http::asked(&url)
        } else {
            format!("{} {query}", http::asked(&url))
        }
    }

    /// Every series of an instant query.
    ///
    /// # Errors
    /// When Prometheus does not answer, refuses the query, or answers otherwise than Prometheus does.
    pub async fn query(&self, query: &str) -> Result<Vec<Sample>, AskError> {
        let url = http::at(&self.base, "/api/v1/query", &[("query", query)]);
        let vector: Vector = self.ask(&url).await?;
        Ok(vector
            .result
            .into_iter()
            .map(|series| Sample {
                labels: series.metric,
                value: number(&series.value.1),
            })
            .collect())
    }

    /// The sum over all series of an instant query. No series is 0.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn sum(&self, query: &str) -> Result<f64, AskError> {
        Ok(total(&self.query(query).await?))
    }

    /// Every series of a range query, with its values by time.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn range(
        &self,
        query: &str,
        from: SystemTime,
        to: SystemTime,
        step: Duration,
    ) -> Result<Vec<Range>, AskError> {
        let url = http::at(
            &self.base,
            "/api/v1/query_range",
            &[
                ("query", query),
                ("start", &seconds(from)),
                ("end", &seconds(to)),
                ("step", &format!("{}", step.as_secs_f64())),
            ],
        );
        let matrix: Matrix = self.ask(&url).await?;
        Ok(matrix
            .result
            .into_iter()
            .map(|series| Range {
                labels: series.metric,
                values: series
                    .values
                    .iter()
                    .map(|(_, value)| number(value))
                    .collect(),
            })
            .collect())
    }

    /// The values that a label has in the series of a selector.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn label_values(&self, label: &str, selector: &str) -> Result<Vec<String>, AskError> {
        let path = format!("/api/v1/label/{label}/values");
        let url = http::at(&self.base, &path, &[("match[]", selector)]);
        self.ask(&url).await
    }

    /// The exemplars of a query between two times, newest first.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn exemplars(
        &self,
        query: &str,
        from: SystemTime,
        to: SystemTime,
    ) -> Result<Vec<Exemplar>, AskError> {
        let url = http::at(
            &self.base,
            "/api/v1/query_exemplars",
            &[
                ("query", query),
                ("start", &seconds(from)),
                ("end", &seconds(to)),
            ],
        );
        let series: Option<Vec<ExemplarSeries>> = self.ask(&url).await?;
        let mut exemplars: Vec<Exemplar> = series
            .unwrap_or_default()
            .into_iter()
            .flat_map(|series| {
                let labels = series.series_labels;
                series.exemplars.into_iter().map(move |exemplar| Exemplar {
                    series: labels.clone(),
                    labels: exemplar.labels,
                    value: number(&exemplar.value),
                    time: exemplar.timestamp,
                })
            })
            .collect();
        exemplars.sort_by(|a, b| b.time.total_cmp(&a.time));
        Ok(exemplars)
    }

    /// Everything that is scraped.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn targets(&self) -> Result<Vec<Target>, AskError> {
        let url = http::at(&self.base, "/api/v1/targets", &[("state", "active")]);
        let targets: Targets = self.ask(&url).await?;
        Ok(targets.active_targets)
    }

    /// Every alert that is pending or firing.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn alerts(&self) -> Result<Vec<ActiveAlert>, AskError> {
        let url = http::at(&self.base, "/api/v1/alerts", &[]);
        let alerts: ActiveAlerts = self.ask(&url).await?;
        Ok(alerts.alerts)
    }

    /// The Alertmanagers that alerts are sent to.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn alertmanagers(&self) -> Result<Vec<String>, AskError> {
        let url = http::at(&self.base, "/api/v1/alertmanagers", &[]);
        let found: Alertmanagers = self.ask(&url).await?;
        Ok(found
            .active_alertmanagers
            .into_iter()
            .map(|alertmanager| alertmanager.url)
            .collect())
    }

    async fn ask<T: DeserializeOwned>(&self, url: &Url) -> Result<T, AskError> {
        let answer: Envelope<T> = self.http.json(url).await?;
        Ok(answer.data)
    }
}

/// The sum of all values; of none it is 0 (and not -0, as of an empty iterator).
pub(crate) fn total(samples: &[Sample]) -> f64 {
    samples.iter().fold(0.0, |sum, sample| sum + sample.value)
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:.3}", since.as_secs_f64())
}

#[derive(Debug, Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Debug, Deserialize)]
struct Vector {
    result: Vec<Series>,
}

#[derive(Debug, Deserialize)]
struct Matrix {
    result: Vec<RangeJson>,
}

#[derive(Debug, Deserialize)]
struct RangeJson {
    metric: Labels,
    values: Vec<(f64, String)>,
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: Labels,
    value: (f64, String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExemplarSeries {
    series_labels: Labels,
    exemplars: Vec<ExemplarJson>,
}

#[derive(Debug, Deserialize)]
struct ExemplarJson {
    labels: Labels,
    value: String,
    timestamp: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct ActiveAlerts {
    alerts: Vec<ActiveAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alertmanagers {
    active_alertmanagers: Vec<AlertmanagerJson>,
}

#[derive(Debug, Deserialize)]
struct AlertmanagerJson {
    url: String,
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn prometheus(server: &MockServer, at: &str, answer: ResponseTemplate) -> Prometheus {
        Mock::given(path(at))
            .respond_with(answer)
            .mount(server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        Prometheus::new(http, Url::parse(&server.uri()).expect("address"))
    }

    fn success(data: &serde_json::Value) -> ResponseTemplate {
        ResponseTemplate::new(200)
            .set_body_json(serde_json::json!({"status": "success", "data": data}))
    }

    #[tokio::test]
    async fn series_are_summed() {
        let server = MockServer::start().await;
        let data = serde_json::json!({"resultType": "vector", "result": [
            {"metric": {"job": "users"}, "value": [1.5, "3"]},
            {"metric": {"job": "edge"}, "value": [1.5, "4.5"]},
        ]});
        let prometheus = prometheus(&server, "/api/v1/query", success(&data)).await;
        assert!((prometheus.sum("x").await.expect("a sum") - 7.5).abs() < 1e-9);
        assert_eq!(
            prometheus.query("x").await.expect("series")[1].label("job"),
            "edge"
        );
    }

    #[tokio::test]
    async fn no_series_is_zero() {
        let server = MockServer::start().await;
        let data = serde_json::json!({"resultType": "vector", "result": []});
        let prometheus = prometheus(&server, "/api/v1/query", success(&data)).await;
        assert!(prometheus.sum("x").await.expect("a sum").abs() < f64::EPSILON);
    }

    #[tokio::test]
    async fn a_refused_query_is_quoted() {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(400)
            .set_body_string(r#"{"status":"error","error":"parse error"}"#);
        let prometheus = prometheus(&server, "/api/v1/query", answer).await;
        let error = prometheus.query("sum(").await.expect_err("must fail");
        assert!(error.to_string().contains("parse error"), "{error}");
    }

    #[tokio::test]
    async fn another_program_on_the_port_is_noticed() {
        let server = MockServer::start().await;
        let answer =
            ResponseTemplate::new(200).set_body_json(serde_json::json!({"hello": "world"}));
        let prometheus = prometheus(&server, "/api/v1/query", answer).await;
        let error = prometheus.query("up").await.expect_err("must fail");
        assert!(error.to_string().contains("another shape"), "{error}");
    }

    #[tokio::test]
    async fn exemplars_come_newest_first_with_whole_ids() {
        let server = MockServer::start().await;
        let data = serde_json::json!([{
            "seriesLabels": {"le": "1.0"},
            "exemplars": [
                {"labels": {"trace_id": "bf92f3577b34da6a3ce929d0e0e4736"}, "value": "0.1", "timestamp": 10.0},
                {"labels": {"traceID": "4bf92f3577b34da6a3ce929d0e0e4736"}, "value": "0.2", "timestamp": 20.5},
            ],
        }]);
        Mock::given(query_param("start", "0.000"))
            .respond_with(success(&data))
            .mount(&server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        let prometheus = Prometheus::new(http, Url::parse(&server.uri()).expect("address"));
        let found = prometheus
            .exemplars("x", UNIX_EPOCH, SystemTime::now())
            .await
            .expect("exemplars");
        let ids: Vec<String> = found
            .iter()
            .filter_map(Exemplar::trace)
            .map(|id| id.to_string())
            .collect();
        assert_eq!(
            ids,
            [
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "0bf92f3577b34da6a3ce929d0e0e4736"
            ]
        );
    }
}
