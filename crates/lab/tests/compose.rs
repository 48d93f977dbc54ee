//! The shipped compose file, run on images that are made on this machine. It needs a Docker
//! engine: `lab test` brings one, `lab with-docker cargo test …` does by hand.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
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

/// What is built from the checkout.
const BUILT: [&str; 5] = ["albums", "console", "edge", "probe", "users"];
/// Those of them that share a layer of dependencies.
const RUST: [&str; 3] = ["console", "edge", "users"];
/// Of what the Dockerfiles make: images that `make` left alone.
const BUILT_VERSION: &str = "0.1.0-dockerfile";

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

    /// As compose names what a service keeps.
    fn volume(&self, name: &str) -> String {
        format!("observability-lab-{}_{name}", self.offset)
    }

    /// MiB of each service, without the file cache.
    fn memory(&self) -> BTreeMap<String, f64> {
        let filter = self.project();
        let format = "{{.ID}} {{.Label \"com.docker.compose.service\"}}";
        let list = docker(&["ps", "--filter", &filter, "--format", format]);
        let names: BTreeMap<&str, &str> = list
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect();
        let mut stats = vec!["stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}}"];
        stats.extend(names.keys());
        docker(&stats)
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let amount = words[1].trim_end_matches(|c: char| c.is_ascii_alphabetic());
                let factor = match &words[1][amount.len()..] {
                    "KiB" => 1.0 / 1024.0,
                    "MiB" => 1.0,
                    "GiB" => 1024.0,
                    other => panic!("{other} is no unit that is expected"),
                };
                let mebibytes = amount.parse::<f64>().unwrap() * factor;
                (names[words[0]].to_owned(), mebibytes)
            })
            .collect()
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
    let mut lab = TestLab::new();
    let mut clock = Clock::new();
    lab.lab(&["air-gap", "images", "make"]);
    let began = Instant::now();
    let again = text(&lab.lab(&["air-gap", "images", "make"]));
    assert!(!again.contains(" from "), "made anew: {again}");
    assert!(began.elapsed() < Duration::from_secs(20));
    clock.lap("images made");

    lab.lab(&["up", "--engine", "compose", "--offline"]);
    let missing: BTreeSet<String> = LEFT_OUT.map(str::to_owned).into();
    assert_eq!(lab.phases("missing"), missing);
    assert_eq!(lab.phases("healthy").len(), 18 - LEFT_OUT.len());
    hardened(&lab);
    clock.lap("up");
    lab.lab(&["verify", "--engine", "compose"]);
    the_console_knows_what_runs(&lab);
    the_console_breaks_and_heals(&lab);
    let memory = lab.memory();
    clock.lap("verify");
    lab.lab(&["verify", "--engine", "compose", "--panels"]);
    clock.lap("verify --panels");
    lab.lab(&["load", "--vus", "2", "--duration", "5s"]);
    assert_eq!(lab.code(8001, "/users"), Some(200));
    let mut trace = String::new();
    let newest = eventually(SOON, || {
        trace = text(&lab.lab(&["trace"]));
        trace.contains("users SELECT users")
    });
    assert!(newest, "{trace}");
    let budgets = text(&lab.lab(&["slo"]));
    assert!(budgets.contains("users-availability-12h"), "{budgets}");
    let loaded = lab.memory();
    clock.lap("load, trace, slo");

    a_second_up_changes_nothing(&lab);
    faults_reach_the_containers(&lab);
    a_stopped_backend_takes_nobody_down(&lab);
    a_killed_one_comes_back(&lab);
    users_waits_for_its_database(&lab);
    clock.lap("stopped, killed, waited for");
    for (service, user) in [("prometheus", "65534"), ("loki", "10001")] {
        a_full_disk_takes_nobody_down(&lab, service, user);
    }
    clock.lap("full disks");
    let logs = text(&lab.lab(&["logs", "users", "-n", "3"]));
    assert_eq!(logs.lines().count(), 3, "{logs}");

    dockerfiles_are_built(&lab);
    clock.lap("Dockerfiles built");
    lab.env.push(("LAB_VERSION", BUILT_VERSION.into()));
    lab.lab(&["up", "--engine", "compose", "--offline"]);
    for service in BUILT {
        let image = lab.inspect(service)["Config"]["Image"].clone();
        let wanted = format!("observability-lab/{service}:{BUILT_VERSION}");
        assert_eq!(image, wanted.as_str());
    }
    // There is none of this version: it is left out now, and does not run on.
    assert_eq!(lab.container("webhook"), "");
    hardened(&lab);
    lab.lab(&["verify"]);
    clock.lap("the same on what the Dockerfiles make");

    assert!(!lab.left().is_empty());
    lab.lab(&["down", "--purge"]);
    assert_eq!(lab.left(), Vec::<String>::new());
    assert!(text(&lab.command(&["status"]).output().unwrap()).contains("no lab is running"));
    lab.env.clear();
    images_can_be_carried(&lab);
    clock.lap("saved, removed, loaded, up");
    if std::env::var_os("LAB_OWN_ENGINE").is_none() {
        // Somebody's own engine: what has upstream's names there must be upstream's.
        lab.lab(&["air-gap", "images", "remove"]);
        lab.lab(&["air-gap", "images", "remove", "--bases"]);
    }
    println!("{}", table(&memory, &loaded));
    println!("{}", clock.laps.join("\n"));
}

