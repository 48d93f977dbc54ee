//! What is kept as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::config::{self, Chain};
use crate::counters::{Counters, Dropped};
use crate::goals::Goal;
use crate::machine::Machine;
use crate::process::Memory;
use crate::stats::{self, Spread};

/// `./lab bench`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Compare {
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    /// Each measured run of each round.
    pub(crate) runs: Vec<Run>,
    /// Configurations that were not measured, and why.
    pub(crate) skipped: BTreeMap<String, String>,
    pub(crate) goals: Vec<Goal>,
}

/// One configuration in one round: started, warmed up, loaded in several ways, stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) config: String,
    pub(crate) chain: Chain,
    pub(crate) round: u32,
    pub(crate) loads: Vec<Load>,
    pub(crate) memory: BTreeMap<String, Memory>,
    pub(crate) count: Count,
}

/// One run of the load.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Load {
    /// `10`, `64`: saturated with so many connections; `fixed`: that rate.
    pub(crate) name: String,
    pub(crate) connections: u32,
    pub(crate) asked_per_second: Option<f64>,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Microseconds of CPU a request, by process, backends included.
    pub(crate) cpu_us: BTreeMap<String, f64>,
    /// Microseconds a request in which threads of edge, users and PostgreSQL were ready to run and had no processor.
    #[serde(default)]
    pub(crate) wait_us: Option<f64>,
    /// Share of the processors' time that the host gave to other machines while the load lasted (steal time).
    #[serde(default)]
    pub(crate) stolen: Option<f64>,
}

impl Load {
    /// What the two services cost together.
    pub(crate) fn services_cpu_us(&self) -> f64 {
        ["edge", "users"]
            .iter()
            .filter_map(|name| self.cpu_us.get(*name))
            .sum()
    }
}

/// What was answered and what arrived, over a whole run.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) answered: u64,
    pub(crate) errors: u64,
    /// Requests that may have been under way when a load ended: served, but not seen by the load.
    pub(crate) under_way: u64,
    #[serde(flatten)]
    pub(crate) counters: Counters,
    /// What answered requests call for at the least.
    pub(crate) spans_expected: u64,
    pub(crate) logs_expected: u64,
    /// Spans that are missing: expected or received, and not surely in the store.
    pub(crate) spans_lost: u64,
    pub(crate) logs_lost: u64,
    /// What edge and users counted as dropped themselves; `None`: they did not tell.
    #[serde(default)]
    pub(crate) dropped: Option<Dropped>,
}

fn peak<'a>(runs: impl Iterator<Item = &'a Run>, service: &str) -> Option<Spread> {
    Spread::of(runs.filter_map(|run| Some(run.memory.get(service)?.peak as f64)))
}

/// Values of one configuration and one load, over the rounds.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) per_second: Spread,
    pub(crate) cpu_us: Spread,
    pub(crate) p50_ms: Spread,
    pub(crate) p99_ms: Spread,
    pub(crate) wait_us: Option<Spread>,
    pub(crate) stolen_percent: Option<Spread>,
}

impl Row {
    fn of<'a>(loads: impl Iterator<Item = &'a Load> + Clone) -> Option<Self> {
        let spread = |value: fn(&Load) -> f64| Spread::of(loads.clone().map(value));
        Some(Self {
            per_second: spread(|load| load.per_second)?,
            cpu_us: spread(Load::services_cpu_us)?,
            p50_ms: spread(|load| load.p50_ms)?,
            p99_ms: spread(|load| load.p99_ms)?,
            wait_us: Spread::of(loads.clone().filter_map(|load| load.wait_us)),
            stolen_percent: Spread::of(loads.clone().filter_map(|load| Some(100.0 * load.stolen?))),
        })
    }
}

