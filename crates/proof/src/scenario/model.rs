//! What a scenario says: what is broken, under which load, what must be seen, which alert is
//! told, how it is healed, and the way a person goes from the alert to the cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::template::Template;

/// An incident, as `scenarios/<name>.yaml` has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// The name of its file.
    pub name: String,
    /// One line.
    pub title: String,
    /// What happens, and why it is worth seeing.
    pub summary: String,
    pub broken: Broken,
    pub load: Load,
    pub expect: Vec<Expectation>,
    pub alert: Alert,
    pub heal: Heal,
    pub walk: Vec<Step>,
}

/// What is broken, all of it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Variants of flags, by the names of the flags.
    pub flags: BTreeMap<String, String>,
    /// Components that are stopped.
    pub stop: Vec<String>,
    /// Services that run as another version, by their names.
    pub deploy: BTreeMap<String, String>,
}

impl Broken {
    /// Whether only flags are set, which needs no engine.
    #[must_use]
    pub fn needs_flags_only(&self) -> bool {
        self.stop.is_empty() && self.deploy.is_empty()
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deploys = self
            .deploy
            .iter()
            .map(|(service, version)| format!("{service} runs as version {version}"));
        let flags = self
            .flags
            .iter()
            .map(|(flag, variant)| format!("{flag}={variant}"));
        let stops = self.stop.iter().map(|name| format!("{name} is stopped"));
        let all: Vec<String> = deploys.chain(flags).chain(stops).collect();
        f.write_str(&all.join(", "))
    }
}

/// People who ask for one path after the other, with a pause after each answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Load {
    pub people: usize,
    #[serde(serialize_with = "seconds")]
    pub pause: Duration,
    /// How often each path of edge is asked for, against the others.
    pub paths: BTreeMap<String, usize>,
}

/// Something that must be seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expectation {
    pub name: String,
    /// From the moment it is broken.
    #[serde(serialize_with = "seconds")]
    pub within: Duration,
    /// No symptom, but what is still as it was: looked at once the alert was told.
    pub unchanged: bool,
    pub question: Question,
}

/// What a backend is asked. It is answered when something comes back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// A query of Prometheus that gives a sample; its condition is part of it.
    Promql(Template),
    /// A search of traces.
    Traces(TraceSearch),
    /// A query of Loki that gives a line.
    Logs(Template),
    /// Where users spends its CPU time.
    Profile(ProfileQuestion),
    /// An address that answers 200.
    Link(Link),
}

/// Traces that have a span like this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TraceSearch {
    pub service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(
        serialize_with = "maybe_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub min_duration: Option<Duration>,
    /// An attribute that a span of it has, whatever its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
}

/// A share of the samples whose stack has a function of this name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileQuestion {
    pub function: String,
    pub seconds: u64,
    /// From 0 to 1.
    pub share: f64,
}

/// An address, and what its answer must have in it, or must not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    pub url: Template,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shows: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

/// What reaches the webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// All of these, among others.
    pub labels: BTreeMap<String, String>,
    /// From the moment it is broken to the notification.
    #[serde(serialize_with = "seconds")]
    pub within: Duration,
}

impl Alert {
    /// Whether an alert with these labels is the one.
    #[must_use]
    pub fn is(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut labels = self.labels.clone();
        let name = labels.remove("alertname").unwrap_or_default();
        let rest: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        write!(f, "{name}{{{}}}", rest.join(", "))
    }
}

/// How it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heal {
    /// What a person does, in words.
    pub text: String,
    /// What must be started anew, besides undoing what was broken.
    pub restart: Vec<String>,
    /// From the moment it is healed to the notification that says so.
    #[serde(serialize_with = "seconds")]
    pub resolved_within: Duration,
}

/// One step from the alert to the cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub text: String,
    pub question: Question,
}

impl Question {
    /// The parts of the lab that answer it.
    #[must_use]
    pub fn parts(&self) -> BTreeSet<&str> {
        match self {
            Self::Promql(_) => BTreeSet::from(["prometheus"]),
            Self::Traces(_) => BTreeSet::from(["jaeger"]),
            Self::Logs(_) => BTreeSet::from(["loki"]),
            Self::Profile(_) => BTreeSet::from(["users"]),
            Self::Link(link) => link.url.parts(),
        }
    }

    pub(super) fn names_trace(&self) -> bool {
        match self {
            Self::Promql(text) | Self::Logs(text) => text.names_trace(),
            Self::Link(link) => link.url.names_trace(),
            Self::Traces(_) | Self::Profile(_) => false,
        }
    }
}

impl Scenario {
    /// Every part of the lab that it cannot do without, besides what it breaks.
    #[must_use]
    pub fn needs(&self) -> BTreeSet<&str> {
        let asked = self
            .expect
            .iter()
            .map(|expectation| &expectation.question)
            .chain(self.walk.iter().map(|step| &step.question))
            .flat_map(Question::parts);
        let always = ["edge", "prometheus", "alertmanager", "webhook"];
        asked.chain(always).collect()
    }

    /// Whether this is the name of something that Prometheus is asked for.
    #[must_use]
    pub fn is_in_metrics(&self, name: &str) -> bool {
        let named = self.expect.iter().find(|each| each.name == name);
        named.is_some_and(|each| matches!(each.question, Question::Promql(_)))
    }

    /// Everything a run depends on. Words are not in it: they can be changed without another run.
    #[must_use]
    pub fn essence(&self) -> serde_json::Value {
        serde_json::json!({
            "broken": self.broken,
            "load": self.load,
            "expect": self.expect.iter().map(|each| {
                let mut essence = vec![serde_json::json!(each.question), each.within.as_secs().into()];
                if each.unchanged {
                    essence.push("unchanged".into());
                }
                essence
            }).collect::<Vec<_>>(),
            "alert": self.alert,
            "heal": { "restart": self.heal.restart, "resolved_within": self.heal.resolved_within.as_secs() },
            "walk": self.walk.iter().map(|step| &step.question).collect::<Vec<_>>(),
        })
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn maybe_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&time.map(|time| time.as_secs_f64()))
}
