//! The edge service as a library, so that its tests serve it on a port of their own.

mod app;
mod routes;
pub mod settings;
mod upstream;

pub use app::App;
