//! Ids as text, without the formatting machinery: it is asked for several times a request.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
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

/// A `traceparent` as this version of it is nearly always written; anything else is `None`, wrong or not.
fn usual(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (head, flags) = text.as_bytes().split_at_checked(53)?;
    let flags = match flags {
        b"01" => TraceFlags::SAMPLED,
        b"00" => TraceFlags::NOT_SAMPLED,
        _ => return None,
    };
    let (trace, span) = head.strip_prefix(b"00-")?.split_at_checked(33)?;
    let (trace, span) = (trace.strip_suffix(b"-")?, span.strip_suffix(b"-")?);
    if head.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
    hex::decode_to_slice(trace, &mut trace_id).ok()?;
    hex::decode_to_slice(span, &mut span_id).ok()?;
    Some((
        TraceId::from_bytes(trace_id),
        SpanId::from_bytes(span_id),
        flags,
    ))
}

/// The SDK's propagator, but for what is read and written with every request.
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
        match (
            extractor.get("traceparent").and_then(usual),
            extractor.get("tracestate"),
        ) {
            (Some((trace, span, flags)), None) => {
                let span = SpanContext::new(trace, span, flags, true, TraceState::NONE);
                if span.is_valid() {
                    context.with_remote_span_context(span)
                } else {
                    context.clone()
                }
            }
            // Who writes it otherwise, and what is wrong with it, is the SDK's to say.
            _ => self.0.extract_with_context(context, extractor),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        self.0.fields()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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
    fn what_is_extracted_is_what_the_sdk_extracts() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let zeros = "0".repeat(32);
        let headers = [
            format!("00-{trace}-{span}-01"),
            format!("00-{trace}-{span}-00"),
            format!("00-{trace}-{span}-02"),
            format!("00-{trace}-{span}-03"),
            format!("00-{trace}-{span}-ff"),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}-{span}-01-more"),
            format!("01-{trace}-{span}-01"),
            format!("01-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!(" 00-{trace}-{span}-01 "),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{}-01", span.to_uppercase()),
            format!("00-{zeros}-{span}-01"),
            format!("00-{trace}-{}-01", &zeros[16..]),
            format!("00-{}g-{span}-01", &trace[1..]),
            format!("00_{trace}_{span}_01"),
            format!("00-{}é-{span}-01", &trace[2..]),
            format!("00-{trace}-{span}"),
            "-".repeat(55),
            String::new(),
        ];
        for header in headers {
            for state in [None, Some("a=1,b=2"), Some("")] {
                let mut carrier = HashMap::from([("traceparent".to_owned(), header.clone())]);
                carrier.extend(state.map(|state| ("tracestate".to_owned(), state.to_owned())));
                let ours = TraceContext::default().extract(&carrier);
                let theirs = TraceContextPropagator::new().extract(&carrier);
                assert_eq!(
                    ours.span().span_context(),
                    theirs.span().span_context(),
                    "{header:?} {state:?}"
                );
                assert_eq!(
                    ours.has_active_span(),
                    theirs.has_active_span(),
                    "{header:?}"
                );
            }
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
