//! The console as a library, so that its tests serve it on a port of their own.

mod app;
mod backends;
mod components;
mod desk;
mod guard;
mod routes;
pub mod settings;

pub use app::App;
pub use components::Listing;
