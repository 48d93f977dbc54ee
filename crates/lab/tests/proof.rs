//! `verify`, `trace` and `load` where no lab runs, and `load` with a k6 that is a script.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("bin")).unwrap();
        Self { directory }
    }

    /// Puts a shell script on PATH as k6.
    fn k6(self, script: &str) -> Self {
        let path = self.directory.path().join("bin/k6");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        for (name, _) in std::env::vars() {
            if name.starts_with("LAB_") || name.ends_with("_PORT") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .env(
                "LAB_ROOT",
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
            )
            .env("LAB_STATE_DIR", self.file("state"))
            .env("LAB_CACHE_DIR", self.file("cache"))
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.file("bin").display()),
            )
            .env("OUT", self.file("out"))
            .stdin(Stdio::null());
        command
    }

    fn lab(&self, args: &[&str]) -> (i32, String) {
        let Output { status, stderr, .. } = self.command(args).output().unwrap();
        (
            status.code().unwrap(),
            String::from_utf8_lossy(&stderr).into_owned(),
        )
    }

    fn out(&self) -> String {
        std::fs::read_to_string(self.file("out")).unwrap_or_default()
    }
}

#[test]
fn without_a_lab_each_verb_says_how_to_start_one() {
    let place = Place::new();
    for args in [
        &["verify"][..],
        &["verify", "--json"],
        &["verify", "--panels"],
        &["verify", "--panels", "--react"],
        &["trace"],
        &["load"],
    ] {
        let (code, error) = place.lab(args);
        assert_eq!(code, 1, "{args:?}: {error}");
        assert!(
            error.contains("no lab is running") && error.contains("./lab up"),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn wrong_requests_are_refused_before_anything_is_asked() {
    let place = Place::new();
    for (args, expected) in [
        (&["trace", "4bf92f35"][..], "expected 32 hex digits"),
        (
            &["trace", "00000000000000000000000000000000"],
            "expected 32 hex digits",
        ),
        (&["verify", "--timeout", "0"], "--timeout"),
        (&["verify", "--timeout", "soon"], "--timeout"),
        (&["verify", "--react"], "--panels"),
        (&["load", "--vus", "0"], "--vus"),
        (&["load", "--duration", "15"], "expected a time such as 30s"),
        (
            &["load", "--url", "localhost"],
            "expected an address such as",
        ),
    ] {
        let (code, error) = place.lab(args);
        assert_eq!(code, 2, "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}

const LOAD: [&str; 7] = [
    "load",
    "--url",
    "http://127.0.0.1:9",
    "--vus",
    "3",
    "--duration",
    "2s",
];

#[test]
fn k6_gets_the_settings_and_its_own_arguments() {
    let place = Place::new().k6(r#"echo "$EDGE_URL $VUS $DURATION $*" > "$OUT""#);
    let (code, error) = place.lab(&[&LOAD[..], &["--", "--quiet"]].concat());
    assert_eq!(code, 0, "{error}");
    let out = place.out();
    assert!(
        out.starts_with("http://127.0.0.1:9 3 2s run --quiet /"),
        "{out}"
    );
    assert!(out.trim_end().ends_with("/k6-script.js"), "{out}");
}

#[test]
fn crossed_thresholds_are_explained_and_passed_on() {
    let (code, error) = Place::new().k6("exit 99").lab(&LOAD);
    assert_eq!(code, 99, "{error}");
    assert!(error.contains("thresholds were crossed"), "{error}");
}

#[test]
fn ctrl_c_reaches_k6_once_and_its_summary_is_waited_for() {
    // A second signal would make k6 stop without its summary.
    let place = Place::new().k6(r#"count=0
           trap 'count=$((count+1)); echo "interrupted $count" > "$OUT"' INT
           echo ready > "$OUT"
           while [ "$count" = 0 ]; do sleep 0.05; done
           sleep 0.3
           echo summary >> "$OUT"
           exit 105"#);
    let child = place
        .command(&LOAD)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while place.out() != "ready\n" {
        assert!(Instant::now() < deadline, "k6 was not started");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(105));
    assert_eq!(place.out(), "interrupted 1\nsummary\n");
}
