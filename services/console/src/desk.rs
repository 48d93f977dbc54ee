//! Incidents where there is no command line to run them: in a container, which can write the flags
//! that the services read and can stop nothing. Those that need more are named, with the command
//! that runs them on the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proof::flags::{self, Flags, OFF};
use proof::scenario::{self, Broken, Hold, Outcome, Phase, Place, Report, Scenario, Source};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::components::Watch;
use crate::settings::Settings;

/// A run that is told to stop writes the flags and a report.
const STOP: Duration = Duration::from_secs(5);
/// Beside the flags: whoever starts again sees what was left.
const RECORD: &str = "scenario.json";

/// Runs incidents, one at a time.
#[derive(Debug)]
pub(crate) struct Desk {
    folder: PathBuf,
    /// The file that the services read. `./lab fault` on the host may write it too.
    flags: PathBuf,
    place: Place,
    watch: Arc<Watch>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    record: Option<Record>,
    run: Option<Run>,
}

/// The run of now, or the last one.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    broken: Broken,
    /// Nothing is left of what it broke.
    healed: bool,
    report: Report,
}

/// What a run is told while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// Whoever looked has seen enough: it heals and goes on.
    Release,
    Stop,
}

/// A run under way.
#[derive(Debug)]
struct Run {
    name: String,
    tell: watch::Sender<Told>,
    /// Closed when the run has ended.
    ended: watch::Receiver<()>,
}

/// What the page is told.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) scenarios: Value,
    pub(crate) report: Value,
    pub(crate) running: bool,
    pub(crate) broken: bool,
    /// Names of scenarios that cannot be run from here, and why.
    pub(crate) cannot: BTreeMap<String, String>,
    /// Files that are no scenarios, and why.
    pub(crate) faults: Vec<String>,
}

