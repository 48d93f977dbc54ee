//! What the command line answers to good and bad requests. Nothing here starts a lab.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::io::{BufRead, BufReader, Write};
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

    /// As if a lab of another checkout ran, with this process as its supervisor.
    fn seems_to_run(&self, ports: &Value) {
        std::fs::create_dir_all(self.state()).unwrap();
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
            "generation": 1, "looked": 1, "started": 0.0, "ports": ports, "components": [],
        });
        std::fs::write(self.state().join("state.json"), state.to_string()).unwrap();
    }

    /// The objectives of the lab, and more.
    fn with_objectives(self, more: &[(&str, String)]) -> Self {
        let real = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../slo");
        let slo = self.root().join("slo");
        std::fs::create_dir_all(&slo).unwrap();
        for name in ["users-availability.yaml", "users-latency.yaml"] {
            std::fs::copy(real.join(name), slo.join(name)).unwrap();
        }
        for (name, text) in more {
            std::fs::write(slo.join(name), text).unwrap();
        }
        self
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
    place.seems_to_run(&serde_json::json!({}));
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

const OBJECTIVE: &str = include_str!("../../../slo/users-latency.yaml");

fn objective(name: &str, from: &str, to: &str) -> String {
    assert!(OBJECTIVE.contains(from), "{from}");
    OBJECTIVE
        .replace("name: users-latency", &format!("name: {name}"))
        .replace(from, to)
}

#[test]
fn faulty_objectives_are_told_with_their_place() {
    let place = Place::new().with_objectives(&[]);
    let good = place.lab(&["slo", "check"]);
    good.is(0, "series are not looked for: no lab is running");
    assert!(
        good.out.ends_with("2 objectives, 0 wrong\n"),
        "{}",
        good.out
    );

    let code = "http_response_status_code=~\"[1-4]..\"";
    let place = place.with_objectives(&[
        ("flags.yaml", objective("flags", code, "route=~\"(?x)a\"")),
        (
            "route.yaml",
            objective("route", code, "route=~\"/user/{name}\""),
        ),
        ("bucket.yaml", objective("bucket", "le=\"1.0\"", "le=\"1\"")),
        ("twice.yaml", objective("users-latency", "95", "90")),
        ("no.yaml", "spec: [\n".to_owned()),
    ]);
    let bad = place.lab(&["slo", "check"]);
    bad.is(1, "/slo/flags.yaml:17:17: spec.indicator.latency.success.metric: expected a regular expression of RE2 (`(?x`");
    bad.is(1, "error: ");
    bad.is(1, "/slo/bucket.yaml:17:17: spec.indicator.latency.success.metric: there is no bucket le=\"1\"");
    bad.is(
        1,
        "/slo/users-latency.yaml: metadata.name: expected a name of its own",
    );
    bad.is(1, "/slo/no.yaml:");
    assert!(!bad.err.contains("route.yaml"), "{}", bad.err);
    assert!(bad.out.ends_with("7 objectives, 4 wrong\n"), "{}", bad.out);
    // A faulty one leaves the rules of others alone.
    let rules = place.lab(&["slo", "rules", "route"]);
    assert!(rules.out.contains("/user/{name}"), "{}", rules.out);
}

/// Answers as Prometheus does, with what `answer` says to the target of a request.
fn prometheus(answer: impl Fn(&str) -> Value + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut first, mut line) = (String::new(), String::new());
            stream.read_line(&mut first).unwrap();
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            let target = first.split(' ').nth(1).unwrap();
            let body = serde_json::json!({"status": "success", "data": answer(target)}).to_string();
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
            let length = body.len();
            write!(
                stream.get_mut(),
                "{head}\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    port
}

#[test]
fn a_running_prometheus_is_asked_for_the_series_of_each_selector() {
    let place = Place::new().with_objectives(&[
        (
            "gone.yaml",
            objective("gone", "job=\"users\"", "job=\"gone\""),
        ),
        (
            "bucket.yaml",
            objective("bucket", "le=\"1.0\"", "le=\"3.5\""),
        ),
    ]);
    let port = prometheus(|target| {
        if target.starts_with("/api/v1/label/le/values") {
            let known = target.contains("users");
            return if known {
                serde_json::json!(["+Inf", "10.0", "2.5"])
            } else {
                serde_json::json!([])
            };
        }
        assert!(target.starts_with("/api/v1/query?query=count"), "{target}");
        let found = target.contains("users") && !target.contains("3.5");
        let result = if found {
            serde_json::json!([{"metric": {}, "value": [1.5, "21"]}])
        } else {
            serde_json::json!([])
        };
        serde_json::json!({"resultType": "vector", "result": result})
    });
    place.seems_to_run(&serde_json::json!({"PROMETHEUS_PORT": port}));
    let check = place.lab(&["slo", "check"]);
    check.is(
        1,
        "/slo/bucket.yaml: spec.indicator.latency.success.metric: Prometheus has no bucket",
    );
    check.is(1, "expected le to be one of 2.5, 10.0, +Inf");
    check.is(1, "warning: ");
    check.is(
        1,
        "/slo/gone.yaml: spec.indicator.latency.total.metric: Prometheus has no series",
    );
    for line in [
        "users-availability: total 21 series, errors 21 series\n",
        "bucket: total 21 series, success none found\n",
        "gone: total none found, success none found\n",
        "4 objectives, 1 wrong\n",
    ] {
        assert!(check.out.contains(line), "{}", check.out);
    }

    // One that is away is no fault of the objectives.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    place.seems_to_run(&serde_json::json!({"PROMETHEUS_PORT": closed}));
    place
        .lab(&["slo", "check"])
        .is(0, "series are not looked for: ");
}