/// What took how long: for whoever looks where the time goes.
struct Clock {
    last: Instant,
    laps: Vec<String>,
}

impl Clock {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            laps: Vec::new(),
        }
    }

    fn lap(&mut self, what: &str) {
        let took = self.last.elapsed().as_secs_f64();
        self.laps.push(format!("{took:6.1} s  {what}"));
        self.last = Instant::now();
    }
}

/// The memory that `docker stats` tells, at rest and after a little load; none is near its limit.
fn table(rest: &BTreeMap<String, f64>, loaded: &BTreeMap<String, f64>) -> String {
    let config: Value = serde_json::from_str(&compose_config(&[])).unwrap();
    let mut lines = vec!["service            MiB  after load  limit".to_owned()];
    for (service, mebibytes) in rest {
        let limit = config["services"][service]["mem_limit"].as_str().unwrap();
        let limit = f64::from(limit.parse::<u32>().unwrap() >> 20);
        let then = loaded[service];
        lines.push(format!("{service:17}{mebibytes:5.0}{then:12.0}{limit:7.0}"));
        assert!(then < 0.9 * limit, "{service}: {then} of {limit} MiB");
    }
    let sum = |all: &BTreeMap<String, f64>| all.values().sum::<f64>();
    let (rest, loaded) = (sum(rest), sum(loaded));
    lines.push(format!("{:17}{rest:5.0}{loaded:12.0}", "all"));
    lines.join("\n")
}

