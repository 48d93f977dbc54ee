//! One query of a panel, put to its backend.

use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::dashboard::{Ask, Dashboard};
use super::{Options, built_in};
use crate::backend::{Edge, Jaeger, Loki, Prometheus, Tempo};
use crate::backends::{Backends, Part};
use crate::grafana::substitute::{Scope, substitute};
use crate::http::{AskError, Http};
use crate::report::Failure;
use crate::verify::asking_prometheus;

const TIMEOUT: Duration = Duration::from_secs(10);
/// What is older than this is not what the panel shows now.
const FRESH: Duration = Duration::from_secs(60);
/// Log lines and traces may be rarer.
const RECENT: Duration = Duration::from_secs(300);
/// As a browser does it: a few at once.
const AT_ONCE: usize = 6;

const LOOK: &str = "the query in dashboards/src, then whether its metric is there";

/// What Grafana's Tempo datasource asks Prometheus for a service map. Of what never failed there is no series of failures.
const SERVICE_MAP: [&str; 2] = [
    "sum by (client, server) (rate(traces_service_graph_request_total[$__range]))",
    "sum by (client, server) (rate(traces_service_graph_request_server_seconds_sum[$__range]))",
];

impl Ask {
    pub(super) fn part(&self) -> Part {
        match self {
            // The map is made of metrics.
            Self::Prometheus { .. } | Self::ServiceMap => Part::Prometheus,
            Self::Loki { .. } => Part::Loki,
            Self::Jaeger { .. } => Part::Jaeger,
            Self::TraceQl { .. } => Part::Tempo,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Prometheus { expr, .. } | Self::Loki { expr } => expr,
            Self::Jaeger { service } => service,
            Self::ServiceMap => SERVICE_MAP[0],
            Self::TraceQl { query } => query,
        }
    }
}

/// Everyone who can be asked.
pub(super) struct Desk<'a> {
    pub(super) backends: &'a Backends,
    pub(super) edge: Option<Edge>,
    prometheus: Option<Prometheus>,
    loki: Option<Loki>,
    jaeger: Option<Jaeger>,
    tempo: Option<Tempo>,
    scrape_interval: Duration,
    turns: Semaphore,
}

/// The query with its variables put in. What is unknown stays so: asking again does not help.
pub(super) fn put_in(text: &str, scope: &Scope) -> Result<String, Failure> {
    substitute(text, scope).map_err(|unknown| {
        Failure::new(
            format!("a value for every variable in `{text}`"),
            unknown.to_string(),
            "dashboards/src",
        )
        .settled()
    })
}

impl<'a> Desk<'a> {
    pub(super) fn new(backends: &'a Backends, options: &Options) -> Result<Self, AskError> {
        let http = Http::new(TIMEOUT)?;
        let there = |part, url: &Option<url::Url>| match backends.missing(part) {
            Some(_) => None,
            None => url.clone().map(|url| (http.clone(), url)),
        };
        Ok(Self {
            edge: there(Part::Edge, &backends.edge).map(|(http, url)| Edge::new(http, url)),
            prometheus: there(Part::Prometheus, &backends.prometheus)
                .map(|(http, url)| Prometheus::new(http, url)),
            loki: there(Part::Loki, &backends.loki).map(|(http, url)| Loki::new(http, url)),
            jaeger: there(Part::Jaeger, &backends.jaeger).map(|(http, url)| Jaeger::new(http, url)),
            tempo: there(Part::Tempo, &backends.tempo).map(|(http, url)| Tempo::new(http, url)),
            scrape_interval: options.scrape_interval,
            turns: Semaphore::new(AT_ONCE),
            backends,
        })
    }

    pub(super) fn built_in(&self, dashboard: &Dashboard) -> Scope {
        built_in(dashboard.range, self.scrape_interval)
    }

    pub(super) fn prometheus(&self) -> Result<&Prometheus, Failure> {
        self.prometheus
            .as_ref()
            .ok_or_else(|| absent(Part::Prometheus))
    }

    /// The address and the query, as they are asked.
    pub(super) fn asked(&self, ask: &Ask, scope: &Scope) -> String {
        let text = substitute(ask.text(), scope).unwrap_or_else(|_| ask.text().to_owned());
        let asked = match ask {
            Ask::Prometheus { instant: false, .. } => self
                .prometheus
                .as_ref()
                .map(|prometheus| prometheus.asked("/api/v1/query_range", &text)),
            Ask::Prometheus { .. } | Ask::ServiceMap => self
                .prometheus
                .as_ref()
                .map(|prometheus| prometheus.asked("/api/v1/query", &text)),
            Ask::Loki { .. } => self.loki.as_ref().map(|loki| loki.asked(&text)),
            Ask::Jaeger { .. } => Some(format!("traces of {text} in Jaeger")),
            Ask::TraceQl { .. } => self.tempo.as_ref().map(|tempo| tempo.asked(&text)),
        };
        asked.unwrap_or(text)
    }

