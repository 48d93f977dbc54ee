//! What the command line answers to good and bad requests. Nothing here starts a lab.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const FLAGS: &str = r#"{"flags": {
    "users-slow": {"state": "ENABLED", "variants": {"off": 0, "seed": 0.1}, "defaultVariant": "off"},
    "albums-down": {"state": "ENABLED", "variants": {"off": false, "on": true}, "defaultVariant": "off"}
}}"#;

/// A checkout with no more than the command line needs, and a state directory of its own.
struct Place {
    directory: TempDir,
}

struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory };
        let root = place.root();
        let real = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::fs::create_dir_all(root.join("crates/lab")).unwrap();
        std::fs::create_dir_all(root.join("infra/flags")).unwrap();
        std::fs::write(root.join("crates/lab/Cargo.toml"), "").unwrap();
        std::fs::copy(real.join(".env"), root.join(".env")).unwrap();
        std::fs::write(root.join("infra/flags/lab.flagd.json"), FLAGS).unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn lab(&self, args: &[&str]) -> Answer {
        self.lab_with(&[], args)
    }

    fn lab_with(&self, env: &[(&str, &str)], args: &[&str]) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        for (name, _) in std::env::vars() {
            if name.starts_with("LAB_") || name.ends_with("_PORT") {
                command.env_remove(name);
            }
        }
        let output = command
            .env("LAB_ROOT", self.root())
            .env("LAB_STATE_DIR", self.state())
            .env("LAB_CACHE_DIR", self.directory.path().join("cache"))
            .envs(env.iter().copied())
            .args(args)
            .output()
            .unwrap();
        Answer {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Answer {
    #[track_caller]
    fn is(&self, code: i32, err: &str) {
        assert!(
            self.code == code && self.err.contains(err),
            "expected {code} and `{err}`, got {}:\n{}\n{}",
            self.code,
            self.out,
            self.err
        );
    }
}

#[test]
fn wrong_settings_end_with_2_and_name_the_variable() {
    let place = Place::new();
    for (name, value, message) in [
        (
            "EDGE_PORT",
            "80x1",
            "EDGE_PORT is `80x1` (from the environment): expected a port number",
        ),
        (
            "USERS_PORT",
            "8001",
            "EDGE_PORT and USERS_PORT are both 8001",
        ),
        ("LAB_PORT_OFFSET", "-1", "LAB_PORT_OFFSET is `-1`"),
        (
            "LAB_STATE_DIR",
            "here",
            "LAB_STATE_DIR is `here`: expected a directory",
        ),
        ("LAB_IGNORE_SYSTEM", "mysql", "LAB_IGNORE_SYSTEM is `mysql`"),
        ("LAB_ROOT", "/nowhere", "LAB_ROOT"),
    ] {
        place.lab_with(&[(name, value)], &["status"]).is(2, message);
    }
}

#[test]
fn a_wrong_value_in_the_file_is_said_to_come_from_it() {
    let place = Place::new();
    let file = place.root().join(".env");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("EDGE_PORT=8001", "EDGE_PORT=none")).unwrap();
    place
        .lab(&["status"])
        .is(2, "EDGE_PORT is `none` (from .env)");
    std::fs::write(&file, "EDGE PORT 8001\n").unwrap();
    place.lab(&["status"]).is(2, "cannot be read");
}

#[test]
fn unknown_words_end_with_2_and_name_what_is_known() {
    let place = Place::new();
    place.lab(&["upp"]).is(2, "unrecognized subcommand");
    place.lab(&["up", "--engine", "podman"]).is(2, "native");
    place
        .lab_with(&[("LAB_ENGINE", "podman")], &["up"])
        .is(2, "compose");
    place
        .lab_with(&[("PATH", "/nowhere")], &["up", "--engine", "compose"])
        .is(1, "`docker` is not on this machine");
    place
        .lab(&["logs", "mysql"])
        .is(2, "expected one of supervisor, postgres");
    place
        .lab(&["logs", "edge"])
        .is(1, "edge has written no log yet");
}

