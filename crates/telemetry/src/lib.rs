#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod database;
mod error;
mod exporters;
mod guard;
pub mod http;
mod ids;
mod log_crate;
mod log_format;
pub mod metrics;
mod otlp;
pub mod profiling;
pub mod redact;
mod resource;
mod runtime;
pub mod settings;
mod span_limits;
mod spans_only;
mod transport;

pub use error::Error;
pub use guard::{Builder, Telemetry, init};
pub use settings::Settings;

use std::fmt;
use std::sync::Arc;

use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};

/// The header formats in use, shared by every layer.
#[derive(Clone)]
pub(crate) struct Propagation(Arc<TextMapCompositePropagator>);

impl fmt::Debug for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.fields()).finish()
    }
}

impl TextMapPropagator for Propagation {
    fn inject_context(&self, cx: &opentelemetry::Context, injector: &mut dyn Injector) {
        self.0.inject_context(cx, injector);
    }

    fn extract_with_context(
        &self,
        cx: &opentelemetry::Context,
        extractor: &dyn Extractor,
    ) -> opentelemetry::Context {
        self.0.extract_with_context(cx, extractor)
    }

    fn fields(&self) -> FieldIter<'_> {
        self.0.fields()
    }
}
