//! Does a panel show what it is for? A fault is made, and the panel has to show it; it is healed, and the panel has to calm down.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use tokio::time::Instant;

use super::ask::Desk;
use super::dashboard::{Ask, Dashboard, LoadError};
use super::{INTERVAL, Options, with_traffic};
use crate::backends::{Backends, Part};
use crate::grafana::substitute::{Scope, Value};
use crate::http::AskError;
use crate::poll;
use crate::report::{Failure, Link, Outcome, Report};
use crate::verify::{Event, Tell};

/// A slow panel may still show what was broken before: its rates are over five minutes.
const LOOKS_BACK: Duration = Duration::from_secs(360);

/// Something that is broken on purpose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
pub enum Fault {
    /// Flags and their variants.
    Flags { flags: BTreeMap<String, String> },
    /// A part that is stopped.
    Stop { stop: String },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags { flags } => {
                let flags: Vec<String> = flags.iter().map(|(k, v)| format!("{k}={v}")).collect();
                f.write_str(&flags.join(" "))
            }
            Self::Stop { stop } => write!(f, "{stop} stopped"),
        }
    }
}

/// Which panel must show which fault.
#[derive(Clone, Debug, Deserialize)]
pub struct Reaction {
    dashboard: String,
    panel: String,
    pub fault: Fault,
    variables: BTreeMap<String, String>,
    /// Which of its queries, by legend; the first one if none is named.
    #[serde(default)]
    query: Option<String>,
    above: f64,
    /// It looks back for minutes, so that its end is not waited for.
    slow: bool,
}

/// What the dashboards are to show, by fault.
#[derive(Clone, Debug)]
pub struct Reactions(BTreeMap<Fault, Vec<Reaction>>);

impl Reactions {
    /// Reads `dashboards/reactions.json`.
    ///
    /// # Errors
    /// When it cannot be read, or is not what `dashboards/generate` writes.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        let all: Vec<Reaction> = serde_json::from_str(&text).map_err(|source| LoadError::Json {
            path: path.to_owned(),
            source,
        })?;
        let mut by_fault: BTreeMap<Fault, Vec<Reaction>> = BTreeMap::new();
        for reaction in all {
            by_fault
                .entry(reaction.fault.clone())
                .or_default()
                .push(reaction);
        }
        Ok(Self(by_fault))
    }

    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.0.keys()
    }
}

/// One panel that is watched.
struct Watched<'a> {
    name: String,
    reaction: &'a Reaction,
    ask: &'a Ask,
    scope: Scope,
}

/// Makes each fault, waits until every panel of it shows it, heals it, and waits until they calm down. `make` breaks
/// something, or heals it when it is told `false`.
///
/// # Errors
/// When no HTTP client can be made. Everything else is in the report.
pub async fn react(
    backends: &Backends,
    dashboards: &[Dashboard],
    reactions: &Reactions,
    options: &Options,
    make: impl AsyncFn(&Fault, bool) -> Result<(), String>,
    tell: Tell<'_>,
) -> Result<Report, AskError> {
    let desk = Desk::new(backends, options)?;
    tell(Event::Sending);
    let work = async {
        let mut links = Vec::new();
        let mut calming = Vec::new();
        for (fault, reactions) in &reactions.0 {
            let (watched, wrong) = watched(&desk, dashboards, reactions);
            links.extend(wrong);
            if watched.is_empty() {
                continue;
            }
            let shown = shows(&desk, fault, &watched, options.timeout, &make, tell).await;
            for (watched, outcome) in watched.into_iter().zip(shown) {
                match outcome {
                    Ok(shown) if !watched.reaction.slow => calming.push((watched, shown)),
                    other => links.push(link(&watched, other.map(|shown| shown.told()), tell)),
                }
            }
        }
        // By now the first are calm already: one wait is enough for all.
        links.extend(calm(&desk, calming, options.timeout, tell).await);
        links
    };
    Ok(Report::new(with_traffic(desk.edge.as_ref(), work).await))
}

