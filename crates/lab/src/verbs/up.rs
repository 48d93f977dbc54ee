//! `lab up`: starts the lab, or puts a running one right. Returns when the core answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Lab;
use crate::cli::Interrupted;
use crate::compose;
use crate::native::provision::cargo::CHECKING;
use crate::native::{client, health, rules, supervisor};
use crate::printer::{BAD, GOOD, duration};
use crate::process::ProcessId;
use crate::settings::{self, Port};
use crate::state::{ComponentState, Phase, State};
use crate::verbs::status;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to run: plain processes, or containers
    #[arg(long, value_enum, env = settings::ENGINE, default_value = "auto")]
    engine: Engine,
    /// Pull and build no image: services whose image is not here are left out (compose only)
    #[arg(long)]
    offline: bool,
    /// Wait for every component, not only for the core; in containers all are always waited for
    #[arg(long)]
    wait: bool,
    /// Print the state as JSON in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Compose where a Docker engine answers, else native
    Auto,
    /// Plain processes on loopback
    Native,
    /// The compose stack
    Compose,
}

/// A component that has crashed so often in this `up` is not waited for any longer.
const HOPELESS: u32 = 4;
/// Once nothing is being prepared, everything answers within this time or not at all.
const START_DEADLINE: Duration = Duration::from_secs(90);
/// Between the core being healthy and its first good answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    if choose_engine(lab, args.engine).await? == Engine::Compose {
        return compose::up::up(lab, args.offline, args.json).await;
    }
    // Before the first child: Ctrl-C must never find us unprepared.
    let mut signals = Signals::listen()?;
    let mut mine = None;
    let result = tokio::select! {
        result = bring_up(lab, &args, &mut mine) => Some(result),
        () = signals.any() => None,
    };
    if let Some(result) = result {
        return result;
    }
    lab.printer.clear_steps();
    if let Some(supervisor) = mine {
        lab.printer
            .note("interrupted: stopping what this `up` started");
        client::stop(lab, supervisor).await?;
    } else {
        lab.printer.note("interrupted");
    }
    Err(Interrupted.into())
}

/// Says which engine it took, and why.
async fn choose_engine(lab: &Lab, engine: Engine) -> anyhow::Result<Engine> {
    if engine != Engine::Auto {
        return Ok(engine);
    }
    let found = compose::docker::Docker::find(lab).await;
    let (engine, why) = if lab.running()?.is_some() {
        (Engine::Native, "a native lab runs already".to_owned())
    } else {
        match found {
            Ok(docker) => (Engine::Compose, format!("{} answers", docker.engine)),
            Err(error) => (Engine::Native, error.to_string()),
        }
    };
    let name = match engine {
        Engine::Compose => "compose",
        _ => "native",
    };
    lab.printer.note(format_args!("engine: {name} ({why})"));
    Ok(engine)
}

/// `mine` is set as soon as there is something that Ctrl-C has to stop.
async fn bring_up(
    lab: &Lab,
    args: &Args,
    mine: &mut Option<ProcessId>,
) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    rules::warn(lab).await;
    let turn = take_turn(lab).await?;
    // A supervisor that is just being killed can look alive at first.
    while !start_or_look_again(lab, mine).await? {}
    drop(turn);

    let state = Watch::new(lab)
        .until(|state| goal_reached(state, args.wait))
        .await?;
    let patience = if core(&state).all(is_healthy) {
        ANSWER_DEADLINE
    } else {
        Duration::ZERO
    };
    let answered = first_answer(lab, patience).await;
    lab.printer.clear_steps();
    finish(lab, args, &state, answered, started)
}

