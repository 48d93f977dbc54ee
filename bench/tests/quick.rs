//! The whole bench in its quickest form, on a real lab. It takes minutes and both processors: `lab test` runs it;
//! by hand it is `cargo test -p bench --test quick -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap()
}

fn bench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.env("LAB_ROOT", root());
    command
}

/// As people call it. `lab test` says which program it is; `./lab` builds it first.
fn lab_bench() -> Command {
    let program = std::env::var_os("LAB_PROGRAM");
    let mut command = Command::new(program.map_or_else(|| root().join("lab"), PathBuf::from));
    command.env("LAB_ROOT", root()).arg("bench");
    command
}

#[test]
#[ignore = "starts a lab and loads it for a minute"]
fn quick_measures_and_loses_nothing() {
    let output = lab_bench().args(["--quick", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let runs = result["runs"].as_array().unwrap();
    let names: Vec<_> = runs
        .iter()
        .map(|run| run["config"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["off", "traces", "all"]);
    for run in runs {
        let loads = run["loads"].as_array().unwrap();
        let ways: Vec<_> = loads
            .iter()
            .map(|load| load["name"].as_str().unwrap())
            .collect();
        assert_eq!(ways, ["10", "64", "fixed"]);
        for load in loads {
            assert!(load["requests"].as_u64().unwrap() > 100, "{load}");
            for process in ["edge", "users", "postgres"] {
                assert!(load["cpu_us"][process].as_f64().unwrap() > 0.0, "{load}");
            }
        }
        let count = &run["count"];
        for lost in ["errors", "spans_lost", "logs_lost"] {
            assert_eq!(count[lost], 0, "{run}");
        }
        for service in ["edge", "users"] {
            assert!(
                run["memory"][service]["peak"].as_u64().unwrap() > 1_000_000,
                "{run}"
            );
        }
    }
    let count = |run: &Value, what: &str| run["count"][what].as_u64().unwrap();
    let (off, traces, all) = (&runs[0], &runs[1], &runs[2]);
    assert_eq!(
        count(off, "spans_received") + count(off, "logs_received"),
        0
    );
    assert!(count(traces, "spans_stored") >= 4 * count(traces, "answered"));
    assert_eq!(count(traces, "logs_received"), 0);
    assert!(count(all, "logs_stored") >= 3 * count(all, "answered"));
    let goals = result["goals"].as_array().unwrap();
    assert!(
        goals.iter().any(|goal| goal["met"].is_boolean()),
        "{goals:?}"
    );
}

#[test]
fn a_directory_that_is_no_checkout_is_refused() {
    let elsewhere = tempfile::tempdir().unwrap();
    let output = bench()
        .env("LAB_ROOT", elsewhere.path())
        .arg("--quick")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not a checkout of the lab"), "{said}");
}

#[test]
fn a_wrong_offset_is_named() {
    let output = bench()
        .env("LAB_PORT_OFFSET", "many")
        .arg("--quick")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("LAB_PORT_OFFSET is `many`"), "{said}");
}

#[test]
fn an_unknown_configuration_is_a_wrong_request() {
    let output = bench().arg("--configs=none").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("traces+logs+metrics"), "{said}");
}
