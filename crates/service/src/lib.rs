//! What every HTTP service of the lab shares: settings from variables, problem bodies, health
//! endpoints, and a server that drains before it stops.
#![warn(missing_docs)]

pub mod env;
mod handover;
mod health;
mod healthcheck;
mod problem;
mod query;
mod serve;

pub use health::{Readiness, health};
pub use healthcheck::healthcheck;
pub use problem::{Problem, method_not_allowed, not_found, panicked};
pub use query::Query;
pub use serve::{IDLE_CONNECTION, ServeError, bind, listen, serve, shutdown_signal};
