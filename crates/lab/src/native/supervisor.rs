//! The supervisor: one process that owns every child of the lab.
//!
//! It runs on one thread, which lives as long as it does: children are tied to that thread and
//! die with it. Each component has a task of its own ([`Shared::keep`]); preparing goes in lanes,
//! one download and one build at a time, in the order of the components.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::path::Path;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, LocalSet};

use crate::Lab;
use crate::flags;
use crate::native::child::{self, Child};
use crate::native::component::{self, Component, Found, Launch, Tier};
use crate::native::provision::{self, Lane, Look, Progress, Work};
use crate::native::{client, components, health, ports, rules};
use crate::printer::{duration, megabytes};
use crate::process::ProcessId;
use crate::state::{Act, ComponentState, Phase, Request, State, now};

/// Between two looks at a component that starts, and at one that is healthy.
const STARTING_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks whether a new instance listens.
const REPLACE_INTERVAL: Duration = Duration::from_millis(20);
const HEALTHY_INTERVAL: Duration = Duration::from_secs(3);
/// A component that has not answered for so long after its start is called unhealthy.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Failed looks in a row before a healthy component is called unhealthy.
const FAILURES: u32 = 2;
/// Pause before a restart: doubled with each crash in a row, up to the most.
const BACKOFF: Duration = Duration::from_millis(250);
const MOST_BACKOFF: Duration = Duration::from_secs(30);
/// After so long without a crash the next one counts as the first.
const CALM: Duration = Duration::from_secs(60);
/// A log that grows beyond this is cut; what it held is kept once, beside it.
const MOST_LOG: u64 = 50_000_000;
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What a component's task is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Order {
    /// The program to run, once there is one.
    found: Option<Found>,
    /// Raised to make a task look at its configuration again.
    generation: u64,
    stop: bool,
    /// A person stopped it: it stays so until it is started.
    paused: bool,
    /// The last request of a person, and the last one that was for a restart.
    asked: u64,
    restart: u64,
}

struct Shared {
    lab: Lab,
    state: RefCell<State>,
    client: reqwest::Client,
    /// The state could not be written; said once.
    write_failed: Cell<bool>,
}

struct Managed {
    component: &'static Component,
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// Runs until a signal asks it to stop.
pub(crate) async fn run(lab: Lab) -> anyhow::Result<()> {
    std::fs::create_dir_all(lab.paths.logs())
        .with_context(|| format!("cannot make {}", lab.paths.logs().display()))?;
    let Some(_lock) = lock_soon(&lab.paths.lock_file()).await? else {
        lab.printer.note("another supervisor runs already");
        return Ok(());
    };
    // Listening comes before the first child: a signal must never find us unprepared.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut again = signal(SignalKind::hangup())?;
    let mut asked = signal(SignalKind::user_defined1())?;

    client::end_leftovers(&lab).await?;
    flags::ensure(&lab.paths)?;
    let shared = Rc::new(Shared::new(lab)?);
    shared.write();
    shared.say("supervisor started");

    let local = LocalSet::new();
    let result = local
        .run_until(async {
            let managed: Vec<Managed> = components::ALL
                .iter()
                .map(|component| shared.clone().manage(component))
                .collect();
            let mut provisioning = provision_all(&shared, &managed, 1);
            let logs = tokio::task::spawn_local(bound_logs(shared.clone()));
            let look = Rc::new(Notify::new());
            let rules = tokio::task::spawn_local(keep_rules(shared.clone(), look.clone()));
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    _ = asked.recv() => shared.take_request(&managed),
                    _ = again.recv() => {
                        provisioning.abort();
                        let _ended = (&mut provisioning).await;
                        let generation = shared.next_generation();
                        shared.say("looking at everything again");
                        provisioning = provision_all(&shared, &managed, generation);
                        look.notify_one();
                    }
                }
            }
            shared.say("stopping");
            provisioning.abort();
            logs.abort();
            rules.abort();
            let _ended = provisioning.await;
            stop_all(managed).await;
            shared.say("stopped");
            Ok(())
        })
        .await;
    let mut state = shared.state.borrow_mut();
    state.supervisor = None;
    for component in &mut state.components {
        component.process = None;
        if component.phase != Phase::ComposeOnly {
            component.phase = Phase::Stopped;
            component.detail = None;
        }
    }
    state.write(&shared.lab.paths.state_file())?;
    result
}

