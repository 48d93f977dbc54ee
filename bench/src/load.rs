//! One configuration, measured: started, warmed up, loaded, counted, stopped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::chain::{self, Ports, Programs, Running};
use crate::config::Config;
use crate::counters::{self, Counters, Dropped, Place, Pushed};
use crate::lab::Lab;
use crate::machine::Time;
use crate::printer::Printer;
use crate::process::Table;
use crate::processors::Split;
use crate::result::{Count, Load, Run};
use crate::sink::Sink;
use crate::wrk::{Shape, Wrk};

/// What the Collector still holds is stored within this time, or it is told as missing.
const SETTLE: Duration = Duration::from_secs(90);
/// A batch is sent after a second at the latest: where nothing came for longer, nothing is kept.
const CALM: Duration = Duration::from_millis(1500);
/// What starting, stopping and counting take, for the plan.
pub(crate) const AROUND: Duration = Duration::from_secs(5);

/// A way to load.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) time: Duration,
}

impl Way {
    pub(crate) fn saturated(connections: u32, time: Duration) -> Self {
        Self {
            name: connections.to_string(),
            shape: Shape {
                connections,
                rate: None,
            },
            time,
        }
    }

    /// The same requests a second for every configuration.
    pub(crate) fn fixed(rate: f64, time: Duration) -> Self {
        Self {
            name: FIXED.to_owned(),
            shape: Shape {
                connections: 64,
                rate: Some(rate),
            },
            time,
        }
    }

    fn describe(&self) -> String {
        match self.shape.rate {
            Some(rate) => format!("{rate:.0} requests/s"),
            None => format!("{} connections", self.shape.connections),
        }
    }
}

pub(crate) const FIXED: &str = "fixed";

/// Called once a second of a load, with its age.
pub(crate) type Watch<'a> = &'a dyn Fn(Duration, &Running);

/// What every measurement needs.
pub(crate) struct Bench<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) sink: &'a Sink,
    pub(crate) programs: &'a Programs,
    pub(crate) wrk: &'a Wrk,
    pub(crate) ports: Ports,
    pub(crate) printer: &'a Printer,
}

impl Bench<'_> {
    /// Why a configuration cannot be measured with these programs, if it cannot.
    pub(crate) async fn lacks(&self, config: &Config) -> anyhow::Result<Option<String>> {
        if config.split
            && let Some(reason) = Split::lacks()
        {
            return Ok(Some(reason));
        }
        let Some(path) = config.needs else {
            return Ok(None);
        };
        let running = self.start(config).await?;
        let url = format!("http://127.0.0.1:{}{path}", running.ports.users);
        let answer = self
            .lab
            .http
            .get(&url)
            .send()
            .await
            .with_context(|| format!("users does not answer {path}"))?;
        let status = answer.status();
        running.stop().await?;
        Ok((!status.is_success()).then(|| {
            format!("this build of users answers {status} to {path}: it cannot do that yet")
        }))
    }

    async fn start(&self, config: &Config) -> anyhow::Result<Running> {
        let otlp = self.otlp(config)?;
        chain::start(self.lab, self.programs, config, otlp, self.ports, None, &[]).await
    }

    /// Where a configuration's telemetry goes.
    pub(crate) fn otlp(&self, config: &Config) -> anyhow::Result<u16> {
        if config.remote {
            return Ok(self.sink.port);
        }
        self.lab.port("OTLP_GRPC_PORT")
    }

    fn place(&self, config: &Config) -> Place<'_> {
        if config.remote {
            Place::Sink(self.sink)
        } else {
            Place::Lab(self.lab)
        }
    }

    /// One run of one configuration in every way.
    pub(crate) async fn run(
        &self,
        config: &Config,
        round: u32,
        label: &str,
        warm_up: Duration,
        ways: &[Way],
    ) -> anyhow::Result<Run> {
        self.watched(config, round, label, warm_up, ways, &|_, _| ())
            .await
    }

    /// The same, and once a second somebody is told how much memory the services have.
    pub(crate) async fn watched(
        &self,
        config: &Config,
        round: u32,
        label: &str,
        warm_up: Duration,
        ways: &[Way],
        watch: Watch<'_>,
    ) -> anyhow::Result<Run> {
        self.printer
            .step(format_args!("{label}{}: starting", config.name));
        let place = self.place(config);
        let before = place.read().await?;
        let pushed = Pushed::before(self.lab).await?;
        let mut running = self.start(config).await?;
        let mut count = Count {
            // `chain::start` asked once.
            answered: 1,
            ..Count::default()
        };
        let first = Way::saturated(10, warm_up);
        let warmed = self
            .wrk
            .run(&running.url(), first.shape, first.time)
            .await?;
        add(&mut count, warmed.requests, warmed.errors(), first.shape);
        self.rest(place, before, label, config).await?;
        let mut loads = Vec::new();
        for way in ways {
            self.printer
                .step(format_args!("{label}{}: {}", config.name, way.describe()));
            let rest = async || self.rest(place, before, label, config).await;
            let load = self.load(&mut running, way, watch, rest).await?;
            add(&mut count, load.requests, load.errors, way.shape);
            loads.push(load);
            self.printer.planned_done(way.time);
        }
        let memory = running.memory();
        let by_users = counters::users(self.lab, running.ports).await?;
        running.stop().await?;
        let by_edge = pushed.edge(self.lab).await?;
        self.lab.check_backends().await?;
        let after = counters::settled(place, before, SETTLE).await?;
        count.counters = after.since(before);
        // Half of it would look like all of it.
        count.dropped = by_edge.zip(by_users).map(|(edge, users)| Dropped {
            spans: edge.spans + users.spans,
            logs: edge.logs + users.logs,
        });
        finish(&mut count, config);
        self.printer.planned_done(warm_up + AROUND);
        Ok(Run {
            config: config.name.to_owned(),
            chain: config.chain,
            round,
            loads,
            memory,
            count,
        })
    }

    /// Waits until nothing is left of a load: what it made belongs to its cost, and not to that of the next one.
    async fn rest(
        &self,
        place: Place<'_>,
        before: Counters,
        label: &str,
        config: &Config,
    ) -> anyhow::Result<()> {
        if !counters::quiet(place, before, CALM, SETTLE).await? {
            self.printer.note(format_args!(
                "  {label}{}: the backends were still busy with a load when the bench went on",
                config.name
            ));
        }
        Ok(())
    }

    /// One load. `rest` waits until all that it made is stored.
    async fn load(
        &self,
        running: &mut Running,
        way: &Way,
        watch: Watch<'_>,
        rest: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Load> {
        let mut processes: Vec<(String, i32)> = running.processes().into();
        processes.extend(self.lab.backends());
        let url = running.url();
        let serving: Vec<i32> = processes
            .iter()
            .filter(|(name, _)| ["edge", "users", "postgres"].contains(&name.as_str()))
            .map(|(_, pid)| *pid)
            .collect();
        let waited =
            |table: &Table| -> Duration { serving.iter().map(|pid| table.waited(*pid)).sum() };
        let before = Table::look();
        let waited_before = waited(&before);
        let time_before = Time::look();
        let began = Instant::now();
        let mut loading = std::pin::pin!(self.wrk.run(&url, way.shape, way.time));
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        let report = loop {
            tokio::select! {
                report = &mut loading => break report,
                _ = seconds.tick() => watch(began.elapsed(), running),
            }
        };
        let waited = waited(&Table::look()).saturating_sub(waited_before);
        let stolen = Time::look()
            .zip(time_before)
            .and_then(|(now, before)| now.stolen_since(before));
        // Whoever died is the better reason.
        running.check()?;
        let report = report?;
        // What was put off until the load was over is part of what a request costs.
        rest().await?;
        let after = Table::look();
        let cpu_us: BTreeMap<String, f64> = processes
            .iter()
            .map(|(name, pid)| {
                let spent = after.cpu(*pid).saturating_sub(before.cpu(*pid));
                (
                    name.clone(),
                    spent.as_secs_f64() * 1e6 / report.requests as f64,
                )
            })
            .collect();
        Ok(Load {
            name: way.name.clone(),
            connections: way.shape.connections,
            asked_per_second: way.shape.rate,
            requests: report.requests,
            errors: report.errors(),
            per_second: report.per_second(),
            p50_ms: report.p50_us / 1e3,
            p90_ms: report.p90_us / 1e3,
            p99_ms: report.p99_us / 1e3,
            max_ms: report.max_us / 1e3,
            cpu_us,
            wait_us: Some(waited.as_secs_f64() * 1e6 / report.requests as f64),
            stolen,
        })
    }
}

