//! Sends requests to a running lab, then follows everything they left behind.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::backend::{
    Alertmanager, Answer, Edge, Jaeger, Loki, Prometheus, Pyroscope, Sample, total,
};
use crate::backends::{Backends, Part};
use crate::http::{AskError, Http};
use crate::links::{self, Planned};
use crate::poll;
use crate::report::{Failure, Link, Outcome, Report};
use crate::traceparent::Traceparent;

/// How a lab is verified.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long all links together may take.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
        }
    }
}

/// What is going on, for whoever waits.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Requests are being sent.
    Sending,
    /// A link is being followed.
    Started { link: &'a str },
    /// It leads nowhere yet.
    Waiting { link: &'a str, came: &'a str },
    /// It was followed.
    Done(&'a Link),
}

/// Hears of every event.
pub type Tell<'a> = &'a (dyn Fn(Event<'_>) + Sync);

/// A backend must answer within this time; edge may wait for its upstreams.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(5);
const EDGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a Prometheus that does not answer is given to start.
const START: Duration = Duration::from_secs(3);
/// Of the requests of one route, every sixteenth leaves an exemplar: enough for two.
pub(crate) const BURST: usize = 32;
const AT_ONCE: usize = 4;
/// A healthy lab answers the burst in a fraction of a second.
const BURST_TIMEOUT: Duration = Duration::from_secs(8);

/// However long the requests took, each link has this time.
const LEAST: Duration = Duration::from_secs(3);

/// Headers that the specification calls invalid. Each must start a new trace.
const BROKEN: [&str; 6] = [
    "garbage",
    "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e473z-00f067aa0ba902b7-01",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
];

/// One request that was sent, and what came.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) path: &'static str,
    pub(crate) traceparent: Traceparent,
    pub(crate) answer: Result<Answer, AskError>,
    pub(crate) took: Duration,
}

/// A request with a header that is not valid.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) header: &'static str,
    pub(crate) answer: Result<Answer, AskError>,
}

/// All requests of a verification.
#[derive(Debug)]
pub(crate) struct Requests {
    /// Before the first one.
    pub(crate) since: SystemTime,
    pub(crate) root: Sent,
    pub(crate) users: Sent,
    pub(crate) user: Sent,
    pub(crate) albums: Sent,
    pub(crate) broken: Vec<Broken>,
    /// More `/users`, by what came.
    pub(crate) burst: BTreeMap<String, usize>,
    pub(crate) burst_took: Duration,
}

impl Requests {
    /// Requests of route `/users` that got an answer.
    pub(crate) fn users_answered(&self) -> usize {
        let burst: usize = self
            .burst
            .iter()
            .filter(|(came, _)| came.parse::<u16>().is_ok())
            .map(|(_, count)| count)
            .sum();
        burst + usize::from(self.users.answer.is_ok())
    }
}

/// A verification under way: the clients, what was sent, and the counters as they were before.
pub(crate) struct Run<'a> {
    pub(crate) backends: &'a Backends,
    pub(crate) http: Http,
    pub(crate) requests: Requests,
    edge: Option<Edge>,
    jaeger: Option<Jaeger>,
    loki: Option<Loki>,
    prometheus: Option<Prometheus>,
    alertmanager: Option<Alertmanager>,
    pyroscope: Option<Pyroscope>,
    before: BTreeMap<&'static str, Result<Vec<Sample>, String>>,
    deadline: Instant,
    tell: Tell<'a>,
}

