//! The users service as a library, so that its tests serve it on a port of their own.

mod app;
pub mod faults;
mod routes;
pub mod settings;
pub mod store;
mod work;

pub use app::App;
