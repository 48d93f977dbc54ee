//! Pyroscope's query API.

use serde::Deserialize;
use url::Url;

use crate::http::{self, AskError, Http};

#[derive(Clone, Debug)]
pub struct Pyroscope {
    http: Http,
    base: Url,
}

impl Pyroscope {
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    /// What the samples of the last minutes add up to, in the unit of the profile's type.
    ///
    /// # Errors
    /// When Pyroscope does not answer, refuses the query, or answers otherwise than Pyroscope does.
    pub async fn samples(&self, query: &str) -> Result<u64, AskError> {
        let url = http::at(
            &self.base,
            "/pyroscope/render",
            &[
                ("query", query),
                ("from", "now-5m"),
                ("until", "now"),
                ("format", "json"),
            ],
        );
        let rendered: Rendered = self.http.json(&url).await?;
        Ok(rendered.flamebearer.num_ticks)
    }
}

#[derive(Debug, Deserialize)]
struct Rendered {
    flamebearer: Flamebearer,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flamebearer {
    num_ticks: u64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wiremock::matchers::{path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn samples_are_summed() {
        let server = MockServer::start().await;
        let query = "process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"users\"}";
        Mock::given(path("/pyroscope/render"))
            .and(query_param("query", query))
            .respond_with(ResponseTemplate::new(200).set_body_json(
                serde_json::json!({"version": 1, "flamebearer": {"names": ["total"], "levels": [], "numTicks": 70, "maxSelf": 0}}),
            ))
            .mount(&server)
            .await;
        let http = Http::new(Duration::from_secs(2)).expect("client");
        let pyroscope = Pyroscope::new(http, Url::parse(&server.uri()).expect("address"));
        assert_eq!(pyroscope.samples(query).await.expect("a sum"), 70);
        assert!(pyroscope.samples("x").await.is_err());
    }
}
