//! W3C Trace Context, level 2: `traceparent` and `tracestate`.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

use super::OWS;
use crate::ids;

pub(super) const FIELDS: [&str; 2] = [TRACEPARENT, TRACESTATE];
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The last seven bytes of the trace id are random.
const RANDOM: TraceFlags = TraceFlags::new(0x02);

const MAX_MEMBERS: usize = 32;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// What the headers said about a trace that its spans cannot hold; beside them in the context.
#[derive(Debug)]
struct Received {
    trace: TraceId,
    random: bool,
    /// `tracestate` in full, and the part of it that is in the spans.
    state: Option<(String, TraceState)>,
}

impl Received {
    fn of(context: &Context, trace: TraceId) -> Option<&Self> {
        context
            .get::<Self>()
            .filter(|received| received.trace == trace)
    }
}

/// The header `traceparent` of the context's span; `None` without a valid one.
pub(crate) fn traceparent(context: &Context) -> Option<String> {
    let span = context.span();
    let span = span.span_context();
    let received = Received::of(context, span.trace_id());
    span.is_valid().then(|| text(span, received))
}

fn text(span: &SpanContext, received: Option<&Received>) -> String {
    let mut text = String::with_capacity(55);
    text.push_str("00-");
    text.push_str(ids::trace(span.trace_id()).as_str());
    text.push('-');
    text.push_str(ids::span(span.span_id()).as_str());
    text.push_str(match (span.is_sampled(), random(span, received)) {
        (false, false) => "-00",
        (true, false) => "-01",
        (false, true) => "-02",
        (true, true) => "-03",
    });
    text
}

/// The SDK's flags of a new span do not tell: it sets none where a trace begins, though its trace ids are
/// random, and takes all away from a span that is not sampled. A span context that was taken out of its
/// `Context` and put into another counts as begun here.
fn random(span: &SpanContext, received: Option<&Received>) -> bool {
    if span.is_remote() {
        return span.trace_flags() & RANDOM == RANDOM;
    }
    received.is_none_or(|received| received.random)
}

pub(super) fn inject(context: &Context, injector: &mut dyn Injector) {
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return;
    }
    let received = Received::of(context, span.trace_id());
    injector.set(TRACEPARENT, text(span, received));
    match received.and_then(|received| received.state.as_ref()) {
        // A sampler may have changed it since; then its word counts.
        Some((text, held)) if held == span.trace_state() => injector.set(TRACESTATE, text.clone()),
        _ if *span.trace_state() == TraceState::NONE => {}
        _ => injector.set(TRACESTATE, span.trace_state().header()),
    }
}

pub(super) fn extract(context: Context, extractor: &dyn Extractor) -> Context {
    let headers = extractor.get_all(TRACEPARENT);
    let Some([header]) = headers.as_deref() else {
        return context;
    };
    let Some((trace, span, flags)) = parse(header.trim_matches(OWS)) else {
        return context;
    };
    let (state, text) = match extractor.get_all(TRACESTATE) {
        Some(headers) => state(&headers),
        None => (TraceState::NONE, None),
    };
    let random = flags & RANDOM == RANDOM;
    let state_in_full = text.map(|text| (text, state.clone()));
    let span = SpanContext::new(trace, span, flags, true, state);
    let context = context.with_remote_span_context(span);
    // Only what differs from a trace that began here has to be kept: most requests pay for none of it.
    if random && state_in_full.is_none() && Received::of(&context, trace).is_none() {
        return context;
    }
    context.with_value(Received {
        trace,
        random,
        state: state_in_full,
    })
}

/// `version-trace-parent-flags`. More may follow a version above 00, after another dash.
fn parse(header: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = header.as_bytes().split_at_checked(55)?;
    let dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
    if !dashes || known.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let (mut version, mut trace, mut span, mut flags) = ([0; 1], [0; 16], [0; 8], [0; 1]);
    hex::decode_to_slice(&known[..2], &mut version).ok()?;
    hex::decode_to_slice(&known[3..35], &mut trace).ok()?;
    hex::decode_to_slice(&known[36..52], &mut span).ok()?;
    hex::decode_to_slice(&known[53..], &mut flags).ok()?;
    match version {
        [0xff] => return None,
        [0x00] if !rest.is_empty() => return None,
        _ if !rest.is_empty() && rest[0] != b'-' => return None,
        _ => {}
    }
    let (trace, span) = (TraceId::from_bytes(trace), SpanId::from_bytes(span));
    let flags = TraceFlags::new(flags[0]) & (TraceFlags::SAMPLED | RANDOM);
    (trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span, flags))
}

