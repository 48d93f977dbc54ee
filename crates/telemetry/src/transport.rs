//! Connections to receivers, for every signal and encoding alike: the sender's name, proxies, TLS, redirects,
//! and what counts as an answer.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use prost::Message;
use reqwest::redirect::Policy;
use tonic::transport::{Channel, Endpoint};
use url::{Host, Url};

use crate::redact;
use crate::settings::{Otlp, Tls};

/// The specification's form, with the product before it.
const USER_AGENT: &str = concat!(
    env!("CARGO_PKG_NAME"),
    "/",
    env!("CARGO_PKG_VERSION"),
    " OTel-OTLP-Exporter-Rust/",
    env!("CARGO_PKG_VERSION")
);

/// As many as browsers and other clients follow.
const MOST_REDIRECTS: usize = 10;

/// A client for receivers over HTTP. Proxies are those of the environment, as reqwest reads it, but never
/// for this machine itself. With `secrets` in its headers, redirects to another host or port are not followed.
pub(crate) fn http_client(
    endpoint: &Url,
    secrets: bool,
    tls: &Tls,
) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::custom(move |attempt| {
            if follows(attempt.status(), attempt.previous(), attempt.url(), secrets) {
                attempt.follow()
            } else {
                attempt.stop()
            }
        }));
    if is_loopback(endpoint) {
        builder = builder.no_proxy();
    }
    with_tls(builder, endpoint, tls)?
        .build()
        .map_err(|error| with_causes(&error))
}

/// Only the two statuses that keep method and body, and never to a scheme without encryption.
fn follows(status: StatusCode, previous: &[Url], next: &Url, secrets: bool) -> bool {
    let Some(last) = previous.last() else {
        return false;
    };
    matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    ) && !(last.scheme() == "https" && next.scheme() != "https")
        && !(secrets && authority(last) != authority(next))
        && previous.len() <= MOST_REDIRECTS
}

fn authority(url: &Url) -> (Option<Host<&str>>, Option<u16>) {
    (url.host(), url.port_or_known_default())
}

#[cfg(feature = "tls")]
fn with_tls(
    mut builder: reqwest::ClientBuilder,
    endpoint: &Url,
    tls: &Tls,
) -> Result<reqwest::ClientBuilder, String> {
    if endpoint.scheme() != "https" {
        return Ok(builder);
    }
    if let Some(path) = &tls.certificate {
        let certificates = reqwest::Certificate::from_pem_bundle(&pem(path)?)
            .map_err(|error| unreadable(path, &error))?;
        builder = builder.tls_certs_only(certificates);
    }
    if let Some((certificate, key)) = client_files(tls)? {
        let both = [pem(key)?, pem(certificate)?].concat();
        let identity =
            reqwest::Identity::from_pem(&both).map_err(|error| unreadable(certificate, &error))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

#[cfg(not(feature = "tls"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "its other form can fail; the settings refuse https:// here"
)]
fn with_tls(
    builder: reqwest::ClientBuilder,
    _: &Url,
    _: &Tls,
) -> Result<reqwest::ClientBuilder, String> {
    Ok(builder)
}

/// Where gRPC goes; [`connect`] opens it.
pub(crate) fn grpc_endpoint(otlp: &Otlp, url: &Url) -> Result<Endpoint, String> {
    let mut endpoint = Endpoint::from_shared(url.to_string())
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
        .map_err(|error| with_causes(&error))?;
    if let Some(proxy) = proxy(&endpoint)
        && proxy.uri().scheme_str() != Some("http")
    {
        return Err(
            "gRPC passes http:// proxies only: name the receiver in NO_PROXY, or set \
             OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
                .to_owned(),
        );
    }
    if let Some(timeout) = otlp.timeout {
        endpoint = endpoint.connect_timeout(timeout);
    }
    with_grpc_tls(endpoint, url, &otlp.tls)
}

#[cfg(feature = "tls")]
fn with_grpc_tls(endpoint: Endpoint, url: &Url, tls: &Tls) -> Result<Endpoint, String> {
    use tonic::transport::{Certificate, ClientTlsConfig, Identity};
    if url.scheme() != "https" {
        return Ok(endpoint);
    }
    let mut config = ClientTlsConfig::new();
    config = match &tls.certificate {
        Some(path) => config.ca_certificate(Certificate::from_pem(pem(path)?)),
        None => config.with_native_roots(),
    };
    if let Some((certificate, key)) = client_files(tls)? {
        config = config.identity(Identity::from_pem(pem(certificate)?, pem(key)?));
    }
    endpoint
        .tls_config(config)
        .map_err(|error| with_causes(&error))
}

