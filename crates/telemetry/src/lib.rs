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
mod propagation;
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