fn add(count: &mut Count, requests: u64, errors: u64, shape: Shape) {
    count.answered += requests;
    count.errors += errors;
    count.under_way += u64::from(shape.connections);
}

/// Sets what was to be expected against what arrived.
fn finish(count: &mut Count, config: &Config) {
    let arrived = count.counters;
    let spans = if config.traces {
        config.chain.spans_a_request() * count.answered
    } else {
        0
    };
    let logs = if config.logs {
        config.chain.logs_a_request() * count.answered
    } else {
        0
    };
    count.spans_expected = spans;
    count.logs_expected = logs;
    count.spans_lost = spans
        .max(arrived.spans_received)
        .saturating_sub(arrived.spans_safe());
    count.logs_lost = logs
        .max(arrived.logs_received)
        .saturating_sub(arrived.logs_safe());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn counted(config: &str, answered: u64, spans: (u64, u64), logs: (u64, u64)) -> Count {
        counted_again(config, answered, spans, logs, 0)
    }

    fn counted_again(
        config: &str,
        answered: u64,
        spans: (u64, u64),
        logs: (u64, u64),
        again: u64,
    ) -> Count {
        let mut count = Count {
            answered,
            counters: Counters {
                spans_received: spans.0,
                spans_acknowledged: spans.1,
                spans_stored: spans.1 + again,
                logs_received: logs.0,
                logs_acknowledged: logs.1,
                logs_stored: logs.1 + again,
                ..Counters::default()
            },
            ..Count::default()
        };
        finish(&mut count, config::by_name(config).unwrap());
        count
    }

    #[test]
    fn what_is_missing_is_told() {
        // Three requests were under way when the load ended: more spans than answers is fine.
        let count = counted("all", 100, (412, 412), (309, 309));
        assert_eq!((count.spans_lost, count.logs_lost), (0, 0));
        // Never received: lost by the services.
        let count = counted("all", 100, (390, 390), (290, 290));
        assert_eq!((count.spans_lost, count.logs_lost), (10, 10));
        // Received and not stored: lost by the backends.
        let count = counted("go", 100, (510, 505), (310, 309));
        assert_eq!((count.spans_lost, count.logs_lost), (5, 1));
        // The same behind as many that were stored twice.
        let count = counted_again("go", 100, (510, 505), (310, 309), 5);
        assert_eq!((count.spans_lost, count.logs_lost), (5, 1));
        assert_eq!(count.counters.repeated(), 10);
        let count = counted("off", 100, (0, 0), (0, 0));
        assert_eq!(
            (count.spans_expected, count.spans_lost, count.logs_lost),
            (0, 0, 0)
        );
    }
}
