//! Counters of the Collector, the backends and the services, from the pages that Prometheus scrapes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::chain::Ports;
use crate::lab::Lab;
use crate::sink::Sink;

/// What arrived where, since the backends started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) spans_received: u64,
    pub(crate) spans_refused: u64,
    /// The store said that it has them: each counts once, however often it was sent.
    pub(crate) spans_acknowledged: u64,
    /// As the store counts: again when it was sent again.
    pub(crate) spans_stored: u64,
    pub(crate) logs_received: u64,
    pub(crate) logs_refused: u64,
    pub(crate) logs_acknowledged: u64,
    pub(crate) logs_stored: u64,
}

impl Counters {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            spans_received: self.spans_received.saturating_sub(before.spans_received),
            spans_refused: self.spans_refused.saturating_sub(before.spans_refused),
            spans_acknowledged: self
                .spans_acknowledged
                .saturating_sub(before.spans_acknowledged),
            spans_stored: self.spans_stored.saturating_sub(before.spans_stored),
            logs_received: self.logs_received.saturating_sub(before.logs_received),
            logs_refused: self.logs_refused.saturating_sub(before.logs_refused),
            logs_acknowledged: self
                .logs_acknowledged
                .saturating_sub(before.logs_acknowledged),
            logs_stored: self.logs_stored.saturating_sub(before.logs_stored),
        }
    }

    /// Spans that are surely in the store: it acknowledged as many, and counted as many. What it counts alone would
    /// hide a lost one behind one that was sent twice.
    pub(crate) fn spans_safe(self) -> u64 {
        self.spans_acknowledged.min(self.spans_stored)
    }

    pub(crate) fn logs_safe(self) -> u64 {
        self.logs_acknowledged.min(self.logs_stored)
    }

    /// Spans and log records that a store took more than once.
    pub(crate) fn repeated(self) -> u64 {
        self.spans_stored.saturating_sub(self.spans_acknowledged)
            + self.logs_stored.saturating_sub(self.logs_acknowledged)
    }

    fn all_stored(self, before: Self) -> bool {
        let new = self.since(before);
        new.spans_safe() >= new.spans_received && new.logs_safe() >= new.logs_received
    }
}

async fn read(lab: &Lab) -> anyhow::Result<Counters> {
    let collector = page(lab, "OTELCOL_METRICS_PORT", "the Collector").await?;
    let jaeger = page(lab, "JAEGER_METRICS_PORT", "Jaeger").await?;
    let loki = page(lab, "LOKI_PORT", "Loki").await?;
    Ok(Counters {
        spans_received: sum(&collector, "otelcol_receiver_accepted_spans_total", ""),
        spans_refused: sum(&collector, "otelcol_receiver_refused_spans_total", ""),
        spans_acknowledged: sum(
            &collector,
            "otelcol_exporter_sent_spans_total",
            "exporter=\"otlp_http/jaeger\"",
        ),
        spans_stored: sum(
            &jaeger,
            "otelcol_exporter_sent_spans_total",
            "jaeger_storage_exporter",
        ),
        // albums' log, which no benchmark writes to, comes by another receiver.
        logs_received: sum(
            &collector,
            "otelcol_receiver_accepted_log_records_total",
            "receiver=\"otlp\"",
        ),
        logs_refused: sum(
            &collector,
            "otelcol_receiver_refused_log_records_total",
            "receiver=\"otlp\"",
        ),
        logs_acknowledged: sum(
            &collector,
            "otelcol_exporter_sent_log_records_total",
            "exporter=\"otlp_http/loki\"",
        ),
        logs_stored: sum(&loki, "loki_distributor_lines_received_total", ""),
    })
}

/// Where telemetry ends up.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Lab(&'a Lab),
    Sink(&'a Sink),
}

impl Place<'_> {
    pub(crate) async fn read(self) -> anyhow::Result<Counters> {
        match self {
            Self::Lab(lab) => read(lab).await,
            Self::Sink(sink) => Ok(sink.read()),
        }
    }
}

