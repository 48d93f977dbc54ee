//! Asking a backend, within limits of time and size.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use service::Problem;
use service::address::below;
use tokio::sync::Semaphore;
use url::Url;

use crate::settings::Settings;

/// A browser page that is given more than this would not be usable.
pub(crate) const LONGEST_ANSWER: usize = 16 << 20;
/// How long a backend may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(2);
/// Questions at once; each may hold an answer of [`LONGEST_ANSWER`].
const AT_ONCE: usize = 16;

/// A backend whose API the page uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Prometheus,
    Loki,
    Jaeger,
    Alertmanager,
    Webhook,
}

impl Backend {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        [
            Self::Prometheus,
            Self::Loki,
            Self::Jaeger,
            Self::Alertmanager,
            Self::Webhook,
        ]
        .into_iter()
        .find(|backend| backend.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Loki => "loki",
            Self::Jaeger => "jaeger",
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
        }
    }
}

/// An answer of any status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    kind: Option<HeaderValue>,
    pub(crate) body: Vec<u8>,
}

impl IntoResponse for Answer {
    /// Whatever a backend says, it is data under our origin, never a page.
    fn into_response(self) -> Response {
        let json = self
            .kind
            .as_ref()
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        let kind = if json {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (self.status, headers, self.body).into_response()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{0} did not answer within {secs} s: ask for less, or look at `./lab logs {0}`", secs = PATIENCE.as_secs())]
    Timeout(&'static str),
    #[error("{0} cannot be reached ({1}); `./lab status` tells whether it runs")]
    Unreachable(&'static str, String),
    #[error(
        "{0} answered with more than {mib} MiB: ask for a shorter time or for fewer results",
        mib = LONGEST_ANSWER >> 20
    )]
    TooLong(&'static str),
    #[error("{0} answered with something else than was expected: {1}")]
    Shape(&'static str, String),
}

impl AskError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Unreachable(..) | Self::Shape(..) => StatusCode::BAD_GATEWAY,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

/// The client of all backends.
#[derive(Debug, Clone)]
pub(crate) struct Backends {
    http: reqwest::Client,
    places: Arc<Semaphore>,
    settings: Settings,
}

impl Backends {
    pub(crate) fn new(settings: &Settings) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(service::IDLE_CONNECTION)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            settings: settings.clone(),
        })
    }

    fn base(&self, backend: Backend) -> &Url {
        match backend {
            Backend::Prometheus => &self.settings.prometheus,
            Backend::Loki => &self.settings.loki,
            Backend::Jaeger => &self.settings.jaeger,
            Backend::Alertmanager => &self.settings.alertmanager,
            Backend::Webhook => &self.settings.webhook,
        }
    }

    /// `path` is percent-encoded already; `form` makes it a POST.
    pub(crate) async fn ask(
        &self,
        backend: Backend,
        path: &str,
        query: Option<&str>,
        form: Option<Bytes>,
    ) -> Result<Answer, AskError> {
        let mut url = below(self.base(backend), path);
        url.set_query(query.filter(|query| !query.is_empty()));
        let request = match form {
            None => self.http.get(url),
            Some(body) => self
                .http
                .post(url)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body),
        };
        self.send(backend.name(), request).await
    }

    async fn send(
        &self,
        name: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<Answer, AskError> {
        let failed = |error: reqwest::Error| {
            if error.is_timeout() && !error.is_connect() {
                AskError::Timeout(name)
            } else {
                AskError::Unreachable(name, root_cause(&error))
            }
        };
        let _place = match tokio::time::timeout(PATIENCE, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            _ => return Err(AskError::Timeout(name)),
        };
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
        let mut body = Vec::new();
        let mut parts = answer.bytes_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(failed)?;
            if body.len() + part.len() > LONGEST_ANSWER {
                return Err(AskError::TooLong(name));
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, kind, body })
    }

    /// The values of an instant query to Prometheus: labels and number.
    pub(crate) async fn query(&self, promql: &str) -> Result<Vec<Sample>, AskError> {
        let backend = Backend::Prometheus;
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("query", promql)
            .finish();
        let answer = self
            .ask(backend, "/api/v1/query", Some(&query), None)
            .await?;
        let shape = |why: String| AskError::Shape(backend.name(), why);
        if !answer.status.is_success() {
            let text = String::from_utf8_lossy(&answer.body);
            let text: String = text.chars().take(300).collect();
            return Err(shape(format!("status {}: {text}", answer.status.as_u16())));
        }
        let parsed: Vector =
            serde_json::from_slice(&answer.body).map_err(|error| shape(error.to_string()))?;
        Ok(parsed.data.result)
    }
}

#[derive(serde::Deserialize)]
struct Vector {
    data: VectorData,
}

#[derive(serde::Deserialize)]
struct VectorData {
    result: Vec<Sample>,
}

/// One series of an instant query.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Sample {
    metric: std::collections::BTreeMap<String, String>,
    value: (f64, String),
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.metric.get(name).map_or("", String::as_str)
    }

    /// `NaN` is no number: a quantile of nothing.
    pub(crate) fn number(&self) -> Option<f64> {
        self.value
            .1
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
    }
}

/// The innermost cause: the outer ones only say that a request failed.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