/// All `tracestate` headers together. The text comes along when the library's type refuses a part of it.
fn state(headers: &[&str]) -> (TraceState, Option<String>) {
    let mut members = members(headers).unwrap_or_default();
    if let Ok(state) = TraceState::from_key_value(members.iter().copied()) {
        return (state, None);
    }
    // The type checks keys by level 1: one `@`, and at most 13 characters after it.
    let all: Vec<_> = members.iter().map(|(k, v)| format!("{k}={v}")).collect();
    members.retain(|&member| TraceState::from_key_value([member]).is_ok());
    let held = TraceState::from_key_value(members).unwrap_or_default();
    (held, Some(all.join(",")))
}

/// `None` when there are too many, or one is wrong: half a state could be taken for a whole one.
fn members<'a>(headers: &[&'a str]) -> Option<Vec<(&'a str, &'a str)>> {
    let mut members = Vec::new();
    for member in headers.iter().flat_map(|header| header.split(',')) {
        let member = member.trim_matches(OWS);
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        if members.len() == MAX_MEMBERS || !is_key(key) || !is_value(value) {
            return None;
        }
        members.push((key, value));
    }
    Some(members)
}

fn is_key(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_KEY
        && text.bytes().next().is_some_and(letter)
        && text.bytes().all(|b| letter(b) || b"_-*/@".contains(&b))
}

