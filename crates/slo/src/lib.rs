//! Service level objectives in Pyrra's format (`pyrra.dev/v1alpha1`), and the Prometheus rules that
//! Pyrra 0.9.5 makes from them: recording rules, multi-window burn-rate alerts, generic rules.
//!
//! What the format has and this crate does not make rules for is an error that names the place,
//! never something that is silently left out.
#![warn(missing_docs)]

mod duration;
mod finding;
mod folder;
mod objective;
mod re2;
mod rules;
mod selector;
mod windows;

pub use duration::Duration;
pub use finding::{Finding, Level};
pub use folder::{FileError, Source, read_folder};
pub use objective::{Alerting, Indicator, Objective};
pub use rules::{Group, Rule, RuleFile};
pub use selector::{Matcher, Operator, Selector};
pub use windows::{Severity, Window};
pub use yaml_file::ParseError;
