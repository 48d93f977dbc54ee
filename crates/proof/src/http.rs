//! One HTTP client for every backend: with timeouts, and errors that say what was asked and what came back.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use url::Url;

/// A backend that sends more than this is broken, or was asked for too much.
const MAX_BODY: usize = 32 << 20;
/// How much of an unexpected answer an error quotes.
const QUOTED: usize = 160;

/// What went wrong between a question and its answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{asked}: {cause}")]
    Unreachable { asked: String, cause: String },
    #[error("{asked}: no answer within {seconds} s")]
    Timeout { asked: String, seconds: f64 },
    #[error("{asked}: status {status}, body `{body}`")]
    Status {
        asked: String,
        status: u16,
        body: String,
    },
    #[error("{asked}: the answer has another shape than expected ({cause}): `{body}`")]
    Shape {
        asked: String,
        cause: String,
        body: String,
    },
    #[error("no HTTP client: {0}")]
    Client(String),
}

impl AskError {
    /// True when the backend answered that it has no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }
}

/// An answer of any status.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    timeout: Duration,
}

impl Http {
    /// A client that waits `timeout` for a whole answer.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(timeout: Duration) -> Result<Self, AskError> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(2)))
            // The lab is on this machine or in this cluster: a proxy for the web is never meant.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("lab-verify/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| AskError::Client(chain(&error)))?;
        Ok(Self { client, timeout })
    }

    /// Asks `url` and takes any status for an answer.
    pub(crate) async fn raw(&self, url: &Url, headers: HeaderMap) -> Result<Raw, AskError> {
        let failed = |error: reqwest::Error| {
            let asked = asked(url);
            if error.is_timeout() && !error.is_connect() {
                let seconds = self.timeout.as_secs_f64();
                AskError::Timeout { asked, seconds }
            } else {
                let connect = error.is_connect();
                let error = error.without_url();
                // Of "error sending request: client error: tcp connect error: refused" only the end helps.
                let cause = if connect { root(&error) } else { chain(&error) };
                AskError::Unreachable { asked, cause }
            }
        };
        let mut response = self
            .client
            .get(url.clone())
            .headers(headers)
            .send()
            .await
            .map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(AskError::Shape {
                    asked: asked(url),
                    cause: format!("longer than {} MiB", MAX_BODY >> 20),
                    body: quote(&body),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Raw {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
        })
    }

    /// Asks `url` and reads the JSON of a 2xx answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<T, AskError> {
        let raw = self.raw(url, HeaderMap::new()).await?;
        if !(200..300).contains(&raw.status) {
            return Err(AskError::Status {
                asked: asked(url),
                status: raw.status,
                body: quote(&raw.body),
            });
        }
        serde_json::from_slice(&raw.body).map_err(|error| AskError::Shape {
            asked: asked(url),
            cause: error.to_string(),
            body: quote(&raw.body),
        })
    }
}

/// `base` with a path below it and a query.
pub(crate) fn at(base: &Url, path: &str, query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    url.set_path(&format!(
        "{}/{}",
        base.path().trim_end_matches('/'),
        path.trim_start_matches('/')
    ));
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// How a question is shown: without credentials, and as people write a query.
pub(crate) fn asked(url: &Url) -> String {
    let mut origin = url.clone();
    // These fail only for addresses that cannot have credentials.
    let _ = origin.set_password(None);
    let _ = origin.set_username("");
    origin.set_query(None);
    let query: Vec<String> = url
        .query_pairs()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if query.is_empty() {
        format!("GET {origin}")
    } else {
        format!("GET {origin}?{}", query.join("&"))
    }
}

/// The beginning of a body, on one line, safe for a terminal.
pub(crate) fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED * 4)]);
    let mut quoted: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(QUOTED)
        .collect();
    if text.chars().count() > QUOTED {
        quoted.push('…');
    }
    quoted
}

/// An error with its causes: reqwest's own text leaves out the one that helps.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The innermost cause.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn ask(answer: ResponseTemplate) -> AskError {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let http = Http::new(Duration::from_millis(200)).expect("client");
        let url = Url::parse(&server.uri()).expect("address");
        http.json::<Value>(&at(&url, "/api/x", &[("query", "up{job=\"a\"}")]))
            .await
            .expect_err("must fail")
    }

    #[tokio::test]
    async fn a_status_is_quoted() {
        let error = ask(ResponseTemplate::new(500).set_body_string("no\n  space left")).await;
        let text = error.to_string();
        assert!(
            text.ends_with("/api/x?query=up{job=\"a\"}: status 500, body `no space left`"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn what_is_not_json_is_quoted() {
        let error = ask(ResponseTemplate::new(200).set_body_string("<html>\u{1b}[31m")).await;
        assert!(
            matches!(&error, AskError::Shape { body, .. } if body == "<html>[31m"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_late_answer_is_a_timeout() {
        let error = ask(ResponseTemplate::new(200).set_delay(Duration::from_secs(5))).await;
        assert!(
            error.to_string().ends_with("no answer within 0.2 s"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn nobody_there_says_refused() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let http = Http::new(Duration::from_secs(1)).expect("client");
        let url = Url::parse(&format!("http://lab:secret@127.0.0.1:{port}/x")).expect("address");
        let text = http
            .json::<Value>(&url)
            .await
            .expect_err("must fail")
            .to_string();
        assert!(text.contains("refused"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn paths_go_below_the_base() {
        let base = Url::parse("http://h:1/loki/").expect("address");
        assert_eq!(
            at(&base, "/a/b", &[("q", "x y")]).as_str(),
            "http://h:1/loki/a/b?q=x+y"
        );
    }
}
