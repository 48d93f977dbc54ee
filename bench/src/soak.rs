//! `bench soak`: does memory stay flat under load?

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;

use crate::chain::Running;
use crate::config::Config;
use crate::load::{AROUND, Bench, Way};
use crate::machine::Machine;
use crate::result::{Flat, Sample, Soak};
use crate::stats::{self, Spread};
use crate::wrk::Shape;

/// Memory is called flat when it grew by less than this share since a quarter of the time had passed,
/// or by less than these megabytes: an allocator keeps a little more or less.
const SHARE: f64 = 0.10;
const MEGABYTES: f64 = 2.0;

/// Shorter soaks say nothing.
pub(crate) const SHORTEST: f64 = 0.2;

pub(crate) async fn run(
    bench: &Bench<'_>,
    config: &'static Config,
    minutes: f64,
    shape: Shape,
    machine: Machine,
) -> anyhow::Result<Soak> {
    if let Some(reason) = bench.lacks(config).await? {
        anyhow::bail!("{} cannot be soaked: {reason}", config.name);
    }
    let time = Duration::from_secs_f64(minutes * 60.0);
    let warm_up = Duration::from_secs(5);
    bench.printer.plan(time + warm_up + AROUND);
    let samples = RefCell::new(Vec::new());
    let ways = [match shape {
        Shape {
            rate: Some(rate), ..
        } => Way::fixed(rate, time),
        Shape { connections, .. } => Way::saturated(connections, time),
    }];
    let sample = |age: Duration, running: &Running| {
        let memory = running.memory();
        samples.borrow_mut().push(Sample {
            seconds: age.as_secs_f64(),
            rss: memory
                .into_iter()
                .map(|(name, memory)| (name, memory.rss))
                .collect(),
        });
        if age.as_secs().is_multiple_of(30) {
            bench.printer.step(format_args!(
                "soaking {} for {}",
                config.name,
                crate::printer::duration(age)
            ));
        }
    };
    let run = bench
        .watched(config, 1, "", warm_up, &ways, &sample)
        .await?;
    let samples = samples.into_inner();
    ensure!(
        samples.len() >= 8,
        "too few samples of memory were taken: soak for longer"
    );
    let services = ["edge", "users"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), flat(&samples, name)?)))
        .collect::<BTreeMap<_, _>>();
    Ok(Soak {
        machine,
        config: config.name.to_owned(),
        minutes,
        run,
        samples,
        services,
    })
}

fn flat(samples: &[Sample], service: &str) -> Option<Flat> {
    let points: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|sample| Some((sample.seconds, *sample.rss.get(service)? as f64 / 1e6)))
        .collect();
    let window = (points.len() / 10).max(1);
    let median = |points: &[(f64, f64)]| {
        Spread::of(points.iter().map(|(_, y)| *y)).map(|spread| spread.median)
    };
    let quarter = points.len() / 4;
    let at_quarter = median(points.get(quarter..quarter + window)?)?;
    let at_end = median(points.get(points.len() - window..)?)?;
    let grown = at_end - at_quarter;
    Some(Flat {
        at_quarter,
        at_end,
        slope_mb_an_hour: stats::slope(points.get(quarter..)?)? * 3600.0,
        flat: grown < MEGABYTES.max(SHARE * at_quarter),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..600)
            .map(|second| {
                let seconds = f64::from(second);
                Sample {
                    seconds,
                    rss: BTreeMap::from([("users".to_owned(), (rss(seconds) * 1e6) as u64)]),
                }
            })
            .collect()
    }

    #[test]
    fn a_start_that_fills_caches_is_no_leak() {
        let flat = flat(&samples(|second| 10.0 + (second / 10.0).min(10.0)), "users").unwrap();
        assert!(flat.flat, "{flat:?}");
        assert!(flat.slope_mb_an_hour.abs() < 1e-6);
    }

    #[test]
    fn a_leak_is_seen() {
        let flat = flat(&samples(|second| 20.0 + second / 60.0), "users").unwrap();
        assert!(!flat.flat, "{flat:?}");
        assert!((flat.slope_mb_an_hour - 60.0).abs() < 0.1, "{flat:?}");
        assert_eq!(super::flat(&[], "users"), None);
    }
}
