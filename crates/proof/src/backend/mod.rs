//! One client for each backend, with typed answers.

mod alertmanager;
mod edge;
mod jaeger;
mod loki;
mod postgres;
mod prometheus;
mod users;
mod webhook;

pub use alertmanager::Alertmanager;
pub use edge::{Answer, Edge};
pub use jaeger::{Jaeger, Search};
pub use loki::{LogLine, Loki};
pub use postgres::{Postgres, PostgresError};
pub(crate) use prometheus::total;
pub use prometheus::{ActiveAlert, Exemplar, Labels, Prometheus, Sample, Target};
pub use users::{Profile, Stack, Users};
pub use webhook::{Notification, Webhook};