/// The page's server finds everything by the names inside, and tells addresses that work outside.
fn the_console_knows_what_runs(lab: &TestLab) {
    let url = lab.address(8088, "/api/lab");
    let mut seen = Value::Null;
    let healthy = |seen: &Value| -> BTreeSet<String> {
        let components = seen["components"].as_array().into_iter().flatten();
        components
            .filter(|each| each["phase"] == "healthy")
            .map(|each| each["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let agree = eventually(SOON, || {
        seen = get(async |client| client.get(&url).send().await.unwrap().json().await.unwrap());
        healthy(&seen) == lab.phases("healthy")
    });
    assert!(agree, "{seen:#}");
    let components = seen["components"].as_array().unwrap();
    let edge = components.iter().find(|each| each["name"] == "edge");
    let address = format!("http://localhost:{}", 8001 + lab.offset);
    assert_eq!(edge.unwrap()["address"], address.as_str());
    let tempo = components.iter().find(|each| each["name"] == "tempo");
    assert_eq!(tempo.unwrap()["phase"], "missing");
    for page in ["/api/scenarios", "/api/dashboards", "/incidents"] {
        assert_eq!(lab.code(8088, page), Some(200), "{page}");
    }
    // The proof, from inside.
    let url = lab.address(8088, "/api/verify");
    get(async |client| client.post(&url).send().await.unwrap());
    let mut seen = Value::Null;
    let done = eventually(SOON, || {
        seen = get(async |client| client.get(&url).send().await.unwrap().json().await.unwrap());
        seen["last"].is_object()
    });
    assert!(done && seen["last"]["report"]["ok"] == true, "{seen:#}");
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

/// Without a command line and without a way to other containers: by flags.
fn the_console_breaks_and_heals(lab: &TestLab) {
    let post = |path: &str| {
        let url = lab.address(8088, &format!("/api/scenarios{path}"));
        get(async |client| {
            let answer = client.post(&url).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    };
    let (status, why) = post("/run/users-down");
    assert_eq!(status, 409);
    assert!(why.contains("./lab scenario run users-down"), "{why}");
    assert_eq!(post("/run/albums-down"), (202, String::new()));
    lab.answers_soon(8001, "/albums", 503);
    // One record for both: the command line on the host sees what is broken.
    let faults = text(&lab.lab(&["fault", "list"]));
    assert!(faults.contains("albums-down"), "{faults}");
    assert_eq!(post("/heal").0, 200);
    lab.answers_soon(8001, "/albums", 200);
}

/// It keeps its data on so small a disk that the disk can be filled.
fn a_full_disk_takes_nobody_down(lab: &TestLab, service: &str, user: &str) {
    lab.lab(&["stop", service]);
    let volume = lab.volume(service);
    docker(&["rm", &lab.container(service)]);
    docker(&["volume", "rm", &volume]);
    let size = format!("o=size=24m,uid={user},gid={user}");
    let project = format!("observability-lab-{}", lab.offset);
    docker(&[
        "volume",
        "create",
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "--opt",
        &size,
        "--label",
        &format!("com.docker.compose.project={project}"),
        "--label",
        &format!("com.docker.compose.volume={service}"),
        &volume,
    ]);
    lab.lab(&["up", "--engine", "compose", "--offline"]);
    // PostgreSQL's image is the one with a shell in it.
    let postgres = lab.inspect("postgres")["Config"]["Image"].clone();
    let busybox = |args: &[&str]| {
        let mount = format!("{volume}:/disk");
        let run = [
            "run",
            "--rm",
            "--network=none",
            "--user=0",
            "--entrypoint=/bin/busybox",
            "--volume",
        ];
        let image = postgres.as_str().unwrap();
        Command::new("docker")
            .args(run)
            .args([&mount, image])
            .args(args)
            .output()
            .unwrap()
    };
    let filled = busybox(&["dd", "if=/dev/zero", "of=/disk/filler", "bs=64k"]);
    let said = text(&filled);
    assert!(said.contains("No space left"), "{said}");
    // It says why, while the others go on.
    let mut logs = String::new();
    let says = eventually(SOON, || {
        assert_eq!(lab.code(8001, "/users"), Some(200), "{service}");
        logs = text(&lab.lab(&["logs", service, "-n", "2000"]));
        // Loki takes no more before nothing is left.
        ["no space left on device", "disk usage exceeded threshold"]
            .iter()
            .any(|why| logs.contains(why))
    });
    assert!(says, "{service}: {logs}");
    let others: BTreeSet<String> = lab.phases("healthy");
    assert!(others.len() >= 17 - LEFT_OUT.len(), "{others:?}");
    assert_eq!(lab.inspect(service)["RestartCount"], 0);
    let freed = busybox(&["rm", "/disk/filler"]);
    assert!(freed.status.success(), "{}", text(&freed));
    // Its own disk again.
    lab.lab(&["stop", service]);
    docker(&["rm", &lab.container(service)]);
    docker(&["volume", "rm", &volume]);
    lab.lab(&["up", "--engine", "compose", "--offline"]);
}

/// By the Dockerfiles, on bases that are made here under upstream's names.
fn dockerfiles_are_built(lab: &TestLab) {
    lab.lab(&["air-gap", "images", "make", "--bases"]);
    // This engine may have no network of its own; registries of crates and packages are asked by the host's.
    let network = lab.directory.path().join("network.yaml");
    let host: BTreeMap<&str, Value> = BUILT
        .into_iter()
        .map(|service| {
            (
                service,
                serde_json::json!({ "build": { "network": "host" } }),
            )
        })
        .collect();
    std::fs::write(
        &network,
        serde_json::json!({ "services": host }).to_string(),
    )
    .unwrap();
    // One after the other: they share layers.
    for service in BUILT {
        let output = compose(&[Path::new("docker-compose.yaml"), &network])
            .args(["build", service])
            .env("LAB_VERSION", BUILT_VERSION)
            .output()
            .unwrap();
        assert!(output.status.success(), "{service}: {}", text(&output));
        let image = format!("observability-lab/{service}:{BUILT_VERSION}");
        let image: Value = serde_json::from_str(&docker(&["image", "inspect", &image])).unwrap();
        let size = image[0]["Size"].as_u64().unwrap();
        assert!(size < 50_000_000, "{service}: {size} bytes");
        let config = &image[0]["Config"];
        assert_eq!(config["User"], "65532:65532", "{service}");
        let label = |name: &str| &config["Labels"][format!("org.opencontainers.image.{name}")];
        assert_eq!(label("title"), service);
        assert_eq!(label("version"), BUILT_VERSION);
        assert!(label("description").is_string() && label("licenses").is_string());
        assert_eq!(config["Entrypoint"][0], format!("/usr/bin/{service}"));
    }
    if std::env::var_os("LAB_OWN_ENGINE").is_some() {
        // What earlier sources left is not kept for ever.
        docker(&["builder", "prune", "--force", "--filter", "until=72h"]);
        docker(&["image", "prune", "--force"]);
    }
}

/// Into one file, out of the engine, and back.
fn images_can_be_carried(lab: &TestLab) {
    let archive = lab.directory.path().join("images.tar");
    let name = archive.to_str().unwrap();
    lab.lab(&["air-gap", "images", "save", name]);
    lab.lab(&["air-gap", "images", "remove"]);
    if std::env::var_os("LAB_OWN_ENGINE").is_some() {
        let up = lab
            .command(&["up", "--engine", "compose", "--offline"])
            .output()
            .unwrap();
        let said = text(&up);
        assert!(
            said.contains("none of the images is on this machine"),
            "{said}"
        );
    }
    docker(&["load", "--quiet", "--input", name]);
    std::fs::remove_file(&archive).unwrap();
    lab.lab(&["up", "--engine", "compose", "--offline"]);
    assert_eq!(lab.phases("healthy").len(), 18 - LEFT_OUT.len());
    lab.lab(&["down", "--purge"]);
    assert_eq!(lab.left(), Vec::<String>::new());
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
    assert_eq!(services.len(), 19);
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

/// `docker compose` in the checkout, or what stands for it.
fn compose(files: &[&Path]) -> Command {
    let plugin = std::env::var_os("LAB_COMPOSE");
    let mut command = Command::new(plugin.clone().unwrap_or_else(|| OsString::from("docker")));
    if plugin.is_none() {
        command.arg("compose");
    }
    for file in files {
        command.arg("--file").arg(file);
    }
    command.current_dir(checkout());
    command
}

fn compose_config(overlays: &[&str]) -> String {
    let mut files = vec![Path::new("docker-compose.yaml")];
    files.extend(overlays.iter().map(Path::new));
    let output = compose(&files)
        .args(["config", "--format", "json"])
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
    let mut shared = BTreeSet::new();
    for service in RUST {
        let dockerfile = read(&format!("services/{service}/Dockerfile"));
        for member in &members {
            let copy = format!("COPY {member}/Cargo.toml {member}/\n");
            assert!(dockerfile.contains(&copy), "{service}: {copy}");
        }
        // Up to the sources of its own: the engine makes it once for all.
        let dependencies = dockerfile
            .split_once("FROM ${RUST_IMAGE} AS build\n")
            .unwrap()
            .1;
        let (dependencies, _) = dependencies.split_once(" --bins\nCOPY ").unwrap();
        shared.insert(dependencies.to_owned());
    }
    assert_eq!(shared.len(), 1, "{shared:#?}");
}