/// Takes the lock that only one supervisor of a state directory can have.
pub(crate) fn lock(path: &Path) -> anyhow::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Another `lab` may hold the lock for an instant, to see whether a supervisor has it.
async fn lock_soon(path: &Path) -> anyhow::Result<Option<File>> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let file = lock(path)?;
        if file.is_some() || Instant::now() >= deadline {
            return Ok(file);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Looks at every component, hands out what exists, then prepares the rest, lane by lane.
fn provision_all(shared: &Rc<Shared>, managed: &[Managed], generation: u64) -> JoinHandle<()> {
    let targets: Vec<_> = managed
        .iter()
        .map(|each| (each.component, each.orders.clone()))
        .collect();
    let shared = shared.clone();
    tokio::task::spawn_local(async move {
        let mut works = Vec::new();
        for (component, orders) in targets {
            let name = component.name;
            match provision::look(&shared.lab, component).await {
                Look::Found(found) => shared.hand_out(name, &orders, found, generation),
                Look::Work(work) => {
                    let running = orders.borrow().found.is_some();
                    if !running {
                        let what = (!work.is_check()).then(|| work.what.clone());
                        shared.phase(name, Phase::Waiting, what);
                    }
                    works.push((component, orders, work));
                }
                Look::Missing { reason, hint } => {
                    shared.say(&format!("{name}: {reason}"));
                    shared.update(name, |state| {
                        state.generation = generation;
                        state.hint = hint;
                        if orders.borrow().found.is_some() {
                            state.notice = Some(reason);
                        } else {
                            state.set(Phase::Missing, Some(reason));
                        }
                    });
                }
                Look::ComposeOnly => shared.update(name, |state| {
                    state.generation = generation;
                    state.set(Phase::ComposeOnly, None);
                }),
            }
        }
        shared.state.borrow_mut().looked = generation;
        shared.write();
        let (downloads, builds): (Vec<_>, Vec<_>) = works
            .into_iter()
            .partition(|(_, _, work)| work.lane == Lane::Download);
        let lane = async |works: Vec<(&'static Component, watch::Sender<Order>, Work)>| {
            let mut last: Option<Work> = None;
            for (component, orders, work) in works {
                let made = last
                    .as_ref()
                    .and_then(|last| work.made_by(&shared.lab, last));
                let found = match made {
                    Some(found) => Some(found),
                    None => shared.prepare(component, &work).await,
                };
                match found {
                    Some(found) => {
                        shared.hand_out(component.name, &orders, found, generation);
                        last = Some(work);
                    }
                    None => shared.update(component.name, |state| state.generation = generation),
                }
            }
        };
        tokio::join!(lane(downloads), lane(builds));
    })
}

/// Tier by tier; within one all at once.
async fn stop_all(managed: Vec<Managed>) {
    let mut left = managed;
    for tier in Tier::ALL {
        let (now, later): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|each| each.component.tier == tier);
        left = later;
        for each in &now {
            each.orders.send_modify(|order| order.stop = true);
        }
        for each in now {
            let _panicked = each.task.await;
        }
    }
}

impl Shared {
    fn new(lab: Lab) -> anyhow::Result<Self> {
        let mut state = State::new(
            &lab.paths.root,
            client::program_identity()?,
            lab.ports().clone(),
        );
        state.supervisor = ProcessId::current();
        state.options = lab.settings.options();
        state.components = components::ALL
            .iter()
            .map(|component| {
                let mut each = ComponentState::new(component.name, component.core);
                each.address = (component.address)(&lab.settings);
                each
            })
            .collect();
        Ok(Self {
            lab,
            state: RefCell::new(state),
            client: health::client()?,
            write_failed: Cell::new(false),
        })
    }

    fn next_generation(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.generation += 1;
        state.generation
    }