/// The panels of one fault, and what is wrong with those that cannot be watched.
fn watched<'a>(
    desk: &Desk<'_>,
    dashboards: &'a [Dashboard],
    reactions: &'a [Reaction],
) -> (Vec<Watched<'a>>, Vec<Link>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for reaction in reactions {
        match find(desk, dashboards, reaction) {
            Ok(watched) => found.push(watched),
            Err(what) => wrong.push(Link {
                name: format!("{}: {}", reaction.dashboard, reaction.panel),
                result: Outcome::Fail,
                asked: String::new(),
                answer: Failure::new("a panel to watch", what, "`dashboards/generate`").to_string(),
                seconds: 0.0,
            }),
        }
    }
    (found, wrong)
}

fn find<'a>(
    desk: &Desk<'_>,
    dashboards: &'a [Dashboard],
    reaction: &'a Reaction,
) -> Result<Watched<'a>, String> {
    let dashboard = dashboards
        .iter()
        .find(|dashboard| dashboard.uid == reaction.dashboard)
        .ok_or_else(|| format!("there is no dashboard {}", reaction.dashboard))?;
    let panel = dashboard
        .panel(&reaction.panel)
        .ok_or_else(|| format!("{} has no panel `{}`", dashboard.uid, reaction.panel))?;
    let question = match &reaction.query {
        None => panel.questions.first(),
        Some(name) => panel
            .questions
            .iter()
            .find(|question| question.legend == *name),
    };
    let ask = &question
        .ok_or_else(|| format!("`{}` has no query {:?}", panel.title, reaction.query))?
        .ask;
    if !matches!(ask, Ask::Prometheus { .. }) {
        return Err(format!("`{}` does not ask Prometheus", panel.title));
    }
    let mut scope = desk.built_in(dashboard);
    for variable in &dashboard.variables {
        let value = match (reaction.variables.get(&variable.name), &variable.all) {
            (Some(value), Some(_)) => Value::Any(vec![value.clone()]),
            (Some(value), None) => Value::One(value.clone()),
            (None, Some(all)) => Value::All(all.clone()),
            (None, None) => return Err(format!("no value is given for ${}", variable.name)),
        };
        scope.insert(variable.name.clone(), value);
    }
    Ok(Watched {
        name: format!(
            "{}: {} shows {}",
            dashboard.title, panel.title, reaction.fault
        ),
        reaction,
        ask,
        scope,
    })
}

/// What a panel showed before and during its fault.
struct Shown {
    before: f64,
    during: f64,
    after: Duration,
}

impl Shown {
    fn told(&self) -> (String, Duration) {
        let told = format!(
            "{} before, {} after {:.1} s",
            number(self.before),
            number(self.during),
            self.after.as_secs_f64()
        );
        (told, self.after)
    }
}

