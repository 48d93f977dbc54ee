//! `lab verify`: sends requests to the lab and follows everything they leave behind.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use comfy_table::{Cell, CellAlignment};
use proof::{AskError, Backends, Event, Link, Options, Outcome, Part, Report, Tell};

use crate::Lab;
use crate::compose;
use crate::printer::{self, BAD, DIM, GOOD, WARN, duration, styled};
use crate::settings::{self, Port};
use crate::state::{ComponentState, Phase, State};
use crate::verbs::up::{Engine, Watch, goal_reached};
use crate::verbs::{panels, status};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The lab that is meant; `auto` takes the one that runs
    #[arg(long, value_enum, env = settings::ENGINE, default_value = "auto")]
    engine: Engine,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Run the queries of every panel of Grafana's dashboards instead; one that shows nothing fails
    #[arg(long)]
    panels: bool,
    /// Make the fault that one panel of each dashboard is to show, look for it there, and heal it
    #[arg(long, requires = "panels")]
    react: bool,
    /// How long all links together, all panels, or one fault may take, in seconds; 30, for panels 180
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: Option<u64>,
    /// How long to wait for parts that are still being prepared, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(0..=86400))]
    wait: u64,
    /// Show also what was asked
    #[arg(long)]
    how: bool,
}

/// How often the progress line is drawn again.
const TICK: Duration = Duration::from_millis(200);
const STEP: &str = "verify";

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let state = match args.engine {
        Engine::Compose => in_containers(lab).await?,
        Engine::Auto if lab.running()?.is_none() => in_containers(lab).await?,
        Engine::Auto | Engine::Native => ready(lab, Duration::from_secs(args.wait)).await?,
    };
    let backends = backends(lab, &state)?;
    let timeout = |default| Duration::from_secs(args.timeout.unwrap_or(default));
    let began = Instant::now();
    let (report, noun) = if args.panels {
        let options = panels::options(lab, timeout(180))?;
        let report = if args.react {
            panels::react(lab, &state, &backends, &options).await?
        } else {
            panels::verify(lab, &backends, &options).await?
        };
        (report, "panels")
    } else {
        let options = Options {
            timeout: timeout(30),
        };
        (links(lab, &backends, &options).await?, "links")
    };
    if args.json {
        lab.printer.json(&report)?;
    } else {
        show(lab, &report, noun, args.how, began.elapsed());
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The state of a lab in which nothing is being prepared any more.
pub(crate) async fn ready(lab: &Lab, patience: Duration) -> anyhow::Result<State> {
    let Some(state) = lab.running()? else {
        bail!(
            "no native lab is running, so there is nothing to verify; `./lab up --engine native` starts one"
        );
    };
    if goal_reached(&state, true) {
        return Ok(state);
    }
    lab.printer
        .note("some parts are still being prepared; waiting for them");
    let mut watch = Watch::new(lab);
    let waited =
        tokio::time::timeout(patience, watch.until(|state| goal_reached(state, true))).await;
    lab.printer.clear_steps();
    match waited {
        Ok(state) => state,
        Err(_) => bail!(
            "parts of the lab are still being prepared after {}: `./lab status` shows how far, `--wait` waits longer",
            duration(patience)
        ),
    }
}

/// The compose lab; `up` has waited for all of it.
pub(crate) async fn in_containers(lab: &Lab) -> anyhow::Result<State> {
    compose::running(lab)
        .await?
        .with_context(|| "no lab is running; `./lab up` starts one".to_owned())
}

/// The component behind each part, and its port.
const PARTS: [(Part, &str, Port); 10] = [
    (Part::Edge, "edge", Port::Edge),
    (Part::Users, "users", Port::Users),
    (Part::Albums, "albums", Port::Albums),
    (Part::Jaeger, "jaeger", Port::Jaeger),
    (Part::Loki, "loki", Port::Loki),
    (Part::Prometheus, "prometheus", Port::Prometheus),
    (Part::Alertmanager, "alertmanager", Port::Alertmanager),
    (Part::Collector, "otel-collector", Port::OtelcolHealth),
    (Part::Console, "console", Port::Console),
    (Part::Postgres, "postgres", Port::Postgres),
];

/// Where everything is. What this machine cannot have is absent; what is only broken is not.
pub(crate) fn backends(lab: &Lab, state: &State) -> anyhow::Result<Backends> {
    let url = |port| lab.url(port, Some(state)).map(Some);
    Ok(Backends {
        edge: url(Port::Edge)?,
        users: url(Port::Users)?,
        albums: url(Port::Albums)?,
        jaeger: url(Port::Jaeger)?,
        loki: url(Port::Loki)?,
        prometheus: url(Port::Prometheus)?,
        alertmanager: url(Port::Alertmanager)?,
        collector: url(Port::OtelcolHealth)?,
        console: url(Port::Console)?,
        postgres: Some(lab.database_url(Some(state))),
        tempo: in_image(state, "tempo"),
        pyroscope: in_image(state, "pyroscope"),
        grafana: Some(lab.paths.root.join("infra/grafana/provisioning")),
        absent: absent(state),
    })
}

/// The address of what comes as an image only.
fn in_image(state: &State, name: &str) -> Option<url::Url> {
    let component = state.component(name)?;
    why_absent(component)
        .is_none()
        .then(|| component.address.as_deref()?.parse().ok())
        .flatten()
}

/// Parts that come as images only.
const COMPOSE_ONLY: [(Part, &str); 2] = [(Part::Tempo, "tempo"), (Part::Pyroscope, "pyroscope")];

fn absent(state: &State) -> BTreeMap<Part, String> {
    PARTS
        .iter()
        .map(|(part, name, _)| (part, name))
        .chain(COMPOSE_ONLY.iter().map(|(part, name)| (part, name)))
        .filter_map(|(part, name)| Some((*part, why_absent(state.component(name)?)?)))
        .collect()
}

pub(crate) fn why_absent(component: &ComponentState) -> Option<String> {
    if !matches!(component.phase, Phase::Missing | Phase::ComposeOnly) {
        return None;
    }
    let mut why = component.phase.name().to_owned();
    if let Some(detail) = &component.detail {
        why = format!("{why}: {detail}");
    }
    if let Some(hint) = &component.hint {
        why = format!("{why}; to get it: {hint}");
    }
    Some(why)
}

/// What a progress line tells.
#[derive(Default)]
struct Seen {
    done: usize,
    open: BTreeMap<String, String>,
}

async fn links(lab: &Lab, backends: &Backends, options: &Options) -> anyhow::Result<Report> {
    let doing = "sending requests and following what they leave behind";
    watched(lab, "links", doing, async |tell| {
        proof::verify(backends, options, tell).await
    })
    .await
}

/// Shows how far it is while it is verified.
pub(crate) async fn watched(
    lab: &Lab,
    noun: &str,
    doing: &str,
    verify: impl AsyncFnOnce(Tell<'_>) -> Result<Report, AskError>,
) -> anyhow::Result<Report> {
    let began = Instant::now();
    let seen: Mutex<Option<Seen>> = Mutex::default();
    let lock =
        || -> MutexGuard<'_, Option<Seen>> { seen.lock().unwrap_or_else(PoisonError::into_inner) };
    let tell = |event: Event<'_>| {
        let mut seen = lock();
        let seen = seen.get_or_insert_default();
        match event {
            Event::Sending => {}
            Event::Started { link } => {
                seen.open.insert(link.to_owned(), String::new());
            }
            Event::Waiting { link, came } => {
                seen.open.insert(link.to_owned(), came.to_owned());
            }
            Event::Done(link) => {
                seen.open.remove(&link.name);
                seen.done += 1;
            }
        }
    };
    let mut verifying = std::pin::pin!(verify(&tell));
    let mut ticks = tokio::time::interval(TICK);
    // Where nobody watches, a changing line would only fill a log.
    let live = std::io::stderr().is_terminal();
    let report = loop {
        tokio::select! {
            report = &mut verifying => break report,
            _ = ticks.tick() => {
                let message = match &*lock() {
                    Some(seen) if live => message(seen, noun),
                    _ => doing.to_owned(),
                };
                lab.printer.step(STEP, &message, began.elapsed());
            }
        }
    };
    lab.printer.clear_steps();
    Ok(report?)
}

fn message(seen: &Seen, noun: &str) -> String {
    let total = seen.done + seen.open.len();
    let waiting = seen.open.iter().find(|(_, came)| !came.is_empty());
    match waiting.or_else(|| seen.open.first_key_value()) {
        None => "sending requests".to_owned(),
        Some((link, came)) if came.is_empty() => {
            format!("{} of {total} {noun} followed; {link}", seen.done)
        }
        Some((link, came)) => format!("{} of {total} {noun} followed; {link}: {came}", seen.done),
    }
}

fn show(lab: &Lab, report: &Report, noun: &str, how: bool, took: Duration) {
    let what = noun.trim_end_matches('s').to_uppercase();
    let mut table = printer::table(["RESULT", "TIME", &what]);
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    // What stands beside the last column: two words, a time, and room between them.
    let room = table
        .width()
        .map(|width| usize::from(width).saturating_sub(20).max(20));
    for link in &report.links {
        table.add_row([
            Cell::new(styled(style(link.result), link.result)),
            Cell::new(duration(
                Duration::try_from_secs_f64(link.seconds).unwrap_or_default(),
            )),
            Cell::new(lines(link, how, room)),
        ]);
    }
    lab.printer.table(&table);
    let count = |outcome, word: &str| match report.count(outcome) {
        0 => String::new(),
        count => format!(", {count} {word}"),
    };
    let verdict = if report.ok {
        styled(GOOD, "ok")
    } else {
        styled(BAD, "not ok")
    };
    lab.printer.out(format_args!(
        "{verdict}: {} {noun}{}{}{} in {}",
        report.links.len(),
        count(Outcome::Ok, "ok"),
        count(Outcome::Fail, "failed"),
        count(Outcome::NotApplicable, "n/a"),
        duration(took)
    ));
}

/// The name of a link and what came; a failure in full, with what was asked.
fn lines(link: &Link, how: bool, room: Option<usize>) -> String {
    let failed = link.result == Outcome::Fail;
    let mut lines = vec![link.name.clone()];
    if how || failed {
        lines.push(styled(DIM, &link.asked));
    }
    if failed {
        // One line each: what was expected, what came, what to look at next.
        let answer = link.answer.replacen("; came: ", "\ncame: ", 1);
        lines.push(answer.replacen("; next: ", "\nnext: ", 1));
    } else {
        let answer = match room {
            Some(room) if !how => cut(&link.answer, room),
            _ => link.answer.clone(),
        };
        lines.push(styled(DIM, answer));
    }
    lines.join("\n")
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn style(outcome: Outcome) -> anstyle::Style {
    match outcome {
        Outcome::Ok => GOOD,
        Outcome::Fail => BAD,
        Outcome::NotApplicable => WARN,
    }
}

/// Why a backend that a verb needs cannot be asked now.
pub(crate) fn not_there(state: &State, name: &str) -> Option<String> {
    let component = state.component(name)?;
    if component.phase == Phase::Healthy {
        return None;
    }
    Some(
        status::explain(component)
            .unwrap_or_else(|| format!("{name} is {}", component.phase.name())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(phase: Phase) -> State {
        let mut state = State::new(std::path::Path::new("/lab"), String::new(), BTreeMap::new());
        let mut jaeger = ComponentState::new("jaeger", false);
        jaeger.phase = phase;
        jaeger.detail = Some("Go is not on this machine".to_owned());
        jaeger.hint = Some("apt-get install golang".to_owned());
        state.components.push(jaeger);
        state
    }

    #[test]
    fn what_cannot_be_had_is_absent_with_its_reason() {
        let reasons = absent(&state(Phase::Missing));
        assert_eq!(
            reasons.get(&Part::Jaeger).map(String::as_str),
            Some("missing: Go is not on this machine; to get it: apt-get install golang")
        );
        assert_eq!(reasons.len(), 1);
    }

    #[test]
    fn what_is_broken_is_not_absent() {
        for phase in [
            Phase::Healthy,
            Phase::Unhealthy,
            Phase::Crashed,
            Phase::Failed,
            Phase::Stopped,
        ] {
            assert!(absent(&state(phase)).is_empty(), "{phase:?}");
        }
    }

    #[test]
    fn a_backend_that_is_not_healthy_is_explained() {
        assert_eq!(not_there(&state(Phase::Healthy), "jaeger"), None);
        let why = not_there(&state(Phase::Preparing), "jaeger").unwrap();
        assert!(why.starts_with("jaeger is preparing: Go is"), "{why}");
    }

    #[test]
    fn a_failure_is_shown_in_full() {
        let link = Link {
            name: "trace".to_owned(),
            result: Outcome::Fail,
            asked: "GET http://h/".to_owned(),
            answer: "expected a trace; came: nothing; next: `./lab logs jaeger`".to_owned(),
            seconds: 1.0,
        };
        let text = anstream::adapter::strip_str(&lines(&link, false, Some(10))).to_string();
        assert_eq!(
            text,
            "trace\nGET http://h/\nexpected a trace\ncame: nothing\nnext: `./lab logs jaeger`"
        );
        let fine = Link {
            result: Outcome::Ok,
            ..link
        };
        let text = anstream::adapter::strip_str(&lines(&fine, false, Some(10))).to_string();
        assert_eq!(text, "trace\nexpected …");
    }

    #[test]
    fn progress_names_what_is_waited_for() {
        let mut seen = Seen {
            done: 2,
            ..Seen::default()
        };
        assert_eq!(message(&seen, "links"), "sending requests");
        seen.open.insert("a".to_owned(), String::new());
        seen.open.insert("b".to_owned(), "no trace".to_owned());
        assert_eq!(
            message(&seen, "links"),
            "2 of 4 links followed; b: no trace"
        );
    }
}
