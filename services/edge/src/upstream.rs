//! Asking another service and passing its answer on.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use service::Problem;
use telemetry::http::Client;
use url::Url;

/// The longest answer that is passed on, in bytes.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// The users service.
#[derive(Debug, Clone)]
pub(crate) struct Users(pub(crate) Upstream);

/// The albums service.
#[derive(Debug, Clone)]
pub(crate) struct Albums(pub(crate) Upstream);

#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    name: &'static str,
    base: Url,
    client: Client,
}

/// Why there is no answer to pass on.
#[derive(Debug, thiserror::Error)]
enum UpstreamError {
    #[error("no answer in time")]
    Timeout(#[source] reqwest::Error),
    #[error("not reachable")]
    Unreachable(#[source] reqwest::Error),
    #[error("answered with {0:?} in place of JSON")]
    NotJson(Option<HeaderValue>),
    #[error("answered with more than {LONGEST_ANSWER} bytes")]
    TooLong,
}

impl From<reqwest::Error> for UpstreamError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout(error)
        } else {
            Self::Unreachable(error)
        }
    }
}

impl Upstream {
    pub(crate) fn new(name: &'static str, base: Url, client: Client) -> Self {
        Self { name, base, client }
    }

    /// Passes status and JSON through. What goes wrong is logged here, once; the caller learns
    /// which service is at fault and nothing of its inside.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Response, Problem> {
        self.ask(path, query).await.map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map(root_cause)
                .unwrap_or_default();
            tracing::error!(
                service.peer.name = self.name,
                cause,
                "{}: {error}",
                self.name
            );
            let (status, what) = match error {
                UpstreamError::Timeout(_) => {
                    (StatusCode::GATEWAY_TIMEOUT, "did not answer in time")
                }
                UpstreamError::Unreachable(_) => (StatusCode::BAD_GATEWAY, "cannot be reached"),
                UpstreamError::NotJson(_) | UpstreamError::TooLong => (
                    StatusCode::BAD_GATEWAY,
                    "gave an answer that cannot be passed on",
                ),
            };
            Problem::new(status, format!("The service {} {what}.", self.name))
        })
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Response, UpstreamError> {
        let mut url = service::address::below(&self.base, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.http().get(url).build()?;
        let answer = self.client.execute(request).await?;
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
        let Some(kind) = kind.clone().filter(is_json) else {
            return Err(UpstreamError::NotJson(kind));
        };
        let mut body = Vec::new();
        let mut parts = answer.bytes_stream();
        while let Some(part) = parts.next().await {
            let part = part?;
            if body.len() + part.len() > LONGEST_ANSWER {
                return Err(UpstreamError::TooLong);
            }
            body.extend_from_slice(&part);
        }
        Ok((status, [(header::CONTENT_TYPE, kind)], Body::from(body)).into_response())
    }
}

fn is_json(kind: &HeaderValue) -> bool {
    let Ok(kind) = kind.to_str() else {
        return false;
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The innermost cause: the outer ones only say that a request failed.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_other_types() {
        for kind in [
            "application/json",
            "application/json; charset=utf-8",
            "application/problem+json",
        ] {
            assert!(is_json(&HeaderValue::from_static(kind)), "{kind}");
        }
        for kind in ["text/html", "text/json+html", "application/jsonp"] {
            assert!(!is_json(&HeaderValue::from_static(kind)), "{kind}");
        }
    }
}
