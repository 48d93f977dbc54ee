//! Loki's query API.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::http::{self, AskError, Http};
use crate::traceparent::TraceId;

/// More lines than this of one query help nobody.
const LIMIT: &str = "1000";

#[derive(Clone, Debug)]
pub struct Loki {
    http: Http,
    base: Url,
}

/// A log line with everything Loki knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    pub line: String,
    /// Stream labels and structured metadata.
    pub labels: BTreeMap<String, String>,
}

impl LogLine {
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    #[must_use]
    pub fn service(&self) -> &str {
        self.label("service_name").unwrap_or("unknown")
    }

    /// The severity, in capitals, if the line has any. `warning` and `WARN` are one.
    #[must_use]
    pub fn level(&self) -> Option<String> {
        let text = ["severity_text", "detected_level", "level"]
            .iter()
            .filter_map(|name| self.label(name))
            .find(|text| !text.is_empty() && *text != "unknown")?
            .to_ascii_uppercase();
        Some(if text == "WARNING" {
            "WARN".to_owned()
        } else {
            text
        })
    }
}

/// The query for everything that was logged within a trace. The id is structured metadata, not a label.
fn trace_query(service: Option<&str>, id: &TraceId) -> String {
    match service {
        Some(service) => format!("{{service_name=\"{service}\"}} | trace_id=`{id}`"),
        None => format!("{{service_name=~\".+\"}} | trace_id=`{id}`"),
    }
}

impl Loki {
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    #[must_use]
    pub fn asked(&self, query: &str) -> String {
        let url = http::at(&self.base, "/loki/api/v1/query_range", &[]);
        format!("{} {query}", http::asked(&url))
    }

    #[must_use]
    pub fn trace_query(service: &str, id: &TraceId) -> String {
        trace_query(Some(service), id)
    }

    /// The lines of a query between two times, oldest first.
    ///
    /// # Errors
    /// When Loki does not answer, or not as Loki does.
    pub async fn lines(
        &self,
        query: &str,
        from: SystemTime,
        to: SystemTime,
    ) -> Result<Vec<LogLine>, AskError> {
        let url = http::at(
            &self.base,
            "/loki/api/v1/query_range",
            &[
                ("query", query),
                ("start", &nanos(from)),
                ("end", &nanos(to)),
                ("limit", LIMIT),
                ("direction", "forward"),
            ],
        );
        let answer: Answer = self.http.json(&url).await?;
        let mut lines: Vec<LogLine> = answer
            .data
            .result
            .into_iter()
            .flat_map(|stream| {
                let labels = stream.stream;
                stream.values.into_iter().map(move |(time, line)| LogLine {
                    time_ns: time.parse().unwrap_or_default(),
                    line,
                    labels: labels.clone(),
                })
            })
            .collect();
        lines.sort_by_key(|line| line.time_ns);
        Ok(lines)
    }

    /// How many series or streams of a query have a value or a line between two times.
    ///
    /// # Errors
    /// When Loki does not answer, refuses the query, or answers otherwise than Loki does.
    pub async fn count(
        &self,
        query: &str,
        from: SystemTime,
        to: SystemTime,
    ) -> Result<usize, AskError> {
        let url = http::at(
            &self.base,
            "/loki/api/v1/query_range",
            &[
                ("query", query),
                ("start", &nanos(from)),
                ("end", &nanos(to)),
                ("limit", "20"),
                ("step", "5"),
            ],
        );
        let answer: Counted = self.http.json(&url).await?;
        let filled = answer
            .data
            .result
            .iter()
            .filter(|one| !one.values.is_empty());
        Ok(filled.count())
    }

    /// Everything that was logged within a trace, by any service.
    ///
    /// # Errors
    /// When Loki does not answer, or not as Loki does.
    pub async fn of_trace(
        &self,
        id: &TraceId,
        from: SystemTime,
        to: SystemTime,
    ) -> Result<Vec<LogLine>, AskError> {
        // Clocks of services differ, and a line may be written after the span ended.
        let margin = Duration::from_secs(60);
        self.lines(&trace_query(None, id), from - margin, to + margin)
            .await
    }
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
        .to_string()
}

#[derive(Debug, Deserialize)]
struct Answer {
    data: Data,
}

/// Values of series, or lines of streams: only their number is asked for.
#[derive(Debug, Deserialize)]
struct Counted {
    data: CountedData,
}

#[derive(Debug, Deserialize)]
struct CountedData {
    #[serde(default)]
    result: Vec<CountedSeries>,
}

#[derive(Debug, Deserialize)]
struct CountedSeries {
    values: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Stream>,
}

#[derive(Debug, Deserialize)]
struct Stream {
    stream: BTreeMap<String, String>,
    values: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[test]
    fn levels_have_one_spelling() {
        let line = |labels: &[(&str, &str)]| LogLine {
            time_ns: 0,
            line: String::new(),
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        };
        assert_eq!(
            line(&[("severity_text", "warning")]).level().as_deref(),
            Some("WARN")
        );
        assert_eq!(
            line(&[("detected_level", "unknown"), ("level", "info")])
                .level()
                .as_deref(),
            Some("INFO")
        );
        assert_eq!(line(&[]).level(), None);
    }

    #[tokio::test]
    async fn lines_come_in_order_of_time() {
        let server = MockServer::start().await;
        let id: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse().expect("id");
        let body = serde_json::json!({"status": "success", "data": {"resultType": "streams", "result": [
            {"stream": {"service_name": "users", "span_id": "00f067aa0ba902b7"}, "values": [["30", "late"], ["10", "early"]]},
            {"stream": {"service_name": "edge"}, "values": [["20", "middle"]]},
        ]}});
        Mock::given(path("/loki/api/v1/query_range"))
            .and(query_param(
                "query",
                format!("{{service_name=~\".+\"}} | trace_id=`{id}`"),
            ))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        let loki = Loki::new(http, Url::parse(&server.uri()).expect("address"));
        let now = SystemTime::now();
        let lines = loki.of_trace(&id, now, now).await.expect("lines");
        let texts: Vec<&str> = lines.iter().map(|line| line.line.as_str()).collect();
        assert_eq!(texts, ["early", "middle", "late"]);
        assert_eq!(
            (lines[0].service(), lines[0].label("span_id")),
            ("users", Some("00f067aa0ba902b7"))
        );
    }

    #[tokio::test]
    async fn a_refused_query_is_quoted() {
        let server = MockServer::start().await;
        Mock::given(path("/loki/api/v1/query_range"))
            .respond_with(ResponseTemplate::new(400).set_body_string("parse error at line 1"))
            .mount(&server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        let loki = Loki::new(http, Url::parse(&server.uri()).expect("address"));
        let now = SystemTime::now();
        let error = loki.lines("{", now, now).await.expect_err("must fail");
        assert!(
            error
                .to_string()
                .contains("status 400, body `parse error at line 1`"),
            "{error}"
        );
    }
}