impl Desk {
    /// `None` beside a command line, and without a directory of scenarios and a file of flags.
    pub(crate) fn of(settings: &Settings, watch: &Arc<Watch>) -> Option<Self> {
        if settings.lab_program.is_some() {
            return None;
        }
        let folder = settings.scenarios.clone()?;
        let flags = settings.flags_file.clone()?;
        let left = std::fs::read(flags.with_file_name(RECORD)).ok();
        let record = left.and_then(|text| serde_json::from_slice(&text).ok());
        Some(Self {
            folder,
            flags,
            place: place(settings),
            watch: Arc::clone(watch),
            state: Mutex::new(State { record, run: None }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sources(&self) -> Result<Vec<Source>, String> {
        scenario::read_folder(&self.folder)
            .map_err(|error| format!("{}: {error}", self.folder.display()))
    }

    /// Why it cannot be run from here.
    fn cannot(&self, scenario: &Scenario) -> Option<String> {
        let broken = &scenario.broken;
        let more = if !broken.needs_flags_only() {
            "stops or replaces a program"
        } else if !scenario.heal.restart.is_empty() {
            "is healed by a restart"
        } else {
            return self.place.lacks(scenario);
        };
        Some(format!(
            "It {more}, which a container cannot do to another: on the host, `./lab scenario run {}` runs it.",
            scenario.name
        ))
    }

    pub(crate) fn look(&self) -> Result<View, String> {
        let (mut scenarios, mut faults) = (Vec::new(), Vec::new());
        for source in self.sources()? {
            match source.scenario {
                Ok(scenario) => scenarios.push(scenario),
                Err(error) => faults.push(error.to_string()),
            }
        }
        let cannot = scenarios
            .iter()
            .filter_map(|scenario| Some((scenario.name.clone(), self.cannot(scenario)?)))
            .collect();
        let state = self.state();
        let running = state.run.is_some();
        let record = state.record.as_ref();
        Ok(View {
            scenarios: serde_json::to_value(&scenarios).map_err(|error| error.to_string())?,
            report: record
                .and_then(|record| serde_json::to_value(&record.report).ok())
                .unwrap_or_default(),
            running,
            broken: !running && record.is_some_and(|record| !record.healed),
            cannot,
            faults,
        })
    }

    /// Starts one; the error says why it does not start.
    pub(crate) async fn run(
        self: &Arc<Self>,
        name: &str,
        hold: Option<Duration>,
    ) -> Result<(), String> {
        let mut sources = self.sources()?.into_iter();
        let source = sources.find(|each| each.name == name);
        let source = source.ok_or_else(|| format!("There is no scenario `{name}`."))?;
        let scenario = source.scenario.map_err(|error| error.to_string())?;
        if let Some(why) = self.cannot(&scenario) {
            return Err(why);
        }
        let components = self.watch.look().await;
        let trouble = components.iter().find_map(|each| each.trouble());
        let mut state = self.state();
        if let Some(run) = &state.run {
            return Err(format!("{} runs already: one at a time.", run.name));
        }
        // Of a run that was killed.
        self.heal_left(&mut state)?;
        if let Some(on) = self.on()? {
            return Err(format!(
                "The lab is broken already ({on}): a run would not know its own symptoms."
            ));
        }
        // As they are: whoever cannot write is told now, and not when all is under load.
        set(&self.flags, [])?;
        if let Some(trouble) = trouble {
            return Err(format!("The lab is not whole: {trouble}"));
        }
        let (tell, told) = watch::channel(Told::Nothing);
        let (ending, ended) = watch::channel(());
        let desk = Arc::clone(self);
        // A run is not for several threads: it gets one of its own.
        let started = std::thread::Builder::new()
            .name("scenario".to_owned())
            .spawn(move || {
                desk.follow(&scenario, hold, told);
                drop(ending);
            });
        started.map_err(|error| format!("It cannot be started: {error}"))?;
        state.run = Some(Run {
            name: name.to_owned(),
            tell,
            ended,
        });
        Ok(())
    }

    /// Ends the run of now, or heals what an earlier one left; says what it did.
    pub(crate) async fn heal(&self) -> Result<String, String> {
        let under_way = {
            let state = self.state();
            state.run.as_ref().map(|run| {
                run.tell.send_replace(Told::Stop);
                (run.name.clone(), run.ended.clone())
            })
        };
        if let Some((name, mut ended)) = under_way {
            let gone = async { while ended.changed().await.is_ok() {} };
            if tokio::time::timeout(STOP, gone).await.is_err() {
                return Err(format!("{name} does not end."));
            }
        }
        let mut state = self.state();
        self.heal_left(&mut state)?;
        Ok(match self.on()? {
            None => "healed".to_owned(),
            Some(on) => format!("no scenario has left anything broken, but {on}"),
        })
    }

    /// The first flag that is not as it should be.
    fn on(&self) -> Result<Option<String>, String> {
        let flags = Flags::read(&self.flags).map_err(|error| error.to_string())?;
        let first = flags.on().into_iter().next();
        Ok(first.map(|flag| format!("{}={}", flag.name, flag.variant)))
    }

    /// Lets a run that is held go on.
    pub(crate) fn release(&self) -> Result<String, String> {
        let state = self.state();
        let held = state
            .record
            .as_ref()
            .is_some_and(|record| record.report.phase == Phase::Held);
        match &state.run {
            Some(run) if held => {
                run.tell.send_replace(Told::Release);
                Ok(format!("{} heals", run.name))
            }
            _ => Err("No scenario is held now.".to_owned()),
        }
    }

    fn heal_left(&self, state: &mut State) -> Result<(), String> {
        let Some(record) = state.record.as_mut().filter(|record| !record.healed) else {
            return Ok(());
        };
        clear(&self.flags, &record.broken)?;
        record.healed = true;
        record.report.outcome.get_or_insert(Outcome::Interrupted);
        self.keep(record)
    }

    fn keep(&self, record: &Record) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(record).map_err(|error| error.to_string())?;
        let path = self.flags.with_file_name(RECORD);
        proof::file::replace(&path, &text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Runs it to its end, or until it is told to stop.
    fn follow(&self, scenario: &Scenario, hold: Option<Duration>, told: watch::Receiver<Told>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.attend(scenario, hold, told)),
            Err(error) => tracing::error!(%error, "no scenario can be run"),
        }
        self.state().run = None;
    }

    async fn attend(
        &self,
        scenario: &Scenario,
        hold: Option<Duration>,
        mut told: watch::Receiver<Told>,
    ) {
        let hear = |report: &Report| {
            let record = Record {
                broken: scenario.broken.clone(),
                healed: !report.is_broken(),
                report: report.clone(),
            };
            if let Err(error) = self.keep(&record) {
                tracing::warn!(error, "what a scenario does is not kept");
            }
            self.state().record = Some(record);
        };
        let engine = FlagsOnly {
            flags: &self.flags,
            watch: &self.watch,
        };
        let hold = hold.map(Hold::new);
        let hold = hold.as_ref();
        let stopped = async {
            loop {
                let said = *told.borrow_and_update();
                if said == Told::Stop || told.changed().await.is_err() {
                    return;
                }
                if *told.borrow() == Told::Release
                    && let Some(hold) = hold
                {
                    hold.release();
                }
            }
        };
        tokio::select! {
            _finished = scenario::run(scenario, &self.place, &engine, hold, &hear) => return,
            () = stopped => {}
        }
        let mut state = self.state();
        if let Err(error) = self.heal_left(&mut state) {
            tracing::error!(error, "a scenario is not healed");
        }
        if let Some(record) = &mut state.record {
            record.report.outcome = Some(Outcome::Interrupted);
            if let Err(error) = self.keep(record) {
                tracing::warn!(error, "what a scenario did is not kept");
            }
        }
    }
}

/// Breaks and heals by flags, and by nothing else.
struct FlagsOnly<'a> {
    flags: &'a Path,
    watch: &'a Watch,
}

impl scenario::Engine for FlagsOnly<'_> {
    async fn trouble(&self) -> Result<Option<String>, String> {
        let components = self.watch.look().await;
        Ok(components.iter().find_map(|each| each.trouble()))
    }

    async fn inject(&self, broken: &Broken) -> Result<(), String> {
        let flags = broken.flags.iter();
        set(
            self.flags,
            flags.map(|(name, variant)| (name.as_str(), variant.as_str())),
        )
    }

    async fn heal(&self, broken: &Broken, _restart: &[String]) -> Result<(), String> {
        clear(self.flags, broken)
    }
}

/// All of them, or none.
fn set<'a>(file: &Path, flags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), String> {
    let mut flags = flags.into_iter();
    let changed = flags::edit(file, None, |live| {
        flags.try_for_each(|(name, variant)| live.set(name, variant))
    });
    changed.map(drop).map_err(|error| error.to_string())
}

fn clear(file: &Path, broken: &Broken) -> Result<(), String> {
    set(file, broken.flags.keys().map(|name| (name.as_str(), OFF)))
}

/// Where everything is, seen from here.
fn place(settings: &Settings) -> Place {
    let mut place = Place::default();
    for (name, url) in [
        ("albums", &settings.albums),
        ("alertmanager", &settings.alertmanager),
        ("edge", &settings.edge),
        ("jaeger", &settings.jaeger),
        ("loki", &settings.loki),
        ("otel-collector", &settings.collector),
        ("prometheus", &settings.prometheus),
        ("users", &settings.users),
        ("webhook", &settings.webhook),
    ] {
        if settings.left_out.iter().any(|left_out| left_out == name) {
            let why = "it was left out when the stack was started".to_owned();
            place.absent.insert(name.to_owned(), why);
        } else {
            place.addresses.insert(name.to_owned(), url.clone());
        }
    }
    place
}
