//! Where and with what it was measured.

use std::collections::BTreeMap;
use std::path::Path;

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
    /// Processes that wanted to run in the minute before the bench began.
    #[serde(default)]
    pub(crate) load_average: f64,
}

/// Processes that wanted to run in the last minute, on average.
pub(crate) fn load_average() -> f64 {
    std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

impl Machine {
    /// Something else ran when the bench began: its figures are worth little.
    pub(crate) fn was_busy(&self) -> bool {
        self.load_average > self.cores as f64 / 2.0
    }

    pub(crate) async fn look(root: &Path, profile: &str, load_average: f64) -> Self {
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
            cores: std::thread::available_parallelism().map_or(1, usize::from),
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
            load_average,
        }
    }

    /// One line under a table.
    pub(crate) fn line(&self) -> String {
        let busy = if self.was_busy() {
            format!(
                "; **the machine was busy with other work (load average {} before it began): only instruction counts can be trusted**",
                self.load_average
            )
        } else {
            String::new()
        };
        format!(
            "{} cores of {}, {} GiB, {}, Linux {}; commit {}, profile `{}`, {}{busy}",
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
    let output = child::output(command, std::time::Duration::from_secs(20))
        .await
        .ok()?;
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
        let machine = |load_average| Machine {
            cores: 2,
            load_average,
            ..Machine::default()
        };
        assert!(machine(14.7).line().contains("load average 14.7"));
        assert!(!machine(0.4).line().contains("busy"));
    }

    #[test]
    fn values_of_proc_are_found() {
        let text = "processor\t: 0\nmodel name\t: A CPU: fast\nMemTotal:       24000000 kB\n";
        assert_eq!(value(text, "model name").as_deref(), Some("A CPU: fast"));
        assert_eq!(value(text, "MemTotal").as_deref(), Some("24000000 kB"));
        assert_eq!(value(text, "model"), None);
    }
}