fn is_value(text: &str) -> bool {
    (1..=MAX_VALUE).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanBuilder, Tracer, TracerProvider};
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

    use super::*;
    use crate::propagation::tests::{extract, inject, one};

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    /// What an intermediary that adds no span sends on.
    fn passed_on(traceparent: &[&str]) -> Option<String> {
        let sent: Vec<_> = traceparent.iter().map(|&v| (TRACEPARENT, v)).collect();
        one(&inject(&extract(&sent)), TRACEPARENT).map(str::to_owned)
    }

    fn state_of(tracestate: &[&str]) -> (Context, Option<String>) {
        let parent = format!("00-{TRACE}-{PARENT}-03");
        let mut sent = vec![(TRACEPARENT, parent.as_str())];
        sent.extend(tracestate.iter().map(|&value| (TRACESTATE, value)));
        let context = extract(&sent);
        let headers = inject(&context);
        assert_eq!(one(&headers, TRACEPARENT), Some(parent.as_str()));
        (context, one(&headers, TRACESTATE).map(str::to_owned))
    }

    #[test]
    fn a_parent_is_taken_as_the_specification_has_it() {
        let ids = format!("{TRACE}-{PARENT}");
        for (sent, flags) in [
            (format!("00-{ids}-00"), "00"),
            (format!("00-{ids}-01"), "01"),
            (format!("00-{ids}-02"), "02"),
            (format!("00-{ids}-03"), "03"),
            // Flags that are not known yet go.
            (format!("00-{ids}-04"), "00"),
            (format!("00-{ids}-f9"), "01"),
            (format!("00-{ids}-ff"), "03"),
            // Later versions, with and without more fields; what is sent is version 00.
            (format!("01-{ids}-01"), "01"),
            (format!("cc-{ids}-02-what-comes-later"), "02"),
            (format!("fe-{ids}-03-"), "03"),
            (format!("01-{ids}-01-É,=;\""), "01"),
            (format!("\t 00-{ids}-01 \t"), "01"),
        ] {
            let expected = format!("00-{ids}-{flags}");
            assert_eq!(passed_on(&[&sent]), Some(expected), "{sent:?}");
        }
    }

    #[test]
    fn a_wrong_parent_is_none_and_its_state_goes_with_it() {
        let usual = format!("00-{TRACE}-{PARENT}-01");
        let (zeros, upper) = ("0".repeat(32), TRACE.to_uppercase());
        for sent in [
            String::new(),
            "-".repeat(55),
            "garbage".to_owned(),
            // Versions.
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("FE-{TRACE}-{PARENT}-01"),
            format!(".0-{TRACE}-{PARENT}-01"),
            format!("0.-{TRACE}-{PARENT}-01"),
            format!("0-{TRACE}-{PARENT}-01"),
            format!("000-{TRACE}-{PARENT}-01"),
            format!("0000-{TRACE}-{PARENT}-01"),
            format!("0x-{TRACE}-{PARENT}-01"),
            format!("+0-{TRACE}-{PARENT}-01"),
            // Trace ids.
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{upper}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", &TRACE[1..]),
            format!("00-0{TRACE}-{PARENT}-01"),
            format!("00-.{}-{PARENT}-01", &TRACE[1..]),
            format!("00-{}g-{PARENT}-01", &TRACE[1..]),
            format!("00-{}é-{PARENT}-01", &TRACE[2..]),
            format!("00-{PARENT}-01"),
            // Parents.
            format!("00-{TRACE}-{}-01", &zeros[16..]),
            format!("00-{TRACE}-{}-01", PARENT.to_uppercase()),
            format!("00-{TRACE}-{}-01", &PARENT[1..]),
            format!("00-{TRACE}-0{PARENT}-01"),
            format!("00-{TRACE}-{}.-01", &PARENT[1..]),
            // Flags.
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-001"),
            format!("00-{TRACE}-{PARENT}-.0"),
            format!("00-{TRACE}-{PARENT}-0."),
            format!("00-{TRACE}-{PARENT}-0A"),
            // What follows: nothing after version 00, a dash after others.
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("00-{TRACE}-{PARENT}-01."),
            format!("cc-{TRACE}-{PARENT}-01.more"),
            format!("cc-{TRACE}-{PARENT}-011"),
            // Delimiters.
            format!("00_{TRACE}_{PARENT}_01"),
            format!("00-{TRACE} {PARENT}-01"),
            format!("\"{usual}\""),
            format!("{usual},{usual}"),
        ] {
            let context = extract(&[(TRACEPARENT, &sent), (TRACESTATE, "a=1")]);
            assert!(!context.has_active_span(), "{sent:?}");
            assert!(inject(&context).is_empty(), "{sent:?}");
        }
        // Two are none, the same or not, whatever the other is.
        for other in [usual.as_str(), "", "\u{fffd}"] {
            assert_eq!(passed_on(&[&usual, other]), None, "{other:?}");
            assert_eq!(passed_on(&[other, &usual]), None, "{other:?}");
        }
        assert!(inject(&extract(&[(TRACESTATE, "a=1")])).is_empty());
    }

    #[test]
    fn a_state_is_passed_on_in_order() {
        let symbols: String = ('!'..='~').filter(|c| !",=".contains(*c)).collect();
        let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
        let all = format!("{key}= {symbols}");
        let long = format!("{}={}", "k".repeat(MAX_KEY), "v".repeat(MAX_VALUE));
        let many: Vec<_> = (0..MAX_MEMBERS).map(|i| format!("k{i}={i}")).collect();
        let many = many.join(",");
        for (sent, expected) in [
            (&["a=1"][..], "a=1"),
            (&["a=1,b=2", "c=3", "d=4,e=5"], "a=1,b=2,c=3,d=4,e=5"),
            (&["", "a=1", " \t", "b=2", ","], "a=1,b=2"),
            (&["a=1 \t , \t b=2, \tc=3\t"], "a=1,b=2,c=3"),
            (&["a=  1  "], "a=  1"),
            (&["0=1,tenant@vendor=2"], "0=1,tenant@vendor=2"),
            (&["a=1,a=2", "a=1"], "a=1,a=2,a=1"),
            (&[&all], &all),
            (&[&long], &long),
            (&[&many], &many),
            (&[&many, "", " ,"], &many),
        ] {
            let (context, passed) = state_of(sent);
            assert_eq!(passed.as_deref(), Some(expected), "{sent:?}");
            let span = context.span();
            assert_eq!(span.span_context().trace_state().header(), expected);
            assert!(context.get::<Received>().is_none(), "{sent:?}");
        }
    }

    #[test]
    fn keys_that_the_library_refuses_are_passed_on_beside_the_span() {
        let long = format!("t@{}=1", "v".repeat(MAX_KEY - 2));
        for (sent, in_the_span) in [
            ("a=1,b@c@d=2,e=3", "a=1,e=3"),
            ("a@@b=1", ""),
            ("a@longer-than-14-characters=1,b=2", "b=2"),
            ("a@-b=1", ""),
            (&long, ""),
        ] {
            let (context, passed) = state_of(&[sent]);
            assert_eq!(passed.as_deref(), Some(sent));
            let span = context.span();
            let state = span.span_context().trace_state();
            assert_eq!(state.header(), in_the_span, "{sent}");
        }
    }

    #[test]
    fn a_state_with_a_wrong_member_is_none_and_its_parent_stays() {
        let (key, value) = ("k".repeat(MAX_KEY + 1), "v".repeat(MAX_VALUE + 1));
        let many: Vec<_> = (0..=MAX_MEMBERS).map(|i| format!("k{i}={i}")).collect();
        for wrong in [
            "b",
            "=2",
            "b=",
            "b= ",
            "b=2=3",
            "b =2",
            "B=2",
            "b.c=2",
            "@b=2",
            "_b=2",
            "é=2",
            "b=é",
            "b=\t2",
            &format!("{key}=2"),
            &format!("b={value}"),
            &many.join(","),
        ] {
            for sent in [&["a=1", wrong][..], &[wrong, "a=1"]] {
                let (context, passed) = state_of(sent);
                assert_eq!(passed, None, "{sent:?}");
                assert_eq!(
                    *context.span().span_context().trace_state(),
                    TraceState::NONE
                );
            }
        }
    }

    fn tracer(sampler: Sampler) -> opentelemetry_sdk::trace::SdkTracer {
        let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
        provider.tracer("test")
    }

    fn child(tracer: &opentelemetry_sdk::trace::SdkTracer, parent: &Context) -> Context {
        let builder = SpanBuilder::from_name("child");
        parent.with_span(tracer.build_with_context(builder, parent))
    }

    #[test]
    fn spans_below_keep_the_trace_its_random_flag_and_its_state() {
        let state = "a=1,b@c@d=2";
        for (sampler, sampled) in [(Sampler::AlwaysOn, 1), (Sampler::AlwaysOff, 0)] {
            let tracer = tracer(sampler);
            for random in [0, 2] {
                // The sampler has its own mind, whether the parent is sampled or not.
                for sent in [random, random | 1] {
                    let sent = format!("00-{TRACE}-{PARENT}-0{sent}");
                    let parent = extract(&[(TRACEPARENT, &sent), (TRACESTATE, state)]);
                    let mut context = parent;
                    for _ in 0..2 {
                        context = child(&tracer, &context);
                        let id = context.span().span_context().span_id();
                        let expected = format!("00-{TRACE}-{id}-0{}", random | sampled);
                        let headers = inject(&context);
                        assert_eq!(one(&headers, TRACEPARENT), Some(expected.as_str()));
                        assert_eq!(traceparent(&context), Some(expected));
                        assert_eq!(one(&headers, TRACESTATE), Some(state));
                    }
                }
            }
        }
    }

    #[test]
    fn a_trace_that_begins_here_is_random() {
        // Also below a context that once carried another trace, which was not.
        let other = extract(&[(TRACEPARENT, &format!("00-{TRACE}-{PARENT}-01"))]);
        let other = other.with_remote_span_context(SpanContext::NONE);
        assert!(other.get::<Received>().is_some());
        for (sampler, flags) in [(Sampler::AlwaysOn, "03"), (Sampler::AlwaysOff, "02")] {
            let tracer = tracer(sampler);
            for parent in [&Context::new(), &other] {
                let context = child(&tracer, parent);
                let id = context.span().span_context().trace_id();
                assert_ne!(id.to_string(), TRACE);
                let header = traceparent(&context).unwrap();
                assert!(header.starts_with(&format!("00-{id}-")), "{header}");
                assert!(header.ends_with(flags), "{header} {flags}");
            }
        }
        assert!(inject(&Context::new()).is_empty());
    }

    #[test]
    fn a_parent_read_later_replaces_what_was_kept_of_the_first() {
        let tracer = tracer(Sampler::AlwaysOn);
        let (first, later) = (
            extract(&[
                (TRACEPARENT, &format!("00-{TRACE}-{PARENT}-00")),
                (TRACESTATE, "b@c@d=2"),
            ]),
            std::collections::HashMap::from([(
                TRACEPARENT.to_owned(),
                format!("00-{TRACE}-{PARENT}-02"),
            )]),
        );
        let headers = inject(&child(&tracer, &super::extract(first, &later)));
        assert!(one(&headers, TRACEPARENT).unwrap().ends_with("-03"));
        assert_eq!(one(&headers, TRACESTATE), None);
    }

    #[test]
    fn a_state_that_was_changed_here_is_sent_as_changed() {
        let (context, _) = state_of(&["a=1,b@c@d=2"]);
        let span = context.span().span_context().clone();
        let changed = span.trace_state().insert("mine", "3").unwrap();
        let span = SpanContext::new(
            span.trace_id(),
            span.span_id(),
            span.trace_flags(),
            true,
            changed,
        );
        let headers = inject(&context.with_remote_span_context(span));
        assert_eq!(one(&headers, TRACESTATE), Some("mine=3,a=1"));
    }
}
