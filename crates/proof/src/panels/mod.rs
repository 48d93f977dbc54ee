//! Every panel of every dashboard of Grafana: its queries are run against the real backends, with its variables put in. A
//! panel that shows nothing fails.

mod ask;
mod dashboard;
mod react;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use self::ask::Desk;
use self::dashboard::{Panel, Question, Variable};
use crate::backend::Edge;
use crate::backends::{Backends, Part};
use crate::grafana::substitute::{Scope, Value};
use crate::http::AskError;
use crate::poll;
use crate::report::{Failure, Link, Outcome, Report};
use crate::traceparent::Traceparent;
use crate::verify::{Event, Tell, asking_prometheus};

pub use self::dashboard::{Dashboard, LoadError};
pub use self::react::{Fault, Reaction, Reactions, react};

/// How panels are verified.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long all panels together may take.
    pub timeout: Duration,
    /// How often Prometheus scrapes, as Grafana's datasource says it: rates are over four times that.
    pub scrape_interval: Duration,
}

/// Metrics come every few seconds: asking more often is no sooner answered.
const INTERVAL: Duration = Duration::from_secs(1);
/// Of a variable with more values than this, the first are enough.
const CHOICES: usize = 12;
/// While panels are asked, each of these is requested again and again: no requests, no rates.
const PATHS: [&str; 4] = ["/", "/users", "/user/admin", "/albums"];
const PAUSE: Duration = Duration::from_millis(200);

/// Runs every query of every panel.
///
/// # Errors
/// When no HTTP client can be made. Everything else is in the report.
pub async fn verify(
    backends: &Backends,
    dashboards: &[Dashboard],
    options: &Options,
    tell: Tell<'_>,
) -> Result<Report, AskError> {
    let desk = Desk::new(backends, options)?;
    let deadline = Instant::now() + options.timeout;
    tell(Event::Sending);
    let asking = join_all(
        dashboards
            .iter()
            .map(|dashboard| of_dashboard(&desk, dashboard, deadline, tell)),
    );
    let links = with_traffic(desk.edge.as_ref(), asking).await;
    Ok(Report::new(links.into_iter().flatten().collect()))
}

/// Does something while requests go to edge.
async fn with_traffic<T>(edge: Option<&Edge>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        never = traffic(edge) => match never {},
    }
}

