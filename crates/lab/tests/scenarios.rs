//! Incidents on a real lab, with its own state and ports; and runs that are not left to their end. The programs must be in the
//! cache already: `lab test` runs these after its own lab came up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

#[expect(dead_code, reason = "these tests need a part of it only")]
mod common;
#[path = "common/incident.rs"]
mod incident;

use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use common::{TestLab, eventually, signal};

/// The quickest ones of different kinds: a flag and a restart, a far end, an error rate, a process that is gone. The last one's
/// pages about edge take longest to be over.
const FOUR: [&str; 4] = ["memory-leak", "albums-down", "error-burst", "users-down"];

impl TestLab {
    /// What a run tells of itself.
    fn record(&self) -> Value {
        let text = std::fs::read(self.state_dir().join("scenario.json"));
        text.map(|text| serde_json::from_slice(&text).unwrap())
            .unwrap_or_default()
    }

    fn happened(&self, event: &str) -> bool {
        let record = self.record();
        let timeline = record["report"]["timeline"].as_array();
        timeline.is_some_and(|moments| moments.iter().any(|moment| moment["event"] == event))
    }

    /// A run that has broken the lab.
    #[track_caller]
    fn breaks(&self, scenario: &str) -> Child {
        let _none_yet = std::fs::remove_file(self.state_dir().join("scenario.json"));
        let child = self
            .command(&["scenario", "run", scenario])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let broken = eventually(Duration::from_secs(120), || {
            self.happened("injected") && !self.flags_on().is_empty()
        });
        assert!(broken, "{:#}", self.record());
        child
    }

    fn flags_on(&self) -> Vec<String> {
        let output = self.lab(&["fault", "list", "--json"]);
        let flags: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        flags
            .iter()
            .filter(|flag| flag["variant"] != "off")
            .map(|flag| flag["name"].to_string())
            .collect()
    }

    #[track_caller]
    fn refuses(&self, args: &[&str], why: &str) {
        let output = self.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

fn code(child: &mut Child) -> Option<i32> {
    let mut status = None;
    eventually(Duration::from_secs(60), || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.expect("it does not end").code()
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn four_incidents_are_seen_told_healed_and_their_end_is_told() {
    let lab = TestLab::new();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    incident::run(&lab, &FOUR);
    assert_eq!(lab.flags_on(), [""; 0]);
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_run_that_is_interrupted_or_killed_can_be_healed() {
    let lab = TestLab::new();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    lab.lab(&["fault", "set", "users-error-share", "seed"]);
    lab.refuses(
        &["scenario", "run", "albums-down"],
        "`./lab fault clear` heals it",
    );
    lab.lab(&["fault", "clear"]);

    // A walk of it reads log lines.
    lab.lab(&["stop", "loki"]);
    lab.refuses(
        &["scenario", "run", "albums-down"],
        "albums-down cannot run here: no loki here: it is stopped; `./lab start loki` brings it back",
    );
    lab.lab(&["start", "loki"]);

    let mut run = lab.breaks("albums-down");
    lab.refuses(
        &["scenario", "run", "error-burst"],
        "the scenario albums-down is running already",
    );
    lab.refuses(&["scenario", "release"], "no scenario is held now");
    signal(pid(&run), Signal::SIGINT);
    assert_eq!(code(&mut run), Some(130));
    assert_eq!(lab.flags_on(), [""; 0]);
    assert_eq!(lab.record()["report"]["outcome"], "interrupted");

    let mut run = lab.breaks("albums-down");
    lab.lab(&["scenario", "heal"]);
    assert_eq!(code(&mut run), Some(130));
    assert_eq!(lab.flags_on(), [""; 0]);

    // Nothing can be done in its last moment: whoever comes next does it.
    let mut run = lab.breaks("bad-deploy");
    signal(pid(&run), Signal::SIGKILL);
    assert_eq!(code(&mut run), None);
    assert_eq!(lab.flags_on(), ["\"users-error-share\""]);
    lab.lab(&["scenario", "heal"]);
    assert_eq!(lab.flags_on(), [""; 0]);
    assert!(!lab.state_dir().join("versions.json").exists());
    let said = lab.lab(&["scenario", "heal"]).stdout;
    assert!(String::from_utf8_lossy(&said).contains("no scenario has left anything broken"));
}
