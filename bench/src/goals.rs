//! The goals, and whether a run met them.

use serde::{Deserialize, Serialize};

use crate::config::{ALL, GO, OFF, OFF_SPLIT, PROFILES, PYTHON, REMOTE, SPLIT};
use crate::result::{Compare, Load};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    /// `at most 1.25`
    pub(crate) wanted: String,
    /// `None`: not measured.
    pub(crate) found: Option<String>,
    pub(crate) met: Option<bool>,
}

enum Limit {
    AtMost(f64),
    AtLeast(f64),
    Below(f64),
}

impl Limit {
    fn holds(&self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= *limit,
            Self::AtLeast(limit) => value >= *limit,
            Self::Below(limit) => value < *limit,
        }
    }

    fn text(&self, unit: &str) -> String {
        match self {
            Self::AtMost(limit) => format!("at most {limit}{unit}"),
            Self::AtLeast(limit) => format!("at least {limit}{unit}"),
            Self::Below(limit) => format!("below {limit}{unit}"),
        }
    }
}

fn goal(what: String, limit: &Limit, unit: &str, value: Option<f64>) -> Goal {
    Goal {
        what,
        wanted: limit.text(unit),
        found: value.map(|value| format!("{value:.2}{unit}")),
        met: value.map(|value| limit.holds(value)),
    }
}

/// Every goal, in each way of loading that can tell.
pub(crate) fn check(compare: &Compare) -> Vec<Goal> {
    let mut goals = Vec::new();
    let loads = compare.loads();
    let saturated: Vec<&String> = loads
        .iter()
        .filter(|name| name.as_str() != crate::load::FIXED)
        .collect();
    let median = |config, base, load: &str, value| {
        compare
            .ratio(config, base, load, value)
            .map(|spread| spread.median)
    };
    let how = |load: &str| {
        if load == crate::load::FIXED {
            "fixed rate".to_owned()
        } else {
            format!("{load} connections")
        }
    };
    for load in &saturated {
        let cpu = median(PYTHON, ALL, load, Load::services_cpu_us);
        goals.push(goal(
            format!("CPU a request, Python's against ours, all signals, {load} connections"),
            &Limit::AtLeast(45.0),
            " x",
            cpu,
        ));
        goals.push(goal(
            format!("throughput, ours against Python's, all signals, {load} connections"),
            &Limit::AtLeast(25.0),
            " x",
            median(ALL, PYTHON, load, |load| load.per_second),
        ));
        goals.push(goal(
            format!("throughput, ours against Go's, all signals, {load} connections"),
            &Limit::AtLeast(1.5),
            " x",
            median(ALL, GO, load, |load| load.per_second),
        ));
    }
    for load in &saturated {
        goals.push(goal(
            format!("CPU a request, all signals against off, {load} connections"),
            &Limit::AtMost(1.25),
            " x",
            median(ALL, OFF, load, Load::services_cpu_us),
        ));
    }
    for load in &loads {
        goals.push(goal(
            format!("p99, all signals against off, {}", how(load)),
            &Limit::AtMost(1.5),
            " x",
            median(ALL, OFF, load, |load| load.p99_ms),
        ));
    }
    for (config, base, backends) in [
        (SPLIT, OFF_SPLIT, "on the other half of the processors"),
        (REMOTE, OFF, "on another machine"),
    ] {
        for load in &loads {
            goals.push(goal(
                format!(
                    "p99, all signals against off, backends {backends}, {}",
                    how(load)
                ),
                &Limit::AtMost(1.5),
                " x",
                median(config, base, load, |load| load.p99_ms),
            ));
        }
    }
    for (config, limit) in [(ALL, 30.0), (SPLIT, 30.0), (REMOTE, 30.0), (PROFILES, 80.0)] {
        for service in ["edge", "users"] {
            // The worst of all rounds, not their median: memory is a bound.
            let peak = compare.peak(config, service).map(|spread| spread.max / 1e6);
            goals.push(goal(
                format!("peak memory of {service}, {config}"),
                &Limit::Below(limit),
                " MB",
                peak,
            ));
        }
    }
    let count = compare.count(ALL);
    let measured = count.answered > 0;
    goals.push(goal(
        "errors, spans lost and log records lost, all signals".to_owned(),
        &Limit::AtMost(0.0),
        "",
        measured.then_some((count.errors + count.spans_lost + count.logs_lost) as f64),
    ));
    goals.push(goal(
        "spans and log records stored more than once, all signals".to_owned(),
        &Limit::AtMost(0.0),
        "",
        measured.then_some(count.counters.repeated() as f64),
    ));
    goals
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Chain;
    use crate::machine::Machine;
    use crate::result::{Count, Run};

    fn run(config: &str, round: u32, per_second: f64, cpu: f64) -> Run {
        let cpu_us = BTreeMap::from([
            ("edge".to_owned(), cpu / 2.0),
            ("users".to_owned(), cpu / 2.0),
        ]);
        Run {
            config: config.to_owned(),
            chain: Chain::Rust,
            round,
            loads: vec![Load {
                name: "10".to_owned(),
                connections: 10,
                asked_per_second: None,
                requests: 1000,
                errors: 0,
                per_second,
                p50_ms: 1.0,
                p90_ms: 2.0,
                p99_ms: 3.0,
                max_ms: 4.0,
                cpu_us,
                wait_us: None,
                stolen: None,
            }],
            memory: BTreeMap::new(),
            count: Count {
                answered: 1000,
                ..Count::default()
            },
        }
    }

    #[test]
    fn goals_are_met_missed_or_not_measured() {
        let mut runs = Vec::new();
        for round in 1..=2 {
            runs.push(run(ALL, round, 4000.0, 200.0));
            runs.push(run(OFF, round, 5000.0, 150.0));
            runs.push(run(PYTHON, round, 100.0, 9500.0));
        }
        let compare = Compare {
            machine: Machine::default(),
            rounds: 2,
            seconds: 8,
            runs,
            skipped: BTreeMap::new(),
            goals: Vec::new(),
        };
        let goals = check(&compare);
        let found = |text: &str| {
            goals
                .iter()
                .find(|goal| goal.what.starts_with(text))
                .unwrap()
        };
        assert_eq!(
            found("CPU a request, Python's").found.as_deref(),
            Some("47.50 x")
        );
        assert_eq!(found("CPU a request, Python's").met, Some(true));
        assert_eq!(found("throughput, ours against Python's").met, Some(true));
        assert_eq!(found("throughput, ours against Go's").met, None);
        let cost = found("CPU a request, all signals against off");
        assert_eq!(
            (cost.found.as_deref(), cost.met),
            (Some("1.33 x"), Some(false))
        );
        assert_eq!(found("p99").met, Some(true));
        assert_eq!(found("errors").met, Some(true));
        assert_eq!(found("peak memory").met, None);
    }
}
