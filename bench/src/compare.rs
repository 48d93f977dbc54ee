//! `bench`: every configuration in every round, interleaved.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{CONFIGS, Chain, Config};
use crate::goals;
use crate::load::{AROUND, Bench, Way};
use crate::machine::Machine;
use crate::result::Compare;

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) configs: Vec<&'static Config>,
    pub(crate) rounds: u32,
    pub(crate) time: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) connections: Vec<u32>,
    /// Requests a second of the fixed load.
    pub(crate) rate: f64,
}

impl Plan {
    /// The fixed load is for what all Rust configurations can take; a peer that cannot would be
    /// measured in saturation once more.
    fn ways(&self, config: &Config) -> Vec<Way> {
        let saturated = self
            .connections
            .iter()
            .map(|connections| Way::saturated(*connections, self.time));
        let fixed = (config.chain != Chain::Python).then(|| Way::fixed(self.rate, self.time));
        saturated.chain(fixed).collect()
    }

    fn takes(&self, config: &Config) -> Duration {
        let ways: Duration = self.ways(config).iter().map(|way| way.time).sum();
        self.warm_up + AROUND + ways
    }
}

/// All configurations, or those of the named ones, without repeating any.
pub(crate) fn choose(named: &[&'static Config], chains: &[Chain]) -> Vec<&'static Config> {
    CONFIGS
        .iter()
        .filter(|config| named.is_empty() || named.iter().any(|name| name.name == config.name))
        .filter(|config| chains.contains(&config.chain))
        .collect()
}

/// The order of a round: each begins with another one. Whatever drifts during a round (heat, neighbours,
/// full tables) meets another one first.
pub(crate) fn rotated<T>(all: &[T], round: u32, rounds: u32) -> impl Iterator<Item = &T> {
    let start = (round as usize - 1) * all.len() / rounds.max(1) as usize;
    all.iter().cycle().skip(start).take(all.len())
}

pub(crate) async fn run(
    bench: &Bench<'_>,
    plan: &Plan,
    machine: Machine,
) -> anyhow::Result<Compare> {
    let mut configs = Vec::new();
    let mut skipped = BTreeMap::new();
    for config in &plan.configs {
        match bench.lacks(config).await? {
            None => configs.push(*config),
            Some(reason) => {
                bench
                    .printer
                    .note(format_args!("  {} is skipped: {reason}", config.name));
                skipped.insert(config.name.to_owned(), reason);
            }
        }
    }
    let round: Duration = configs.iter().map(|config| plan.takes(config)).sum();
    bench.printer.plan(round * plan.rounds);
    let mut runs = Vec::new();
    for round in 1..=plan.rounds {
        for config in rotated(&configs, round, plan.rounds) {
            let label = format!("round {round} of {}, ", plan.rounds);
            let run = bench
                .run(config, round, &label, plan.warm_up, &plan.ways(config))
                .await?;
            runs.push(run);
        }
    }
    let mut compare = Compare {
        machine,
        rounds: plan.rounds,
        seconds: plan.time.as_secs(),
        runs,
        skipped,
        goals: Vec::new(),
    };
    compare.goals = goals::check(&compare);
    Ok(compare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::by_name;

    #[test]
    fn configurations_are_chosen_by_name_and_chain() {
        let all = choose(&[], &[Chain::Rust, Chain::Python, Chain::Go]);
        assert_eq!(all.len(), CONFIGS.len());
        let rust = choose(&[], &[Chain::Rust]);
        assert!(rust.iter().all(|config| config.chain == Chain::Rust));
        let named = choose(
            &[by_name("all").unwrap(), by_name("off").unwrap()],
            &[Chain::Rust],
        );
        let names: Vec<_> = named.iter().map(|config| config.name).collect();
        assert_eq!(names, ["off", "all"]);
    }

    #[test]
    fn each_round_begins_with_another_one() {
        let order = |round| -> Vec<_> { rotated(&["a", "b", "c"], round, 3).copied().collect() };
        assert_eq!(order(1), ["a", "b", "c"]);
        assert_eq!(order(2), ["b", "c", "a"]);
        assert_eq!(order(3), ["c", "a", "b"]);
    }

    #[test]
    fn python_has_no_fixed_load() {
        let plan = Plan {
            configs: Vec::new(),
            rounds: 1,
            time: Duration::from_secs(8),
            warm_up: Duration::from_secs(2),
            connections: vec![10, 64],
            rate: 1000.0,
        };
        let names = |config| -> Vec<String> {
            plan.ways(by_name(config).unwrap())
                .into_iter()
                .map(|way| way.name)
                .collect()
        };
        assert_eq!(names("all"), ["10", "64", "fixed"]);
        assert_eq!(names("python"), ["10", "64"]);
        assert_eq!(
            plan.takes(by_name("python").unwrap()),
            Duration::from_secs(23)
        );
    }
}