#[cfg(not(feature = "tls"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "its other form can fail; the settings refuse https:// here"
)]
fn with_grpc_tls(endpoint: Endpoint, _: &Url, _: &Tls) -> Result<Endpoint, String> {
    Ok(endpoint)
}

#[cfg(feature = "tls")]
fn client_files(tls: &Tls) -> Result<Option<(&std::path::Path, &std::path::Path)>, String> {
    match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        _ => Err(
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY belong \
             together: one of them is not set"
                .to_owned(),
        ),
    }
}

#[cfg(feature = "tls")]
fn pem(path: &std::path::Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

#[cfg(feature = "tls")]
fn unreadable(path: &std::path::Path, error: &(dyn std::error::Error + 'static)) -> String {
    format!("{}: {}", path.display(), with_causes(error))
}

/// Inside a Tokio runtime; through the proxy that the environment names, as over HTTP.
pub(crate) fn connect(endpoint: &Endpoint) -> Channel {
    let Some(proxy) = proxy(endpoint) else {
        return endpoint.connect_lazy();
    };
    let mut tunnel = Tunnel::new(proxy.uri().clone(), HttpConnector::new());
    if let Some(user) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(user.clone());
    }
    endpoint.connect_with_connector_lazy(tunnel)
}

fn proxy(endpoint: &Endpoint) -> Option<hyper_util::client::proxy::matcher::Intercept> {
    let here = Url::parse(&endpoint.uri().to_string()).is_ok_and(|url| is_loopback(&url));
    (!here)
        .then(|| Matcher::from_env().intercept(endpoint.uri()))
        .flatten()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// `Export...ServiceResponse`: the same shape for all signals.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

/// The body of a 2xx answer: empty, or OTLP's own. A login page is neither: nothing was taken.
pub(crate) fn export_response(headers: &HeaderMap, body: &Bytes) -> Result<ExportResponse, String> {
    if body.is_empty() {
        return Ok(ExportResponse::default());
    }
    let expected = "expected an OTLP response";
    let media_type = media_type(headers);
    match media_type.as_deref().unwrap_or("application/x-protobuf") {
        "application/x-protobuf" | "application/protobuf" => ExportResponse::decode(body.clone())
            .map_err(|error| format!("{expected}, got a body that is none: {error}")),
        // What was rejected matters to the sender of protobuf only, which gets protobuf back.
        "application/json" => match serde_json::from_slice(body) {
            Ok(serde_json::Value::Object(_)) => Ok(ExportResponse::default()),
            _ => Err(format!("{expected}, got JSON that is none")),
        },
        other => Err(format!("{expected}, got {}", printable(other))),
    }
}

/// The content type without its parameters, in small letters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes()).to_ascii_lowercase();
    let media_type = value.split(';').next().unwrap_or_default();
    Some(media_type.trim().to_owned())
}

/// Why an answer outside 2xx is none, with the way that it points to.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap) -> String {
    let to = headers
        .get(LOCATION)
        .filter(|_| status.is_redirection())
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match to {
        Some(to) => format!(
            "HTTP status {status}: a redirect to {}, which is not followed",
            printable(&redact::text(&to))
        ),
        None => format!("HTTP status {status}"),
    }
}

/// Text of a receiver's, for a message.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// An error and its causes; an address in it is not shown.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_never_loses_encryption_and_keeps_secrets_where_they_are() {
        let follows = |from: &str, to: &str, secrets| {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            follows(StatusCode::PERMANENT_REDIRECT, &[from], &to, secrets)
        };
        for (from, to, plain, with_secrets) in [
            ("http://a/1", "http://a/2", true, true),
            ("https://a/1", "https://a:443/2", true, true),
            ("http://a", "http://b", true, false),
            ("http://a", "http://a:8080", true, false),
            ("http://a", "https://a", true, false),
            ("https://a", "http://a", false, false),
            ("https://a", "http://a:443", false, false),
            ("https://a", "ftp://a", false, false),
        ] {
            assert_eq!(follows(from, to, false), plain, "{from} {to}");
            assert_eq!(follows(from, to, true), with_secrets, "{from} {to}");
        }
    }
}
