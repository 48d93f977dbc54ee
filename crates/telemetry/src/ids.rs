//! Ids as text, without the formatting machinery: it is asked for several times a request.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceId, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;

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

/// The SDK's propagator, but for the writing.
#[derive(Debug, Default)]
pub(crate) struct TraceContext(TraceContextPropagator);

impl TextMapPropagator for TraceContext {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() {
            return;
        }
        injector.set("traceparent", traceparent(span));
        if *span.trace_state() != TraceState::NONE {
            injector.set("tracestate", span.trace_state().header());
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        self.0.extract_with_context(context, extractor)
    }

    fn fields(&self) -> FieldIter<'_> {
        self.0.fields()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::trace::TraceFlags;

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

    #[test]
    fn what_is_injected_is_what_the_sdk_injects() {
        for state in ["", "a=1,b=2"] {
            for flags in [TraceFlags::SAMPLED, TraceFlags::default()] {
                let (trace, span) = (TraceId::from(0xabc_u128), SpanId::from(0xdef_u64));
                let state = state.parse().unwrap();
                let span = SpanContext::new(trace, span, flags, false, state);
                let context = Context::new().with_remote_span_context(span);
                let (mut ours, mut theirs) = (HashMap::new(), HashMap::new());
                TraceContext::default().inject_context(&context, &mut ours);
                TraceContextPropagator::new().inject_context(&context, &mut theirs);
                theirs.retain(|_, value| !value.is_empty());
                assert_eq!(ours, theirs);
            }
        }
        let mut nothing = HashMap::new();
        TraceContext::default().inject_context(&Context::new(), &mut nothing);
        assert!(nothing.is_empty());
    }
}