/// Two `up`s at once would take each other's processes for leftovers and their ports for taken.
pub(crate) async fn take_turn(lab: &Lab) -> anyhow::Result<File> {
    std::fs::create_dir_all(&lab.paths.state)
        .with_context(|| format!("cannot make {}", lab.paths.state.display()))?;
    let path = lab.paths.up_lock_file();
    let mut told = false;
    loop {
        if let Some(turn) = supervisor::lock(&path)? {
            return Ok(turn);
        }
        if !std::mem::replace(&mut told, true) {
            lab.printer
                .note("another `lab up` is starting the lab; waiting for it");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// False when the supervisor that seemed to run is gone by now.
async fn start_or_look_again(lab: &Lab, mine: &mut Option<ProcessId>) -> anyhow::Result<bool> {
    let mut running = client::running(lab).await?;
    if let Some(state) = &running
        && state.root != lab.paths.root
    {
        bail!(
            "a lab from another checkout runs here: {} (state in {}); `./lab down` stops it",
            state.root.display(),
            lab.paths.state.display()
        );
    }
    if running.is_none() {
        client::end_leftovers(lab).await?;
    }
    let conflicts = client::lasting_conflicts(lab, running.as_ref()).await;
    if !conflicts.is_empty() {
        let lines: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
        bail!("nothing was started:\n  {}", lines.join("\n  "));
    }
    if let Some(state) = &running
        && let Some(why) = must_restart(lab, state)?
        && let Some(supervisor) = state.supervisor
    {
        lab.printer.note(format_args!("{why}: restarting the lab"));
        client::stop(lab, supervisor).await?;
        running = None;
    }
    if let Some(state) = &running {
        lab.printer
            .note("the lab runs already; looking for what changed");
        return client::look_again(lab, state).await;
    }
    client::start(lab, mine).await?;
    Ok(true)
}

/// The table, what is still coming, and the exit code.
fn finish(
    lab: &Lab,
    args: &Args,
    state: &State,
    answered: Result<(), String>,
    started: Instant,
) -> anyhow::Result<ExitCode> {
    if args.json {
        lab.printer.json(state)?;
    } else {
        status::show_now(lab, state);
    }
    let edge = lab.settings.http(Port::Edge);
    match &answered {
        Ok(()) => lab.printer.note(format_args!(
            "the core answers after {}: curl {edge}/users",
            duration(started.elapsed())
        )),
        Err(why) => lab.printer.error(format_args!(
            "the core does not answer: {why}; `./lab doctor` says what this machine lacks"
        )),
    }
    let pending: Vec<&str> = state
        .components
        .iter()
        .filter(|component| !is_settled(component, state.generation))
        .map(|component| component.name.as_str())
        .collect();
    if !pending.is_empty() && !args.wait {
        lab.printer.note(format_args!(
            "still being prepared: {}; `./lab status` shows how far, `./lab up --wait` waits",
            pending.join(", ")
        ));
    }
    let all = state
        .components
        .iter()
        .all(|component| is_healthy(component) || component.phase == Phase::ComposeOnly);
    if answered.is_ok() && (all || !args.wait) {
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}

/// Why a running lab cannot take on what is asked for now.
fn must_restart(lab: &Lab, state: &State) -> anyhow::Result<Option<String>> {
    if state.program != client::program_identity()? {
        return Ok(Some("lab itself was rebuilt".to_owned()));
    }
    let moved: Vec<String> = moved_ports(&state.ports, lab.ports());
    if !moved.is_empty() {
        return Ok(Some(format!(
            "other ports are asked for ({})",
            moved.join(", ")
        )));
    }
    let (was, is) = (&state.options, lab.settings.options());
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let changed: Vec<&str> = names
        .into_iter()
        .filter(|name| was.get(*name) != is.get(*name))
        .map(String::as_str)
        .collect();
    Ok((!changed.is_empty()).then(|| format!("{} changed", changed.join(" and "))))
}

fn moved_ports(was: &BTreeMap<String, u16>, is: &BTreeMap<String, u16>) -> Vec<String> {
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let show = |port: Option<&u16>| port.map_or_else(|| "none".to_owned(), u16::to_string);
    names
        .into_iter()
        .filter(|name| was.get(*name) != is.get(*name))
        .map(|name| format!("{name} {} -> {}", show(was.get(name)), show(is.get(name))))
        .collect()
}

fn core(state: &State) -> impl Iterator<Item = &ComponentState> {
    state.components.iter().filter(|component| component.core)
}

fn is_healthy(component: &ComponentState) -> bool {
    component.phase == Phase::Healthy
}

/// Nothing more is to be expected from it soon.
fn is_settled(component: &ComponentState, generation: u64) -> bool {
    component.generation >= generation
        && (is_healthy(component)
            || component.phase.is_final()
            || (component.phase == Phase::Crashed && component.crashes >= HOPELESS))
}

pub(crate) fn goal_reached(state: &State, all: bool) -> bool {
    state
        .components
        .iter()
        .filter(|component| all || component.core)
        .all(|component| is_settled(component, state.generation))
}

/// Shows progress until a goal is reached, or until waiting has no sense any more.
pub(crate) struct Watch<'a> {
    lab: &'a Lab,
    shown: BTreeMap<String, Phase>,
    planned: bool,
    /// Components whose trouble was told.
    said: BTreeSet<String>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(lab: &'a Lab) -> Self {
        Self {
            lab,
            shown: BTreeMap::new(),
            planned: false,
            said: BTreeSet::new(),
        }
    }

    pub(crate) async fn until(&mut self, goal: impl Fn(&State) -> bool) -> anyhow::Result<State> {
        let mut quiet_since = Instant::now();
        loop {
            let Some(state) = self.lab.running()? else {
                bail!(
                    "the supervisor is gone; see {}",
                    self.lab.paths.log("supervisor").display()
                );
            };
            self.show(&state);
            if goal(&state) {
                return Ok(state);
            }
            let preparing = state
                .components
                .iter()
                .any(|each| matches!(each.phase, Phase::Waiting | Phase::Preparing));
            if preparing {
                quiet_since = Instant::now();
            } else if quiet_since.elapsed() > START_DEADLINE {
                return Ok(state);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn show(&mut self, state: &State) {
        let printer = &self.lab.printer;
        if !self.planned && state.looked >= state.generation {
            self.planned = true;
            for component in &state.components {
                if let (Phase::Waiting | Phase::Preparing, Some(what)) =
                    (component.phase, &component.detail)
                    && what != CHECKING
                {
                    printer.note(format_args!("  {:<14} needs {what}", component.name));
                }
            }
        }
        for component in &state.components {
            let name = &component.name;
            let before = self.shown.insert(name.clone(), component.phase);
            match component.phase {
                Phase::Preparing => {
                    let mut message = component.detail.clone().unwrap_or_default();
                    if let Some(log) = &component.log {
                        message.push_str(&format!(", log: {}", log.display()));
                    }
                    printer.step(name, &message, component.elapsed());
                }
                Phase::Starting | Phase::Stopping | Phase::Unhealthy
                    if component.elapsed() >= Duration::from_secs(2) =>
                {
                    let detail = component.detail.as_deref().unwrap_or("no answer yet");
                    let message = format!("{}: {detail}", component.phase.name());
                    printer.step(name, &message, component.elapsed());
                }
                // What was healthy from the beginning needs no line.
                Phase::Healthy if before.is_some_and(|before| before != Phase::Healthy) => {
                    let address = component.address.as_deref().unwrap_or_default();
                    printer.step_done(name, GOOD, &format!("healthy   {address}"));
                }
                phase @ (Phase::Missing | Phase::Failed | Phase::Crashed)
                    if before != Some(phase) && self.said.insert(component.name.clone()) =>
                {
                    let why = component.detail.as_deref().unwrap_or_default();
                    printer.step_done(name, BAD, &format!("{}: {why}", phase.name()));
                }
                _ => {}
            }
        }
    }
}

/// The core is up when somebody gets an answer through all of it.
async fn first_answer(lab: &Lab, patience: Duration) -> Result<(), String> {
    let url = lab.settings.http(Port::Edge) + "/users";
    let client = health::client().map_err(|error| format!("{error:#}"))?;
    let deadline = Instant::now() + patience;
    loop {
        let why = match client.get(&url).send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => format!("{url} answers {}", response.status()),
            Err(error) if error.is_connect() => format!("{url} refuses connections"),
            Err(error) => format!("{url}: {error}"),
        };
        if Instant::now() >= deadline {
            return Err(why);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What asks a verb to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(phase: Phase) -> ComponentState {
        let mut component = ComponentState::new("edge", true);
        component.phase = phase;
        component.generation = 2;
        component
    }

    #[test]
    fn settled_is_about_the_last_up_only() {
        assert!(is_settled(&component(Phase::Healthy), 2));
        assert!(!is_settled(&component(Phase::Healthy), 3));
        assert!(is_settled(&component(Phase::Missing), 2));
        assert!(!is_settled(&component(Phase::Starting), 2));
        let mut crashing = component(Phase::Crashed);
        crashing.crashes = HOPELESS - 1;
        assert!(!is_settled(&crashing, 2));
        crashing.crashes = HOPELESS;
        assert!(is_settled(&crashing, 2));
    }

    #[test]
    fn moved_ports_are_named() {
        let ports = |edge: u16| BTreeMap::from([("EDGE_PORT".to_owned(), edge)]);
        assert!(moved_ports(&ports(1), &ports(1)).is_empty());
        assert_eq!(moved_ports(&ports(1), &ports(2)), ["EDGE_PORT 1 -> 2"]);
        assert_eq!(
            moved_ports(&BTreeMap::new(), &ports(2)),
            ["EDGE_PORT none -> 2"]
        );
    }
}
