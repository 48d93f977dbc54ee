//! One client for each backend, with typed answers.

mod alertmanager;
mod edge;
mod jaeger;
mod loki;
mod postgres;
mod prometheus;
mod pyroscope;
mod tempo;
mod users;
mod webhook;

pub use alertmanager::Alertmanager;
pub use edge::{Answer, Edge};
pub use jaeger::{Jaeger, Search};
pub use loki::{LogLine, Loki};
pub use postgres::{Postgres, PostgresError};
pub(crate) use prometheus::total;
pub use prometheus::{ActiveAlert, Exemplar, Labels, Prometheus, Range, Sample, Target};
pub use pyroscope::Pyroscope;
pub use tempo::Tempo;
pub use users::{Profile, Stack, Users};
pub use webhook::{Notification, SESSION, Webhook};
