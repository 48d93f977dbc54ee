//! What a run did and saw, moment by moment. It is told while it grows, so that it can be watched.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::model::Scenario;

/// A run, finished or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub scenario: String,
    pub title: String,
    /// What was broken, in words.
    pub broken: String,
    /// Seconds since 1970.
    pub started: f64,
    pub phase: Phase,
    /// What is being waited for, and what came so far.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: BTreeMap<String, String>,
    pub timeline: Vec<Moment>,
    /// How often which status came to the people of the load.
    pub answers: BTreeMap<String, u64>,
    /// Nothing until it ended.
    pub outcome: Option<Outcome>,
    /// What went wrong, one line each.
    pub failures: Vec<String>,
    /// The scenario as it was run, without its words.
    pub ran: serde_json::Value,
}

/// What a run does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It waits for a healthy lab.
    Calming,
    /// People ask, all is well.
    Loading,
    Breaking,
    /// It waits for what must be seen, and for the alert.
    Watching,
    /// It follows the steps from the alert to the cause.
    Walking,
    /// It stays broken, for somebody to look, until they let it go.
    Held,
    Healing,
    /// It waits to be told that the alert is over.
    Resolving,
    Done,
}

impl Phase {
    /// For whoever waits.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::Calming => "waiting for a healthy lab",
            Self::Loading => "people ask, all is well",
            Self::Breaking => "breaking it",
            Self::Watching => "waiting for the symptoms and the alert",
            Self::Walking => "walking from the alert to the cause",
            Self::Held => "broken until somebody says so",
            Self::Healing => "healing it",
            Self::Resolving => "waiting for the end of the alert",
            Self::Done => "done",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Passed,
    Failed,
    /// It was healed before its end.
    Interrupted,
    /// A part that it asks is not here: it did not run.
    NotApplicable,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since 1970.
    pub at: f64,
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    Calm,
    Injected,
    /// What must be seen was seen.
    Seen {
        name: String,
        answer: String,
    },
    Missed {
        name: String,
        came: String,
    },
    /// The alert fires in Prometheus.
    Firing,
    /// It reached the webhook.
    Notified,
    Untold {
        came: String,
    },
    /// A step of the walk (from 1) was followed.
    Followed {
        step: usize,
        answer: String,
    },
    Lost {
        step: usize,
        came: String,
    },
    /// It stays broken until somebody lets it go, or until this moment (seconds since 1970).
    Held {
        until: f64,
    },
    /// Somebody asked for it, or the time was up.
    Released {
        asked: bool,
    },
    Healed,
    /// Good answers only.
    Recovered,
    /// The end of the alert reached the webhook.
    Resolved,
    Unresolved {
        came: String,
    },
}

impl Report {
    /// When something first happened.
    pub fn at(&self, is_it: impl Fn(&Event) -> bool) -> Option<f64> {
        let moment = self.timeline.iter().find(|moment| is_it(&moment.event))?;
        Some(moment.at)
    }

    /// Seconds from one event to another.
    pub fn between(
        &self,
        from: impl Fn(&Event) -> bool,
        to: impl Fn(&Event) -> bool,
    ) -> Option<f64> {
        Some((self.at(to)? - self.at(from)?).max(0.0))
    }

    /// From the fault to the first symptom that was seen.
    #[must_use]
    pub fn detected(&self) -> Option<f64> {
        self.between(is_injected, |event| matches!(event, Event::Seen { .. }))
    }

    /// From the fault to the first of these symptoms that was seen.
    pub fn seen_first_of(&self, is_it: impl Fn(&str) -> bool) -> Option<f64> {
        self.between(
            is_injected,
            |event| matches!(event, Event::Seen { name, .. } if is_it(name)),
        )
    }

    /// From the fault to the firing alert.
    #[must_use]
    pub fn fired(&self) -> Option<f64> {
        self.between(is_injected, |event| matches!(event, Event::Firing))
    }

    /// From the fault to the webhook.
    #[must_use]
    pub fn notified(&self) -> Option<f64> {
        self.between(is_injected, |event| matches!(event, Event::Notified))
    }

    /// From the fault to the end of healing.
    #[must_use]
    pub fn healed(&self) -> Option<f64> {
        self.between(is_injected, |event| matches!(event, Event::Healed))
    }

    /// From the end of healing to the webhook.
    #[must_use]
    pub fn resolved(&self) -> Option<f64> {
        self.between(
            |event| matches!(event, Event::Healed),
            |event| matches!(event, Event::Resolved),
        )
    }

    /// Something was broken, and is not known to be healed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.at(is_injected).is_some() && self.at(|event| matches!(event, Event::Healed)).is_none()
    }

    #[must_use]
    pub fn did_not_run(&self) -> bool {
        self.outcome == Some(Outcome::NotApplicable)
    }

    /// The report of a scenario that cannot run here.
    #[must_use]
    pub fn not_applicable(scenario: &Scenario, why: String) -> Self {
        Self {
            phase: Phase::Done,
            outcome: Some(Outcome::NotApplicable),
            failures: vec![why],
            ..Self::blank(scenario)
        }
    }

    /// A report in which nothing has happened yet.
    pub(super) fn blank(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.name.clone(),
            title: scenario.title.clone(),
            broken: scenario.broken.to_string(),
            started: now(),
            phase: Phase::Calming,
            waiting: BTreeMap::new(),
            timeline: Vec::new(),
            answers: BTreeMap::new(),
            outcome: None,
            failures: Vec::new(),
            ran: scenario.essence(),
        }
    }

    #[must_use]
    pub fn passed(&self) -> bool {
        self.outcome == Some(Outcome::Passed)
    }
}

fn is_injected(event: &Event) -> bool {
    matches!(event, Event::Injected)
}

/// Seconds since 1970, to the millisecond.
pub(super) fn now() -> f64 {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