    /// Passes on what a verb asks for.
    fn take_request(&self, managed: &[Managed]) {
        let path = self.lab.paths.request_file();
        let request = std::fs::read(&path)
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(serde_json::from_slice::<Request>(&text)?));
        let request = match request {
            Ok(request) => request,
            Err(error) => return self.say(&format!("{}: {error:#}", path.display())),
        };
        self.say(&format!(
            "asked to {} {}",
            request.act.name(),
            request.components.join(", ")
        ));
        self.state.borrow_mut().request = request.id;
        self.write();
        for each in managed {
            if !request
                .components
                .iter()
                .any(|name| name == each.component.name)
            {
                continue;
            }
            each.orders.send_modify(|order| {
                order.asked = request.id;
                order.paused = request.act == Act::Stop;
                if request.act == Act::Restart {
                    order.restart = request.id;
                }
            });
        }
    }

    /// What was asked for is done, or why not.
    fn answer(&self, name: &str, request: u64, answer: Option<String>) {
        self.update(name, |state| {
            state.answered = request;
            state.answer = answer;
        });
    }

    fn say(&self, line: &str) {
        let time = jiff::Zoned::now().strftime("%F %T%.3f");
        self.lab.printer.note(format_args!("{time} {line}"));
    }

    fn write(&self) {
        let result = self.state.borrow().write(&self.lab.paths.state_file());
        match result {
            Ok(()) => self.write_failed.set(false),
            Err(error) => {
                if !self.write_failed.replace(true) {
                    self.say(&format!("{error:#}"));
                }
            }
        }
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut ComponentState)) {
        if let Some(component) = self.state.borrow_mut().component_mut(name) {
            change(component);
        }
        self.write();
    }

    fn phase(&self, name: &str, phase: Phase, detail: Option<String>) {
        self.update(name, |state| state.set(phase, detail));
    }

    fn hand_out(&self, name: &str, orders: &watch::Sender<Order>, found: Found, generation: u64) {
        self.update(name, |state| {
            state.source = Some(found.source.clone());
            state.hint = None;
            state.notice = None;
        });
        orders.send_modify(|order| {
            order.found = Some(found);
            order.generation = generation;
            order.paused = false;
        });
    }

    /// Downloads or builds. A component that runs keeps running meanwhile.
    async fn prepare(&self, component: &'static Component, work: &Work) -> Option<Found> {
        let name = component.name;
        let log = provision::build_log(&self.lab, name);
        let runs = || {
            self.state.borrow().component(name).is_some_and(|state| {
                !matches!(
                    state.phase,
                    Phase::Waiting | Phase::Preparing | Phase::Missing | Phase::Failed
                )
            })
        };
        let report = |progress: Progress| {
            if runs() {
                return;
            }
            self.update(name, |state| match progress {
                Progress::Doing(what) => state.detail = Some(what),
                Progress::Process(process) => state.process = process,
            });
        };
        if !runs() {
            self.update(name, |state| {
                state.set(Phase::Preparing, Some(work.what.clone()));
                state.log = Some(log.clone());
            });
        }
        let started = Instant::now();
        start_log(&log);
        let result = provision::work(&self.lab, component, work, &log, &report).await;
        report(Progress::Process(None));
        match result {
            Ok(found) => {
                let took = duration(started.elapsed());
                self.say(&format!("{name}: prepared in {took} ({})", found.source));
                Some(found)
            }
            Err(error) => {
                let reason = format!("{error:#}");
                self.say(&format!("{name}: {reason}"));
                let reason = with_tail(&reason, child::last_line(&log));
                let running = runs();
                self.update(name, |state| {
                    if running {
                        state.notice = Some(format!("{reason} ({})", log.display()));
                    } else {
                        state.set(Phase::Failed, Some(reason));
                        state.log = Some(log);
                    }
                });
                None
            }
        }
    }

    fn manage(self: Rc<Self>, component: &'static Component) -> Managed {
        let (orders, inbox) = watch::channel(Order::default());
        Managed {
            component,
            orders,
            task: tokio::task::spawn_local(self.keep(component, inbox)),
        }
    }

    /// Keeps one component running until it is told to stop.
    async fn keep(
        self: Rc<Self>,
        component: &'static Component,
        mut inbox: watch::Receiver<Order>,
    ) {
        let name = component.name;
        let mut crashes_in_a_row = 0;
        loop {
            let order = inbox.borrow_and_update().clone();
            if order.stop {
                break;
            }
            if order.asked > 0 {
                self.answer(name, order.asked, None);
            }
            let found = order.found.clone().filter(|_| !order.paused);
            let Some(found) = found else {
                if order.paused {
                    crashes_in_a_row = 0;
                    self.update(name, |state| {
                        state.set(Phase::Stopped, None);
                        state.process = None;
                    });
                }
                if inbox.changed().await.is_err() {
                    break;
                }
                continue;
            };
            let started = Instant::now();
            self.update(name, |state| state.generation = order.generation);
            let end = match self.start(component, &found, &mut inbox).await {
                Ok((child, launch)) => {
                    self.watch(component, child, launch, &mut inbox, order)
                        .await
                }
                Err(error) => End::Refused(error),
            };
            match end {
                End::Told => {
                    crashes_in_a_row = 0;
                    continue;
                }
                End::Refused(error) => {
                    let reason = format!("{error:#}");
                    self.say(&format!("{name}: {reason}"));
                    self.update(name, |state| {
                        state.set(Phase::Failed, Some(reason));
                        state.process = None;
                    });
                    // Only a person can change that: wait for the next order.
                    if inbox.changed().await.is_err() {
                        break;
                    }
                    continue;
                }
                End::Crashed(status) => {
                    if started.elapsed() >= CALM {
                        crashes_in_a_row = 0;
                    }
                    let pause = backoff(crashes_in_a_row);
                    crashes_in_a_row += 1;
                    let log = self.lab.paths.log(name);
                    let reason = with_tail(&child::describe(status), child::last_line(&log));
                    self.say(&format!("{name}: {reason}; restart in {}", duration(pause)));
                    self.update(name, |state| {
                        state.set(Phase::Crashed, Some(reason));
                        state.crashes += 1;
                        state.process = None;
                    });
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        changed = inbox.changed() => if changed.is_err() { break },
                    }
                }
            }
        }
        self.update(name, |state| {
            state.process = None;
            if !state.phase.is_final() {
                state.set(Phase::Stopped, None);
            }
        });
    }

    /// Writes the configuration, runs what comes before, starts the program.
    async fn start(
        &self,
        component: &Component,
        found: &Found,
        inbox: &mut watch::Receiver<Order>,
    ) -> anyhow::Result<(Option<Child>, Launch)> {
        let name = component.name;
        let log = self.lab.paths.log(name);
        let mark = &self.lab.paths.state;
        let mut launch = (component.configure)(&self.lab, found)?;
        launch.run.aside = component.tier.aside();
        self.update(name, |state| {
            state.set(Phase::Starting, None);
            state.notice.clone_from(&launch.notice);
            state.log = Some(log.clone());
        });
        for before in &launch.before {
            self.update(name, |state| state.detail = Some(before.what.to_owned()));
            match &before.act {
                component::Act::Run { spec, stdin } => {
                    let run = child::run(spec, &log, mark, stdin, |id| {
                        self.update(name, |state| state.process = Some(id));
                    });
                    tokio::select! {
                        result = run => result.with_context(|| {
                            with_tail(before.what, child::last_line(&log))
                        })?,
                        // Told something else meanwhile: what was begun is killed.
                        _ = inbox.changed() => return Ok((None, launch)),
                    }
                }
                component::Act::Rename { from, to } => std::fs::rename(from, to)
                    .with_context(|| format!("cannot rename {}", from.display()))?,
            }
        }
        let child = child::spawn(&launch.run, &log, mark)?;
        self.update(name, |state| {
            state.process = Some(child.id);
            state.detail = None;
        });
        self.say(&format!("{name}: started, process {}", child.id.pid));
        Ok((Some(child), launch))
    }

    /// Watches a running child until it ends or has to.
    async fn watch(
        &self,
        component: &Component,
        child: Option<Child>,
        launch: Launch,
        inbox: &mut watch::Receiver<Order>,
        mut known: Order,
    ) -> End {
        let Some(mut child) = child else {
            return End::Told;
        };
        let mut fingerprint = launch.fingerprint();
        let probe = (component.probe)(&self.lab.settings);
        let mut health = Health::new();
        loop {
            tokio::select! {
                status = child.wait() => return match status {
                    Ok(status) => End::Crashed(status),
                    Err(error) => End::Refused(error.into()),
                },
                changed = inbox.changed() => {
                    let order = inbox.borrow_and_update().clone();
                    if changed.is_err() || order.stop || order.paused {
                        self.end(component, &mut child).await;
                        return End::Told;
                    }
                    let restart = order.restart > known.restart;
                    if restart || !self.unchanged(component, &order, &fingerprint) {
                        if launch.shared.is_none() {
                            self.end(component, &mut child).await;
                            return End::Told;
                        }
                        let replaced = self.replace(component, &order, &mut child, inbox).await;
                        let problem = match replaced {
                            Ok(new) => {
                                fingerprint = new;
                                None
                            }
                            Err(error) => Some(format!("{error:#}")),
                        };
                        if let Some(problem) = &problem {
                            self.say(&format!("{}: {problem}", component.name));
                        }
                        self.update(component.name, |state| state.notice.clone_from(&problem));
                        self.answer(component.name, order.asked, problem);
                    } else if order.asked > known.asked {
                        self.answer(component.name, order.asked, None);
                    }
                    self.update(component.name, |state| state.generation = order.generation);
                    known = order;
                }
                () = tokio::time::sleep(health.pause()) => {
                    let answer = health::check(&self.client, &probe).await;
                    if let Some((phase, detail)) = health.judge(answer) {
                        self.note_health(component, phase, detail);
                    }
                }
            }
        }
    }

    /// Starts a new instance beside the one that runs; once it listens, which it does when it is
    /// ready, the old one is told to stop. When the new one does not get so far, the old one stays.
    async fn replace(
        &self,
        component: &Component,
        order: &Order,
        child: &mut Child,
        inbox: &watch::Receiver<Order>,
    ) -> anyhow::Result<String> {
        let name = component.name;
        let found = order.found.as_ref().context("no program")?;
        let launch = (component.configure)(&self.lab, found)?;
        let port = launch.shared.context("it cannot share its port")?;
        let log = self.lab.paths.log(name);
        let run = launch.run.clone().env("LISTEN_WHEN_READY", "true");
        let mut new = child::spawn(&run, &log, &self.lab.paths.state)?;
        let (old_pid, new_pid) = (child.id.pid, new.id.pid);
        self.say(&format!(
            "{name}: started process {new_pid} beside {old_pid}"
        ));
        let started = Instant::now();
        while !ports::listens(new_pid, port) {
            tokio::select! {
                status = new.wait() => anyhow::bail!(
                    "the new instance {}; the old one goes on",
                    with_tail(&child::describe(status?), child::last_line(&log))
                ),
                () = tokio::time::sleep(REPLACE_INTERVAL) => {}
            }
            anyhow::ensure!(
                started.elapsed() < START_DEADLINE,
                "the new instance did not get ready within {}; the old one goes on; \
                 `./lab logs {name}` has what both say",
                duration(START_DEADLINE)
            );
            let told = inbox.borrow();
            anyhow::ensure!(
                !told.stop && !told.paused,
                "stopped before the new instance was ready"
            );
        }
        self.update(name, |state| state.process = Some(new.id));
        self.say(&format!(
            "{name}: process {new_pid} is ready after {}",
            duration(started.elapsed())
        ));
        let mut old = std::mem::replace(child, new);
        let stopping = Instant::now();
        let by_itself = old.stop(component.stop).await;
        let how = if by_itself { "stopped" } else { "was killed" };
        self.say(&format!(
            "{name}: process {old_pid} {how} after {}",
            duration(stopping.elapsed())
        ));
        Ok(launch.fingerprint())
    }

    fn note_health(&self, component: &Component, phase: Phase, detail: Option<String>) {
        let name = component.name;
        let mut was = Phase::Starting;
        let mut took = Duration::ZERO;
        let repeated = self.state.borrow().component(name).is_some_and(|state| {
            was = state.phase;
            took = state.elapsed();
            state.phase == phase && state.detail == detail
        });
        if repeated {
            return;
        }
        if was != phase {
            let why = detail
                .as_ref()
                .map(|detail| format!(": {detail}"))
                .unwrap_or_default();
            let after = duration(took);
            self.say(&format!("{name}: {} after {after}{why}", phase.name()));
        }
        self.update(name, |state| {
            if state.phase == phase {
                state.detail = detail;
            } else {
                state.set(phase, detail);
            }
        });
    }

    /// Whether a running child is what would be started now.
    fn unchanged(&self, component: &Component, order: &Order, fingerprint: &str) -> bool {
        let Some(found) = &order.found else {
            return true;
        };
        match (component.configure)(&self.lab, found) {
            Ok(launch) => launch.fingerprint() == fingerprint,
            // A configuration that is broken now is no reason to stop what works.
            Err(error) => {
                let reason = format!("{error:#}");
                self.say(&format!("{}: {reason}", component.name));
                self.update(component.name, |state| state.notice = Some(reason));
                true
            }
        }
    }

    async fn end(&self, component: &Component, child: &mut Child) {
        let name = component.name;
        self.phase(name, Phase::Stopping, None);
        let started = Instant::now();
        let by_itself = child.stop(component.stop).await;
        let how = if by_itself { "stopped" } else { "killed" };
        self.say(&format!(
            "{name}: {how} after {}",
            duration(started.elapsed())
        ));
    }
}

