//! The shipped compose file, run on images that are made on this machine. It needs a Docker
//! engine: `lab test` brings one, `lab with-docker cargo test …` does by hand.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use common::{TestLab, checkout, eventually, get};

/// Their images can be pulled only.
const LEFT_OUT: [&str; 7] = [
    "beyla",
    "grafana",
    "karma",
    "pyroscope",
    "pyrra",
    "pyrra-filesystem",
    "tempo",
];

/// Long enough for a restart, its waiting time and a healthcheck.
const SOON: Duration = Duration::from_secs(60);

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

impl TestLab {
    fn project(&self) -> String {
        format!(
            "label=com.docker.compose.project=observability-lab-{}",
            self.offset
        )
    }

    fn container(&self, service: &str) -> String {
        let service = format!("label=com.docker.compose.service={service}");
        let filter = self.project();
        docker(&[
            "ps", "--all", "--quiet", "--filter", &filter, "--filter", &service,
        ])
    }

    fn inspect(&self, service: &str) -> Value {
        let text = docker(&["inspect", &self.container(service)]);
        serde_json::from_str::<Value>(&text).unwrap()[0].clone()
    }

    fn phases(&self, wanted: &str) -> BTreeSet<String> {
        let status = self.status();
        let components = status["components"].as_array().cloned().unwrap_or_default();
        let wanted = components
            .into_iter()
            .filter(|each| each["phase"] == wanted);
        wanted
            .map(|each| each["name"].as_str().unwrap().to_owned())
            .collect()
    }

    fn code(&self, port: u16, path: &str) -> Option<u16> {
        let url = self.address(port, path);
        get(async |client| Some(client.get(&url).send().await.ok()?.status().as_u16()))
    }

    #[track_caller]
    fn answers_soon(&self, port: u16, path: &str, code: u16) {
        let mut came = None;
        let reached = eventually(SOON, || {
            came = self.code(port, path);
            came == Some(code)
        });
        assert!(reached, "port {port} {path}: {came:?} in place of {code}");
    }

    /// Everything that compose makes carries the project's name.
    fn left(&self) -> Vec<String> {
        let filter = self.project();
        let filter = ["--quiet", "--filter", &filter];
        let lists: [&[&str]; 3] = [&["ps", "--all"], &["volume", "ls"], &["network", "ls"]];
        let lists = lists.map(|list| docker(&[list, &filter[..]].concat()));
        lists
            .iter()
            .flat_map(|list| list.lines())
            .map(str::to_owned)
            .collect()
    }
}

/// One after the other on one stack: starting it takes longest.
#[test]
#[ignore = "needs a Docker engine and programs in the cache: `lab test` runs it"]
fn the_stack_runs_on_images_made_here() {
    let lab = TestLab::new();
    lab.lab(&["air-gap", "images", "make"]);
    let began = Instant::now();
    let again = text(&lab.lab(&["air-gap", "images", "make"]));
    assert!(!again.contains(" from "), "made anew: {again}");
    assert!(began.elapsed() < Duration::from_secs(20));

    lab.lab(&["up", "--engine", "compose", "--offline"]);
    let missing: BTreeSet<String> = LEFT_OUT.map(str::to_owned).into();
    assert_eq!(lab.phases("missing"), missing);
    assert_eq!(lab.phases("healthy").len(), 10);
    hardened(&lab);
    lab.lab(&["verify", "--engine", "compose"]);

    a_second_up_changes_nothing(&lab);
    faults_reach_the_containers(&lab);
    a_stopped_backend_takes_nobody_down(&lab);
    a_killed_one_comes_back(&lab);
    users_waits_for_its_database(&lab);
    let logs = text(&lab.lab(&["logs", "users", "-n", "3"]));
    assert_eq!(logs.lines().count(), 3, "{logs}");
    lab.lab(&["verify"]);

    assert!(!lab.left().is_empty());
    lab.lab(&["down", "--purge"]);
    assert_eq!(lab.left(), Vec::<String>::new());
    assert!(text(&lab.command(&["status"]).output().unwrap()).contains("no lab is running"));
    if std::env::var_os("LAB_OWN_ENGINE").is_none() {
        // Somebody's own engine: what has upstream's names there must be upstream's.
        lab.lab(&["air-gap", "images", "remove"]);
    }
}

