//! Where OTLP of one signal goes: `OTEL_EXPORTER_OTLP_*`, each also for one signal, by the specification's
//! names and defaults.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::reader::{Reader, pairs};
use super::{OtlpProtocol, Signal};
use crate::redact;

/// Where and how one signal is sent by OTLP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// `_PROTOCOL`, default `http/protobuf`.
    pub protocol: OtlpProtocol,
    /// `_ENDPOINT`, the signal's path included; or why it cannot be used, which ends the start. User
    /// and password are not in it: they are in `headers`.
    pub endpoint: Result<Url, String>,
    /// `_HEADERS`.
    pub headers: HeaderMap,
    /// `_TIMEOUT`; `None`: no limit.
    pub timeout: Option<Duration>,
    /// `_COMPRESSION`.
    pub gzip: bool,
    /// `_CERTIFICATE`, and `_CLIENT_CERTIFICATE` with `_CLIENT_KEY`.
    pub tls: Tls,
}

/// PEM files for `https://` endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to trust in place of the operating system's.
    pub certificate: Option<PathBuf>,
    /// The client's own certificate.
    pub client_certificate: Option<PathBuf>,
    /// And its key.
    pub client_key: Option<PathBuf>,
}

impl Otlp {
    pub(super) fn read(reader: &mut Reader<'_>, signal: Signal) -> Self {
        let protocol = reader.otlp(signal, "PROTOCOL", |reader, name| {
            reader.choice(
                name,
                &[
                    ("grpc", OtlpProtocol::Grpc),
                    ("http/protobuf", OtlpProtocol::HttpProtobuf),
                    ("http/json", OtlpProtocol::HttpJson),
                ],
            )
        });
        let protocol = protocol.unwrap_or(OtlpProtocol::HttpProtobuf);
        let mut headers = reader.otlp(signal, "HEADERS", headers).unwrap_or_default();
        let mut endpoint = endpoint(reader, signal, protocol);
        if let Ok(url) = &mut endpoint {
            let user = take_user(url);
            if !headers.contains_key(AUTHORIZATION) {
                headers.extend(user.map(|user| (AUTHORIZATION, user)));
            }
        }
        // Zero means no limit, and what is not set the default.
        let timeout = reader.otlp(signal, "TIMEOUT", |reader, name| {
            reader.milliseconds(name, 0)
        });
        let timeout = timeout.unwrap_or(Duration::from_secs(10));
        let gzip = reader.otlp(signal, "COMPRESSION", |reader, name| {
            reader.choice(name, &[("gzip", true), ("none", false)])
        });
        let mut file = |what| {
            reader
                .otlp(signal, what, |reader, name| reader.get(name))
                .map(PathBuf::from)
        };
        Self {
            protocol,
            endpoint,
            headers,
            timeout: (!timeout.is_zero()).then_some(timeout),
            gzip: gzip.unwrap_or(false),
            tls: Tls {
                certificate: file("CERTIFICATE"),
                client_certificate: file("CLIENT_CERTIFICATE"),
                client_key: file("CLIENT_KEY"),
            },
        }
    }
}

fn headers(reader: &mut Reader<'_>, name: &str) -> Option<HeaderMap> {
    let list = reader.get(name)?;
    let mut headers = HeaderMap::new();
    for (index, pair) in pairs(&list).enumerate() {
        let header = pair.and_then(|(key, value)| {
            let shown = || format!("(entry {}, not shown)", index + 1);
            let key = HeaderName::from_str(&key).map_err(|_| shown())?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| shown())?;
            value.set_sensitive(true);
            Ok((key, value))
        });
        match header {
            Ok((key, value)) => drop(headers.insert(key, value)),
            Err(shown) => reader.warn_using(name, &shown, "its other entries"),
        }
    }
    Some(headers)
}

fn endpoint(
    reader: &mut Reader<'_>,
    signal: Signal,
    protocol: OtlpProtocol,
) -> Result<Url, String> {
    let grpc = protocol == OtlpProtocol::Grpc;
    let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.variable_part());
    let general = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let insecure = reader.otlp(signal, "INSECURE", Reader::switch);
    let (variable, mut text, is_base) = if let Some(text) = reader.get(&own) {
        (own.as_str(), text, false)
    } else if let Some(text) = reader.get(general) {
        (general, text, true)
    } else {
        let port = if grpc { 4317 } else { 4318 };
        (general, format!("http://localhost:{port}"), true)
    };
    if grpc && !text.contains("://") {
        // What gRPC takes for an address may have no scheme.
        let scheme = if insecure == Some(true) {
            "http"
        } else {
            "https"
        };
        text = format!("{scheme}://{text}");
    }
    let mut url = address(&text).map_err(|reason| {
        let shown = redact::text(&text);
        format!("{variable}={shown:?}: {reason}")
    })?;
    let refused = |what: &str| {
        let shown = redact::url(&url);
        Err(format!("{variable}={shown:?}: {what}"))
    };
    if url.fragment().is_some() {
        return refused("expected an address without a fragment (#)");
    }
    if grpc && (!matches!(url.path(), "" | "/") || url.query().is_some()) {
        return refused("expected an address without a path or query: gRPC has its own");
    }
    if is_base && url.query().is_some() {
        return refused(&format!(
            "expected an address without a query: {} is appended to its path; an address that is used \
             as it is goes into {own}",
            signal.http_path()
        ));
    }
    if is_base && !grpc {
        // Over HTTP the signal's own address is used as it is, the general one gets a path.
        let path = format!(
            "{}/{}",
            url.path().trim_end_matches('/'),
            signal.http_path()
        );
        url.set_path(&path);
    }
    Ok(url)
}

/// An address that this build can send to.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let expected = "expected http:// or https:// and a host";
    let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(expected.to_owned());
    }
    if url.scheme() == "https" && cfg!(not(feature = "tls")) {
        return Err("https:// needs the feature `tls` of the crate `telemetry`".to_owned());
    }
    Ok(url)
}

/// User and password out of an address, as the header that they stand for.
fn take_user(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut user: Vec<u8> = percent_decode_str(url.username()).collect();
    user.push(b':');
    user.extend(percent_decode_str(url.password().unwrap_or_default()));
    // Both fail only for addresses without a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(user))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
