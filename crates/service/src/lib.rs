//! What every HTTP service of the lab shares: settings from variables, problem bodies, health
//! endpoints, and a server that bounds what its clients take and drains before it stops.
#![warn(missing_docs)]

pub mod address;
mod body;
pub mod env;
mod handover;
mod health;
mod healthcheck;
mod limits;
mod listen;
mod problem;
mod query;
mod serve;
mod stop;

pub use health::{Readiness, health};
pub use healthcheck::healthcheck;
pub use limits::Limits;
pub use listen::{ServeError, bind, listen, local_address};
pub use problem::{Problem, method_not_allowed, not_found, panicked};
pub use query::Query;
pub use serve::{IDLE_CONNECTION, serve};
pub use stop::Stop;