/// A `docker` whose engine answers and whose Compose lacks what `lab` asks it for.
#[test]
fn a_compose_that_is_too_old_is_told_with_the_version_that_is_needed() {
    let place = Place::new();
    let bin = place.directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let docker = bin.join("docker");
    let script = "#!/bin/sh\ncase $1 in\n\
        version) echo 28.2.2,Engine,containerd;;\n\
        info) echo '[\"name=seccomp,profile=builtin\",\"name=rootless\"]';;\n\
        compose) echo Docker Compose version v2.22.0;;\nesac\n";
    std::fs::write(&docker, script).unwrap();
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = [("PATH", bin.to_str().unwrap())];
    let too_old = "Compose 2.22.0 is too old: expected 2.23 or newer";
    place
        .lab_with(&path, &["up", "--engine", "compose"])
        .is(1, too_old);
    let tool = |name: &str| {
        let doctor = place.lab_with(&path, &["doctor", "--json"]);
        let report: Value = serde_json::from_str(&doctor.out).unwrap();
        let tools = report["tools"].as_array().unwrap();
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        let text = |field: &str| tool[field].as_str().unwrap().to_owned();
        (text("result"), text("what"))
    };
    let rootless = ("ok".to_owned(), "Docker 28.2.2, rootless".to_owned());
    assert_eq!(tool("docker"), rootless);
    let (result, what) = tool("compose");
    assert!(result == "bad" && what.starts_with(too_old), "{what}");

    std::fs::write(&docker, script.replace("2.22.0", "2.23.0")).unwrap();
    let words = format!("2.23.0: {} compose", docker.display());
    assert_eq!(tool("compose"), ("ok".to_owned(), words));
}

#[test]
fn scenarios_that_cannot_run_end_with_2_and_say_why() {
    let place = Place::new();
    let folder = place.root().join("scenarios");
    place
        .lab(&["scenario", "run", "--all"])
        .is(1, "cannot read");
    let real = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["albums-down.yaml", "error-burst.yaml"] {
        std::fs::copy(real.join(name), folder.join(name)).unwrap();
    }
    place.lab(&["scenario", "run"]).is(2, "required");
    place.lab(&["scenario", "run", "eror-burst"]).is(
        2,
        "there is no scenario `eror-burst`: expected one of albums-down, error-burst",
    );
    place
        .lab(&["scenario", "run", "error-burst", "error-burst"])
        .is(2, "error-burst is named twice");
    place
        .lab(&["scenario", "run", "error-burst"])
        .is(1, "no lab is running, so there is nothing to break");
    place
        .lab(&["scenario", "release"])
        .is(2, "no scenario is held now");
    let heal = place.lab(&["scenario", "heal"]);
    heal.is(0, "");
    assert!(heal.out.contains("no scenario has left anything broken"));
    let list: Value =
        serde_json::from_str(&place.lab(&["scenario", "list", "--json"]).out).unwrap();
    assert_eq!(list[0]["broken"]["flags"]["albums-down"], "on");

    let file = folder.join("error-burst.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("people: 8", "peple: 8")).unwrap();
    let wrong = "error-burst.yaml:8:3: load: unknown field `peple`, expected one of `people`, `pause`, `paths`";
    place.lab(&["scenario", "run", "error-burst"]).is(2, wrong);
    place.lab(&["scenario", "list"]).is(1, wrong);
}

/// Pages, scenarios and reports of runs belong together; `./lab scenario docs` mends the pages.
#[test]
fn the_pages_of_the_incidents_are_what_scenarios_and_results_make() {
    let place = Place::new();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    place
        .lab_with(
            &[("LAB_ROOT", root.to_str().unwrap())],
            &["scenario", "docs", "--check"],
        )
        .is(0, "");
}

#[test]
fn without_a_lab_status_and_down_say_so() {
    let place = Place::new();
    let status = place.lab(&["status"]);
    status.is(1, "");
    assert!(status.out.contains("no lab is running"));
    let status: Value = serde_json::from_str(&place.lab(&["status", "--json"]).out).unwrap();
    assert_eq!(status["running"], false);
    let down = place.lab(&["down"]);
    down.is(0, "");
    assert!(down.out.contains("no lab is running"));
    assert!(!place.state().exists());
}

#[test]
fn a_port_in_use_is_named_with_its_owner_before_anything_starts() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let up = place.lab_with(&[("EDGE_PORT", &port)], &["up", "--engine", "native"]);
    up.is(
        1,
        &format!(
            "port {port} for edge is in use by process {}",
            std::process::id()
        ),
    );
    up.is(1, "EDGE_PORT moves it");
    up.is(1, "nothing was started");
    assert!(!place.state().join("state.json").exists());
}

#[test]
fn a_lab_of_another_checkout_is_not_touched() {
    let place = Place::new();
    std::fs::create_dir_all(place.state()).unwrap();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.split(' ').nth(19))
        .unwrap()
        .parse()
        .unwrap();
    let state = serde_json::json!({
        "schema": 1, "engine": "native", "root": "/elsewhere", "program": "",
        "supervisor": { "pid": std::process::id(), "start": start },
        "generation": 1, "looked": 1, "started": 0.0, "ports": {}, "components": [],
    });
    std::fs::write(place.state().join("state.json"), state.to_string()).unwrap();
    place
        .lab(&["up", "--engine", "native"])
        .is(1, "a lab from another checkout runs here: /elsewhere");
}

