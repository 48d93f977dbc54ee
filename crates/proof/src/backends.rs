//! Which parts of a lab are there, and where.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use url::Url;

/// A part of the lab that a link may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Edge,
    Users,
    Albums,
    /// The log lines of albums reach Loki only where something reads its log file.
    AlbumsLogs,
    Jaeger,
    Loki,
    Prometheus,
    Alertmanager,
    Collector,
    Console,
    Postgres,
    Tempo,
    Pyroscope,
    /// The shipped provisioning of Grafana: files, so that it is there without Grafana.
    GrafanaFiles,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edge => "edge",
            Self::Users => "users",
            Self::Albums => "albums",
            Self::AlbumsLogs => "collection of albums' logs",
            Self::Jaeger => "jaeger",
            Self::Loki => "loki",
            Self::Prometheus => "prometheus",
            Self::Alertmanager => "alertmanager",
            Self::Collector => "otel-collector",
            Self::Console => "console",
            Self::Postgres => "postgres",
            Self::Tempo => "tempo",
            Self::Pyroscope => "pyroscope",
            Self::GrafanaFiles => "provisioning of Grafana",
        })
    }
}

/// The addresses of a lab. What is `None` is absent in this place, and links that need it are `n/a`.
#[derive(Clone, Debug, Default)]
pub struct Backends {
    pub edge: Option<Url>,
    pub users: Option<Url>,
    pub albums: Option<Url>,
    pub jaeger: Option<Url>,
    pub loki: Option<Url>,
    pub prometheus: Option<Url>,
    pub alertmanager: Option<Url>,
    /// The Collector's health check.
    pub collector: Option<Url>,
    /// The lab in a browser.
    pub console: Option<Url>,
    /// `postgres://user:password@host:port/database`
    pub postgres: Option<String>,
    pub tempo: Option<Url>,
    pub pyroscope: Option<Url>,
    /// The folder that Grafana is provisioned from.
    pub grafana: Option<PathBuf>,
    /// Why a part is absent. A part named here is absent even if it has an address.
    pub absent: BTreeMap<Part, String>,
}

impl Backends {
    /// The reason why `part` is absent, or `None` when it is there.
    #[must_use]
    pub fn missing(&self, part: Part) -> Option<String> {
        if let Some(reason) = self.absent.get(&part) {
            return Some(format!("no {part} here: {reason}"));
        }
        let there = match part {
            Part::AlbumsLogs => true,
            Part::Postgres => self.postgres.is_some(),
            Part::GrafanaFiles => self.grafana.is_some(),
            _ => self.url(part).is_some(),
        };
        (!there).then(|| format!("no {part} here"))
    }

    fn url(&self, part: Part) -> Option<&Url> {
        match part {
            Part::Edge => self.edge.as_ref(),
            Part::Users => self.users.as_ref(),
            Part::Albums => self.albums.as_ref(),
            Part::Jaeger => self.jaeger.as_ref(),
            Part::Loki => self.loki.as_ref(),
            Part::Prometheus => self.prometheus.as_ref(),
            Part::Alertmanager => self.alertmanager.as_ref(),
            Part::Collector => self.collector.as_ref(),
            Part::Console => self.console.as_ref(),
            Part::Tempo => self.tempo.as_ref(),
            Part::Pyroscope => self.pyroscope.as_ref(),
            Part::AlbumsLogs | Part::Postgres | Part::GrafanaFiles => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_part_says_why() {
        let mut backends = Backends {
            jaeger: Url::parse("http://127.0.0.1:16686").ok(),
            ..Backends::default()
        };
        assert_eq!(backends.missing(Part::Jaeger), None);
        assert_eq!(
            backends.missing(Part::Loki),
            Some("no loki here".to_owned())
        );
        assert_eq!(backends.missing(Part::AlbumsLogs), None);
        backends
            .absent
            .insert(Part::Jaeger, "compose only".to_owned());
        assert_eq!(
            backends.missing(Part::Jaeger),
            Some("no jaeger here: compose only".to_owned())
        );
    }
}