/// Verifies a lab.
///
/// # Errors
/// When no HTTP client can be made. Everything else is in the report.
pub async fn verify(
    backends: &Backends,
    options: &Options,
    tell: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Report, AskError> {
    let run = Run::begin(backends, options.timeout, tell).await?;
    let links = join_all(
        links::all(&run)
            .into_iter()
            .map(|planned| run.follow(planned)),
    )
    .await;
    Ok(Report::new(links))
}

impl<'a> Run<'a> {
    /// Notes the counters, then sends the requests.
    async fn begin(
        backends: &'a Backends,
        timeout: Duration,
        tell: Tell<'a>,
    ) -> Result<Self, AskError> {
        let deadline = Instant::now() + timeout;
        let http = Http::new(BACKEND_TIMEOUT)?;
        let patient = Http::new(EDGE_TIMEOUT)?;
        let there = |part, url: &Option<url::Url>| {
            backends
                .missing(part)
                .is_none()
                .then(|| url.clone())
                .flatten()
        };
        let edge = there(Part::Edge, &backends.edge).map(|url| Edge::new(patient, url));
        let prometheus = there(Part::Prometheus, &backends.prometheus)
            .map(|url| Prometheus::new(http.clone(), url));
        let mut before = BTreeMap::new();
        if let Some(prometheus) = &prometheus {
            let queries = links::counters();
            let values = join_all(queries.iter().map(|query| note(prometheus, query))).await;
            for (query, value) in queries.into_iter().zip(values) {
                before.insert(query, value.map_err(|error| error.to_string()));
            }
        }
        tell(Event::Sending);
        let requests = send(edge.as_ref()).await;
        Ok(Self {
            jaeger: there(Part::Jaeger, &backends.jaeger).map(|url| Jaeger::new(http.clone(), url)),
            loki: there(Part::Loki, &backends.loki).map(|url| Loki::new(http.clone(), url)),
            alertmanager: there(Part::Alertmanager, &backends.alertmanager)
                .map(|url| Alertmanager::new(http.clone(), url)),
            pyroscope: there(Part::Pyroscope, &backends.pyroscope)
                .map(|url| Pyroscope::new(http.clone(), url)),
            backends,
            http,
            requests,
            edge,
            prometheus,
            before,
            // A lab that took long to answer is still to be asked.
            deadline: deadline.max(Instant::now() + LEAST.min(timeout)),
            tell,
        })
    }

    async fn follow(&self, planned: Planned<'_>) -> Link {
        let begin = Instant::now();
        let (result, answer) = match planned
            .needs
            .iter()
            .find_map(|part| self.backends.missing(*part))
        {
            Some(reason) => (Outcome::NotApplicable, reason),
            None => {
                (self.tell)(Event::Started {
                    link: &planned.name,
                });
                // Every link keeps the deadline by itself; this one is for a link that does not.
                let limit = self.deadline + Duration::from_secs(1);
                match tokio::time::timeout_at(limit, planned.follow).await {
                    Ok(Ok(answer)) => (Outcome::Ok, answer),
                    Ok(Err(failure)) => (Outcome::Fail, failure.to_string()),
                    Err(_) => {
                        let failure =
                            Failure::new("an answer in time", "none", "a longer --timeout");
                        (Outcome::Fail, failure.to_string())
                    }
                }
            }
        };
        let spent = planned.spent + begin.elapsed();
        let seconds = (spent.as_secs_f64() * 1e4).round() / 1e4;
        let link = Link {
            name: planned.name,
            result,
            asked: planned.asked,
            answer,
            seconds,
        };
        (self.tell)(Event::Done(&link));
        link
    }

    /// Asks until the answer is right or the time is up, and tells about it.
    pub(crate) async fn until<T, F, Fut>(&self, link: &str, ask: F) -> Result<T, Failure>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let waiting = |failure: &Failure| {
            (self.tell)(Event::Waiting {
                link,
                came: &failure.came,
            });
        };
        poll::until(self.deadline, &waiting, ask).await
    }

    pub(crate) fn edge(&self) -> Result<&Edge, Failure> {
        self.edge.as_ref().ok_or_else(|| absent(Part::Edge))
    }

    pub(crate) fn jaeger(&self) -> Result<&Jaeger, Failure> {
        self.jaeger.as_ref().ok_or_else(|| absent(Part::Jaeger))
    }

    pub(crate) fn loki(&self) -> Result<&Loki, Failure> {
        self.loki.as_ref().ok_or_else(|| absent(Part::Loki))
    }

    pub(crate) fn prometheus(&self) -> Result<&Prometheus, Failure> {
        self.prometheus
            .as_ref()
            .ok_or_else(|| absent(Part::Prometheus))
    }

    pub(crate) fn alertmanager(&self) -> Result<&Alertmanager, Failure> {
        self.alertmanager
            .as_ref()
            .ok_or_else(|| absent(Part::Alertmanager))
    }

    pub(crate) fn pyroscope(&self) -> Result<&Pyroscope, Failure> {
        self.pyroscope
            .as_ref()
            .ok_or_else(|| absent(Part::Pyroscope))
    }

    /// The series of a counter as they were before the requests.
    pub(crate) fn before(&self, query: &str) -> Result<&[Sample], Failure> {
        match self.before.get(query) {
            Some(Ok(samples)) => Ok(samples),
            Some(Err(error)) => Err(Failure::new(
                "the counter's value before the requests",
                error.clone(),
                "`./lab status`, `./lab logs prometheus`",
            )
            .settled()),
            None => Err(absent(Part::Prometheus)),
        }
    }

    /// By how much a counter rose since before the requests.
    pub(crate) async fn rise(&self, query: &'static str) -> Result<f64, Failure> {
        let before = total(self.before(query)?);
        let now = self
            .prometheus()?
            .sum(query)
            .await
            .map_err(asking_prometheus)?;
        Ok(rise(before, now))
    }

    /// More requests to `/users`, for what only some of them leave behind.
    pub(crate) async fn send_more(&self, count: usize) -> Result<(), Failure> {
        burst(self.edge()?, count).await;
        Ok(())
    }
}

