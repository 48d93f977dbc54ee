//! What must be true of a running lab.
//!
//! The library sends requests to the edge service and follows everything they leave behind: the trace in Jaeger, the
//! log lines in Loki, the counts and exemplars in Prometheus, the comment in the SQL text. It talks to the backends
//! over their HTTP APIs (and to Postgres for its list of statements), and knows neither how they were started nor where
//! they run: [`Backends`] says what is there.
//!
//! * [`verify`] follows every link and gives a [`Report`].
//! * [`grafana`] reads what Grafana is provisioned with, whose links are among those.
//! * [`panels::verify`] runs the queries of Grafana's dashboards.
//! * [`trace::Trace`] is one trace as Jaeger holds it, [`trace::View`] adds its log lines, [`draw`] puts it in a terminal.
//! * [`scenario`] breaks a lab on purpose and waits for what an incident leaves behind, up to the page and its end.
//! * [`flags`] reads and changes the file of flags that break things.
//! * [`backend`] has one client for each backend.

pub mod backend;
mod backends;
pub mod draw;
pub mod file;
pub mod flags;
pub mod grafana;
mod http;
mod links;
pub mod panels;
mod poll;
mod report;
pub mod scenario;
pub mod trace;
mod traceparent;
mod verify;

pub use backends::{Backends, Part};
pub use http::{AskError, Http};
pub use report::{Link, Outcome, Report};
pub use traceparent::{BadTraceId, TraceId, Traceparent};
pub use verify::{Event, Options, Tell, verify};