    /// How many series, streams or traces came; none is a failure.
    pub(super) async fn ask(
        &self,
        ask: &Ask,
        scope: &Scope,
        range: Duration,
    ) -> Result<usize, Failure> {
        // Closed by nobody.
        let _turn = self.turns.acquire().await;
        let text = put_in(ask.text(), scope)?;
        let now = SystemTime::now();
        let found = match ask {
            Ask::Prometheus { instant: true, .. } => self.instant(&text).await?,
            Ask::Prometheus { .. } => {
                let step = self.scrape_interval;
                let series = self
                    .prometheus()?
                    .range(&text, now - FRESH, now, step)
                    .await;
                let series = series.map_err(refused)?;
                seen(series.iter().map(|one| one.values.as_slice()))?
            }
            Ask::ServiceMap => {
                let mut least = usize::MAX;
                for query in SERVICE_MAP {
                    least = least.min(self.instant(&put_in(query, scope)?).await?);
                }
                least
            }
            Ask::Loki { .. } => {
                let loki = self.loki.as_ref().ok_or_else(|| absent(Part::Loki))?;
                loki.count(&text, now - RECENT, now)
                    .await
                    .map_err(refused)?
            }
            Ask::Jaeger { .. } => {
                let jaeger = self.jaeger.as_ref().ok_or_else(|| absent(Part::Jaeger))?;
                jaeger.of_last_day(&text).await.map_err(refused)?.len()
            }
            Ask::TraceQl { .. } => {
                let tempo = self.tempo.as_ref().ok_or_else(|| absent(Part::Tempo))?;
                tempo.count(&text, range).await.map_err(refused)?
            }
        };
        if found == 0 {
            return Err(Failure::new("something to show", "nothing", LOOK));
        }
        Ok(found)
    }

    async fn instant(&self, query: &str) -> Result<usize, Failure> {
        let samples = self.prometheus()?.query(query).await.map_err(refused)?;
        let values: Vec<[f64; 1]> = samples.iter().map(|sample| [sample.value]).collect();
        seen(values.iter().map(<[f64; 1]>::as_slice))
    }

    /// The greatest value of all series of a query now.
    pub(super) async fn greatest(&self, ask: &Ask, scope: &Scope) -> Result<f64, Failure> {
        let query = put_in(ask.text(), scope)?;
        let samples = self.prometheus()?.query(&query).await.map_err(refused)?;
        let values = samples.iter().map(|sample| sample.value);
        values
            .filter(|value| value.is_finite())
            .max_by(f64::total_cmp)
            .ok_or_else(|| Failure::new("a value", "none", LOOK))
    }
}

/// How many series have a number to draw.
fn seen<'v>(series: impl Iterator<Item = &'v [f64]>) -> Result<usize, Failure> {
    let (mut all, mut drawn) = (0, 0);
    for values in series {
        all += 1;
        drawn += usize::from(values.iter().any(|value| value.is_finite()));
    }
    if all > 0 && drawn == 0 {
        return Err(Failure::new(
            "a number to show",
            format!("{all} series, and nothing but NaN in them"),
            "whether requests arrive; a ratio of nothing is no number",
        ));
    }
    Ok(drawn)
}

/// A query that a backend refuses is wrong, whenever it is asked.
fn refused(error: AskError) -> Failure {
    let settled = matches!(
        &error,
        AskError::Status {
            status: 400 | 422,
            ..
        }
    );
    let failure = Failure {
        look: LOOK.to_owned(),
        expected: "an answer".to_owned(),
        ..asking_prometheus(error)
    };
    if settled { failure.settled() } else { failure }
}

fn absent(part: Part) -> Failure {
    Failure::new(format!("{part}"), "it is absent", "`./lab status`").settled()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_of_nan_is_nothing_to_see() {
        let nan = f64::NAN;
        let count = |series: &[&[f64]]| seen(series.iter().copied());
        assert_eq!(count(&[&[nan, 1.0], &[nan]]), Ok(1));
        assert_eq!(count(&[]), Ok(0));
        let failure = count(&[&[nan], &[]]).expect_err("nothing to draw");
        assert!(failure.came.starts_with("2 series"), "{failure}");
    }

    #[test]
    fn only_a_refused_query_is_settled() {
        let status = |status| AskError::Status {
            asked: "GET http://h/".to_owned(),
            status,
            body: "parse error".to_owned(),
        };
        assert!(refused(status(400)).settled);
        assert!(!refused(status(503)).settled);
    }
}
