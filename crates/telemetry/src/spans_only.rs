//! Events are log records already; as events of spans they would be told twice.

use std::any::TypeId;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The layer inside, but for events.
///
/// Not a filter that refuses events: layers that disagree on a place in the code are all asked again for each
/// event there, and `filter_fn` also takes away the level above which nothing is asked at all, so that
/// every `log::trace!` of a library goes through all filters. Together a tenth of what telemetry costs.
#[derive(Debug)]
pub(crate) struct SpansOnly<L>(pub(crate) L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for SpansOnly<L> {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {}

    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.0.on_register_dispatch(dispatch);
    }

    fn on_layer(&mut self, subscriber: &mut S) {
        self.0.on_layer(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.0.enabled(metadata, context)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        self.0.on_follows_from(id, follows, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }

    fn on_id_change(&self, old: &Id, new: &Id, context: Context<'_, S>) {
        self.0.on_id_change(old, new, context);
    }

    /// By this, `set_parent` and `context` of a `tracing::Span` find the layer inside.
    #[expect(
        unsafe_code,
        reason = "part of the trait; the layer inside keeps the promise it asks for"
    )]
    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<Self>() {
            return Some(std::ptr::from_ref(self).cast());
        }
        // SAFETY: what it gives points into `self.0`, and lives as long as `self`.
        unsafe { self.0.downcast_raw(id) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use opentelemetry::trace::{TraceContextExt, TraceId, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::level_filters::LevelFilter;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Default, Clone)]
    struct Seen {
        spans: Arc<AtomicUsize>,
        events: Arc<AtomicUsize>,
    }

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            self.spans.fetch_add(1, Ordering::Relaxed);
        }

        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.events.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Seen {
        fn counts(&self) -> (usize, usize) {
            let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
            (read(&self.spans), read(&self.events))
        }
    }

    #[test]
    fn spans_pass_events_do_not_and_other_layers_see_both() {
        let (spans, all) = (Seen::default(), Seen::default());
        let filter = || EnvFilter::new("info,quiet=off");
        let subscriber = tracing_subscriber::registry()
            .with(SpansOnly(spans.clone()).with_filter(filter()))
            .with(all.clone().with_filter(filter()));
        // What libraries log below it costs one comparison.
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("work").entered();
            let _not = tracing::debug_span!("detail").entered();
            let _nor = tracing::info_span!(target: "quiet", "other").entered();
            tracing::info!("an event");
            tracing::debug!("none");
        });
        assert_eq!(spans.counts(), (1, 0));
        assert_eq!(all.counts(), (1, 1));
    }

    #[test]
    fn a_span_is_found_from_outside() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(SpansOnly(layer));
        tracing::subscriber::with_default(subscriber, || {
            let context = tracing::info_span!("work").context();
            assert_ne!(context.span().span_context().trace_id(), TraceId::INVALID);
        });
    }
}
