//! Ids as text, without the formatting machinery: it is asked for several times a request.

use std::fmt;

use opentelemetry::trace::{SpanId, TraceId};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_all_their_digits() {
        let (id, small) = (TraceId::from(0xabc_u128), SpanId::from(u64::MAX));
        assert_eq!(trace(id).as_str(), id.to_string());
        assert_eq!(span(small).to_string(), small.to_string());
    }
}
