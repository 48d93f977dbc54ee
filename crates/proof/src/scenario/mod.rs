//! Incidents: something is broken under load, its symptoms and its alert are waited for, the way
//! from the alert to the cause is followed, it is healed, and the end of the alert is waited for.
//!
//! Everything about an incident is data ([`Scenario`], one YAML file). What is asked is asked over
//! HTTP; breaking and healing is an [`Engine`]'s business.

mod hold;
mod load;
mod look;
mod model;
mod page;
mod place;
mod read;
mod report;
mod run;
mod template;
mod view;

pub use hold::Hold;
pub use model::{
    Alert, Broken, Expectation, Heal, Link, Load, ProfileQuestion, Question, Scenario, Step,
    TraceSearch,
};
pub use page::{index, page};
pub use place::Place;
pub use read::{Source, parse, read_folder, time};
pub use report::{Event, Moment, Outcome, Phase, Report};
pub use run::{Engine, run};
pub use template::{PARTS, Template, Values};
pub use yaml_file::{FileError, ParseError};
