//! `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, which the SDK does not have.

use std::time::Duration;

use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// Cuts the text in attributes of a span, its events and links before the processor gets it.
#[derive(Debug)]
pub(crate) struct Cut<P> {
    pub(crate) processor: P,
    /// In characters; `None`: nothing is cut.
    pub(crate) limit: Option<u32>,
}

impl<P: SpanProcessor> SpanProcessor for Cut<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        if let Some(limit) = self.limit {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let events = span.events.events.iter_mut().map(|e| &mut e.attributes);
            let links = span.links.links.iter_mut().map(|l| &mut l.attributes);
            for attributes in events.chain(links).chain([&mut span.attributes]) {
                attributes.iter_mut().for_each(|kv| cut(kv, limit));
            }
        }
        self.processor.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

fn cut(attribute: &mut KeyValue, limit: usize) {
    match &mut attribute.value {
        Value::String(text) => cut_text(text, limit),
        Value::Array(Array::String(texts)) => {
            texts.iter_mut().for_each(|text| cut_text(text, limit));
        }
        _ => {}
    }
}

fn cut_text(text: &mut StringValue, limit: usize) {
    if let Some((end, _)) = text.as_str().char_indices().nth(limit) {
        *text = text.as_str()[..end].to_owned().into();
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, TraceFlags, TraceId, Tracer, TracerProvider,
    };
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor};

    use super::*;

    fn attributes() -> Vec<KeyValue> {
        let texts = vec!["ééé".into(), "é".into()];
        vec![
            KeyValue::new("text", "ééé"),
            KeyValue::new("texts", Value::Array(Array::String(texts))),
            KeyValue::new("number", 12_345),
        ]
    }

    fn ended(limit: Option<u32>) -> SpanData {
        let exporter = InMemorySpanExporter::default();
        let processor = SimpleSpanProcessor::new(exporter.clone());
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Cut { processor, limit })
            .build();
        let builder = SpanBuilder::from_name("a name is no attribute");
        let mut span = provider
            .tracer("test")
            .build(builder.with_attributes(attributes()));
        span.add_event("event", attributes());
        let other = (TraceId::from(1_u128), SpanId::from(2_u64));
        let other = SpanContext::new(
            other.0,
            other.1,
            TraceFlags::SAMPLED,
            true,
            "".parse().unwrap(),
        );
        span.add_link(other, attributes());
        span.end();
        exporter.get_finished_spans().unwrap().remove(0)
    }

    #[test]
    fn text_is_cut_in_every_attribute_and_nothing_else() {
        let texts = |a: &str, b: &str| {
            Value::Array(Array::String(vec![
                a.to_owned().into(),
                b.to_owned().into(),
            ]))
        };
        for (limit, text, list) in [
            (None, "ééé", texts("ééé", "é")),
            (Some(3), "ééé", texts("ééé", "é")),
            (Some(2), "éé", texts("éé", "é")),
            (Some(0), "", texts("", "")),
            (Some(u32::MAX), "ééé", texts("ééé", "é")),
        ] {
            let span = ended(limit);
            let expected = [
                KeyValue::new("text", text),
                KeyValue::new("texts", list),
                KeyValue::new("number", 12_345),
            ];
            assert_eq!(span.attributes, expected, "{limit:?}");
            assert_eq!(span.events[0].attributes, expected, "{limit:?}");
            assert_eq!(span.links[0].attributes, expected, "{limit:?}");
            assert_eq!(span.name, "a name is no attribute");
        }
    }
}
