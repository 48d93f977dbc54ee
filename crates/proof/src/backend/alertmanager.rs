//! Alertmanager's API.

use serde::Deserialize;
use url::Url;

use crate::http::{self, AskError, Http};

#[derive(Clone, Debug)]
pub struct Alertmanager {
    http: Http,
    base: Url,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version_info: VersionInfo,
}

#[derive(Debug, Deserialize)]
struct VersionInfo {
    version: String,
}

impl Alertmanager {
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    /// The version that answers.
    ///
    /// # Errors
    /// When Alertmanager does not answer, or not as Alertmanager does.
    pub async fn version(&self) -> Result<String, AskError> {
        let status: Status = self
            .http
            .json(&http::at(&self.base, "/api/v2/status", &[]))
            .await?;
        Ok(status.version_info.version)
    }
}
