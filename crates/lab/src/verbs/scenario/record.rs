//! What a run leaves in the state directory: for whoever watches it, and for `heal` after a crash.

use std::fs::File;
use std::io;

use anyhow::Context;
use proof::scenario::{Broken, Report};
use serde::{Deserialize, Serialize};

use crate::Lab;
use crate::native::supervisor;
use crate::process::ProcessId;
use crate::state::write_atomically;

/// `scenario.json`: the run of now, or the last one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Who runs it.
    pub(crate) process: Option<ProcessId>,
    pub(crate) broken: Broken,
    /// What healing starts anew.
    pub(crate) restart: Vec<String>,
    /// Nothing is left of what it broke.
    pub(crate) healed: bool,
    pub(crate) report: Report,
}

impl Record {
    /// The last one, if there was any. What cannot be read is none: another version of `lab` wrote it.
    pub(crate) fn read(lab: &Lab) -> anyhow::Result<Option<Self>> {
        let path = lab.paths.scenario_file();
        match std::fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn write(&self, lab: &Lab) -> anyhow::Result<()> {
        write_atomically(
            &lab.paths.scenario_file(),
            &serde_json::to_vec_pretty(self)?,
        )
    }
}

/// One scenario at a time. Nothing while another one has it; it is free when its process ends, however that is.
pub(super) fn turn(lab: &Lab) -> anyhow::Result<Option<File>> {
    let path = lab.paths.scenario_lock_file();
    std::fs::create_dir_all(&lab.paths.state)
        .with_context(|| format!("cannot make {}", lab.paths.state.display()))?;
    supervisor::lock(&path)
}
