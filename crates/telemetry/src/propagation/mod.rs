//! What goes from process to process in headers: W3C Trace Context and Baggage, read strictly.
//!
//! The SDK's propagators read the first header of a name only, take ids of any length, and refuse whole lists for
//! what the specifications allow.

mod baggage;
mod trace_context;

pub(crate) use trace_context::traceparent;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};

use crate::settings::Propagator;

/// Optional white space of HTTP: what may surround a value, a member of a list, and some delimiters.
const OWS: [char; 2] = [' ', '\t'];

/// The header formats in use, shared by every layer.
#[derive(Debug, Clone)]
pub(crate) struct Propagation {
    formats: Arc<[Propagator]>,
    fields: Arc<[String]>,
}

impl Propagation {
    pub(crate) fn new(formats: &[Propagator]) -> Self {
        let fields = formats.iter().flat_map(|format| match format {
            Propagator::TraceContext => &trace_context::FIELDS[..],
            Propagator::Baggage => &baggage::FIELDS[..],
        });
        Self {
            formats: formats.into(),
            fields: fields.map(|&field| field.to_owned()).collect(),
        }
    }
}

impl TextMapPropagator for Propagation {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        for format in self.formats.iter() {
            match format {
                Propagator::TraceContext => trace_context::inject(context, injector),
                Propagator::Baggage => baggage::inject(context, injector),
            }
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        self.formats
            .iter()
            .fold(context.clone(), |context, format| match format {
                Propagator::TraceContext => trace_context::extract(context, extractor),
                Propagator::Baggage => baggage::extract(context, extractor),
            })
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// The headers of a request, each with all of its values.
#[derive(Debug)]
pub(crate) struct Headers<'a>(pub(crate) &'a HeaderMap);

impl Headers<'_> {
    /// A value that is no text is wrong in every format. It is not skipped: two `traceparent` are wrong, too,
    /// whatever one of them holds.
    fn text(value: &HeaderValue) -> &str {
        str::from_utf8(value.as_bytes()).unwrap_or("\u{fffd}")
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Self::text)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }

    fn get_all(&self, name: &str) -> Option<Vec<&str>> {
        let values: Vec<_> = self.0.get_all(name).iter().map(Self::text).collect();
        (!values.is_empty()).then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::baggage::BaggageExt;
    use opentelemetry::trace::TraceContextExt;
    use opentelemetry_http::HeaderInjector;

    use super::*;

    pub(super) type Sent<'a> = &'a [(&'static str, &'a str)];

    pub(super) fn extract(sent: Sent<'_>) -> Context {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        both().extract_with_context(&Context::new(), &Headers(&headers))
    }

    /// The headers of a request made in this context.
    pub(super) fn inject(context: &Context) -> HeaderMap {
        let mut headers = HeaderMap::new();
        both().inject_context(context, &mut HeaderInjector(&mut headers));
        headers
    }

    /// The one value of a header, if it is there.
    pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let mut values = headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert_eq!(values.next(), None);
        value
    }

    fn both() -> Propagation {
        Propagation::new(&[Propagator::TraceContext, Propagator::Baggage])
    }

    #[test]
    fn only_the_formats_in_use_are_read_and_written() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
        let sent = [
            ("traceparent", parent),
            ("tracestate", "a=1"),
            ("baggage", "b=2"),
        ];
        let sent: HashMap<_, _> = sent
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let everything = both().extract_with_context(&Context::new(), &sent);
        for (formats, fields) in [
            (&[][..], &[][..]),
            (&[Propagator::Baggage], &["baggage"]),
            (&[Propagator::TraceContext], &["traceparent", "tracestate"]),
        ] {
            let propagation = Propagation::new(formats);
            assert_eq!(propagation.fields().collect::<Vec<_>>(), fields);
            let read = propagation.extract_with_context(&Context::new(), &sent);
            assert_eq!(read.has_active_span(), fields.contains(&"traceparent"));
            assert_eq!(read.baggage().is_empty(), !fields.contains(&"baggage"));
            let mut written = HashMap::new();
            propagation.inject_context(&everything, &mut written);
            let mut names: Vec<_> = written.keys().collect();
            names.sort_unstable();
            assert_eq!(names, fields);
        }
    }

    #[test]
    fn a_value_that_is_no_text_is_there_and_wrong() {
        let mut headers = HeaderMap::new();
        headers.append("baggage", HeaderValue::from_bytes(b"a=\xff").unwrap());
        headers.append("baggage", HeaderValue::from_static("b=1"));
        let headers = Headers(&headers);
        assert_eq!(headers.get("Baggage"), Some("\u{fffd}"));
        assert_eq!(headers.get_all("baggage"), Some(vec!["\u{fffd}", "b=1"]));
        assert_eq!(headers.get_all("tracestate"), None);
        assert_eq!(headers.keys(), ["baggage"]);
        let context = both().extract_with_context(&Context::new(), &headers);
        assert_eq!(one(&inject(&context), "baggage"), Some("b=1"));
    }
}