/// What the file asks for is what the engine was told.
fn hardened(lab: &TestLab) {
    let mut services = lab.phases("healthy");
    services.insert("probe".to_owned());
    for service in services {
        let container = lab.inspect(&service);
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"][0], "ALL", "{service}");
        assert_eq!(host["Privileged"], false, "{service}");
        assert_eq!(
            host["SecurityOpt"][0], "no-new-privileges:true",
            "{service}"
        );
        assert!(host["Memory"].as_u64().unwrap() > 0, "{service}");
        assert!(host["PidsLimit"].as_i64().unwrap() > 0, "{service}");
        let user = container["Config"]["User"].as_str().unwrap();
        let root = user.is_empty() || user.starts_with("0") || user == "root";
        assert_eq!(root, service == "probe", "{service} runs as {user:?}");
        for (port, bindings) in host["PortBindings"].as_object().into_iter().flatten() {
            assert_eq!(bindings[0]["HostIp"], "127.0.0.1", "{service} {port}");
        }
    }
}

fn a_second_up_changes_nothing(lab: &TestLab) {
    let services = lab.phases("healthy");
    let ids = |lab: &TestLab| -> Vec<String> {
        services
            .iter()
            .map(|service| lab.container(service))
            .collect()
    };
    let before = ids(lab);
    lab.lab(&["up", "--engine", "compose", "--offline"]);
    assert_eq!(ids(lab), before);
}

fn faults_reach_the_containers(lab: &TestLab) {
    lab.lab(&["fault", "set", "albums-down", "on"]);
    lab.answers_soon(8001, "/albums", 503);
    lab.lab(&["fault", "clear"]);
    lab.answers_soon(8001, "/albums", 200);
}

fn a_stopped_backend_takes_nobody_down(lab: &TestLab) {
    lab.lab(&["stop", "loki"]);
    assert_eq!(lab.component("loki")["phase"], "stopped");
    for path in ["/users", "/albums"] {
        assert_eq!(lab.code(8001, path), Some(200), "{path}");
    }
    assert_eq!(lab.component("otel-collector")["phase"], "healthy");
    lab.lab(&["start", "loki"]);
    assert_eq!(lab.component("loki")["phase"], "healthy");
}