pub(crate) fn asking_prometheus(error: AskError) -> Failure {
    Failure::new(
        "an answer of Prometheus",
        error.to_string(),
        "`./lab status`, `./lab logs prometheus`",
    )
}

fn absent(part: Part) -> Failure {
    Failure::new(format!("{part}"), "it is absent", "`./lab status`").settled()
}

/// The value of a counter, from a Prometheus that may just be starting.
async fn note(prometheus: &Prometheus, query: &str) -> Result<Vec<Sample>, AskError> {
    let until = Instant::now() + START;
    loop {
        match prometheus.query(query).await {
            Err(AskError::Unreachable { .. } | AskError::Status { status: 503, .. })
                if Instant::now() < until =>
            {
                tokio::time::sleep(poll::INTERVAL).await;
            }
            answer => return answer,
        }
    }
}

/// A counter that fell has started again from zero.
pub(crate) fn rise(before: f64, now: f64) -> f64 {
    if now < before { now } else { now - before }
}

async fn send(edge: Option<&Edge>) -> Requests {
    let since = SystemTime::now();
    let one = |path| async move {
        let traceparent = Traceparent::random();
        let begin = Instant::now();
        let answer = match edge {
            Some(edge) => edge.get(path, &traceparent.to_string()).await,
            None => Err(AskError::Client("no edge here".to_owned())),
        };
        Sent {
            path,
            traceparent,
            answer,
            took: begin.elapsed(),
        }
    };
    let broken = BROKEN.map(|header| async move {
        let answer = match edge {
            Some(edge) => edge.get("/", header).await,
            None => Err(AskError::Client("no edge here".to_owned())),
        };
        Broken { header, answer }
    });
    let (root, users, user, albums, broken) = tokio::join!(
        one("/"),
        one("/users"),
        one("/user/admin"),
        one("/albums"),
        join_all(broken)
    );
    let begin = Instant::now();
    let burst = match edge {
        // Where one request is not served, thirty would only take longer.
        Some(edge)
            if users
                .answer
                .as_ref()
                .is_ok_and(|answer| answer.status == 200) =>
        {
            burst(edge, BURST).await
        }
        _ => BTreeMap::new(),
    };
    Requests {
        since,
        root,
        users,
        user,
        albums,
        broken,
        burst,
        burst_took: begin.elapsed(),
    }
}

/// Sends `count` requests and counts the answers by status, or by what was in the way.
async fn burst(edge: &Edge, count: usize) -> BTreeMap<String, usize> {
    let until = Instant::now() + BURST_TIMEOUT;
    let answers: Vec<String> = stream::iter(0..count)
        .map(|_| async move {
            let traceparent = Traceparent::random().to_string();
            match tokio::time::timeout_at(until, edge.get("/users", &traceparent)).await {
                Ok(Ok(answer)) => answer.status.to_string(),
                Ok(Err(_)) => "no answer".to_owned(),
                Err(_) => "late".to_owned(),
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_fell_began_again() {
        assert!((rise(5.0, 8.0) - 3.0).abs() < f64::EPSILON);
        assert!((rise(100.0, 4.0) - 4.0).abs() < f64::EPSILON);
    }

    #[test]
    fn broken_headers_are_broken() {
        for header in BROKEN {
            assert_eq!(Traceparent::parse(header), None, "{header}");
        }
    }
}
