//! Processes of the machine, read from `/proc`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use procfs::process::Process;
use serde::{Deserialize, Serialize};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot.
    pub(crate) start: u64,
}

impl ProcessId {
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = Process::new(pid).ok()?.stat().ok()?;
        Some(Self {
            pid,
            start: stat.starttime,
        })
    }

    pub(crate) fn current() -> Option<Self> {
        Self::of(i32::try_from(std::process::id()).ok()?)
    }

    /// Runs, and is the same process; one that ended but was not collected does not run.
    pub(crate) fn is_alive(self) -> bool {
        Process::new(self.pid)
            .and_then(|process| process.stat())
            .is_ok_and(|stat| stat.starttime == self.start && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Signals this very process; a process that is gone is fine.
    pub(crate) fn signal(self, signal: Signal) -> Result<(), Errno> {
        if !self.is_alive() {
            return Ok(());
        }
        match signal::kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Signals the group this process leads; the group may outlive it.
    pub(crate) fn signal_group(self, signal: Signal) {
        let _gone = signal::killpg(Pid::from_raw(self.pid), signal);
    }

    /// Waits until the process has ended; false when the deadline came first.
    pub(crate) async fn wait_gone(self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        while self.is_alive() {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }
}

/// How a process is shown to a person: its command line, shortened.
pub(crate) fn command_line(pid: i32) -> Option<String> {
    let process = Process::new(pid).ok()?;
    let line = process
        .cmdline()
        .ok()
        .filter(|words| !words.is_empty())
        .map(|words| words.join(" "))
        .or_else(|| process.stat().ok().map(|stat| stat.comm))?;
    Some(shorten(line.trim(), 80))
}

fn shorten(line: &str, most: usize) -> String {
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(most - 1).collect();
    short.push('…');
    short
}

/// Memory of processes and all their descendants.
pub(crate) struct Memory {
    children: HashMap<i32, Vec<i32>>,
}

impl Memory {
    /// One look at the process table.
    pub(crate) fn look() -> Self {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for process in procfs::process::all_processes().into_iter().flatten() {
            if let Ok(stat) = process.and_then(|process| process.stat()) {
                children.entry(stat.ppid).or_default().push(stat.pid);
            }
        }
        Self { children }
    }

    /// Bytes in memory of a process tree. Pages that several processes share count once
    /// (proportional set size) where the kernel tells; else resident set sizes are added up.
    pub(crate) fn of_tree(&self, root: i32) -> u64 {
        let mut bytes = 0;
        let mut pending = vec![root];
        while let Some(pid) = pending.pop() {
            let alone = pid == root && !self.children.contains_key(&pid);
            bytes += memory_of(pid, alone).unwrap_or(0);
            pending.extend(self.children.get(&pid).into_iter().flatten());
        }
        bytes
    }

    pub(crate) fn of(pid: i32) -> u64 {
        memory_of(pid, true).unwrap_or(0)
    }
}

fn memory_of(pid: i32, alone: bool) -> Option<u64> {
    let process = Process::new(pid).ok()?;
    if !alone
        && let Ok(rollup) = process.smaps_rollup()
        && let Some(pss) = rollup
            .memory_map_rollup
            .iter()
            .next()
            .and_then(|map| map.extension.map.get("Pss"))
    {
        return Some(*pss);
    }
    process.status().ok()?.vmrss.map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_no_other() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive());
        let earlier = ProcessId {
            start: me.start - 1,
            ..me
        };
        assert!(!earlier.is_alive());
        assert_eq!(earlier.signal(Signal::SIGKILL), Ok(()));
    }

    #[test]
    fn own_memory_is_seen() {
        assert!(Memory::of(ProcessId::current().unwrap().pid) > 500_000);
    }

    #[test]
    fn long_command_lines_are_shortened() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
    }
}