/// How watching a child ended.
enum End {
    Told,
    Crashed(ExitStatus),
    Refused(anyhow::Error),
}

impl ComponentState {
    fn set(&mut self, phase: Phase, detail: Option<String>) {
        if self.phase != phase {
            self.phase = phase;
            self.since = now();
        }
        self.detail = detail;
    }
}

/// Turns single answers into a phase.
struct Health {
    started: Instant,
    was_healthy: bool,
    failures: u32,
}

impl Health {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            was_healthy: false,
            failures: 0,
        }
    }

    fn pause(&self) -> Duration {
        if self.was_healthy && self.failures == 0 {
            HEALTHY_INTERVAL
        } else if self.started.elapsed() < START_DEADLINE || self.was_healthy {
            // A component that stopped answering is looked at often, to see it come back.
            STARTING_INTERVAL * (1 + self.failures.min(9))
        } else {
            HEALTHY_INTERVAL
        }
    }

    fn judge(&mut self, answer: Result<(), String>) -> Option<(Phase, Option<String>)> {
        match answer {
            Ok(()) => {
                self.was_healthy = true;
                self.failures = 0;
                Some((Phase::Healthy, None))
            }
            Err(reason) => {
                self.failures += 1;
                if self.was_healthy {
                    (self.failures >= FAILURES).then_some((Phase::Unhealthy, Some(reason)))
                } else if self.started.elapsed() >= START_DEADLINE {
                    Some((Phase::Unhealthy, Some(reason)))
                } else {
                    Some((Phase::Starting, Some(reason)))
                }
            }
        }
    }
}

