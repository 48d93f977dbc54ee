//! What `up`, `down` and `test` do from outside the supervisor.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use crate::Lab;
use crate::native::component::file_identity;
use crate::native::ports::{self, Conflict, Why};
use crate::native::{child, components, environment, provision, supervisor};
use crate::process::ProcessId;
use crate::settings::{self, Port};
use crate::state::{Act, Request, State, write_atomically};

/// The supervisor writes its first state within this time.
const APPEAR: Duration = Duration::from_secs(20);
/// Longer than all of its own deadlines together.
const STOP_DEADLINE: Duration = Duration::from_secs(150);
/// A new instance gets ready within a minute, the old one stops within another.
const REPLACE_DEADLINE: Duration = Duration::from_secs(150);
/// What is left without a supervisor gets this long before it is killed.
const LEFTOVER_DEADLINE: Duration = Duration::from_secs(15);

/// Tells one build of `lab` from another.
pub(crate) fn program_identity() -> anyhow::Result<String> {
    Ok(file_identity(&provision::own_program()?))
}

/// The running lab of this state directory. A supervisor that holds the lock but has not written
/// its state yet is waited for.
pub(crate) async fn running(lab: &Lab) -> anyhow::Result<Option<State>> {
    let deadline = Instant::now() + APPEAR;
    loop {
        if let Some(state) = lab.running()? {
            return Ok(Some(state));
        }
        if !lab.paths.lock_file().exists() || supervisor::lock(&lab.paths.lock_file())?.is_some() {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            bail!(
                "a supervisor holds {} but does not write its state; see {}",
                lab.paths.lock_file().display(),
                lab.paths.log("supervisor").display()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Ports that the lab would need and others have. Those of `ours` are fine.
pub(crate) fn conflicts(lab: &Lab, ours: Option<&State>) -> Vec<Conflict> {
    let is_ours = |port: Port| {
        ours.is_some_and(|state| {
            let number = lab.settings.port(port);
            Port::ALL
                .iter()
                .any(|each| state.ports.get(each.var()) == Some(&number))
        })
    };
    let wanted = components::ALL.iter().flat_map(|component| {
        component
            .ports
            .iter()
            .filter(|port| !is_ours(**port))
            .map(|port| (component.name, *port))
    });
    ports::conflicts(&lab.settings, wanted)
}

/// The same, but a process that is just dying, and so has no name any more, may finish first.
pub(crate) async fn lasting_conflicts(lab: &Lab, ours: Option<&State>) -> Vec<Conflict> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let found = conflicts(lab, ours);
        let nameless = found
            .iter()
            .any(|conflict| conflict.why == Why::Taken(None));
        if !nameless || Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// No terminal, and no Ctrl-C that is meant for `up`.
fn in_own_session(command: &mut std::process::Command) {
    #[expect(unsafe_code, reason = "only a hook between fork and exec can do this")]
    // SAFETY: the hook makes one async-signal-safe system call and does not allocate.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
}

/// Starts a detached supervisor and waits for its first state. `mine` is set before the first
/// wait: from then on there is something to stop.
pub(crate) async fn start(lab: &Lab, mine: &mut Option<ProcessId>) -> anyhow::Result<()> {
    let log = lab.paths.log("supervisor");
    let out = child::append(&log)?;
    let err = out.try_clone()?;
    let program = provision::own_program()?;
    let mut command = std::process::Command::new(&program);
    command
        .arg("supervise")
        .env(settings::ROOT, &lab.paths.root)
        .env(settings::STATE_DIR, &lab.paths.state)
        .env(settings::CACHE_DIR, &lab.paths.cache)
        .env_remove(environment::MARK)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err);
    if std::env::var_os(settings::SESSION).is_some_and(|session| session == "caller") {
        command.process_group(0);
    } else {
        in_own_session(&mut command);
    }
    let mut process = command
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let pid = i32::try_from(process.id())?;
    *mine = ProcessId::of(pid);
    let deadline = Instant::now() + APPEAR;
    loop {
        let state = State::read(&lab.paths.state_file())?;
        if let Some(id) = state.and_then(|state| state.supervisor)
            && (id.pid == pid || id.is_alive())
        {
            if id.pid != pid {
                // Another `up` was faster; ours ends by itself.
                *mine = None;
            }
            return Ok(());
        }
        if let Some(status) = process.try_wait()? {
            bail!(
                "the supervisor {}{}; its log: {}",
                child::describe(status),
                child::last_line(&log)
                    .map(|line| format!(": {line}"))
                    .unwrap_or_default(),
                log.display()
            );
        }
        if Instant::now() >= deadline {
            let _gone = process.kill();
            bail!("the supervisor does not start; its log: {}", log.display());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks a running supervisor to look at everything again. False when it is gone by now.
pub(crate) async fn look_again(lab: &Lab, state: &State) -> anyhow::Result<bool> {
    let supervisor = state.supervisor.context("no supervisor")?;
    supervisor.signal(Signal::SIGHUP)?;
    let deadline = Instant::now() + APPEAR;
    loop {
        let now = State::read(&lab.paths.state_file())?;
        if now.is_some_and(|now| now.generation > state.generation) {
            return Ok(true);
        }
        if !supervisor.is_alive() {
            return Ok(false);
        }
        if Instant::now() >= deadline {
            bail!(
                "the supervisor does not answer; see {}",
                lab.paths.log("supervisor").display()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks a running supervisor to stop, start or restart components, and waits until it has taken
/// that up; a component that is replaced while it runs has then been replaced.
pub(crate) async fn ask(
    lab: &Lab,
    state: &State,
    act: Act,
    components: &[String],
) -> anyhow::Result<()> {
    let supervisor = state.supervisor.context("no supervisor")?;
    let request = Request {
        id: state.request + 1,
        act,
        components: components.to_vec(),
    };
    let path = lab.paths.request_file();
    write_atomically(&path, &serde_json::to_vec(&request)?)?;
    supervisor.signal(Signal::SIGUSR1)?;
    let started = Instant::now();
    loop {
        if let Some(now) = State::read(&lab.paths.state_file())? {
            let named = || {
                now.components
                    .iter()
                    .filter(|each| components.contains(&each.name))
            };
            if named().all(|each| each.answered >= request.id) {
                let failed: Vec<String> = named()
                    .filter_map(|each| Some(format!("{}: {}", each.name, each.answer.as_ref()?)))
                    .collect();
                anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
                return Ok(());
            }
        }
        if !supervisor.is_alive() || started.elapsed() >= REPLACE_DEADLINE {
            bail!(
                "the supervisor does not answer; see {}",
                lab.paths.log("supervisor").display()
            );
        }
        let names = components.join(", ");
        lab.printer.step(act.name(), &names, started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stops the supervisor, and with it the lab; then whatever is left.
pub(crate) async fn stop(lab: &Lab, supervisor: ProcessId) -> anyhow::Result<()> {
    let name = "lab";
    let started = Instant::now();
    supervisor.signal(Signal::SIGTERM)?;
    while supervisor.is_alive() {
        if started.elapsed() > STOP_DEADLINE {
            lab.printer.warn(format_args!(
                "the supervisor did not stop within {} s and is killed",
                STOP_DEADLINE.as_secs()
            ));
            supervisor.signal(Signal::SIGKILL)?;
            supervisor.wait_gone(Duration::from_secs(5)).await;
            break;
        }
        lab.printer.step(name, &stopping(lab), started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.printer.clear_steps();
    end_leftovers(lab).await
}

fn stopping(lab: &Lab) -> String {
    let state = State::read(&lab.paths.state_file()).ok().flatten();
    let names: Vec<String> = state
        .into_iter()
        .flat_map(|state| state.components)
        .filter(|component| component.process.is_some())
        .map(|component| component.name)
        .collect();
    if names.is_empty() {
        "stopping".to_owned()
    } else {
        format!("stopping {}", names.join(", "))
    }
}

/// Ends processes of this lab that run without a supervisor, after a `kill -9` for example.
pub(crate) async fn end_leftovers(lab: &Lab) -> anyhow::Result<()> {
    end(lab, &leftovers(lab)?).await
}

/// The same for what carries another mark than a lab's.
pub(crate) async fn end_marked(lab: &Lab, mark: &Path) -> anyhow::Result<()> {
    let left: Vec<_> = marked(mark)?
        .into_iter()
        .map(|id| (id, Signal::SIGTERM))
        .collect();
    end(lab, &left).await
}

async fn end(lab: &Lab, left: &[(ProcessId, Signal)]) -> anyhow::Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let pids: Vec<String> = left.iter().map(|(id, _)| id.pid.to_string()).collect();
    lab.printer.note(format_args!(
        "ending what an earlier lab left behind: processes {}",
        pids.join(", ")
    ));
    for (id, signal) in left {
        id.signal(*signal)
            .with_context(|| format!("cannot stop process {}", id.pid))?;
    }
    let deadline = Instant::now() + LEFTOVER_DEADLINE;
    for (id, _) in left {
        let time = deadline.saturating_duration_since(Instant::now());
        if !id.wait_gone(time).await {
            id.signal(Signal::SIGKILL)?;
            id.wait_gone(Duration::from_secs(5)).await;
        }
    }
    Ok(())
}

fn leftovers(lab: &Lab) -> anyhow::Result<Vec<(ProcessId, Signal)>> {
    let mut found: Vec<(ProcessId, Signal)> = Vec::new();
    let mut add = |id: ProcessId, signal: Signal| {
        if id.is_alive() && !found.iter().any(|(other, _)| other.pid == id.pid) {
            found.push((id, signal));
        }
    };
    if let Some(state) = State::read(&lab.paths.state_file())? {
        for component in &state.components {
            let signal = components::by_name(&component.name)
                .map_or(Signal::SIGTERM, |component| component.stop.signal);
            if let Some(id) = component.process {
                add(id, signal);
            }
        }
    }
    if let Some(id) = postmaster(&lab.paths.data("postgres").join("cluster")) {
        add(id, Signal::SIGINT);
    }
    // What they started themselves, compilers for example, carries the mark too.
    for id in marked(&lab.paths.state)? {
        add(id, Signal::SIGTERM);
    }
    Ok(found)
}

/// Every other process whose environment has this mark.
fn marked(mark: &Path) -> anyhow::Result<Vec<ProcessId>> {
    let me = std::process::id();
    let mut found = Vec::new();
    for process in procfs::process::all_processes()?.flatten() {
        let has_it = process.environ().is_ok_and(|environ| {
            environ
                .get(std::ffi::OsStr::new(environment::MARK))
                .is_some_and(|found| Path::new(found) == mark)
        });
        if has_it
            && u32::try_from(process.pid()) != Ok(me)
            && let Some(id) = ProcessId::of(process.pid())
        {
            found.push(id);
        }
    }
    Ok(found)
}

/// The server that runs on a cluster, whoever started it.
fn postmaster(cluster: &Path) -> Option<ProcessId> {
    let text = std::fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    let pid = text.lines().next()?.trim().parse().ok()?;
    let command = procfs::process::Process::new(pid).ok()?.cmdline().ok()?;
    let cluster = cluster.to_str()?;
    command
        .iter()
        .any(|word| word == cluster)
        .then(|| ProcessId::of(pid))?
}