/// Waits until all that was taken is stored, so that one run's rest is not the next one's
/// load. What never arrives is told by the counters themselves.
pub(crate) async fn settled(
    place: Place<'_>,
    before: Counters,
    patience: Duration,
) -> anyhow::Result<Counters> {
    let end = Instant::now() + patience;
    loop {
        let now = place.read().await?;
        if now.all_stored(before) || Instant::now() >= end {
            return Ok(now);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Waits until nothing has arrived for a time and all that did is stored: senders have sent what they
/// kept. `false` when that did not come about in time.
pub(crate) async fn quiet(
    place: Place<'_>,
    before: Counters,
    unchanged: Duration,
    patience: Duration,
) -> anyhow::Result<bool> {
    let end = Instant::now() + patience;
    let mut last = place.read().await?;
    let mut since = Instant::now();
    while since.elapsed() < unchanged {
        if Instant::now() >= end {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = place.read().await?;
        if now != last || !now.all_stored(before) {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(true)
}

/// What the services say they dropped because a queue was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dropped {
    pub(crate) spans: u64,
    pub(crate) logs: u64,
}

const SPANS_PROCESSED: &str = "otel_sdk_processor_span_processed_total";
const LOGS_PROCESSED: &str = "otel_sdk_processor_log_processed_total";
const QUEUE_FULL: &str = "error_type=\"queue_full\"";

impl Dropped {
    /// What a page tells in series that were not there before; `None` where it tells nothing.
    fn read(page: &str, label: &str, before: &BTreeSet<String>) -> Option<Self> {
        let count = |name| {
            let new = samples(page, name).filter(|(labels, _)| {
                labels.contains(QUEUE_FULL) && labels.contains(label) && !before.contains(*labels)
            });
            let values: Vec<f64> = new.map(|(_, value)| value).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
        };
        Some(Self {
            spans: count(SPANS_PROCESSED)?,
            logs: count(LOGS_PROCESSED)?,
        })
    }
}

/// Edge pushes to the Collector, whose page holds other edges, too: the lab's own, and those measured before.
pub(crate) struct Pushed(BTreeSet<String>);

impl Pushed {
    const JOB: &str = "job=\"edge\"";

    /// Before the measured edge starts.
    pub(crate) async fn before(lab: &Lab) -> anyhow::Result<Self> {
        let page = Self::page(lab).await?;
        let labels = samples(&page, SPANS_PROCESSED).chain(samples(&page, LOGS_PROCESSED));
        Ok(Self(labels.map(|(labels, _)| labels.to_owned()).collect()))
    }

    /// After it stopped: the last it does is to push.
    pub(crate) async fn edge(&self, lab: &Lab) -> anyhow::Result<Option<Dropped>> {
        Ok(Dropped::read(&Self::page(lab).await?, Self::JOB, &self.0))
    }

    async fn page(lab: &Lab) -> anyhow::Result<String> {
        page(lab, "OTELCOL_PROMETHEUS_PORT", "the Collector").await
    }
}

/// What users drops is on its own page, while it runs and where it has one.
pub(crate) async fn users(lab: &Lab, ports: Ports) -> anyhow::Result<Option<Dropped>> {
    let url = format!("http://127.0.0.1:{}/metrics", ports.users);
    let answer = lab.http.get(&url).send().await;
    let answer = answer.with_context(|| format!("users does not answer {url}"))?;
    if !answer.status().is_success() {
        return Ok(None);
    }
    Ok(Dropped::read(&answer.text().await?, "", &BTreeSet::new()))
}

async fn page(lab: &Lab, port: &str, who: &str) -> anyhow::Result<String> {
    let url = format!("http://127.0.0.1:{}/metrics", lab.port(port)?);
    let answer = lab.http.get(&url).send().await.with_context(|| {
        format!(
            "{who} does not answer at {url}: it may have died, see {}",
            lab.logs().display()
        )
    })?;
    if !answer.status().is_success() {
        bail!("{who} answered {} at {url}", answer.status());
    }
    answer
        .text()
        .await
        .with_context(|| format!("{who} broke off at {url}"))
}

/// The sum of the samples of one name whose labels hold a text.
fn sum(page: &str, name: &str, label: &str) -> u64 {
    samples(page, name)
        .filter(|(labels, _)| labels.contains(label))
        .map(|(_, value)| value)
        .sum::<f64>() as u64
}

/// The samples of one name: labels and value.
fn samples<'a>(page: &'a str, name: &str) -> impl Iterator<Item = (&'a str, f64)> {
    page.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once('}')?,
            None => ("", rest),
        };
        if !value.starts_with(' ') {
            return None;
        }
        let value = value.split_whitespace().next()?.parse().ok()?;
        Some((labels, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_are_added_up() {
        let page = "# HELP spans_total x\n# TYPE spans_total counter\n\
            spans_total{receiver=\"otlp\",transport=\"grpc\"} 10\n\
            spans_total{receiver=\"otlp\",transport=\"http\"} 2.5e+01\n\
            spans_total{receiver=\"filelog\"} 7 1700000000\n\
            spans_total_created{receiver=\"otlp\"} 99\nplain 3\n";
        assert_eq!(sum(page, "spans_total", "receiver=\"otlp\""), 35);
        assert_eq!(sum(page, "spans_total", ""), 42);
        assert_eq!(sum(page, "plain", ""), 3);
        assert_eq!(sum(page, "absent", ""), 0);
    }

    #[test]
    fn dropped_is_what_the_measured_services_say() {
        let users = "otel_sdk_processor_span_processed_total{} 90\n\
            otel_sdk_processor_span_processed_total{error_type=\"queue_full\"} 7\n\
            otel_sdk_processor_log_processed_total{error_type=\"queue_full\"} 0\n";
        let none = BTreeSet::new();
        let dropped = Dropped::read(users, "", &none).unwrap();
        assert_eq!((dropped.spans, dropped.logs), (7, 0));
        assert_eq!(Dropped::read("plain 3\n", "", &none), None);

        let pushed = |instance: &str, spans: u64| {
            let labels = format!("error_type=\"queue_full\",instance=\"{instance}\",job=\"edge\"");
            let page = format!(
                "otel_sdk_processor_span_processed_total{{{labels}}} {spans}\n\
                otel_sdk_processor_log_processed_total{{{labels}}} 3\n"
            );
            (page, labels)
        };
        let (idle, labels) = pushed("idle", 100);
        let (measured, _) = pushed("measured", 20);
        let before = BTreeSet::from([labels]);
        let page = idle.clone() + &measured;
        let dropped = Dropped::read(&page, Pushed::JOB, &before).unwrap();
        assert_eq!((dropped.spans, dropped.logs), (20, 3));
        // It did not push: nothing is known, which is not nothing.
        assert_eq!(Dropped::read(&idle, Pushed::JOB, &before), None);
    }

    #[test]
    fn stored_counts_from_where_it_began() {
        let before = Counters {
            spans_received: 5,
            spans_acknowledged: 3,
            spans_stored: 4,
            ..Counters::default()
        };
        let after = Counters {
            spans_received: 15,
            spans_acknowledged: 12,
            // Some of them twice: what is missing does not hide behind them.
            spans_stored: 20,
            ..Counters::default()
        };
        assert!(!after.all_stored(before));
        let later = Counters {
            spans_acknowledged: 13,
            ..after
        };
        assert!(later.all_stored(before));
        assert_eq!(later.since(before).repeated(), 6);
        let not_counted = Counters {
            spans_stored: 13,
            ..later
        };
        assert!(!not_counted.all_stored(before));
    }
}
