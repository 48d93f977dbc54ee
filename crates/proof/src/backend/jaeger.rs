//! Jaeger's query API.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::http::{self, AskError, Http};
use crate::trace::{Kind, Span, Status, Trace};
use crate::traceparent::TraceId;

/// How far back the newest trace is looked for.
const LOOKBACK: Duration = Duration::from_secs(24 * 3600);
/// The search gives no order: the newest of this many.
const SEARCHED: &str = "20";

#[derive(Clone, Debug)]
pub struct Jaeger {
    http: Http,
    base: Url,
}

/// What traces are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    pub service: &'a str,
    pub operation: Option<&'a str>,
    pub tags: &'a BTreeMap<String, String>,
    /// Of one span.
    pub min_duration: Option<Duration>,
    /// An hour ago, where nothing is said.
    pub since: Option<SystemTime>,
}

impl Jaeger {
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    #[must_use]
    pub fn asked(&self, id: &TraceId) -> String {
        http::asked(&self.url(id))
    }

    /// The trace with this id, or `None` when Jaeger has not seen it.
    ///
    /// # Errors
    /// When Jaeger does not answer, or not as Jaeger does.
    pub async fn trace(&self, id: &TraceId) -> Result<Option<Trace>, AskError> {
        match self.http.json::<Answer>(&self.url(id)).await {
            Ok(answer) => Ok(answer.data.into_iter().next().map(Trace::from)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest trace that `service` took part in.
    ///
    /// # Errors
    /// When Jaeger does not answer, or not as Jaeger does.
    pub async fn latest(&self, service: &str) -> Result<Option<Trace>, AskError> {
        let found = self.of_last_day(service).await?;
        Ok(found.into_iter().max_by_key(Trace::start_us))
    }

    /// Some of the traces of the last day that `service` took part in.
    ///
    /// # Errors
    /// When Jaeger does not answer, or not as Jaeger does.
    pub async fn of_last_day(&self, service: &str) -> Result<Vec<Trace>, AskError> {
        self.search(&Search {
            service,
            operation: None,
            tags: &BTreeMap::new(),
            min_duration: None,
            since: SystemTime::now().checked_sub(LOOKBACK),
        })
        .await
    }

    /// Traces of a service since a time, those with all of these tags on one span.
    ///
    /// # Errors
    /// When Jaeger does not answer, or not as Jaeger does.
    pub async fn search(&self, search: &Search<'_>) -> Result<Vec<Trace>, AskError> {
        let answer: Answer = self.http.json(&self.search_url(search)).await?;
        Ok(answer.data.into_iter().map(Trace::from).collect())
    }

    /// The address of such a search.
    #[must_use]
    pub fn search_url(&self, search: &Search<'_>) -> Url {
        let mut query = vec![
            ("service", search.service.to_owned()),
            ("limit", SEARCHED.to_owned()),
        ];
        if let Some(operation) = search.operation {
            query.push(("operation", operation.to_owned()));
        }
        if !search.tags.is_empty() {
            let tags = serde_json::json!(search.tags).to_string();
            query.push(("tags", tags));
        }
        if let Some(shortest) = search.min_duration {
            query.push(("minDuration", format!("{}us", shortest.as_micros())));
        }
        if let Some(since) = search.since {
            let micros = |time: SystemTime| {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                since.as_micros().to_string()
            };
            query.push(("start", micros(since)));
            query.push(("end", micros(SystemTime::now())));
        }
        let query: Vec<(&str, &str)> = query
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        http::at(&self.base, "/api/traces", &query)
    }

    fn url(&self, id: &TraceId) -> Url {
        http::at(&self.base, &format!("/api/traces/{id}"), &[])
    }
}

/// What Jaeger's query API sends.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) data: Vec<TraceJson>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceJson {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    spans: Vec<SpanJson>,
    #[serde(default)]
    processes: BTreeMap<String, ProcessJson>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanJson {
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    references: Vec<ReferenceJson>,
    start_time: u64,
    duration: u64,
    #[serde(default, deserialize_with = "null_is_empty")]
    tags: Vec<TagJson>,
    #[serde(rename = "processID")]
    process_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceJson {
    ref_type: String,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProcessJson {
    service_name: String,
}

#[derive(Debug, Deserialize)]
struct TagJson {
    key: String,
    value: Value,
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

impl From<TraceJson> for Trace {
    fn from(json: TraceJson) -> Self {
        let TraceJson {
            trace_id,
            spans,
            processes,
        } = json;
        let spans = spans
            .into_iter()
            .map(|span| {
                let service = processes.get(&span.process_id).map_or_else(
                    || "unknown".to_owned(),
                    |process| process.service_name.clone(),
                );
                span.into_span(&trace_id, service)
            })
            .collect();
        Trace::new(trace_id, spans)
    }
}

impl SpanJson {
    fn into_span(self, trace_id: &str, service: String) -> Span {
        let parent = self
            .references
            .into_iter()
            .find(|reference| reference.ref_type == "CHILD_OF" && reference.trace_id == trace_id)
            .map(|reference| reference.span_id);
        let mut attributes: BTreeMap<String, Value> = self
            .tags
            .into_iter()
            .map(|tag| (tag.key, tag.value))
            .collect();
        let mut take = |key: &str| {
            let value = attributes.remove(key)?;
            Some(
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        };
        let kind = Kind::from_name(take("span.kind").as_deref().unwrap_or("internal"));
        let flagged = take("error").is_some_and(|value| value == "true");
        let description = take("otel.status_description").unwrap_or_default();
        let status = match take("otel.status_code").as_deref() {
            Some("ERROR") => Status::Error(description),
            None if flagged => Status::Error(description),
            Some("OK") => Status::Ok,
            _ => Status::Unset,
        };
        Span {
            id: self.span_id,
            parent,
            service,
            name: self.operation_name,
            kind,
            start_us: self.start_time,
            duration_us: self.duration,
            status,
            attributes,
        }
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn jaeger(server: &MockServer) -> Jaeger {
        let http = Http::new(Duration::from_secs(2)).expect("client");
        Jaeger::new(http, Url::parse(&server.uri()).expect("address"))
    }

    fn id() -> TraceId {
        "4bf92f3577b34da6a3ce929d0e0e4736".parse().expect("id")
    }

    fn trace_json(id: &str, start: u64) -> Value {
        serde_json::json!({
            "traceID": id,
            "spans": [{
                "traceID": id, "spanID": "00f067aa0ba902b7", "operationName": "GET /users",
                "references": [{"refType": "CHILD_OF", "traceID": id, "spanID": "1111111111111111"}],
                "startTime": start, "duration": 1200, "logs": [], "warnings": null, "processID": "p1",
                "tags": [
                    {"key": "span.kind", "type": "string", "value": "server"},
                    {"key": "http.response.status_code", "type": "int64", "value": 500},
                    {"key": "otel.status_code", "type": "string", "value": "ERROR"},
                    {"key": "otel.status_description", "type": "string", "value": "no table"},
                    {"key": "error", "type": "bool", "value": true}
                ]
            }],
            "processes": {"p1": {"serviceName": "users", "tags": []}},
            "warnings": null
        })
    }

    #[tokio::test]
    async fn a_trace_is_read() {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .and(path(format!("/api/traces/{}", id())))
            .respond_with(
                ResponseTemplate::new(200)
                    .set_body_json(serde_json::json!({"data": [trace_json(id().as_str(), 5)]})),
            )
            .mount(&server)
            .await;
        let trace = jaeger(&server)
            .trace(&id())
            .await
            .expect("answer")
            .expect("trace");
        let span = &trace.spans[0];
        assert_eq!((span.service.as_str(), span.kind), ("users", Kind::Server));
        assert_eq!(span.parent.as_deref(), Some("1111111111111111"));
        assert_eq!(span.status, Status::Error("no table".to_owned()));
        assert_eq!(
            span.text("http.response.status_code").as_deref(),
            Some("500")
        );
    }

    #[tokio::test]
    async fn an_unknown_id_is_none_and_an_error_is_an_error() {
        let server = MockServer::start().await;
        Mock::given(path(format!("/api/traces/{}", id())))
            .respond_with(
                ResponseTemplate::new(404)
                    .set_body_string(r#"{"data":null,"errors":[{"code":404}]}"#),
            )
            .mount(&server)
            .await;
        assert!(
            jaeger(&server)
                .trace(&id())
                .await
                .expect("answer")
                .is_none()
        );
        let other = "1".repeat(32).parse().expect("id");
        Mock::given(path(format!("/api/traces/{other}")))
            .respond_with(ResponseTemplate::new(503).set_body_string("storage is away"))
            .mount(&server)
            .await;
        let error = jaeger(&server).trace(&other).await.expect_err("must fail");
        assert!(error.to_string().contains("503"), "{error}");
    }

    #[tokio::test]
    async fn the_newest_trace_is_the_one_that_began_last() {
        let server = MockServer::start().await;
        let (old, new) = ("a".repeat(32), "b".repeat(32));
        Mock::given(path("/api/traces"))
            .and(query_param("service", "edge"))
            .respond_with(ResponseTemplate::new(200).set_body_json(
                serde_json::json!({"data": [trace_json(&old, 5), trace_json(&new, 9), trace_json(&old, 6)]}),
            ))
            .mount(&server)
            .await;
        let latest = jaeger(&server)
            .latest("edge")
            .await
            .expect("answer")
            .expect("trace");
        assert_eq!(latest.id, new);
    }
}
