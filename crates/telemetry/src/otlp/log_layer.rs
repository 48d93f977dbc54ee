//! Log records without a record: the fields of an event are written as OTLP while they are
//! visited. What comes out is what `opentelemetry-appender-tracing` and the SDK would send.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::logs::Severity;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, InstrumentationScope};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::layer::{self, Layer};

use super::SCRATCH;
use super::encode;
use super::queue::Queue;

/// Puts each event into the queue of log records.
#[derive(Debug, Clone)]
pub(crate) struct LogLayer {
    queue: Arc<Queue>,
    /// Without a name: an event's target stands in its place.
    scope: InstrumentationScope,
}

impl LogLayer {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self {
            queue,
            scope: InstrumentationScope::default(),
        }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        if Context::is_current_telemetry_suppressed() {
            return;
        }
        // Taken, not borrowed: what a field shows may itself log something.
        let mut item = SCRATCH.take();
        item.clear();
        record(&mut item, event);
        let through_log = event.normalized_metadata();
        let metadata = through_log.as_ref().unwrap_or_else(|| event.metadata());
        self.queue.push(&self.scope, metadata.target(), &item);
        SCRATCH.set(item);
    }
}

/// One element of `ScopeLogs.log_records`.
fn record(out: &mut Vec<u8>, event: &Event<'_>) {
    let metadata = event.metadata();
    encode::message(out, encode::ITEMS, |out| {
        encode::uint(out, 2, severity(*metadata.level()) as u64);
        encode::string(out, 3, metadata.level().as_str());
        event.record(&mut Fields(out));
        Context::map_current(|context| {
            if !context.has_active_span() {
                return;
            }
            let span = context.span();
            let span = span.span_context();
            encode::fixed32(out, 8, span.trace_flags().to_u8().into());
            encode::always_bytes(out, 9, &span.trace_id().to_bytes());
            encode::always_bytes(out, 10, &span.span_id().to_bytes());
        });
        encode::fixed64(out, 11, encode::nanoseconds(SystemTime::now()));
        encode::string(out, 12, metadata.name());
    });
}

const fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::Trace,
        Level::DEBUG => Severity::Debug,
        Level::INFO => Severity::Info,
        Level::WARN => Severity::Warn,
        Level::ERROR => Severity::Error,
    }
}

struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    /// The body when it is the message, else an attribute.
    fn text(&mut self, field: &Field, write: impl FnOnce(&mut Vec<u8>)) {
        let value = |out: &mut Vec<u8>| encode::message(out, 1, write);
        if field.name() == "message" {
            encode::message(self.0, 5, value);
        } else {
            attribute(self.0, field.name(), value);
        }
    }
}

fn attribute(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    encode::message(out, 6, |out| {
        encode::string(out, 1, name);
        encode::message(out, 2, value);
    });
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a vector cannot fail; a faulty Debug leaves its text cut.
        self.text(field, |out| drop(write!(out, "{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, |out| out.extend_from_slice(value.as_bytes()));
    }

    fn record_error(&mut self, _: &Field, value: &(dyn Error + 'static)) {
        attribute(self.0, "exception.message", |out| {
            encode::message(out, 1, |out| drop(write!(out, "{value}")));
        });
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        attribute(self.0, field.name(), |out| {
            encode::always_bytes(out, 7, value);
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        attribute(self.0, field.name(), |out| encode::bool_value(out, value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        attribute(self.0, field.name(), |out| encode::double_value(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        attribute(self.0, field.name(), |out| encode::int_value(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.record_debug(field, &value),
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.record_debug(field, &value),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.record_debug(field, &value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::ScopeLogs;
    use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLoggerProvider};
    use prost::Message;
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::queue::{Batch, Limits};
    use super::*;
    use crate::log_crate::OwnTarget;

    const LIMITS: Limits = Limits {
        batch_items: 100,
        request_items: 100,
        batch_bytes: 1 << 20,
        queue_items: 100,
        queue_bytes: 1 << 20,
        delay: Duration::ZERO,
    };

    /// The way round that this layer saves: bridge, record, encoder.
    #[derive(Debug, Default, Clone)]
    struct Reference(Arc<Mutex<Batch>>);

    impl LogProcessor for Reference {
        fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
            let mut item = Vec::new();
            encode::log_record(&mut item, record);
            let name = record.target().map_or(scope.name(), AsRef::as_ref);
            self.0.lock().unwrap().push(scope, name, &item);
        }

        fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> opentelemetry_sdk::error::OTelSdkResult {
            Ok(())
        }
    }

    fn decoded(batch: Batch) -> Vec<ScopeLogs> {
        let body = batch.encode(&[], &[]).joined();
        let request = ExportLogsServiceRequest::decode(body.clone()).unwrap();
        assert_eq!(request.encode_to_vec(), body, "no padding, nothing twice");
        let mut scopes = request.resource_logs[0].scope_logs.clone();
        for record in scopes.iter_mut().flat_map(|scope| &mut scope.log_records) {
            assert!(record.observed_time_unix_nano > 0);
            record.observed_time_unix_nano = 0;
        }
        scopes
    }

    fn log() {
        let error = std::io::Error::other("it broke");
        let long = "é".repeat(300);
        tracing::info!(
            target: "access", { http.route = "/users", empty = "", duration = 0.25, zero = 0, no = false },
            "GET {} {}", "/users", 200
        );
        tracing::warn!(
            big = u64::MAX,
            small = i64::MIN,
            wide = i128::MAX,
            fits = 7_u128,
            long,
            "as it is"
        );
        tracing::error!(error = &error as &dyn Error, listed = ?[1, 2], shown = %"text");
        tracing::debug!("");
        through_log();
    }

    /// As a library that uses the crate `log` writes it.
    fn through_log() {
        use tracing_log::log::{Level, Record};
        let mut record = Record::builder();
        let record = record
            .target("library::part")
            .level(Level::Warn)
            .line(Some(7));
        let _ = tracing_log::format_trace(&record.args(format_args!("it is old")).build());
    }

    #[test]
    fn an_event_is_what_bridge_and_sdk_make_of_it() {
        let queue = Arc::new(Queue::new(LIMITS));
        let reference = Reference::default();
        let provider = SdkLoggerProvider::builder()
            .with_log_processor(OwnTarget)
            .with_log_processor(reference.clone())
            .build();
        let subscriber = tracing_subscriber::registry()
            .with(LogLayer::new(queue.clone()))
            .with(OpenTelemetryTracingBridge::new(&provider));
        let span = SpanContext::new(
            TraceId::from(0xabc_u128),
            SpanId::from(0xdef_u64),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        );
        tracing::subscriber::with_default(subscriber, || {
            log();
            let _entered = Context::new().with_remote_span_context(span).attach();
            log();
            let _quiet = Context::enter_telemetry_suppressed_scope();
            log();
        });
        let ours = decoded(queue.next().unwrap());
        let theirs = decoded(std::mem::take(&mut *reference.0.lock().unwrap()));
        assert_eq!(
            ours.iter().map(|s| s.log_records.len()).sum::<usize>(),
            2 * 5
        );
        let scope = |s: &ScopeLogs| s.scope.as_ref().unwrap().name.clone();
        assert!(ours.iter().any(|s| scope(s) == "library::part"), "{ours:?}");
        assert_eq!(ours, theirs);
    }
}
