//! The service that the outside world talks to.

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::http::{self, AskError, Http, Raw};
use crate::traceparent::Traceparent;

/// A client of edge, or of any service that answers with a `traceparent` header.
#[derive(Clone, Debug)]
pub struct Edge {
    http: Http,
    base: Url,
}

/// What the service answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    /// The header as it came.
    pub traceparent: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The trace that the answer names.
    #[must_use]
    pub fn named(&self) -> Option<Traceparent> {
        Traceparent::parse(self.traceparent.as_deref()?)
    }

    /// The beginning of the body, on one line.
    #[must_use]
    pub fn quote(&self) -> String {
        http::quote(&self.body)
    }
}

impl Edge {
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    #[must_use]
    pub fn asked(&self, path: &str) -> String {
        http::asked(&http::at(&self.base, path, &[]))
    }

    /// Sends a GET with the given `traceparent`, which need not be a valid one.
    ///
    /// # Errors
    /// When nothing answers. Any status is an answer.
    pub async fn get(&self, path: &str, traceparent: &str) -> Result<Answer, AskError> {
        let url = http::at(&self.base, path, &[]);
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(traceparent) {
            headers.insert("traceparent", value);
        }
        self.http.raw(&url, headers).await.map(Answer::from)
    }
}

impl From<Raw> for Answer {
    fn from(raw: Raw) -> Self {
        let text = |name: &str| {
            let value = raw.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Self {
            status: raw.status,
            content_type: text("content-type").unwrap_or_default(),
            traceparent: text("traceparent"),
            body: raw.body,
        }
    }
}
