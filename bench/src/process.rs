//! What processes cost, from `/proc`.

use std::collections::HashMap;
use std::time::Duration;

use procfs::process::{Process, Stat};
use serde::{Deserialize, Serialize};

/// Memory of a process and its children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Bytes now.
    pub(crate) rss: u64,
    /// The most bytes there ever were.
    pub(crate) peak: u64,
}

/// One look at the process table.
pub(crate) struct Table {
    stats: HashMap<i32, Stat>,
    ticks: u64,
}

impl Table {
    pub(crate) fn look() -> Self {
        let stats = procfs::process::all_processes()
            .into_iter()
            .flatten()
            .filter_map(|process| process.ok()?.stat().ok())
            .map(|stat| (stat.pid, stat))
            .collect();
        Self {
            stats,
            ticks: procfs::ticks_per_second(),
        }
    }

    /// A process, its children, theirs.
    pub(crate) fn tree(&self, root: i32) -> Vec<i32> {
        tree(root, |pid| {
            self.stats
                .values()
                .filter(|stat| stat.ppid == pid)
                .map(|stat| stat.pid)
                .collect()
        })
    }

    /// CPU time of a process, of its children, and of those children that have ended.
    pub(crate) fn cpu(&self, root: i32) -> Duration {
        let ticks: u64 = self
            .tree(root)
            .iter()
            .filter_map(|pid| self.stats.get(pid))
            .map(cpu_ticks)
            .sum();
        Duration::from_secs_f64(ticks as f64 / self.ticks as f64)
    }

    /// How long the threads of a process and of its children were ready to run and had no processor.
    pub(crate) fn waited(&self, root: i32) -> Duration {
        let nanoseconds: u64 = self
            .tree(root)
            .into_iter()
            .filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok())
            .flatten()
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|line| run_delay(&line))
            .sum();
        Duration::from_nanos(nanoseconds)
    }

    pub(crate) fn memory(&self, root: i32) -> Memory {
        let mut memory = Memory::default();
        for pid in self.tree(root) {
            let Ok(status) = Process::new(pid).and_then(|process| process.status()) else {
                continue;
            };
            memory.rss += status.vmrss.unwrap_or(0) * 1024;
            memory.peak += status.vmhwm.unwrap_or(0) * 1024;
        }
        memory
    }
}

/// User and system time, also of children that were waited for.
fn cpu_ticks(stat: &Stat) -> u64 {
    let children = stat.cutime.max(0).unsigned_abs() + stat.cstime.max(0).unsigned_abs();
    stat.utime + stat.stime + children
}

/// The second of the three numbers of `/proc/PID/task/TID/schedstat`.
fn run_delay(line: &str) -> Option<u64> {
    line.split_whitespace().nth(1)?.parse().ok()
}

fn tree(root: i32, children: impl Fn(i32) -> Vec<i32>) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        next += 1;
        for child in children(*pid) {
            if !found.contains(&child) {
                found.push(child);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use procfs::FromRead;

    use super::*;

    #[test]
    fn a_line_of_proc_stat_is_read() {
        let line = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 200 0 0 150 50 7 3 20 0 4 0 1000 1000000 500 \
            18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0";
        let stat = Stat::from_read(line.as_bytes()).unwrap();
        assert_eq!(
            (stat.pid, stat.ppid, stat.comm.as_str()),
            (42, 1, "a (b) c")
        );
        assert_eq!(cpu_ticks(&stat), 210);
    }

    #[test]
    fn a_tree_has_grandchildren_and_no_strangers() {
        let children = |pid| match pid {
            1 => vec![2, 3],
            3 => vec![4],
            9 => vec![10],
            _ => vec![],
        };
        assert_eq!(tree(1, children), [1, 2, 3, 4]);
    }

    #[test]
    fn this_process_costs_something() {
        let me = i32::try_from(std::process::id()).unwrap();
        let memory = Table::look().memory(me);
        assert!(
            memory.rss > 500_000 && memory.peak >= memory.rss,
            "{memory:?}"
        );
    }
}
