//! What reached the receiver of notifications.

use serde::Deserialize;
use url::Url;

use super::Labels;
use crate::http::{AskError, Http};

/// The receiver, by the address to which notifications are posted.
#[derive(Clone, Debug)]
pub struct Webhook {
    http: Http,
    session: Url,
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

#[derive(Debug, Deserialize)]
struct Kept {
    received: f64,
    body: Body,
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
    #[must_use]
    pub fn new(http: Http, session: Url) -> Self {
        Self { http, session }
    }

    /// Everything that arrived, the oldest first.
    ///
    /// # Errors
    /// When the receiver does not answer, or not as it does.
    pub async fn notifications(&self) -> Result<Vec<Notification>, AskError> {
        let kept: Vec<Kept> = self.http.json(&self.session).await?;
        Ok(kept
            .into_iter()
            .flat_map(|kept| {
                let received = kept.received;
                kept.body.alerts.into_iter().map(move |alert| Notification {
                    received,
                    labels: alert.labels,
                    status: alert.status,
                })
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn a_notification_tells_of_several_alerts() {
        let server = MockServer::start().await;
        let body = serde_json::json!([
            {"received": 10.5, "body": {"status": "firing", "alerts": [
                {"status": "firing", "labels": {"alertname": "A"}, "startsAt": "x"},
                {"status": "resolved", "labels": {"alertname": "B"}},
            ]}},
            {"received": 11.0, "body": {"hello": "world"}},
        ]);
        Mock::given(path("/session"))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        let session = Url::parse(&format!("{}/session", server.uri())).expect("address");
        let told = Webhook::new(http, session)
            .notifications()
            .await
            .expect("notifications");
        let told: Vec<_> = told
            .iter()
            .map(|each| {
                (
                    each.received,
                    each.labels["alertname"].as_str(),
                    each.is_firing(),
                )
            })
            .collect();
        assert_eq!(told, [(10.5, "A", true), (10.5, "B", false)]);
    }
}