#[test]
fn purging_leaves_a_foreign_directory_alone() {
    let place = Place::new();
    std::fs::create_dir_all(place.state()).unwrap();
    std::fs::write(place.state().join("thesis.txt"), "words").unwrap();
    place
        .lab(&["down", "--purge"])
        .is(1, "does not look like the state of a lab");
    assert!(place.state().join("thesis.txt").exists());
}

#[test]
fn faults_are_set_listed_and_cleared() {
    let place = Place::new();
    let variant = |name: &str| {
        let list: Value =
            serde_json::from_str(&place.lab(&["fault", "list", "--json"]).out).unwrap();
        let flags = list.as_array().unwrap();
        let flag = flags.iter().find(|flag| flag["name"] == name).unwrap();
        flag["variant"].as_str().unwrap().to_owned()
    };
    assert_eq!(variant("users-slow"), "off");
    let set = place.lab(&["fault", "set", "albums-down", "on"]);
    set.is(0, "");
    assert!(set.out.contains("albums-down=on (true)"), "{}", set.out);
    place.lab(&["fault", "set-all", "seed"]).is(0, "");
    assert_eq!(variant("users-slow"), "seed");
    assert_eq!(variant("albums-down"), "off");
    place.lab(&["fault", "clear"]).is(0, "");
    assert_eq!(variant("users-slow"), "off");

    place
        .lab(&["fault", "set", "users-slwo", "seed"])
        .is(2, "there is no flag `users-slwo`: expected one of");
    place
        .lab(&["fault", "set", "users-slow", "0.3"])
        .is(2, "has no variant `0.3`: expected one of off, seed");
    place
        .lab(&["fault", "set-all", "storm"])
        .is(2, "no flag has a variant `storm`");
    assert_eq!(variant("users-slow"), "off");
}

#[test]
fn a_malformed_flags_file_is_refused_and_can_be_healed() {
    let place = Place::new();
    let file = place.state().join("flags/lab.flagd.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{\"flags\": {").unwrap();
    for args in [
        &["fault", "list"][..],
        &["fault", "set", "users-slow", "seed"],
    ] {
        place.lab(args).is(1, "lab.flagd.json is not a flags file");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"flags\": {");
    place.lab(&["fault", "clear"]).is(0, "");
    place.lab(&["fault", "list"]).is(0, "");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    if nix::unistd::Uid::effective().is_root() {
        // Root may write anywhere.
        return;
    }
    let place = Place::new();
    std::fs::create_dir_all(place.state()).unwrap();
    let closed = std::fs::Permissions::from_mode(0o500);
    std::fs::set_permissions(place.state(), closed).unwrap();
    place
        .lab(&["fault", "set", "users-slow", "seed"])
        .is(1, "cannot make");
}

#[test]
fn only_components_of_a_running_lab_can_be_stopped_and_started() {
    let place = Place::new();
    for verb in ["start", "stop", "restart"] {
        place.lab(&[verb, "jeager"]).is(
            2,
            "there is no component `jeager`: expected one of postgres, users",
        );
        place
            .lab(&[verb, "jaeger"])
            .is(1, "no lab is running; `./lab up` starts it");
        place.lab(&[verb]).is(2, "required");
    }
}

#[test]
fn settings_of_the_backends_are_checked() {
    let place = Place::new();
    place
        .lab_with(&[("LAB_JAEGER_STORE", "disk")], &["status"])
        .is(
            2,
            "LAB_JAEGER_STORE is `disk` (from the environment): expected `memory` or `badger`",
        );
    place
        .lab_with(&[("LAB_OTELCOL_CONFIG", "infra/ledger.yaml")], &["status"])
        .is(2, "root/infra/ledger.yaml, which is no file");
}

#[test]
fn output_that_no_terminal_shows_has_no_colours() {
    let place = Place::new();
    let list = place.lab(&["fault", "list"]);
    assert!(!list.out.contains('\u{1b}'), "{}", list.out);
    let doctor = place.lab(&["doctor"]);
    assert!(!doctor.out.contains('\u{1b}'), "{}", doctor.out);
}

#[test]
fn the_doctor_reports_as_json() {
    let place = Place::new();
    let doctor = place.lab_with(
        &[
            ("PATH", "/nowhere"),
            ("HOME", "/nowhere"),
            ("CARGO_HOME", "/nowhere"),
            // Where others were built.
            ("CARGO_TARGET_DIR", ""),
        ],
        &["doctor", "--json"],
    );
    let report: Value = serde_json::from_str(&doctor.out).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(doctor.code, 1);
    let components = report["components"].as_array().unwrap();
    let users = components
        .iter()
        .find(|each| each["name"] == "users")
        .unwrap();
    assert_eq!(users["result"], "bad");
    assert!(users["hint"].as_str().unwrap().contains("rustup"));
}
