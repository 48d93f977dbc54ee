//! `lab scenario`: incidents from `scenarios/`, run from fault to page to cause to its end.

mod docs;
mod engine;
mod hold;
mod record;
mod show;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Subcommand;
use nix::sys::signal::Signal;
use proof::scenario::{self, Hold, Outcome, Place, Report, Scenario, Source, read_folder};

use crate::Lab;
use crate::cli::{Interrupted, WrongRequest};
use crate::compose;
use crate::flags;
use crate::process::ProcessId;
use crate::state::State;
use crate::verbs::up::Signals;
use crate::verbs::verify::{in_containers, ready};
use engine::Running;
use hold::Person;
use record::Record;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show every incident, what it breaks and which alert tells it
    List {
        /// Print them as JSON, with everything that is in their files
        #[arg(long)]
        json: bool,
    },
    /// Break the lab as one of them does, and follow it to its end
    Run {
        /// Names, as `list` shows them
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        names: Vec<String>,
        /// One after the other
        #[arg(long)]
        all: bool,
        /// Print the reports as JSON
        #[arg(long)]
        json: bool,
        /// Keep the reports of runs that passed in docs/incidents/results (of those on compose in its folder
        /// compose), and write the pages anew
        #[arg(long)]
        record: bool,
        /// After its walk, leave it broken until Enter is pressed or `release` is called, at most so long
        #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "15m", value_parser = hold::time, conflicts_with = "record")]
        hold: Option<Duration>,
        /// How long to wait for parts that are still being prepared, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(0..=86400))]
        wait: u64,
    },
    /// Undo what a run broke: one that goes on, or one that was killed
    Heal,
    /// Let a run go on that --hold keeps broken: it heals, and waits for the end of its alert
    Release,
    /// Write docs/incidents from the scenarios and the kept reports
    Docs {
        /// Only say what is not as it should be
        #[arg(long)]
        check: bool,
    },
}

/// A run that is told to stop has healed by then.
const HEAL_DEADLINE: Duration = Duration::from_secs(180);
/// How often the progress line is drawn again.
const TICK: Duration = Duration::from_millis(250);

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { json } => list(lab, json),
        Action::Run {
            names,
            all,
            json,
            record,
            hold,
            wait,
        } => {
            let names = if all { None } else { Some(names) };
            let wait = Duration::from_secs(wait);
            run_them(lab, names.as_deref(), json, record, hold, wait).await
        }
        Action::Heal => heal(lab).await,
        Action::Release => hold::release(lab).await,
        Action::Docs { check } => docs::run(lab, check),
    }
}

fn sources(lab: &Lab) -> anyhow::Result<Vec<Source>> {
    let folder = lab.paths.scenarios();
    read_folder(&folder).with_context(|| format!("cannot read {}", folder.display()))
}

