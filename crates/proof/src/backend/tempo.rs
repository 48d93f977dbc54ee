//! Tempo's query API.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use crate::http::{self, AskError, Http};
use crate::traceparent::TraceId;

#[derive(Clone, Debug)]
pub struct Tempo {
    http: Http,
    base: Url,
}

impl Tempo {
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    #[must_use]
    pub fn asked(&self, query: &str) -> String {
        format!(
            "{} {query}",
            http::asked(&http::at(&self.base, "/api/search", &[]))
        )
    }

    /// How many traces of the last time a TraceQL query finds, 20 at most.
    ///
    /// # Errors
    /// When Tempo does not answer, refuses the query, or answers otherwise than Tempo does.
    pub async fn count(&self, query: &str, back: Duration) -> Result<usize, AskError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let url = http::at(
            &self.base,
            "/api/search",
            &[
                ("q", query),
                ("limit", "20"),
                ("start", &now.saturating_sub(back).as_secs().to_string()),
                ("end", &(now.as_secs() + 1).to_string()),
            ],
        );
        let found: Found = self.http.json(&url).await?;
        Ok(found.traces.len())
    }

    /// Whether it has a trace. Of an unknown one its second API answers 200 with nothing in it.
    ///
    /// # Errors
    /// When Tempo does not answer, or not as Tempo does.
    pub async fn has(&self, id: &TraceId) -> Result<bool, AskError> {
        let url = http::at(&self.base, &format!("/api/v2/traces/{id}"), &[]);
        match self.http.json::<Whole>(&url).await {
            Ok(whole) => Ok(whole
                .trace
                .is_some_and(|trace| !trace.resource_spans.is_empty())),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Found {
    #[serde(default)]
    traces: Vec<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Whole {
    #[serde(default)]
    trace: Option<TraceJson>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TraceJson {
    #[serde(default)]
    resource_spans: Vec<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn tempo(at: &str, body: serde_json::Value) -> (MockServer, Tempo) {
        let server = MockServer::start().await;
        Mock::given(path(at))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        let url = Url::parse(&server.uri()).expect("address");
        (server, Tempo::new(http, url))
    }

    #[tokio::test]
    async fn traces_are_counted() {
        let server = MockServer::start().await;
        Mock::given(path("/api/search"))
            .and(query_param("q", "{ kind = server }"))
            .respond_with(ResponseTemplate::new(200).set_body_json(
                serde_json::json!({"traces": [{"traceID": "1"}, {"traceID": "2"}], "metrics": {}}),
            ))
            .mount(&server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        let tempo = Tempo::new(http, Url::parse(&server.uri()).expect("address"));
        let back = Duration::from_secs(60);
        assert_eq!(
            tempo
                .count("{ kind = server }", back)
                .await
                .expect("a count"),
            2
        );
        assert!(tempo.count("{", back).await.is_err());
    }

    #[tokio::test]
    async fn an_empty_trace_is_none() {
        let id: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse().expect("id");
        let at = format!("/api/v2/traces/{id}");
        let (_server, unknown) = tempo(&at, serde_json::json!({"trace": {}})).await;
        assert!(!unknown.has(&id).await.expect("an answer"));
        let (_server, known) =
            tempo(&at, serde_json::json!({"trace": {"resourceSpans": [{}]}})).await;
        assert!(known.has(&id).await.expect("an answer"));
    }
}
