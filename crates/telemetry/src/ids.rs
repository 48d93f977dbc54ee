//! Ids as text, without the formatting machinery: it is asked for several times a request.

use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceId};

/// Lower-case hexadecimal digits, two for each byte.
#[derive(Clone, Copy)]
pub(crate) struct Hex<const DIGITS: usize>([u8; DIGITS]);

impl<const DIGITS: usize> Hex<DIGITS> {
    fn of(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; DIGITS];
        // The lengths agree, see the two callers.
        let _ = hex::encode_to_slice(bytes, &mut digits);
        Self(digits)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const DIGITS: usize> fmt::Display for Hex<DIGITS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(crate) fn trace(id: TraceId) -> Hex<32> {
    Hex::of(&id.to_bytes())
}

pub(crate) fn span(id: SpanId) -> Hex<16> {
    Hex::of(&id.to_bytes())
}

/// The value of the W3C header `traceparent`.
pub(crate) fn traceparent(span: &SpanContext) -> String {
    let mut text = String::with_capacity(55);
    text.push_str("00-");
    text.push_str(trace(span.trace_id()).as_str());
    text.push('-');
    text.push_str(self::span(span.span_id()).as_str());
    text.push_str(if span.is_sampled() { "-01" } else { "-00" });
    text
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceFlags, TraceState};

    use super::*;

    #[test]
    fn ids_have_all_their_digits() {
        let (id, small) = (TraceId::from(0xabc_u128), SpanId::from(u64::MAX));
        assert_eq!(trace(id).as_str(), id.to_string());
        assert_eq!(span(small).to_string(), small.to_string());
        for (flags, ending) in [(TraceFlags::SAMPLED, "01"), (TraceFlags::default(), "00")] {
            let context = SpanContext::new(id, small, flags, true, TraceState::default());
            assert_eq!(traceparent(&context), format!("00-{id}-{small}-{ending}"));
        }
    }
}