fn list(lab: &Lab, json: bool) -> anyhow::Result<ExitCode> {
    let mut wrong = false;
    let mut scenarios = Vec::new();
    for source in sources(lab)? {
        match source.scenario {
            Ok(scenario) => scenarios.push(scenario),
            Err(error) => {
                wrong = true;
                lab.printer.error(error);
            }
        }
    }
    if json {
        lab.printer.json(&scenarios)?;
    } else {
        show::list(lab, &scenarios);
    }
    Ok(if wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Those of these names, in that order; all of them where none is named.
fn choose(lab: &Lab, names: Option<&[String]>) -> anyhow::Result<Vec<Scenario>> {
    let mut sources = sources(lab)?;
    let known: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let Some(names) = names else {
        let all: Result<Vec<_>, _> = sources.into_iter().map(|source| source.scenario).collect();
        return all.map_err(|error| WrongRequest(error.to_string()).into());
    };
    let mut chosen = Vec::new();
    for name in names {
        let Some(index) = sources.iter().position(|source| source.name == *name) else {
            let twice = known.contains(name);
            return Err(WrongRequest(if twice {
                format!("{name} is named twice")
            } else {
                format!(
                    "there is no scenario `{name}`: expected one of {}",
                    known.join(", ")
                )
            })
            .into());
        };
        let scenario = sources.swap_remove(index).scenario;
        chosen.push(scenario.map_err(|error| WrongRequest(error.to_string()))?);
    }
    Ok(chosen)
}

async fn run_them(
    lab: &Lab,
    names: Option<&[String]>,
    json: bool,
    keep: bool,
    hold: Option<Duration>,
    wait: Duration,
) -> anyhow::Result<ExitCode> {
    let scenarios = choose(lab, names)?;
    let native = lab.running()?.is_some();
    if !native && compose::running(lab).await?.is_none() {
        bail!("no lab is running, so there is nothing to break; `./lab up` starts one");
    }
    compose::ours(lab).await?;
    let Some(_turn) = record::turn(lab)? else {
        return Err(already_running(lab)?.into());
    };
    // Before anything is broken: Ctrl-C must never find us unprepared.
    let mut signals = Signals::listen()?;
    let whole = async {
        if native {
            ready(lab, wait).await
        } else {
            in_containers(lab).await
        }
    };
    let mut holding = match hold {
        Some(most) => Some((Hold::new(most), Person::listen()?)),
        None => None,
    };
    let state = tokio::select! {
        state = whole => state?,
        () = signals.any() => {
            lab.printer.clear_steps();
            return Err(Interrupted.into());
        }
    };
    // What it stopped runs again.
    let state = match heal_unfinished(lab).await? {
        Healed::Nothing => state,
        Healed::ARun => lab
            .running_anywhere()
            .await?
            .context("the lab does not run any more")?,
    };
    no_flag_is_on(lab)?;
    let place = engine::place(lab, &state)?;
    can_run(&scenarios, &place, names.is_none())?;
    let ran = if native {
        docs::Ran::Natively
    } else {
        docs::Ran::InContainers
    };
    let mut reports = Vec::new();
    for scenario in &scenarios {
        if let Some(why) = place.lacks(scenario) {
            lab.printer
                .warn(format_args!("{} cannot run here: {why}", scenario.name));
            reports.push(Report::not_applicable(scenario, why));
            continue;
        }
        let report = one(lab, &state, scenario, &place, &mut holding, &mut signals).await?;
        if !json {
            show::report(lab, scenario, &report);
        }
        if keep && report.passed() {
            docs::keep(lab, &report, ran)?;
        }
        let broken = report.is_broken();
        reports.push(report);
        if broken {
            // The next one would forget what is to be healed.
            lab.printer.warn(format_args!(
                "{} is not healed: no other is run; `./lab scenario heal` tries again",
                scenario.name
            ));
            break;
        }
    }
    if keep {
        docs::run(lab, false)?;
    }
    let failed = reports
        .iter()
        .any(|report| !report.passed() && !report.did_not_run());
    if json {
        lab.printer.json(&reports)?;
    } else if scenarios.len() > 1 {
        show::summary(lab, &reports);
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What was asked for by its name must be possible; of all, some.
fn can_run(scenarios: &[Scenario], place: &Place, some: bool) -> Result<(), WrongRequest> {
    let lacking: Vec<String> = scenarios
        .iter()
        .filter_map(|scenario| {
            Some(format!(
                "{} cannot run here: {}",
                scenario.name,
                place.lacks(scenario)?
            ))
        })
        .collect();
    if lacking.is_empty() || (some && lacking.len() < scenarios.len()) {
        return Ok(());
    }
    Err(WrongRequest(lacking.join("\n")))
}

fn already_running(lab: &Lab) -> anyhow::Result<WrongRequest> {
    let name = Record::read(lab)?.map_or_else(
        || "a scenario".to_owned(),
        |record| format!("the scenario {}", record.report.scenario),
    );
    Ok(WrongRequest(format!(
        "{name} is running already: one at a time; `./lab scenario heal` ends and heals it"
    )))
}

/// A run would not know its own symptoms from those of a fault that was there before.
fn no_flag_is_on(lab: &Lab) -> anyhow::Result<()> {
    let on: Vec<String> = flags::current(&lab.paths)?
        .on()
        .into_iter()
        .map(|flag| format!("{}={}", flag.name, flag.variant))
        .collect();
    if on.is_empty() {
        return Ok(());
    }
    Err(WrongRequest(format!(
        "the lab is broken already ({}); `./lab fault clear` heals it",
        on.join(", ")
    ))
    .into())
}

/// Runs one, shows how far it is, and heals when a signal comes.
async fn one(
    lab: &Lab,
    state: &State,
    scenario: &Scenario,
    place: &Place,
    holding: &mut Option<(Hold, Person)>,
    signals: &mut Signals,
) -> anyhow::Result<Report> {
    let began = Instant::now();
    lab.printer.note(format_args!(
        "{}: {} ({}); notifications arrive at {}",
        scenario.name,
        scenario.title,
        scenario.broken,
        engine::session(lab, state)?
    ));
    let latest: RefCell<Option<Record>> = RefCell::default();
    let trouble: RefCell<Option<anyhow::Error>> = RefCell::default();
    let shown = RefCell::new(show::Progress::default());
    let tell = |report: &Report| {
        let record = record_of(scenario, report);
        shown.borrow_mut().new_events(lab, report);
        if let Err(error) = record.write(lab) {
            trouble.borrow_mut().get_or_insert(error);
        }
        *latest.borrow_mut() = Some(record);
    };
    let engine = Running { lab };
    let how = holding.as_ref().map_or("", |(_, person)| person.how());
    let (hold, mut person) = match holding {
        Some((hold, person)) => (Some(&*hold), Some(person)),
        None => (None, None),
    };
    let finished = {
        let mut run = std::pin::pin!(scenario::run(scenario, place, &engine, hold, &tell));
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                report = &mut run => break Some(report),
                () = signals.any() => break None,
                () = says_so(person.as_deref_mut()) => if let Some(hold) = hold { hold.release() },
                _ = ticks.tick() => if let Some(record) = &*latest.borrow() {
                    let message = show::waiting(&record.report, how);
                    lab.printer.step(&scenario.name, &message, began.elapsed());
                },
            }
        }
    };
    lab.printer.clear_steps();
    if let Some(error) = trouble.into_inner() {
        lab.printer.warn(format_args!("{error:#}"));
    }
    if let Some(report) = finished {
        return Ok(report);
    }
    lab.printer
        .note(format_args!("interrupted: healing {}", scenario.name));
    engine::heal(lab, &scenario.broken, &scenario.heal.restart)
        .await
        .context("it could not be healed; `./lab scenario heal` tries again")?;
    if let Some(mut record) = latest.into_inner() {
        record.healed = true;
        record.report.outcome = Some(Outcome::Interrupted);
        record.write(lab)?;
    }
    lab.printer.note("healed");
    Err(Interrupted.into())
}

/// Nobody is asked where nothing is held.
async fn says_so(person: Option<&mut Person>) {
    match person {
        Some(person) => person.says_so().await,
        None => std::future::pending().await,
    }
}

fn record_of(scenario: &Scenario, report: &Report) -> Record {
    Record {
        process: ProcessId::current(),
        broken: scenario.broken.clone(),
        restart: scenario.heal.restart.clone(),
        healed: !report.is_broken(),
        report: report.clone(),
    }
}

enum Healed {
    Nothing,
    ARun,
}

/// A run that was killed has left something behind.
async fn heal_unfinished(lab: &Lab) -> anyhow::Result<Healed> {
    let Some(mut record) = Record::read(lab)?.filter(|record| !record.healed) else {
        return Ok(Healed::Nothing);
    };
    lab.printer.note(format_args!(
        "{} was not healed when its run ended: healing it",
        record.report.scenario
    ));
    engine::heal(lab, &record.broken, &record.restart).await?;
    record.healed = true;
    record.process = None;
    record.report.outcome.get_or_insert(Outcome::Interrupted);
    record.write(lab)?;
    Ok(Healed::ARun)
}

async fn heal(lab: &Lab) -> anyhow::Result<ExitCode> {
    let record = Record::read(lab)?;
    let Some(turn) = record::turn(lab)? else {
        return stop_run(lab, record).await;
    };
    let name = record
        .filter(|record| !record.healed)
        .map(|record| record.report.scenario);
    match name {
        Some(name) => {
            heal_unfinished(lab).await?;
            lab.printer.out(format_args!("{name} is healed"));
        }
        None => {
            let on = no_flag_is_on(lab).err();
            lab.printer.out(match on {
                None => "no scenario has left anything broken".to_owned(),
                Some(error) => format!("no scenario has left anything broken, but {error}"),
            });
        }
    }
    drop(turn);
    Ok(ExitCode::SUCCESS)
}

/// The run heals by itself when it is told to stop.
async fn stop_run(lab: &Lab, record: Option<Record>) -> anyhow::Result<ExitCode> {
    let record = record.context("a scenario is just starting; try again")?;
    let name = &record.report.scenario;
    let process = record.process.context("nobody runs it")?;
    process.signal(Signal::SIGINT)?;
    let started = Instant::now();
    while record::turn(lab)?.is_none() {
        if started.elapsed() > HEAL_DEADLINE {
            bail!(
                "{name} runs on in process {}: it did not heal within {} s",
                process.pid,
                HEAL_DEADLINE.as_secs()
            );
        }
        lab.printer.step("heal", name, started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.printer.clear_steps();
    heal_unfinished(lab).await?;
    lab.printer
        .out(format_args!("{name} was interrupted and is healed"));
    Ok(ExitCode::SUCCESS)
}
