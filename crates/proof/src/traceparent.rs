//! The `traceparent` header of W3C Trace Context, as far as a caller needs it.

use std::fmt;
use std::str::FromStr;

use rand::Rng as _;

/// A trace id: 32 hex digits, not all zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(String);

/// Why a text is no trace id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{given}` is not a trace id: expected 32 hex digits, not all zero")]
pub struct BadTraceId {
    given: String,
}

impl TraceId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn random() -> Self {
        let id: u128 = rand::rng().random_range(1..=u128::MAX);
        Self(format!("{id:032x}"))
    }

    /// Some backends strip leading zeros from ids in exemplars and search results.
    pub(crate) fn padded(text: &str) -> Option<Self> {
        (!text.is_empty())
            .then(|| format!("{text:0>32}").parse().ok())
            .flatten()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TraceId {
    type Err = BadTraceId;

    fn from_str(text: &str) -> Result<Self, BadTraceId> {
        let id = text.trim().to_ascii_lowercase();
        if is_hex_id(&id, 32) {
            Ok(Self(id))
        } else {
            Err(BadTraceId {
                given: text.chars().take(80).collect(),
            })
        }
    }
}

/// A `traceparent` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traceparent {
    pub trace: TraceId,
    /// The span that the sender was in: 16 hex digits.
    pub span: String,
    pub sampled: bool,
}

impl Traceparent {
    /// A new sampled trace, as a caller that traces itself would send it.
    #[must_use]
    pub fn random() -> Self {
        let span: u64 = rand::rng().random_range(1..=u64::MAX);
        Self {
            trace: TraceId::random(),
            span: format!("{span:016x}"),
            sampled: true,
        }
    }

    /// Reads a header. `None` for anything that the specification calls invalid.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut fields = header.trim().split('-');
        let (version, trace, span, flags) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let lower = !header.bytes().any(|byte| byte.is_ascii_uppercase());
        let hex = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fields.next().is_some()
            || !lower
            || version != "00"
            || !is_hex_id(span, 16)
            || !hex(flags)
        {
            return None;
        }
        Some(Self {
            trace: is_hex_id(trace, 32).then(|| TraceId(trace.to_owned()))?,
            span: span.to_owned(),
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        })
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        )
    }
}

/// `digits` hex digits, not all zero.
fn is_hex_id(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_reads_back() {
        let sent = Traceparent::random();
        assert_eq!(Traceparent::parse(&sent.to_string()), Some(sent));
    }

    #[test]
    fn broken_headers_are_none() {
        for header in [
            "",
            "garbage",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        ] {
            assert_eq!(Traceparent::parse(header), None, "{header}");
        }
    }

    #[test]
    fn trace_ids_are_32_hex_digits() {
        assert!(
            "4BF92F3577B34DA6A3CE929D0E0E4736"
                .parse::<TraceId>()
                .is_ok()
        );
        let bad = "xyz".parse::<TraceId>().expect_err("not an id");
        assert_eq!(
            bad.to_string(),
            "`xyz` is not a trace id: expected 32 hex digits, not all zero"
        );
        assert!("0".repeat(32).parse::<TraceId>().is_err());
        assert_eq!(
            TraceId::padded("bf92").map(|id| id.to_string()),
            Some(format!("{:0>32}", "bf92"))
        );
        assert_eq!(TraceId::padded(""), None);
    }
}
