#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod database;
mod error;
mod exporters;
mod guard;
pub mod http;
mod ids;
mod log_format;
pub mod metrics;
mod otlp;
pub mod profiling;
mod propagation;
mod resource;
mod runtime;
pub mod settings;
mod spans_only;

pub use error::Error;
pub use guard::{Builder, Telemetry, init};
pub use settings::Settings;