fn a_killed_one_comes_back(lab: &TestLab) {
    // Only root may kill a container's process behind the engine's back.
    if !geteuid().is_root() {
        return;
    }
    let pid = lab.inspect("jaeger")["State"]["Pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(lab.code(8001, "/users"), Some(200));
    let back = eventually(SOON, || {
        let container = lab.inspect("jaeger");
        container["RestartCount"] == 1 && container["State"]["Health"]["Status"] == "healthy"
    });
    assert!(back, "{:#}", lab.inspect("jaeger")["State"]);
}

fn users_waits_for_its_database(lab: &TestLab) {
    lab.lab(&["stop", "postgres"]);
    lab.answers_soon(8000, "/readyz", 503);
    assert_eq!(lab.code(8001, "/albums"), Some(200));
    lab.lab(&["restart", "edge"]);
    lab.lab(&["start", "postgres"]);
    lab.answers_soon(8001, "/users", 200);
    // Each connection that the old server had broken costs a request: docs/loss.md.
    let steady = || (0..20).all(|_| lab.code(8001, "/users") == Some(200));
    assert!(eventually(SOON, steady));
    assert_eq!(lab.inspect("users")["RestartCount"], 0);
}

#[test]
#[ignore = "needs a Docker engine: `lab test` runs it"]
fn a_port_in_use_is_named_and_nothing_is_started() {
    let lab = TestLab::new();
    let taken = TcpListener::bind(("127.0.0.1", 9090 + lab.offset)).unwrap();
    let output = lab
        .command(&["up", "--engine", "compose", "--offline"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("nothing was started"), "{said}");
    let port = format!(
        "port {} for prometheus is in use by process",
        9090 + lab.offset
    );
    assert!(
        said.contains(&port) && said.contains("PROMETHEUS_PORT moves it"),
        "{said}"
    );
    assert_eq!(lab.left(), Vec::<String>::new());
    drop(taken);
}

/// All services of the file, those too that are left out above.
#[test]
#[ignore = "needs docker compose: `lab test` runs it"]
fn every_service_is_bounded_and_pinned() {
    let text = compose_config(&[]);
    let config: Value = serde_json::from_str(&text).unwrap();
    let services = config["services"].as_object().unwrap();
    assert_eq!(services.len(), 18);
    let mut memory = 0;
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(
            service["security_opt"][0], "no-new-privileges:true",
            "{name}"
        );
        assert!(service.get("privileged").is_none(), "{name}");
        assert!(service["restart"].is_string(), "{name}");
        assert!(
            service["logging"]["options"]["max-size"].is_string(),
            "{name}"
        );
        let once = name == "probe";
        assert_eq!(service.get("healthcheck").is_none(), once, "{name}");
        // What its image says; where the image says root, the file says another.
        let user = service["user"].as_str();
        let root = user.is_some_and(|user| user.starts_with("0:"));
        assert_eq!(root, once || name == "beyla", "{name} runs as {user:?}");
        let image = service["image"].as_str().unwrap();
        let tag = image.rsplit_once(':').unwrap().1;
        assert!(
            tag.contains('.') || tag.starts_with('v'),
            "{image} has no exact tag"
        );
        memory += service["mem_limit"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap();
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
        for (on, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert_ne!(how["condition"], "service_started", "{name} on {on}");
        }
    }
    assert!(memory < 4 << 30, "{memory} bytes in all");
    // It must be clean, too.
    compose_config(&["docker-compose.generators.yaml"]);
}

fn compose_config(overlays: &[&str]) -> String {
    let plugin = std::env::var("LAB_COMPOSE").ok();
    let mut command = match &plugin {
        Some(program) => Command::new(program),
        None => {
            let mut command = Command::new("docker");
            command.arg("compose");
            command
        }
    };
    command.args(["--file", "docker-compose.yaml"]);
    for overlay in overlays {
        command.args(["--file", overlay]);
    }
    let output = command
        .args(["config", "--format", "json"])
        .current_dir(checkout())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// cargo needs every member, whichever one it builds.
#[test]
fn dockerfiles_know_every_member_of_the_workspace() {
    let read = |path: &str| std::fs::read_to_string(checkout().join(path)).unwrap();
    let manifest = read("Cargo.toml");
    let members = manifest.split_once("members = [").unwrap().1;
    let members = members.split_once(']').unwrap().0.split(',');
    let members: Vec<&str> = members
        .map(|member| member.trim().trim_matches('"'))
        .filter(|member| !member.is_empty())
        .collect();
    assert!(members.len() > 5, "{members:?}");
    let sent = read(".dockerignore");
    for member in &members {
        let manifest = format!("!{member}/Cargo.toml\n");
        let is_sent = sent.contains(&manifest) || sent.contains(&format!("!{member}\n"));
        assert!(is_sent, ".dockerignore: {manifest}");
    }
    for service in ["edge", "users"] {
        let dockerfile = read(&format!("services/{service}/Dockerfile"));
        for member in &members {
            let copy = format!("COPY {member}/Cargo.toml {member}/\n");
            assert!(dockerfile.contains(&copy), "{service}: {copy}");
        }
    }
}
