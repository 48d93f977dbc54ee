//! Counters of the Collector and the backends, from the pages that Prometheus scrapes.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::lab::Lab;
use crate::sink::Sink;

/// What arrived where, since the backends started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) spans_received: u64,
    pub(crate) spans_refused: u64,
    pub(crate) spans_stored: u64,
    pub(crate) logs_received: u64,
    pub(crate) logs_refused: u64,
    pub(crate) logs_stored: u64,
}

impl Counters {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            spans_received: self.spans_received.saturating_sub(before.spans_received),
            spans_refused: self.spans_refused.saturating_sub(before.spans_refused),
            spans_stored: self.spans_stored.saturating_sub(before.spans_stored),
            logs_received: self.logs_received.saturating_sub(before.logs_received),
            logs_refused: self.logs_refused.saturating_sub(before.logs_refused),
            logs_stored: self.logs_stored.saturating_sub(before.logs_stored),
        }
    }

    fn all_stored(self, before: Self) -> bool {
        let new = self.since(before);
        new.spans_stored >= new.spans_received && new.logs_stored >= new.logs_received
    }
}

async fn read(lab: &Lab) -> anyhow::Result<Counters> {
    let collector = page(lab, "OTELCOL_METRICS_PORT", "the Collector").await?;
    let jaeger = page(lab, "JAEGER_METRICS_PORT", "Jaeger").await?;
    let loki = page(lab, "LOKI_PORT", "Loki").await?;
    Ok(Counters {
        spans_received: sum(&collector, "otelcol_receiver_accepted_spans_total", ""),
        spans_refused: sum(&collector, "otelcol_receiver_refused_spans_total", ""),
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
    page.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None => ("", rest),
            };
            if !labels.contains(label) || !value.starts_with(' ') {
                return None;
            }
            value.split_whitespace().next()?.parse::<f64>().ok()
        })
        .sum::<f64>() as u64
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
    fn stored_counts_from_where_it_began() {
        let before = Counters {
            spans_received: 5,
            spans_stored: 3,
            ..Counters::default()
        };
        let after = Counters {
            spans_received: 15,
            spans_stored: 12,
            ..Counters::default()
        };
        assert!(!after.all_stored(before));
        assert!(
            Counters {
                spans_stored: 13,
                ..after
            }
            .all_stored(before)
        );
    }
}
