//! OTLP without the SDK's batch processors: what ends is encoded at once into a buffer that is
//! bounded in bytes, and a thread of its own sends it.

mod encode;
mod log_layer;
mod queue;
mod sender;
mod target;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

pub(crate) use log_layer::LogLayer;
pub(crate) use queue::Counts;
use queue::Queue;
pub(crate) use target::Target;
#[cfg(test)]
pub(crate) use tests::anywhere;

thread_local! {
    /// Where one span is encoded before it is copied into the queue: the lock is then held for a
    /// copy only.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Encodes spans as they end.
#[derive(Debug)]
pub(crate) struct SpanPipe(Pipe);

/// Encodes log records as they are written.
#[derive(Debug)]
pub(crate) struct LogPipe(Pipe);

impl SpanPipe {
    pub(crate) fn new(target: Target) -> Self {
        Self(Pipe::new(target))
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.0.queue.counts()
    }
}

impl LogPipe {
    pub(crate) fn new(target: Target) -> Self {
        Self(Pipe::new(target))
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.0.queue.counts()
    }

    /// The short way in, for events of `tracing`.
    pub(crate) fn layer(&self) -> LogLayer {
        LogLayer::new(self.0.queue.clone())
    }
}

#[derive(Debug)]
struct Pipe {
    queue: Arc<Queue>,
    /// Taken by the thread once the resource is known.
    target: Mutex<Option<Target>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Pipe {
    fn new(target: Target) -> Self {
        let queue = Arc::new(Queue::new(target.limits));
        Self {
            queue,
            target: Mutex::new(Some(target)),
            thread: Mutex::new(None),
        }
    }

    fn push(&self, scope: &InstrumentationScope, name: &str, encode: impl FnOnce(&mut Vec<u8>)) {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            encode(scratch);
            self.queue.push(scope, name, scratch);
        });
    }

    fn start(&self, resource: &Resource) {
        let Some(target) = lock(&self.target).take() else {
            return;
        };
        let mut head = Vec::new();
        encode::resource(&mut head, resource);
        let mut tail = Vec::new();
        encode::schema_url(&mut tail, resource.schema_url());
        let queue = self.queue.clone();
        let name = target.signal.thread();
        let run = move || sender::run(&target, &queue, &head, &tail);
        match std::thread::Builder::new().name(name.to_owned()).spawn(run) {
            Ok(thread) => *lock(&self.thread) = Some(thread),
            Err(error) => {
                self.queue.close();
                tracing::error!(%error, "no thread for the OTLP exporter: nothing is exported");
            }
        }
    }

    fn flush(&self, timeout: Duration) -> OTelSdkResult {
        if self.queue.flush(timeout) {
            Ok(())
        } else {
            Err(OTelSdkError::Timeout(timeout))
        }
    }

    fn shutdown(&self, timeout: Duration) -> OTelSdkResult {
        self.queue.flush(timeout);
        let counts = self.queue.counts();
        let dropped_before = counts.dropped();
        self.queue.close();
        if let Some(thread) = lock(&self.thread).take() {
            // It ends at once: closed, it waits for no answer. Then the counts are final.
            let _ = thread.join();
        }
        match (counts.dropped() - dropped_before, counts.unanswered()) {
            (0, 0) => Ok(()),
            (dropped, unanswered) => Err(OTelSdkError::InternalFailure(format!(
                "{dropped} could not be sent, {unanswered} were sent without an answer"
            ))),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SpanProcessor for SpanPipe {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            let scope = &span.instrumentation_scope;
            self.0
                .push(scope, scope.name(), |out| encode::span(out, &span));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.flush(Duration::from_secs(5))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.start(resource);
    }
}

impl LogProcessor for LogPipe {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        // As the SDK has it, the target of an event is its scope.
        let record = &*record;
        let name = record.target().map_or(scope.name(), AsRef::as_ref);
        self.0
            .push(scope, name, |out| encode::log_record(out, record));
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.flush(Duration::from_secs(5))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.start(resource);
    }
}