impl Compare {
    /// The configurations that were measured, in the order of the tables.
    pub(crate) fn configs(&self) -> Vec<&'static str> {
        config::CONFIGS
            .iter()
            .map(|config| config.name)
            .filter(|name| self.runs.iter().any(|run| run.config == *name))
            .collect()
    }

    pub(crate) fn loads(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for load in self.runs.iter().flat_map(|run| &run.loads) {
            if !names.contains(&load.name) {
                names.push(load.name.clone());
            }
        }
        names
    }

    pub(crate) fn of<'a>(
        &'a self,
        config: &'a str,
        load: &'a str,
    ) -> impl Iterator<Item = (u32, &'a Load)> + Clone {
        self.runs
            .iter()
            .filter(move |run| run.config == config)
            .flat_map(move |run| {
                run.loads
                    .iter()
                    .filter(move |found| found.name == load)
                    .map(|found| (run.round, found))
            })
    }

    pub(crate) fn row(&self, config: &str, load: &str) -> Option<Row> {
        Row::of(self.of(config, load).map(|(_, load)| load))
    }

    /// One configuration against another one, round by round.
    pub(crate) fn ratio(
        &self,
        config: &str,
        base: &str,
        load: &str,
        value: fn(&Load) -> f64,
    ) -> Option<Spread> {
        stats::ratio(self.of(config, load).filter_map(|(round, found)| {
            let (_, base) = self.of(base, load).find(|(other, _)| *other == round)?;
            Some((value(found), value(base)))
        }))
    }

    /// CPU a request of one process, over the rounds.
    pub(crate) fn cpu_of(&self, config: &str, load: &str, process: &str) -> Option<Spread> {
        Spread::of(
            self.of(config, load)
                .filter_map(|(_, load)| load.cpu_us.get(process).copied()),
        )
    }

    /// The most memory a service ever had, over the rounds.
    pub(crate) fn peak(&self, config: &str, service: &str) -> Option<Spread> {
        peak(self.runs.iter().filter(|run| run.config == config), service)
    }

    /// Counts of a configuration, all rounds together.
    pub(crate) fn count(&self, config: &str) -> Count {
        let mut sum = Count::default();
        for run in self.runs.iter().filter(|run| run.config == config) {
            let count = run.count;
            sum.answered += count.answered;
            sum.errors += count.errors;
            sum.under_way += count.under_way;
            sum.spans_lost += count.spans_lost;
            sum.logs_lost += count.logs_lost;
            sum.spans_expected += count.spans_expected;
            sum.logs_expected += count.logs_expected;
            let (to, from) = (&mut sum.counters, count.counters);
            to.spans_received += from.spans_received;
            to.spans_refused += from.spans_refused;
            to.spans_acknowledged += from.spans_acknowledged;
            to.spans_stored += from.spans_stored;
            to.logs_received += from.logs_received;
            to.logs_refused += from.logs_refused;
            to.logs_acknowledged += from.logs_acknowledged;
            to.logs_stored += from.logs_stored;
        }
        sum
    }
}

/// `./lab bench growth`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) machine: Machine,
    /// There was one before there were rounds.
    #[serde(default = "one")]
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    /// Each of them with one load.
    pub(crate) runs: Vec<Run>,
    pub(crate) skipped: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// One configuration with one number of connections, over the rounds.
#[derive(Debug)]
pub(crate) struct Grown<'a> {
    pub(crate) config: &'a str,
    pub(crate) connections: u32,
    pub(crate) row: Row,
    pub(crate) errors: u64,
    pub(crate) edge_peak: Option<Spread>,
    pub(crate) users_peak: Option<Spread>,
}

impl Growth {
    /// In the order of the first round.
    pub(crate) fn grown(&self) -> Vec<Grown<'_>> {
        let measured = || {
            self.runs
                .iter()
                .flat_map(|run| run.loads.iter().map(move |load| (run, load)))
        };
        let mut names: Vec<(&str, u32)> = Vec::new();
        for (run, load) in measured() {
            let name = (run.config.as_str(), load.connections);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let grown = names.into_iter().filter_map(|(config, connections)| {
            let found = measured()
                .filter(move |(run, load)| run.config == config && load.connections == connections);
            let runs = found.clone().map(|(run, _)| run);
            let loads = found.map(|(_, load)| load);
            Some(Grown {
                config,
                connections,
                row: Row::of(loads.clone())?,
                errors: loads.map(|load| load.errors).sum(),
                edge_peak: peak(runs.clone(), "edge"),
                users_peak: peak(runs, "users"),
            })
        });
        grown.collect()
    }
}

/// `./lab bench soak`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Soak {
    pub(crate) machine: Machine,
    pub(crate) config: String,
    pub(crate) minutes: f64,
    pub(crate) run: Run,
    pub(crate) samples: Vec<Sample>,
    pub(crate) services: BTreeMap<String, Flat>,
}

impl Soak {
    /// As many requests as were answered, at no rate.
    pub(crate) fn is_saturated(&self) -> bool {
        self.run
            .loads
            .iter()
            .all(|load| load.asked_per_second.is_none())
    }

    /// How it was loaded, for a person.
    pub(crate) fn load(&self) -> String {
        let load = self.run.loads.first();
        match load.and_then(|load| load.asked_per_second) {
            Some(rate) => format!("{rate:.0} requests/s"),
            None => format!(
                "saturated by {} connections",
                load.map_or(0, |load| load.connections)
            ),
        }
    }
}

/// Memory at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Bytes, by service.
    pub(crate) rss: BTreeMap<String, u64>,
}

/// Whether memory stays what it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flat {
    /// MB, medians of a tenth of the time each.
    pub(crate) at_quarter: f64,
    pub(crate) at_end: f64,
    pub(crate) slope_mb_an_hour: f64,
    pub(crate) flat: bool,
}

/// `./lab bench instructions`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) machine: Machine,
    pub(crate) requests: u64,
    pub(crate) connections: u32,
    pub(crate) rows: Vec<InstructionRow>,
    pub(crate) skipped: BTreeMap<String, String>,
}

/// User-space instructions a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InstructionRow {
    pub(crate) config: String,
    pub(crate) edge: f64,
    pub(crate) users: f64,
}

impl InstructionRow {
    pub(crate) fn sum(&self) -> f64 {
        self.edge + self.users
    }
}

pub(crate) fn write(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// `None` when there is no such file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let value = serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is not a result of this bench: measure again",
            path.display()
        )
    })?;
    Ok(Some(value))
}
