//! What is compared. A configuration is data: a chain, and the environment of its two services.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// An edge that asks users, who asks PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Chain {
    /// The lab's own services.
    Rust,
    /// Flask and FastAPI, OpenTelemetry's auto-instrumentation.
    Python,
    /// net/http and pgx, OpenTelemetry's instrumentation libraries.
    Go,
}

impl Chain {
    /// Spans that one `GET /users` makes, at the least: server, client, server, query. Go's pool and
    /// Python's ASGI layer add their own.
    pub(crate) const fn spans_a_request(self) -> u64 {
        match self {
            Self::Rust => 4,
            Self::Go => 5,
            Self::Python => 6,
        }
    }

    /// Log records that one `GET /users` makes, at the least: one of the handler's, two access logs.
    pub(crate) const fn logs_a_request(self) -> u64 {
        match self {
            Self::Rust | Self::Go => 3,
            // The handlers' own; not every server has an access log.
            Self::Python => 2,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Config {
    /// How it is called in tables, in JSON and on the command line.
    pub(crate) name: &'static str,
    pub(crate) chain: Chain,
    /// For a person.
    pub(crate) what: &'static str,
    /// For both services.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// On top, for one of them.
    pub(crate) edge: &'static [(&'static str, &'static str)],
    pub(crate) users: &'static [(&'static str, &'static str)],
    /// Spans, log records: whether any are to be expected.
    pub(crate) traces: bool,
    pub(crate) logs: bool,
    /// Telemetry goes where nothing is done with it, as if the backends had a machine of their own.
    pub(crate) remote: bool,
    /// Services and PostgreSQL keep to the half of the processors that the backends do not have.
    pub(crate) split: bool,
    /// Answers 200 in users where the build can do it; otherwise the configuration is skipped.
    pub(crate) needs: Option<&'static str>,
}

/// Every configuration of the Rust chain builds on this one.
const PLAIN: Config = Config {
    name: "off",
    chain: Chain::Rust,
    what: "`OTEL_SDK_DISABLED=true`",
    env: DISABLED,
    edge: &[],
    users: &[],
    traces: false,
    logs: false,
    remote: false,
    split: false,
    needs: None,
};

const DISABLED: &[(&str, &str)] = &[("OTEL_SDK_DISABLED", "true")];
const SILENT: &[(&str, &str)] = &[DISABLED[0], ("RUST_LOG", "off")];
const NO_PROFILES: (&str, &str) = ("TELEMETRY_PROFILING", "off");
const NO_METRICS: (&str, &str) = ("OTEL_METRICS_EXPORTER", "none");
const PUSHED: &[(&str, &str)] = &[("OTEL_METRICS_EXPORTER", "otlp")];
const SCRAPED: &[(&str, &str)] = &[("OTEL_METRICS_EXPORTER", "prometheus")];

/// The peers' SDKs drop what is above 2,048 items, and dropping is quicker than sending: with room for all
/// they do the work that ours does.
const QUEUES: &[(&str, &str)] = &[SPAN_QUEUE, LOG_QUEUE];
const TUNED: &[(&str, &str)] = &[("PEER_TUNED", "true"), SPAN_QUEUE, LOG_QUEUE];
const SPAN_QUEUE: (&str, &str) = ("OTEL_BSP_MAX_QUEUE_SIZE", "262144");
const LOG_QUEUE: (&str, &str) = ("OTEL_BLRP_MAX_QUEUE_SIZE", "262144");

/// The configuration that counts as "all signals on" in every goal.
pub(crate) const ALL: &str = "all";
pub(crate) const REMOTE: &str = "all remote";
pub(crate) const SPLIT: &str = "all split";
pub(crate) const OFF: &str = "off";
pub(crate) const OFF_SPLIT: &str = "off split";
pub(crate) const PROFILES: &str = "all+profiles";
pub(crate) const PYTHON: &str = "python";
pub(crate) const GO: &str = "go";

/// In the order of every table: each adds to the one before it.
pub(crate) static CONFIGS: [Config; 16] = [
    PLAIN,
    Config {
        name: "off+silent",
        what: "and no line on standard output, the access log included",
        env: SILENT,
        ..PLAIN
    },
    Config {
        name: "traces",
        what: "traces, all of them",
        env: &[NO_METRICS, ("OTEL_LOGS_EXPORTER", "none"), NO_PROFILES],
        traces: true,
        ..PLAIN
    },
    Config {
        name: "traces+logs",
        what: "and log records",
        env: &[NO_METRICS, NO_PROFILES],
        traces: true,
        logs: true,
        ..PLAIN
    },
    Config {
        name: "traces+logs+metrics",
        what: "and metrics: users scraped, edge pushing",
        env: &[("OTEL_METRICS_EXEMPLAR_FILTER", "always_off"), NO_PROFILES],
        edge: PUSHED,
        users: SCRAPED,
        traces: true,
        logs: true,
        ..PLAIN
    },
    Config {
        name: ALL,
        what: "and exemplars: all signals but profiles",
        env: &[NO_PROFILES],
        edge: PUSHED,
        users: SCRAPED,
        traces: true,
        logs: true,
        ..PLAIN
    },
    Config {
        name: REMOTE,
        what: "all, sent to who counts it and throws it away: the backends are on another machine",
        env: &[NO_PROFILES],
        edge: PUSHED,
        users: SCRAPED,
        traces: true,
        logs: true,
        remote: true,
        ..PLAIN
    },
    Config {
        name: OFF_SPLIT,
        what: "off, edge, users and PostgreSQL on one half of the processors; the backends are on the other",
        split: true,
        ..PLAIN
    },
    Config {
        name: SPLIT,
        what: "all, edge, users and PostgreSQL on one half of the processors; the backends are on the other",
        env: &[NO_PROFILES],
        edge: PUSHED,
        users: SCRAPED,
        traces: true,
        logs: true,
        split: true,
        ..PLAIN
    },
    Config {
        name: PROFILES,
        what: "and CPU profiles at their default rate",
        // The push finds nobody: nothing here speaks Pyroscope's protocol natively. Taking samples,
        // folding and encoding them costs what it costs.
        env: &[("PYROSCOPE_ENDPOINT", "http://127.0.0.1:9")],
        edge: PUSHED,
        users: SCRAPED,
        traces: true,
        logs: true,
        needs: Some("/debug/pprof/profile?seconds=1"),
        ..PLAIN
    },
    Config {
        name: "sdk",
        what: "all, by the SDK's batch processors and exporters",
        env: &[("TELEMETRY_OTLP_ENCODER", "sdk"), NO_PROFILES],
        edge: PUSHED,
        users: SCRAPED,
        traces: true,
        logs: true,
        ..PLAIN
    },
    Config {
        name: "python off",
        chain: Chain::Python,
        what: "Flask and FastAPI, no instrumentation",
        ..PLAIN
    },
    Config {
        name: PYTHON,
        chain: Chain::Python,
        what: "Flask and FastAPI as the lab's ancestor runs them, auto-instrumentation, all signals",
        env: QUEUES,
        traces: true,
        logs: true,
        ..PLAIN
    },
    Config {
        name: "python tuned",
        chain: Chain::Python,
        what: "the same under gunicorn, with kept connections and without access logs",
        env: TUNED,
        traces: true,
        logs: true,
        ..PLAIN
    },
    Config {
        name: "go off",
        chain: Chain::Go,
        what: "net/http and pgx, no instrumentation",
        ..PLAIN
    },
    Config {
        name: GO,
        chain: Chain::Go,
        what: "net/http and pgx, otelhttp, otelpgx, otelslog, all signals",
        env: QUEUES,
        traces: true,
        logs: true,
        ..PLAIN
    },
];

pub(crate) fn by_name(name: &str) -> Option<&'static Config> {
    CONFIGS.iter().find(|config| config.name == name)
}

/// For clap: the names of `--configs`.
pub(crate) fn parse(name: &str) -> Result<&'static Config, String> {
    by_name(name).ok_or_else(|| {
        let names: Vec<_> = CONFIGS.iter().map(|config| config.name).collect();
        format!("expected one of: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<_> = CONFIGS.iter().map(|config| config.name).collect();
        assert_eq!(names.len(), CONFIGS.len());
        for name in [ALL, OFF, REMOTE, OFF_SPLIT, SPLIT, PROFILES, PYTHON, GO] {
            assert!(by_name(name).is_some(), "{name}");
        }
        assert!(parse("al").unwrap_err().contains("traces+logs"));
    }

    #[test]
    fn only_switched_off_configurations_expect_nothing() {
        for config in &CONFIGS {
            let disabled = config.env.contains(&DISABLED[0]);
            assert_eq!(!config.traces, disabled, "{}", config.name);
        }
    }
}
