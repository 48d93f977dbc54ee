//! Which processors are used for what, and that they do not sleep.

use std::fs::File;
use std::io::Write as _;

use anyhow::{Context, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::process::Table;

/// Linux' quality of service for power management: whoever holds this file open with a zero in it asks that
/// no processor goes to sleep, as `cyclictest` does.
const LATENCY: &str = "/dev/cpu_dma_latency";

/// Processors that wait awake, for as long as this lives. Waking takes long where a host gives a
/// virtual machine its processors, and the fewer requests there are, the more of them pay for it.
pub(crate) struct Awake {
    _file: File,
}

impl Awake {
    pub(crate) fn keep() -> anyhow::Result<Self> {
        let mut file = File::options()
            .write(true)
            .open(LATENCY)
            .with_context(|| format!("cannot write {LATENCY}"))?;
        file.write_all(&0_i32.to_ne_bytes())
            .with_context(|| format!("cannot write {LATENCY}"))?;
        Ok(Self { _file: file })
    }
}

/// What this process starts while this lives keeps to the half of the processors that the lab's backends do not
/// have; so does a process that runs already, with its children, until this is dropped.
pub(crate) struct Split {
    all: CpuSet,
    moved: i32,
}

impl Split {
    /// Why it cannot be done here, if it cannot.
    pub(crate) fn lacks() -> Option<String> {
        allowed()
            .and_then(|all| half_of(&all))
            .err()
            .map(|error| format!("{error:#}"))
    }

    pub(crate) fn begin(running: i32) -> anyhow::Result<Self> {
        let me = Pid::from_raw(0);
        let all = allowed()?;
        let half = half_of(&all)?;
        let split = Self {
            all,
            moved: running,
        };
        sched_setaffinity(me, &half).context("cannot keep to half of the processors")?;
        split.all_of_it_to(&half);
        Ok(split)
    }

    /// What is started from now on may run anywhere again.
    pub(crate) fn started(&self) -> anyhow::Result<()> {
        sched_setaffinity(Pid::from_raw(0), &self.all).context("cannot use all processors again")
    }

    fn all_of_it_to(&self, processors: &CpuSet) {
        for pid in Table::look().tree(self.moved) {
            // A connection's process may have ended since.
            let _gone = sched_setaffinity(Pid::from_raw(pid), processors);
        }
    }
}

impl Drop for Split {
    fn drop(&mut self) {
        let _best_effort = self.started();
        self.all_of_it_to(&self.all);
    }
}

fn allowed() -> anyhow::Result<CpuSet> {
    sched_getaffinity(Pid::from_raw(0)).context("cannot ask for the processors of the bench")
}

/// The lab's backends have the upper half.
fn half_of(all: &CpuSet) -> anyhow::Result<CpuSet> {
    let numbers: Vec<usize> = (0..CpuSet::count())
        .filter(|processor| all.is_set(*processor).unwrap_or(false))
        .collect();
    let mut half = CpuSet::new();
    for processor in &numbers[..numbers.len() / 2] {
        half.set(*processor)?;
    }
    if numbers.len() < 2 {
        bail!("services and backends cannot be kept apart on one processor");
    }
    Ok(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_processors_is_less_than_all() {
        let set = |processors: &[usize]| {
            let mut set = CpuSet::new();
            for processor in processors {
                set.set(*processor).unwrap();
            }
            set
        };
        assert_eq!(half_of(&set(&[0, 1])).unwrap(), set(&[0]));
        assert_eq!(half_of(&set(&[2, 5, 7])).unwrap(), set(&[2]));
        assert!(half_of(&set(&[3])).is_err());
    }

    #[test]
    fn a_process_is_moved_and_moved_back() {
        let me = Pid::from_raw(0);
        let before = sched_getaffinity(me).unwrap();
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(sleeper.id()).unwrap());
        if let Ok(split) = Split::begin(pid.as_raw()) {
            let half = sched_getaffinity(pid).unwrap();
            assert_ne!(half, before);
            assert_eq!(sched_getaffinity(me).unwrap(), half);
            split.started().unwrap();
            assert_eq!(sched_getaffinity(me).unwrap(), before);
            assert_eq!(sched_getaffinity(pid).unwrap(), half);
        }
        assert_eq!(sched_getaffinity(pid).unwrap(), before);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}
