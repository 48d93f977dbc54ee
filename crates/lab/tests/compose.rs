//! The shipped compose file, run on images that are made on this machine. It needs a Docker
//! engine: `lab test` brings one, `lab with-docker cargo test …` does by hand.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getegid, geteuid};
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

/// A lab becomes calm, breaks, and its alert is told; or it heals, and the end is told.
const INCIDENT: Duration = Duration::from_secs(300);

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

    /// Tells the console's desk something, as its page does.
    fn desk(&self, what: &str) -> (u16, String) {
        let url = self.address(8088, &format!("/api/scenarios{what}"));
        get(async |client| {
            let answer = client.post(&url).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    /// What the desk's page shows, as soon as it is what is waited for.
    #[track_caller]
    fn incident(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let url = self.address(8088, "/api/scenarios");
        let mut view = Value::Null;
        let reached = eventually(INCIDENT, || {
            view = get(async |client| client.get(&url).send().await.unwrap().json().await.unwrap());
            is_so(&view)
        });
        assert!(reached, "{:#}", view["report"]);
        view
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
    let memory = lab.memory();
    clock.lap("verify");
    lab.lab(&["verify", "--engine", "compose", "--panels"]);
    clock.lap("verify --panels");
    println!("{}", the_pages_show_it(&lab));
    clock.lap("the console in a browser");
    the_console_breaks_holds_and_heals(&lab);
    clock.lap("an incident, held");
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

/// Tests of the page that open each part of it, and look at what they show.
const PAGES: [&str; 9] = [
    "the lab: who calls whom",
    "a trace: from a search",
    "logs: filters become LogQL",
    "a profile: what the CPU did",
    "dashboards: panels draw",
    "a service: how it is",
    "objectives: every one",
    "incidents: each with what",
    "what does not exist is said",
];

/// In a real browser, as natively; what takes long there is not done again.
fn the_pages_show_it(lab: &TestLab) -> String {
    let runner = checkout().join("services/console/web/tests/run.mjs");
    let output = lab
        .program("node")
        .arg(runner)
        .arg("browser")
        .args(PAGES)
        .env("LAB_PROGRAM", env!("CARGO_BIN_EXE_lab"))
        .env("CONSOLE_URL", lab.address(8088, ""))
        .env("EDGE_URL", lab.address(8001, ""))
        .env("OTLP_HTTP_URL", lab.address(4318, ""))
        .output()
        .expect("Node.js is needed, and `lab test` brings it");
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    // A name that is no test's would pass.
    let passed = format!("pass {}\n", PAGES.len());
    assert!(said.contains(&passed), "not {passed}{said}");
    said
}

/// Without a command line and without a way to other containers: by flags. Whoever looks has the time
/// that they want.
fn the_console_breaks_holds_and_heals(lab: &TestLab) {
    let (status, why) = lab.desk("/run/users-down");
    assert_eq!(status, 409);
    assert!(why.contains("./lab scenario run users-down"), "{why}");
    assert_eq!(lab.desk("/run/albums-down?hold=soon").0, 400);
    assert_eq!(lab.desk("/release").0, 409);
    let begun = lab.desk("/run/albums-down?hold=10m");
    assert_eq!(begun, (202, String::new()));
    lab.incident(|view| view["report"]["phase"] == "held");
    assert_eq!(lab.code(8001, "/albums"), Some(503));
    assert_eq!(lab.desk("/run/error-burst").0, 409);
    // One record for both: the command line on the host sees what is broken.
    let flag = || -> Value {
        let listed = lab.lab(&["fault", "list", "--json"]).stdout;
        let flags: Vec<Value> = serde_json::from_slice(&listed).unwrap();
        let flag = flags.iter().find(|flag| flag["name"] == "albums-down");
        flag.unwrap()["variant"].clone()
    };
    assert_eq!(flag(), "on");
    let released = lab.desk("/release");
    assert_eq!(released, (200, "albums-down heals".to_owned()));
    lab.answers_soon(8001, "/albums", 200);
    assert_eq!(flag(), "off");
    let view = lab.incident(|view| view["running"] == false);
    let report = &view["report"];
    assert_eq!(report["outcome"], "passed", "{report:#}");
    let timeline = report["timeline"].as_array().unwrap();
    let mut rest = timeline.iter();
    for event in ["injected", "held", "released", "healed"] {
        assert!(rest.any(|moment| moment["event"] == event), "{report:#}");
    }
    let released = timeline.iter().find(|moment| moment["event"] == "released");
    assert_eq!(released.unwrap()["asked"], true);
    assert!(timeline.iter().any(|moment| moment["event"] == "resolved"));
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

/// `docker compose` by itself, as a person types it: nothing that `lab` writes is used.
struct Plain<'a> {
    lab: &'a TestLab,
    /// One service has another image here.
    stand_in: PathBuf,
    env: Vec<(String, OsString)>,
}

impl<'a> Plain<'a> {
    fn new(lab: &'a TestLab) -> Self {
        let text = std::fs::read_to_string(checkout().join(".env")).unwrap();
        let variables = text.lines().filter_map(|line| line.split_once('='));
        let mut env = Vec::new();
        let mut version = "";
        for (name, value) in variables {
            if name.ends_with("_PORT") {
                let port = value.parse::<u16>().unwrap() + lab.offset;
                env.push((name.to_owned(), port.to_string().into()));
            } else if name == "LAB_VERSION" {
                version = value;
            }
        }
        env.push(("LAB_LEFT_OUT".to_owned(), LEFT_OUT.join(",").into()));
        let stand_in = lab.directory.path().join("stand-in.yaml");
        let webhook = serde_json::json!({
            "image": format!("observability-lab/webhook:{version}"),
            "command": ["webhook", "--listen=0.0.0.0:8080"],
            "tmpfs": ["/var/lib/lab:uid=10001,gid=10001"],
            "volumes": ["probe:/probe:ro"],
            "healthcheck": { "test": ["CMD", "/probe/probe", "http://127.0.0.1:8080/healthz"] },
            "depends_on": { "probe": { "condition": "service_completed_successfully" } },
        });
        let file = serde_json::json!({ "services": { "webhook": webhook } });
        std::fs::write(&stand_in, file.to_string()).unwrap();
        Self { lab, stand_in, env }
    }

    fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.push((name.to_owned(), value.into()));
    }

    #[track_caller]
    fn run(&self, args: &[&str]) {
        let project = format!("observability-lab-{}", self.lab.offset);
        let output = compose(&[Path::new("docker-compose.yaml"), &self.stand_in])
            .args(["--project-name", &project])
            .args(args)
            .env_remove("LAB_FLAGS_DIR")
            .env_remove("LAB_CONSOLE_USER")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    }

    /// Of what has no image here none is started.
    #[track_caller]
    fn up(&self) {
        let none = LEFT_OUT.map(|service| format!("--scale={service}=0"));
        let mut args = vec!["up", "--detach", "--wait", "--wait-timeout=300"];
        args.extend(["--pull=never", "--no-build"]);
        args.extend(none.iter().map(String::as_str));
        self.run(&args);
    }
}

/// Without `lab`: the flags are in a volume, or in a directory of whoever started it.
#[test]
#[ignore = "needs a Docker engine and programs in the cache: `lab test` runs it"]
fn docker_compose_alone_starts_it_and_the_console_breaks_it() {
    let lab = TestLab::new();
    lab.lab(&["air-gap", "images", "make"]);
    let mut plain = Plain::new(&lab);
    let mut clock = Clock::new();
    plain.up();
    clock.lap("docker compose up");
    lab.answers_soon(8001, "/users", 200);
    lab.answers_soon(8001, "/albums", 200);
    // Nothing of it is from `lab`.
    assert!(!lab.state_dir().join("config").exists());
    let flags = lab.volume("flags");
    for service in ["users", "albums", "console"] {
        let container = lab.inspect(service);
        let mounts = container["Mounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["Name"] == flags.as_str());
        let mount = mount.unwrap_or_else(|| panic!("{service}: {mounts:#?}"));
        assert_eq!(mount["RW"], service == "console", "{service}");
        assert_eq!(container["HostConfig"]["ReadonlyRootfs"], true, "{service}");
    }
    // `lab` sees it, and does not take it for its own.
    assert_eq!(lab.phases("healthy").len(), 18 - LEFT_OUT.len());
    for args in [
        &["fault", "set", "albums-down", "on"][..],
        &["scenario", "run", "albums-down"],
        &["restart", "edge"],
    ] {
        let output = lab.command(args).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("started by `docker compose up`"), "{said}");
    }
    the_console_breaks_and_heals(&lab);
    // What it broke is healed when it goes.
    assert_eq!(lab.desk("/run/albums-down"), (202, String::new()));
    lab.incident(|_| lab.code(8001, "/albums") == Some(503));
    plain.run(&["stop", "console"]);
    lab.answers_soon(8001, "/albums", 200);
    clock.lap("broken and healed, flags in a volume");

    flags_in_a_directory(&mut plain);
    clock.lap("broken and healed, flags in a directory");

    plain.run(&["down", "--volumes"]);
    assert_eq!(lab.left(), Vec::<String>::new());
    clock.lap("docker compose down --volumes");
    println!("{}", clock.laps.join("\n"));
}

/// Half of what users answers, and edge with it, are errors, until that is ended.
fn the_console_breaks_and_heals(lab: &TestLab) {
    assert_eq!(lab.desk("/run/error-burst"), (202, String::new()));
    lab.incident(|_| lab.code(8001, "/users").is_some_and(|code| code >= 500));
    assert_eq!(lab.desk("/heal"), (200, "healed".to_owned()));
    let good = || (0..20).all(|_| lab.code(8001, "/users") == Some(200));
    assert!(eventually(SOON, good));
}

/// Only its owner may write there: whoever edits it by hand, and the console when it is told who
/// that is.
fn flags_in_a_directory(plain: &mut Plain<'_>) {
    let lab = plain.lab;
    let directory = lab.directory.path().join("flags");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("lab.flagd.json");
    let healthy = std::fs::read_to_string(checkout().join("infra/flags/lab.flagd.json")).unwrap();
    std::fs::write(&file, &healthy).unwrap();
    let owner = if geteuid().is_root() {
        std::os::unix::fs::chown(&directory, Some(12_345), Some(12_345)).unwrap();
        "12345:12345".to_owned()
    } else {
        format!("{}:{}", geteuid(), getegid())
    };
    plain.set("LAB_FLAGS_DIR", &directory);
    plain.up();
    let mut flags: Value = serde_json::from_str(&healthy).unwrap();
    flags["flags"]["albums-down"]["defaultVariant"] = "on".into();
    std::fs::write(&file, flags.to_string()).unwrap();
    lab.answers_soon(8001, "/albums", 503);
    std::fs::write(&file, &healthy).unwrap();
    lab.answers_soon(8001, "/albums", 200);
    let (status, why) = lab.desk("/run/albums-down");
    assert_eq!(status, 409, "{why}");
    assert!(
        why.contains("cannot be written: Permission denied"),
        "{why}"
    );
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);

    plain.set("LAB_CONSOLE_USER", &owner);
    plain.up();
    assert_eq!(lab.inspect("console")["Config"]["User"], owner.as_str());
    the_console_breaks_and_heals(lab);
    let user = std::fs::metadata(&file).unwrap().uid();
    assert!(owner.starts_with(&format!("{user}:")), "{user}");
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

/// SELinux lets containers read what is labelled for them. What is the kernel's keeps its label, and of a volume compose
/// would warn.
#[test]
#[ignore = "needs docker compose: `lab test` runs it"]
fn directories_of_the_host_are_labelled_for_selinux() {
    let files = ["docker-compose.yaml", "docker-compose.generators.yaml"].map(Path::new);
    for (flags, number) in [("", 19), ("/srv/flags", 22)] {
        let mut command = compose(&files);
        command.args(["config", "--format", "json"]);
        let output = command.env("LAB_FLAGS_DIR", flags).output().unwrap();
        let config: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut labelled = 0;
        for (name, service) in config["services"].as_object().unwrap() {
            for mount in service["volumes"].as_array().into_iter().flatten() {
                let source = mount["source"].as_str().unwrap();
                let ours = mount["type"] == "bind" && !source.starts_with("/sys/");
                let wanted = if ours { Value::from("z") } else { Value::Null };
                assert_eq!(mount["bind"]["selinux"], wanted, "{name}: {mount}");
                labelled += usize::from(ours);
            }
        }
        assert_eq!(labelled, number, "{flags}");
    }
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