async fn shows(
    desk: &Desk<'_>,
    fault: &Fault,
    watched: &[Watched<'_>],
    timeout: Duration,
    make: &impl AsyncFn(&Fault, bool) -> Result<(), String>,
    tell: Tell<'_>,
) -> Vec<Result<Shown, Failure>> {
    if let Some(why) = desk.backends.missing(Part::Prometheus) {
        return watched
            .iter()
            .map(|_| Err(Failure::new("prometheus", why.clone(), "`./lab status`").settled()))
            .collect();
    }
    // A panel that shows the fault before there is one proves nothing.
    let before = join_all(watched.iter().map(|watched| {
        let timeout = if watched.reaction.slow {
            timeout.max(LOOKS_BACK)
        } else {
            timeout
        };
        until(desk, watched, timeout, tell, move |value| {
            value <= watched.reaction.above
        })
    }))
    .await;
    let made = make(fault, true).await;
    let begin = Instant::now();
    let during = match &made {
        Ok(()) => {
            join_all(watched.iter().map(|watched| {
                until(desk, watched, timeout, tell, move |value| {
                    value > watched.reaction.above
                })
            }))
            .await
        }
        Err(_) => Vec::new(),
    };
    let healed = make(fault, false).await;
    if let Err(why) = made.and(healed) {
        return watched
            .iter()
            .map(|_| Err(Failure::new(format!("{fault}"), why.clone(), "`./lab status`").settled()))
            .collect();
    }
    before
        .into_iter()
        .zip(during)
        .map(|(before, during)| {
            let ((before, _), (during, at)) = (before?, during?);
            let after = at.duration_since(begin);
            Ok(Shown {
                before,
                during,
                after,
            })
        })
        .collect()
}

async fn calm(
    desk: &Desk<'_>,
    calming: Vec<(Watched<'_>, Shown)>,
    timeout: Duration,
    tell: Tell<'_>,
) -> Vec<Link> {
    join_all(calming.into_iter().map(|(watched, shown)| async move {
        let calm = |value| value <= watched.reaction.above;
        let outcome = until(desk, &watched, timeout, tell, calm)
            .await
            .map(|(value, _)| {
                let (told, after) = shown.told();
                (format!("{told}, {} when healed", number(value)), after)
            });
        link(&watched, outcome, tell)
    }))
    .await
}

/// Waits for a value, and tells when it came.
async fn until(
    desk: &Desk<'_>,
    watched: &Watched<'_>,
    timeout: Duration,
    tell: Tell<'_>,
    right: impl Fn(f64) -> bool,
) -> Result<(f64, Instant), Failure> {
    tell(Event::Started {
        link: &watched.name,
    });
    let waiting = |failure: &Failure| {
        tell(Event::Waiting {
            link: &watched.name,
            came: &failure.came,
        });
    };
    poll::every(INTERVAL, Instant::now() + timeout, &waiting, || async {
        let value = desk.greatest(watched.ask, &watched.scope).await?;
        if right(value) {
            return Ok((value, Instant::now()));
        }
        let above = watched.reaction.above;
        let side = if value > above {
            "at most"
        } else {
            "more than"
        };
        Err(Failure::new(
            format!("{side} {}", number(above)),
            number(value),
            "the panel in Grafana or the console, `./lab fault list`, dashboards/src",
        ))
    })
    .await
}

fn link(
    watched: &Watched<'_>,
    outcome: Result<(String, Duration), Failure>,
    tell: Tell<'_>,
) -> Link {
    let asked = match watched.ask {
        Ask::Prometheus { expr, .. } => super::ask::put_in(expr, &watched.scope),
        _ => Ok(String::new()),
    };
    let (result, answer, after) = match outcome {
        Ok((told, after)) => (Outcome::Ok, told, after),
        Err(failure) => (Outcome::Fail, failure.to_string(), Duration::ZERO),
    };
    let link = Link {
        name: watched.name.clone(),
        result,
        asked: asked.unwrap_or_default(),
        answer,
        seconds: (after.as_secs_f64() * 1e4).round() / 1e4,
    };
    tell(Event::Done(&link));
    link
}

/// Three digits are enough to see it.
fn number(value: f64) -> String {
    if value == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_reactions_name_panels_that_there_are() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let dashboards =
            Dashboard::load(&root.join("infra/grafana/dashboards")).expect("dashboards");
        let reactions =
            Reactions::load(&root.join("dashboards/reactions.json")).expect("reactions");
        let backends = Backends::default();
        let options = Options {
            timeout: Duration::ZERO,
            scrape_interval: Duration::from_secs(5),
        };
        let desk = Desk::new(&backends, &options).expect("clients");
        let mut shown: Vec<&str> = Vec::new();
        for reaction in reactions.0.values().flatten() {
            find(&desk, &dashboards, reaction).expect("a panel");
            shown.push(&reaction.dashboard);
        }
        shown.sort_unstable();
        let mut all: Vec<&str> = dashboards.iter().map(|one| one.uid.as_str()).collect();
        all.sort_unstable();
        assert_eq!(shown, all, "every dashboard has one");
    }

    #[test]
    fn a_fault_is_told_as_it_is_made() {
        let flags = r#"{"flags": {"users-error-share": "half"}}"#;
        let fault: Fault = serde_json::from_str(flags).expect("a fault");
        assert_eq!(fault.to_string(), "users-error-share=half");
        let fault: Fault = serde_json::from_str(r#"{"stop": "jaeger"}"#).expect("a fault");
        assert_eq!(fault.to_string(), "jaeger stopped");
        assert!(serde_json::from_str::<Fault>(r#"{"burn": 1}"#).is_err());
    }
}
