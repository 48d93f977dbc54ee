//! `bench instructions`: user-space instructions a request, counted by callgrind.
//!
//! They repeat to a percent where timings differ by a fifth. Each configuration runs twice, with few
//! and with many requests, and the difference is divided by the difference: what start and stop
//! cost cancels out. The kernel's share is not counted.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;

use crate::chain;
use crate::config::Config;
use crate::lab::Provided;
use crate::load::Bench;
use crate::machine::Machine;
use crate::result::{InstructionRow, Instructions};

/// Under callgrind everything takes fifty times as long. Timers do not: with the usual delays batches
/// would be sent half empty, and what happens every few seconds would count too often.
const SLOWLY: [(&str, &str); 4] = [
    ("OTEL_BSP_SCHEDULE_DELAY", "30000"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "30000"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "600000"),
    ("UPSTREAM_TIMEOUT", "120"),
];
const FEW: u64 = 300;

/// For the plan: what one run with this many requests takes, roughly.
fn takes(requests: u64) -> Duration {
    Duration::from_secs(12) + Duration::from_millis(7) * u32::try_from(requests).unwrap_or(u32::MAX)
}

pub(crate) async fn run(
    bench: &Bench<'_>,
    valgrind: &Provided,
    configs: &[&'static Config],
    requests: u64,
    connections: u32,
    machine: Machine,
    keep: &Path,
) -> anyhow::Result<Instructions> {
    std::fs::create_dir_all(keep).with_context(|| format!("cannot make {}", keep.display()))?;
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
    let each = takes(FEW) + takes(FEW + requests);
    bench
        .printer
        .plan(each * u32::try_from(measured.len()).unwrap_or(u32::MAX));
    let mut rows = Vec::new();
    for config in measured {
        let mut counts = Vec::new();
        for (which, asked) in [("few", FEW), ("many", FEW + requests)] {
            bench.printer.step(format_args!(
                "{}: {asked} requests under callgrind",
                config.name
            ));
            counts.push(count(bench, valgrind, config, asked, connections, which, keep).await?);
            bench.printer.planned_done(takes(asked));
        }
        let [few, many] = [counts[0], counts[1]];
        let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / requests as f64;
        rows.push(InstructionRow {
            config: config.name.to_owned(),
            edge: each(few.0, many.0),
            users: each(few.1, many.1),
        });
    }
    Ok(Instructions {
        machine,
        requests,
        connections,
        rows,
        skipped,
    })
}

/// Instructions of edge and users over one life with so many requests.
async fn count(
    bench: &Bench<'_>,
    valgrind: &Provided,
    config: &'static Config,
    requests: u64,
    connections: u32,
    which: &str,
    keep: &Path,
) -> anyhow::Result<(u64, u64)> {
    let file = |service: &str| -> PathBuf {
        keep.join(format!(
            "callgrind.{}.{service}.{which}",
            config.name.replace([' ', '+'], "-")
        ))
    };
    for service in ["edge", "users"] {
        let _absent = std::fs::remove_file(file(service));
    }
    let wrap = |service: &str| -> Vec<OsString> {
        let mut out = OsString::from("--callgrind-out-file=");
        out.push(file(service));
        vec![
            valgrind.program.clone().into(),
            "--tool=callgrind".into(),
            "-q".into(),
            out,
        ]
    };
    let mut extra: Vec<(&str, &str)> = SLOWLY.to_vec();
    // Unpacked, not installed: it looks for its tools where they would be installed.
    let tools = valgrind.prefix.as_ref().map(|prefix| {
        let libexec = prefix.join("usr/libexec/valgrind");
        libexec.to_string_lossy().into_owned()
    });
    if let Some(tools) = &tools {
        extra.push(("VALGRIND_LIB", tools));
    }
    let running = chain::start(
        bench.lab,
        bench.programs,
        config,
        bench.otlp(config)?,
        bench.ports,
        Some(&wrap),
        &extra,
    )
    .await?;
    ask(bench, &running.url(), requests, connections).await?;
    running.stop().await?;
    Ok((total(&file("edge"))?, total(&file("users"))?))
}

/// Exactly so many requests, some at a time.
async fn ask(bench: &Bench<'_>, url: &str, requests: u64, connections: u32) -> anyhow::Result<()> {
    let left = std::cell::Cell::new(requests);
    let one = async || -> anyhow::Result<()> {
        loop {
            let now = left.get();
            if now == 0 {
                return Ok(());
            }
            left.set(now - 1);
            let answer = bench
                .lab
                .http
                .get(url)
                .send()
                .await
                .context("edge under callgrind does not answer")?;
            let status = answer.status();
            ensure!(status.is_success(), "edge under callgrind answers {status}");
            answer
                .bytes()
                .await
                .context("edge under callgrind broke off")?;
        }
    };
    try_join_all((0..connections).map(|_| one())).await?;
    Ok(())
}

/// The total of an output file of callgrind.
fn total(file: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("callgrind wrote no {}", file.display()))?;
    match parse(&text) {
        Some(total) => Ok(total),
        None => bail!(
            "{} has no total: callgrind was stopped before its end",
            file.display()
        ),
    }
}

fn parse(text: &str) -> Option<u64> {
    text.lines()
        .rev()
        .find_map(|line| {
            line.strip_prefix("totals:")
                .or_else(|| line.strip_prefix("summary:"))
        })
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_last_line() {
        assert_eq!(
            parse("events: Ir\nsummary: 5\nfn=(1)\n0 7\n\ntotals: 123456789\n"),
            Some(123_456_789)
        );
        assert_eq!(parse("events: Ir\nsummary: 5 6\n"), Some(5));
        assert_eq!(parse("events: Ir\n"), None);
    }
}
