//! What reached the receiver of notifications: the webhook tester of the compose stack, or the
//! lab's own, which answers the same question.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use url::Url;

use super::Labels;
use crate::http::{self, AskError, Http};

/// The session to which Alertmanager posts.
pub const SESSION: &str = "00000000-0000-0000-0000-000000000000";

/// The receiver's session of Alertmanager.
#[derive(Clone, Debug)]
pub struct Webhook {
    http: Http,
    requests: Url,
}

/// One notification about one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Seconds since 1970.
    pub received: f64,
    pub labels: Labels,
    /// `firing`, or `resolved`.
    pub status: String,
}

impl Notification {
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.status == "firing"
    }
}

/// A request as the receiver has it.
#[derive(Debug, Deserialize)]
struct Captured {
    captured_at_unix_milli: f64,
    request_payload_base64: String,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    alerts: Vec<AlertJson>,
}

#[derive(Debug, Deserialize)]
struct AlertJson {
    status: String,
    labels: Labels,
}

impl Webhook {
    /// By the address of the receiver.
    #[must_use]
    pub fn new(http: Http, base: &Url) -> Self {
        let requests = http::at(base, &format!("/api/session/{SESSION}/requests"), &[]);
        Self { http, requests }
    }

    /// Everything that arrived, the oldest first.
    ///
    /// # Errors
    /// When the receiver does not answer, or not as it does.
    pub async fn notifications(&self) -> Result<Vec<Notification>, AskError> {
        let mut captured: Vec<Captured> = match self.http.json(&self.requests).await {
            // The webhook tester makes the session when the first one arrives.
            Err(error) if error.is_not_found() => Vec::new(),
            answer => answer?,
        };
        captured.reverse();
        Ok(captured.into_iter().flat_map(alerts).collect())
    }
}

/// What is no notification of Alertmanager tells of no alert.
fn alerts(captured: Captured) -> Vec<Notification> {
    let received = captured.captured_at_unix_milli / 1000.0;
    let payload = BASE64_STANDARD.decode(captured.request_payload_base64);
    let body = payload
        .ok()
        .and_then(|payload| serde_json::from_slice::<Body>(&payload).ok())
        .unwrap_or_default();
    body.alerts
        .into_iter()
        .map(|alert| Notification {
            received,
            labels: alert.labels,
            status: alert.status,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn captured(milliseconds: u64, body: &str) -> serde_json::Value {
        json!({
            "uuid": "6f6ad6b0-3b0a-4c8d-8c0e-111111111111",
            "method": "POST",
            "captured_at_unix_milli": milliseconds,
            "request_payload_base64": BASE64_STANDARD.encode(body),
        })
    }

    async fn told(answer: ResponseTemplate) -> Result<Vec<Notification>, AskError> {
        let server = MockServer::start().await;
        Mock::given(path(format!("/api/session/{SESSION}/requests")))
            .respond_with(answer)
            .mount(&server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        let base = Url::parse(&server.uri()).expect("address");
        Webhook::new(http, &base).notifications().await
    }

    #[tokio::test]
    async fn a_notification_tells_of_several_alerts() {
        let several = json!({"status": "firing", "alerts": [
            {"status": "firing", "labels": {"alertname": "A"}, "startsAt": "x"},
            {"status": "resolved", "labels": {"alertname": "B"}},
        ]});
        let one = json!({"alerts": [{"status": "resolved", "labels": {"alertname": "A"}}]});
        let answer = json!([
            captured(12_000, &one.to_string()),
            captured(11_000, "a visitor"),
            captured(10_500, &several.to_string()),
        ]);
        let told = told(ResponseTemplate::new(200).set_body_json(answer)).await;
        let told = told.expect("notifications");
        let told: Vec<_> = told
            .iter()
            .map(|each| {
                let name = each.labels["alertname"].as_str();
                (each.received, name, each.is_firing())
            })
            .collect();
        assert_eq!(
            told,
            [(10.5, "A", true), (10.5, "B", false), (12.0, "A", false)]
        );
    }

    #[tokio::test]
    async fn before_the_first_one_there_is_no_session() {
        let none = told(ResponseTemplate::new(404)).await;
        assert_eq!(none.expect("nothing"), []);
        assert!(told(ResponseTemplate::new(500)).await.is_err());
    }
}
