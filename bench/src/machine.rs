//! Where and with what it was measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use procfs::{CurrentSI as _, KernelStats};
use serde::{Deserialize, Serialize};

use crate::child;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// When it began.
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
    /// Of the checkout; `+` says that files were changed since.
    pub(crate) commit: String,
    /// How the services were built.
    pub(crate) profile: String,
    pub(crate) versions: BTreeMap<String, String>,
    /// So many processors were busy just before the bench began.
    #[serde(default)]
    pub(crate) busy_before: f64,
    /// No processor went to sleep while it was measured.
    #[serde(default)]
    pub(crate) awake: bool,
}

/// How long others are watched before the bench begins.
const WATCH: Duration = Duration::from_secs(3);
/// More than this of one processor, and the figures are worth little.
const MOST_BUSY: f64 = 0.25;

/// How many processors are busy, over a few seconds. The load average would tell of the minute before,
/// in which the bench itself was compiled.
pub(crate) async fn busy() -> f64 {
    let before = Time::look();
    tokio::time::sleep(WATCH).await;
    let now = Time::look();
    now.zip(before)
        .and_then(|(now, before)| now.busy_since(before))
        .map_or(0.0, |share| share * cores() as f64)
}

/// What the time of all processors went into since they started, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    busy: u64,
    idle: u64,
    /// Something could have run, and the host let another machine run in place of this one.
    stolen: u64,
}

impl Time {
    pub(crate) fn look() -> Option<Self> {
        let total = KernelStats::current().ok()?.total;
        let interrupts = total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
        Some(Self {
            busy: total.user + total.nice + total.system + interrupts,
            idle: total.idle + total.iowait.unwrap_or(0),
            stolen: total.steal.unwrap_or(0),
        })
    }

    /// The share in which something ran.
    fn busy_since(self, before: Self) -> Option<f64> {
        self.share(before, |time| time.busy)
    }

    /// The share that the host took.
    pub(crate) fn stolen_since(self, before: Self) -> Option<f64> {
        self.share(before, |time| time.stolen)
    }

    fn share(self, before: Self, part: fn(&Self) -> u64) -> Option<f64> {
        let all = |time: &Self| time.busy + time.idle + time.stolen;
        let passed = all(&self).checked_sub(all(&before))?;
        let part = part(&self).checked_sub(part(&before))?;
        (passed > 0).then(|| part as f64 / passed as f64)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Machine {
    /// Something else ran when the bench began: its figures are worth little.
    pub(crate) fn was_busy(&self) -> bool {
        self.busy_before > MOST_BUSY
    }

    pub(crate) async fn look(root: &Path, profile: &str, busy_before: f64) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut versions = BTreeMap::new();
        for (name, program, args) in [
            ("rustc", "rustc", ["--version"].as_slice()),
            ("go", "go", &["version"]),
        ] {
            if let Some(text) = said(program, args, root).await {
                versions.insert(name.to_owned(), text);
            }
        }
        Self {
            date: jiff::Timestamp::now()
                .strftime("%Y-%m-%d %H:%M UTC")
                .to_string(),
            cpu: value(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: cores(),
            memory_gib: value(&read("/proc/meminfo"), "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .map_or(0, |kib| (kib + 524_288) / 1_048_576),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: read("/etc/os-release")
                .lines()
                .find_map(|line| line.strip_prefix("PRETTY_NAME="))
                .map(|name| name.trim_matches('"').to_owned())
                .unwrap_or_default(),
            commit: said(
                "git",
                &["describe", "--always", "--abbrev=12", "--dirty=+"],
                root,
            )
            .await
            .unwrap_or_else(|| "unknown".to_owned()),
            profile: profile.to_owned(),
            versions,
            busy_before,
            awake: false,
        }
    }

    /// One line under a table.
    pub(crate) fn line(&self) -> String {
        let busy = if self.was_busy() {
            format!(
                "; **the machine was busy with other work ({:.1} of {} processors before it began): only instruction counts can be trusted**",
                self.busy_before, self.cores
            )
        } else {
            String::new()
        };
        let awake = if self.awake {
            ", processors kept awake"
        } else {
            ""
        };
        format!(
            "{} cores of {}, {} GiB, {}, Linux {}; commit {}, profile `{}`, {}{awake}{busy}",
            self.cores,
            self.cpu,
            self.memory_gib,
            self.system,
            self.kernel,
            self.commit,
            self.profile,
            self.date
        )
    }
}

async fn said(program: &str, args: &[&str], directory: &Path) -> Option<String> {
    let mut command = child::inheriting(program);
    command
        .args(args)
        .current_dir(directory)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let output = child::output(command, Duration::from_secs(20)).await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// `key : value` of a file in `/proc`.
fn value(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_said_to_be() {
        let machine = |busy_before| Machine {
            cores: 2,
            busy_before,
            ..Machine::default()
        };
        assert!(machine(1.2).line().contains("(1.2 of 2 processors"));
        assert!(!machine(0.1).line().contains("busy"));
    }

    #[test]
    fn time_has_shares() {
        let time = |busy, idle, stolen| Time { busy, idle, stolen };
        let (before, now) = (time(160, 840, 0), time(310, 960, 30));
        assert_eq!(now.busy_since(before), Some(0.5));
        assert_eq!(now.stolen_since(before), Some(0.1));
        assert_eq!(before.busy_since(before), None);
        assert_eq!(before.busy_since(now), None);
    }

    #[test]
    fn values_of_proc_are_found() {
        let text = "processor\t: 0\nmodel name\t: A CPU: fast\nMemTotal:       24000000 kB\n";
        assert_eq!(value(text, "model name").as_deref(), Some("A CPU: fast"));
        assert_eq!(value(text, "MemTotal").as_deref(), Some("24000000 kB"));
        assert_eq!(value(text, "model"), None);
    }
}
