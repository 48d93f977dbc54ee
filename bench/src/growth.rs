//! `bench growth`: the same with more and more connections.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::compare;
use crate::config::Config;
use crate::load::{AROUND, Bench, Way};
use crate::machine::Machine;
use crate::result::Growth;

/// Each number of connections in a run of its own, so that peak memory belongs to it.
pub(crate) async fn run(
    bench: &Bench<'_>,
    configs: &[&'static Config],
    connections: &[u32],
    rounds: u32,
    time: Duration,
    machine: Machine,
) -> anyhow::Result<Growth> {
    let warm_up = Duration::from_secs(2);
    let mut skipped = BTreeMap::new();
    let mut measured = Vec::new();
    for config in configs {
        match bench.lacks(config).await? {
            None => measured.push(*config),
            Some(reason) => {
                skipped.insert(config.name.to_owned(), reason);
            }
        }
    }
    let cells: Vec<(&Config, u32)> = measured
        .iter()
        .flat_map(|config| connections.iter().map(|number| (*config, *number)))
        .collect();
    let count = u32::try_from(cells.len()).unwrap_or(u32::MAX);
    bench
        .printer
        .plan((warm_up + AROUND + time) * count * rounds);
    let mut runs = Vec::new();
    for round in 1..=rounds {
        for (config, connections) in compare::rotated(&cells, round, rounds) {
            let label = format!("round {round} of {rounds}, ");
            let ways = [Way::saturated(*connections, time)];
            runs.push(bench.run(config, round, &label, warm_up, &ways).await?);
        }
    }
    Ok(Growth {
        machine,
        rounds,
        seconds: time.as_secs(),
        runs,
        skipped,
    })
}