fn backoff(crashes_in_a_row: u32) -> Duration {
    BACKOFF
        .saturating_mul(2_u32.saturating_pow(crashes_in_a_row))
        .min(MOST_BACKOFF)
}

fn with_tail(reason: &str, tail: Option<String>) -> String {
    match tail {
        Some(tail) => format!("{reason}: {tail}"),
        None => reason.to_owned(),
    }
}

/// A build's log starts anew: what it says must be about this build.
fn start_log(log: &Path) {
    let _absent = std::fs::remove_file(log);
}

/// Keeps Prometheus' rules those of the checkout.
async fn keep_rules(shared: Rc<Shared>, look: Rc<Notify>) {
    let say = |line: &str| shared.say(line);
    let notice = |notice| shared.update("prometheus", |state| state.notice = notice);
    rules::keep(&shared.lab, &shared.client, &look, say, notice).await;
}

/// Keeps logs from filling the disk. Children append, so cutting the file is safe.
async fn bound_logs(shared: Rc<Shared>) {
    loop {
        tokio::time::sleep(LOG_INTERVAL).await;
        for component in &components::ALL {
            let log = shared.lab.paths.log(component.name);
            let Ok(meta) = std::fs::metadata(&log) else {
                continue;
            };
            if meta.len() > MOST_LOG {
                let kept = log.with_extension("log.1");
                let cut = std::fs::copy(&log, &kept)
                    .and_then(|_| File::options().write(true).open(&log)?.set_len(0));
                if cut.is_ok() {
                    shared.say(&format!(
                        "{}: log cut at {}, the old part is in {}",
                        component.name,
                        megabytes(meta.len()),
                        kept.display()
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_a_bound() {
        assert_eq!(backoff(0), Duration::from_millis(250));
        assert_eq!(backoff(3), Duration::from_secs(2));
        assert_eq!(backoff(7), MOST_BACKOFF);
        assert_eq!(backoff(u32::MAX), MOST_BACKOFF);
    }

    #[test]
    fn one_failed_look_does_not_make_unhealthy() {
        let mut health = Health::new();
        let bad = || Err("refuses".to_owned());
        assert_eq!(
            health.judge(bad()),
            Some((Phase::Starting, Some("refuses".into())))
        );
        assert_eq!(health.judge(Ok(())), Some((Phase::Healthy, None)));
        assert_eq!(health.judge(bad()), None);
        assert_eq!(
            health.judge(bad()),
            Some((Phase::Unhealthy, Some("refuses".into())))
        );
        assert_eq!(health.judge(Ok(())), Some((Phase::Healthy, None)));
        assert_eq!(health.judge(bad()), None);
    }

    #[test]
    fn only_one_supervisor_gets_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("supervisor.lock");
        let first = lock(&path).unwrap();
        assert!(first.is_some());
        assert!(lock(&path).unwrap().is_none());
        drop(first);
        assert!(lock(&path).unwrap().is_some());
    }
}
