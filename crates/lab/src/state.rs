//! The state file: what the supervisor knows, written by it alone and read by every verb.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::process::ProcessId;

/// Raised when the layout changes; another layout is treated as "no state".
const SCHEMA: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    schema: u32,
    pub(crate) engine: String,
    /// The checkout this lab was started from.
    pub(crate) root: PathBuf,
    /// Identity of the `lab` program that runs the supervisor.
    pub(crate) program: String,
    pub(crate) supervisor: Option<ProcessId>,
    /// The last request that the supervisor took up.
    #[serde(default)]
    pub(crate) request: u64,
    /// Settings that are taken when the lab starts, by the names of their variables.
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    /// Raised each time the supervisor is asked to look at everything again (an `up` on a
    /// running lab).
    pub(crate) generation: u64,
    /// The generation for which it is known what must be prepared.
    pub(crate) looked: u64,
    pub(crate) started: f64,
    /// Every `*_PORT` variable as the lab runs with it, offset applied.
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) components: Vec<ComponentState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComponentState {
    pub(crate) name: String,
    /// `up` waits for it.
    pub(crate) core: bool,
    pub(crate) phase: Phase,
    /// The generation this phase belongs to: an older one says nothing about the last `up`.
    pub(crate) generation: u64,
    /// When the phase began, in seconds since 1970.
    pub(crate) since: f64,
    /// What is being done, or what is wrong.
    pub(crate) detail: Option<String>,
    /// It runs, but not as it was asked to: a rebuild failed.
    pub(crate) notice: Option<String>,
    /// The exact command that would help.
    pub(crate) hint: Option<String>,
    /// Where its program comes from.
    pub(crate) source: Option<String>,
    /// The address a person opens or calls.
    pub(crate) address: Option<String>,
    pub(crate) process: Option<ProcessId>,
    pub(crate) crashes: u32,
    /// The log to look into now: of the build while it is built.
    pub(crate) log: Option<PathBuf>,
    /// The last request that was carried out, and why it was not.
    #[serde(default)]
    pub(crate) answered: u64,
    #[serde(default)]
    pub(crate) answer: Option<String>,
}

/// What a verb asks of a running supervisor; `request.json` in the state directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) act: Act,
    pub(crate) components: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Act {
    Start,
    /// Until it is started again, or `up` puts the lab right.
    Stop,
    Restart,
}

impl Act {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Its turn to be prepared has not come.
    Waiting,
    /// Being downloaded or built.
    Preparing,
    /// Runs, does not answer yet.
    Starting,
    Healthy,
    /// Runs, but does not answer or says that it cannot serve.
    Unhealthy,
    /// Ended by itself; a restart is due.
    Crashed,
    Stopping,
    Stopped,
    /// A tool it needs is not on this machine.
    Missing,
    /// It could not be prepared or started.
    Failed,
    /// Exists as a container image only.
    ComposeOnly,
}

impl Phase {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Crashed => "crashed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::ComposeOnly => "compose only",
        }
    }

    /// Nothing more happens without a person.
    pub(crate) const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Missing | Self::Failed | Self::ComposeOnly | Self::Stopped
        )
    }

    /// Still on its way to be healthy for the first time.
    pub(crate) const fn is_pending(self) -> bool {
        matches!(self, Self::Waiting | Self::Preparing | Self::Starting)
    }
}

impl ComponentState {
    pub(crate) fn new(name: &str, core: bool) -> Self {
        Self {
            name: name.to_owned(),
            core,
            phase: Phase::Waiting,
            generation: 0,
            since: now(),
            detail: None,
            notice: None,
            hint: None,
            source: None,
            address: None,
            process: None,
            crashes: 0,
            log: None,
            answered: 0,
            answer: None,
        }
    }

    /// Time spent in the phase.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::try_from_secs_f64(now() - self.since).unwrap_or_default()
    }
}

impl State {
    pub(crate) fn new(root: &Path, program: String, ports: BTreeMap<String, u16>) -> Self {
        Self {
            schema: SCHEMA,
            engine: "native".to_owned(),
            root: root.to_path_buf(),
            program,
            supervisor: None,
            request: 0,
            options: BTreeMap::new(),
            generation: 1,
            looked: 0,
            started: now(),
            ports,
            components: Vec::new(),
        }
    }

    pub(crate) fn component(&self, name: &str) -> Option<&ComponentState> {
        self.components.iter().find(|each| each.name == name)
    }

    pub(crate) fn component_mut(&mut self, name: &str) -> Option<&mut ComponentState> {
        self.components.iter_mut().find(|each| each.name == name)
    }

    /// The supervisor that wrote this is still there.
    pub(crate) fn supervisor_alive(&self) -> bool {
        self.supervisor.is_some_and(|process| process.is_alive())
    }

    /// Reads the file. No file, or one of another layout, is no state.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        // Another layout, or a file that a full disk cut off: the lock decides whether a lab runs.
        Ok(serde_json::from_slice::<Self>(&text)
            .ok()
            .filter(|state| state.schema == SCHEMA))
    }

    /// Writes the file so that a reader sees the old one or the new one, never a part.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        write_atomically(path, &text)
    }
}

/// Writes beside the target, then renames over it.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    proof::file::replace(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Seconds since 1970, to the millisecond.
pub(crate) fn now() -> f64 {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(State::read(&path).unwrap(), None);

        let mut state = State::new(Path::new("/lab"), "abc".into(), BTreeMap::new());
        state.ports.insert("EDGE_PORT".into(), 8001);
        let mut edge = ComponentState::new("edge", true);
        edge.phase = Phase::ComposeOnly;
        edge.process = Some(ProcessId { pid: 7, start: 9 });
        state.components.push(edge);
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), Some(state));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_no_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        std::fs::write(&path, "{\"schema\": 1, \"eng").unwrap();
        assert_eq!(State::read(&path).unwrap(), None);
        let mut state = State::new(Path::new("/lab"), String::new(), BTreeMap::new());
        state.schema = SCHEMA + 1;
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), None);
    }
}
