//! HTTP spans and durations, made with the OpenTelemetry API directly: a span through the
//! `tracing` layer costs more than twice as much.

mod client;
mod server;

pub use client::Client;
pub use server::{ServerLayer, ServerService};

use std::borrow::Cow;

use http::Method;

/// The semantic conventions know nine methods; anything else is `_OTHER`, so that a caller cannot
/// make label values.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

fn protocol_version(version: http::Version) -> Option<&'static str> {
    match version {
        http::Version::HTTP_10 => Some("1.0"),
        http::Version::HTTP_11 => Some("1.1"),
        http::Version::HTTP_2 => Some("2"),
        http::Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

/// Text from a caller, cut so that one request cannot fill a batch.
const LONGEST_ATTRIBUTE: usize = 1024;

fn bounded(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_ATTRIBUTE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `error.type` of a request that was given up before its answer.
const CANCELLED: &str = "cancelled";

/// Server errors that HTTP servers and proxies answer with when something fails, rather than when they refuse: their
/// series exist before the first one. A rate knows nothing of a series' first value.
const KNOWN_ERRORS: [u16; 4] = [500, 502, 503, 504];

/// `error.type` of a status code.
fn status_text(status: u16) -> Cow<'static, str> {
    match status {
        500 => "500".into(),
        502 => "502".into(),
        503 => "503".into(),
        504 => "504".into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "é".repeat(LONGEST_ATTRIBUTE);
        let cut = bounded(&text);
        assert_eq!(cut.len(), LONGEST_ATTRIBUTE);
        assert!(cut.chars().all(|c| c == 'é'));
        assert_eq!(bounded("short"), "short");
    }

    #[test]
    fn a_made_up_method_is_other() {
        assert_eq!(
            known_method(&Method::from_bytes(b"BREW").unwrap()),
            "_OTHER"
        );
        assert_eq!(known_method(&Method::PATCH), "PATCH");
    }
}
