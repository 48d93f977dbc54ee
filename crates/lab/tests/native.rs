//! A real lab is started, killed and put right again, with its own state and ports. The programs
//! must be in the cache already: `lab test` runs these after its own lab came up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

mod common;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use common::{TestLab, checkout, eventually, get, pause, signal};

impl TestLab {
    /// With a checkout of its own, whose files the test may change. The Rust services are those
    /// that were built already: nothing but configuration is in it.
    fn with_own_checkout() -> Self {
        let mut lab = Self::new();
        let root = lab.directory.path().join("root");
        for path in ["infra", "services/albums"] {
            copy(&checkout().join(path), &root.join(path));
        }
        std::fs::create_dir_all(root.join("crates/lab")).unwrap();
        for file in [".env", "crates/lab/Cargo.toml"] {
            std::fs::copy(checkout().join(file), root.join(file)).unwrap();
        }
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| checkout().join("target"), PathBuf::from);
        lab.root = root;
        lab.env = vec![
            ("CARGO_TARGET_DIR", target.into()),
            // Without cargo.
            ("CARGO_HOME", "/nowhere".into()),
            ("PATH", "/nowhere".into()),
        ];
        lab
    }

    #[track_caller]
    fn up(&self) {
        self.lab(&["up", "--engine", "native"]);
    }

    fn pids(&self) -> BTreeMap<String, i64> {
        let status = self.status();
        let components = status["components"].as_array().unwrap();
        components
            .iter()
            .filter_map(|each| {
                let pid = each["process"]["pid"].as_i64()?;
                Some((each["name"].as_str()?.to_owned(), pid))
            })
            .collect()
    }

    fn supervisor(&self) -> i32 {
        i32::try_from(self.status()["supervisor"]["pid"].as_i64().unwrap()).unwrap()
    }

    /// Processes of this lab, found without its help.
    fn processes(&self) -> Vec<String> {
        let state = self.state_dir();
        let mark = format!("LAB_SUPERVISED={}", state.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let path = entry.path();
            let environ = std::fs::read(path.join("environ")).unwrap_or_default();
            let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let marked = environ
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes());
            if marked || command.contains(state.to_str().unwrap()) {
                found.push(format!("{} {command}", path.display()));
            }
        }
        found
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let mut left = Vec::new();
        let gone = eventually(Duration::from_secs(20), || {
            left = self.processes();
            left.is_empty()
        });
        assert!(gone, "still there: {left:#?}");
    }

    #[track_caller]
    fn becomes(&self, name: &str, phase: &str) {
        let reached = eventually(Duration::from_secs(30), || {
            self.component(name)["phase"] == phase
        });
        assert!(reached, "{name} is {:#}", self.component(name));
    }

    fn answers(&self) -> bool {
        self.answered(1) == 1
    }

    /// How many of so many requests for edge's /users are answered with 200.
    fn answered(&self, requests: usize) -> usize {
        let url = self.address(8001, "/users");
        get(async |client| {
            let mut answered = 0;
            for _ in 0..requests {
                let response = client.get(&url).send().await;
                answered += usize::from(response.is_ok_and(|response| response.status() == 200));
            }
            answered
        })
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn wait(child: &mut Child, deadline: Duration) -> Option<std::process::ExitStatus> {
    let mut status = None;
    eventually(deadline, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn up_twice_changes_nothing_and_down_leaves_nothing() {
    let lab = TestLab::new();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    assert!(lab.answers());
    let before = lab.pids();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    assert_eq!(lab.pids(), before);
    lab.lab(&["down"]);
    lab.nothing_is_left();
    assert_eq!(lab.status()["running"], false);
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_killed_component_is_restarted_and_counted() {
    let lab = TestLab::new();
    lab.up();
    for name in ["prometheus", "users", "postgres"] {
        let before = lab.pid(name).unwrap();
        signal(before, Signal::SIGKILL);
        let restarted = eventually(Duration::from_secs(30), || {
            let component = lab.component(name);
            component["phase"] == "healthy"
                && component["process"]["pid"].as_i64() != Some(i64::from(before))
        });
        assert!(restarted, "{:#}", lab.component(name));
        assert_eq!(lab.component(name)["crashes"], 1);
    }
    assert!(eventually(Duration::from_secs(30), || lab.answers()));
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_component_that_hangs_is_unhealthy_until_it_answers_again() {
    let lab = TestLab::new();
    lab.up();
    let pid = lab.pid("albums").unwrap();
    signal(pid, Signal::SIGSTOP);
    lab.becomes("albums", "unhealthy");
    signal(pid, Signal::SIGCONT);
    lab.becomes("albums", "healthy");
    assert_eq!(lab.component("albums")["crashes"], 0);
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_killed_supervisor_takes_its_children_along_and_up_puts_it_right() {
    let lab = TestLab::new();
    lab.up();
    signal(lab.supervisor(), Signal::SIGKILL);
    lab.nothing_is_left();
    lab.up();
    assert!(lab.answers());
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn everything_killed_at_once_is_put_right_by_up_and_by_down() {
    let lab = TestLab::new();
    for verb in ["up", "down"] {
        lab.up();
        let pids = lab.pids();
        signal(lab.supervisor(), Signal::SIGKILL);
        for pid in pids.values() {
            let pid = Pid::from_raw(i32::try_from(*pid).unwrap());
            let _already_gone = kill(pid, Signal::SIGKILL);
        }
        // At once: the database's own children may still be there.
        if verb == "up" {
            lab.up();
            assert!(lab.answers());
        }
        lab.lab(&["down"]);
        lab.nothing_is_left();
    }
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn ctrl_c_leaves_nothing_at_any_moment() {
    for milliseconds in [0, 5, 30, 80, 150, 300, 600, 900] {
        let lab = TestLab::new();
        let mut up = lab
            .command(&["up", "--engine", "native", "--wait"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        pause(Duration::from_millis(milliseconds));
        signal(i32::try_from(up.id()).unwrap(), Signal::SIGINT);
        let status = wait(&mut up, Duration::from_secs(60)).expect("up does not end");
        // It may have been done before the signal came.
        if status.code() != Some(0) {
            lab.nothing_is_left();
        }
    }
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn asking_for_other_ports_moves_the_lab() {
    let lab = TestLab::new();
    lab.up();
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let base = port.checked_sub(lab.offset).unwrap().to_string();
    let output = lab
        .command(&["up", "--engine", "native"])
        .env("ALBUMS_PORT", &base)
        .output()
        .unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("ALBUMS_PORT"), "{said}");
    let address = lab.component("albums")["address"].clone();
    assert_eq!(address, format!("http://127.0.0.1:{port}"));
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn two_ups_at_once_make_one_lab() {
    let lab = TestLab::new();
    let mut both: Vec<Child> = (0..2)
        .map(|_| {
            let mut up = lab.command(&["up", "--engine", "native"]);
            up.stdout(Stdio::null()).stderr(Stdio::null());
            up.spawn().unwrap()
        })
        .collect();
    for up in &mut both {
        let status = wait(up, Duration::from_secs(60)).expect("up does not end");
        assert_eq!(status.code(), Some(0));
    }
    assert!(lab.answers());
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_changed_configuration_restarts_only_its_component() {
    let lab = TestLab::with_own_checkout();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    let before = lab.pids();
    let file = lab.root.join("infra/prometheus/prometheus.yml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("# changed\n");
    std::fs::write(&file, text).unwrap();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    let after = lab.pids();
    for (name, pid) in &before {
        assert_eq!(after[name] == *pid, name != "prometheus", "{name}");
    }
    assert_eq!(lab.component("prometheus")["crashes"], 0);

    // A broken one does not stop what works.
    std::fs::remove_file(&file).unwrap();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    assert_eq!(lab.pids(), after);
}

/// Stopped, not killed: its port still takes connections and nobody ever answers.
#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn with_the_collector_hanging_all_is_answered_memory_is_bounded_and_drops_are_counted() {
    const DROPPED: &str = "otel_sdk_processor_span_processed_total{error_type=\"queue_full\"}";
    const EXPORTED: &str = "otel_sdk_exporter_span_exported_total{}";
    const BOUND: u64 = 1_000;
    let mut lab = TestLab::new();
    lab.env
        .push(("OTEL_BSP_MAX_QUEUE_SIZE", BOUND.to_string().into()));
    lab.lab(&["up", "--engine", "native", "--wait"]);
    assert_eq!(lab.answered(10), 10);
    let collector = lab.pid("otel-collector").unwrap();
    signal(collector, Signal::SIGSTOP);
    let requests = 3_000;
    assert_eq!(lab.answered(requests), requests);
    // Two spans for each request, but for the bound and what was on its way.
    let dropped = lab.scraped(DROPPED);
    assert!(dropped > 2 * requests as u64 - 2 * BOUND, "{dropped}");
    let memory = &lab.status()["memory"]["components"];
    for service in ["users", "edge"] {
        let bytes = memory[service].as_u64().unwrap();
        assert!(bytes < 40 << 20, "{service} takes {bytes} bytes");
    }
    let before = lab.scraped(EXPORTED);
    signal(collector, Signal::SIGCONT);
    let sent = eventually(Duration::from_secs(30), || {
        lab.scraped(EXPORTED) > before + BOUND / 2
    });
    assert!(sent, "{} after {before}", lab.scraped(EXPORTED));
    assert_eq!(lab.answered(10), 10);
}
