//! Who may ask, and what a browser is told to refuse.
//!
//! The console has no password: it is for whoever sits at this machine. A page of another site in
//! the same browser is not that, so a request must name a host of ours (else a foreign name could
//! be pointed at loopback), and one that changes something must come from our own page.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service::Problem;

/// Names by which the console may be asked.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(more: &[String]) -> Self {
        let mut names = ["localhost", "127.0.0.1", "[::1]"]
            .map(str::to_owned)
            .to_vec();
        names.extend_from_slice(more);
        Self(names)
    }

    fn know(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        self.0.contains(&name)
    }
}

/// `[::1]:8088` is `[::1]`, `localhost:8088` is `localhost`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

pub(crate) async fn only_ours(
    State(hosts): State<Hosts>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = text(headers, header::HOST).unwrap_or_default();
    if !hosts.know(host) {
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "The console answers to localhost only; other names are set with CONSOLE_HOSTS.",
        )
        .into_response();
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && is_foreign(headers, host) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "This request comes from another site's page.",
        )
        .into_response();
    }
    next.run(request).await
}

/// Browsers say where a request comes from; programs that are none need no such protection.
fn is_foreign(headers: &HeaderMap, host: &str) -> bool {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    if let Some(site) = text(headers, SITE) {
        return !matches!(site, "same-origin" | "none");
    }
    text(headers, header::ORIGIN).is_some_and(|origin| origin != format!("http://{host}"))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Scripts come from here and nowhere else, and nothing is asked of another origin. Styles may be
/// inline: the component library writes them while it runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "This path does not take that method: backends are read through the console, not changed.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_are_known() {
        let hosts = Hosts::new(&["lab.example".to_owned()]);
        for host in [
            "localhost:8088",
            "LOCALHOST",
            "127.0.0.1:80",
            "[::1]:8088",
            "lab.example:1",
        ] {
            assert!(hosts.know(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8088",
        ] {
            assert!(!hosts.know(host), "{host}");
        }
    }
}