async fn traffic(edge: Option<&Edge>) -> Infallible {
    loop {
        if let Some(edge) = edge {
            join_all(PATHS.map(|path| async move {
                let traceparent = Traceparent::random().to_string();
                // That edge answers is what `verify` proves; here it only has something to count.
                drop(edge.get(path, &traceparent).await);
            }))
            .await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn of_dashboard(
    desk: &Desk<'_>,
    dashboard: &Dashboard,
    deadline: Instant,
    tell: Tell<'_>,
) -> Vec<Link> {
    let scopes = if desk.backends.missing(Part::Prometheus).is_some() {
        // Its panels say so themselves.
        Ok(vec![Choice::none(desk.built_in(dashboard))])
    } else {
        choices(desk, dashboard, deadline).await
    };
    join_all(dashboard.panels.iter().map(|panel| {
        let scopes = &scopes;
        async move {
            let name = format!("{}: {}", dashboard.title, panel.title);
            let begin = Instant::now();
            tell(Event::Started { link: &name });
            let (result, asked, answer) = match absent(desk.backends, panel) {
                Some(why) => (Outcome::NotApplicable, String::new(), why),
                None => match scopes {
                    Err(failure) => (Outcome::Fail, String::new(), failure.to_string()),
                    Ok(choices) => {
                        of_panel(desk, &name, dashboard, panel, choices, deadline, tell).await
                    }
                },
            };
            let seconds = (begin.elapsed().as_secs_f64() * 1e4).round() / 1e4;
            let link = Link {
                name,
                result,
                asked,
                answer,
                seconds,
            };
            tell(Event::Done(&link));
            link
        }
    }))
    .await
}

fn absent(backends: &Backends, panel: &Panel) -> Option<String> {
    let parts = panel.questions.iter().map(|question| question.ask.part());
    parts.filter_map(|part| backends.missing(part)).next()
}

async fn of_panel(
    desk: &Desk<'_>,
    name: &str,
    dashboard: &Dashboard,
    panel: &Panel,
    choices: &[Choice],
    deadline: Instant,
    tell: Tell<'_>,
) -> (Outcome, String, String) {
    let all: Vec<(&Choice, &Question)> = choices
        .iter()
        .flat_map(|choice| {
            panel
                .questions
                .iter()
                .map(move |question| (choice, question))
        })
        .collect();
    // What was answered once is not asked again.
    let (answered, series) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let waiting = |failure: &Failure| {
        tell(Event::Waiting {
            link: name,
            came: &failure.came,
        });
    };
    let outcome = poll::every(INTERVAL, deadline, &waiting, || async {
        while let Some((choice, question)) = all.get(answered.load(Ordering::Relaxed)) {
            let found = desk
                .ask(&question.ask, &choice.scope, dashboard.range)
                .await
                .map_err(|failure| choice.told(failure))?;
            series.fetch_add(found, Ordering::Relaxed);
            answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
    .await;
    let at = answered
        .load(Ordering::Relaxed)
        .min(all.len().saturating_sub(1));
    let asked = all
        .get(at)
        .map(|(choice, question)| desk.asked(&question.ask, &choice.scope))
        .unwrap_or_default();
    match outcome {
        Ok(()) => {
            let chosen: Vec<&str> = choices
                .iter()
                .map(|choice| choice.name.as_str())
                .filter(|name| !name.is_empty())
                .collect();
            let of = if chosen.is_empty() {
                String::new()
            } else {
                format!(" for each of {}", chosen.join(", "))
            };
            let (queries, series) = (panel.questions.len(), series.load(Ordering::Relaxed));
            let answer = format!("{queries} queries{of}: {series} series");
            (
                Outcome::Ok,
                asked,
                answer.replacen("1 queries", "1 query", 1),
            )
        }
        Err(failure) => (Outcome::Fail, asked, failure.to_string()),
    }
}

/// One choice of every variable.
struct Choice {
    /// `users`; of what has only one choice, nothing.
    name: String,
    scope: Scope,
}

impl Choice {
    fn none(scope: Scope) -> Self {
        Self {
            name: String::new(),
            scope,
        }
    }

    fn told(&self, mut failure: Failure) -> Failure {
        if !self.name.is_empty() {
            failure.came = format!("{} for {}", failure.came, self.name);
        }
        failure
    }
}

/// Every choice that the dashboard offers, by asking for its variables' values.
async fn choices(
    desk: &Desk<'_>,
    dashboard: &Dashboard,
    deadline: Instant,
) -> Result<Vec<Choice>, Failure> {
    let mut choices = vec![Choice::none(desk.built_in(dashboard))];
    for variable in &dashboard.variables {
        let mut more = Vec::new();
        for choice in &choices {
            for value in values(desk, variable, &choice.scope, deadline).await? {
                let mut scope = choice.scope.clone();
                let mut name = choice.name.clone();
                if let Value::One(text) = &value {
                    let and = if name.is_empty() { "" } else { " and " };
                    name = format!("{name}{and}{text}");
                }
                scope.insert(variable.name.clone(), value);
                more.push(Choice { name, scope });
            }
        }
        choices = more;
    }
    Ok(choices)
}

async fn values(
    desk: &Desk<'_>,
    variable: &Variable,
    scope: &Scope,
    deadline: Instant,
) -> Result<Vec<Value>, Failure> {
    let selector = ask::put_in(&variable.series, scope)?;
    let found = poll::every(INTERVAL, deadline, &|_| {}, || async {
        let found = desk
            .prometheus()?
            .label_values(&variable.label, &selector)
            .await
            .map_err(asking_prometheus)?;
        if found.is_empty() {
            return Err(Failure::new(
                format!("values for the variable ${}", variable.name),
                format!("no series {selector} has a label {}", variable.label),
                "what makes these series, then dashboards/src",
            ));
        }
        Ok(found)
    })
    .await?;
    Ok(match &variable.all {
        Some(all) => vec![Value::All(all.clone())],
        None => found.into_iter().take(CHOICES).map(Value::One).collect(),
    })
}

/// The variables that Grafana makes itself.
fn built_in(range: Duration, scrape_interval: Duration) -> Scope {
    let seconds = |time: Duration| Value::One(format!("{}s", time.as_secs().max(1)));
    let rate = seconds(scrape_interval * 4);
    BTreeMap::from([
        ("__rate_interval".to_owned(), rate.clone()),
        // Loki's own.
        ("__auto".to_owned(), rate),
        ("__interval".to_owned(), seconds(scrape_interval)),
        ("__range".to_owned(), seconds(range)),
    ])
}
