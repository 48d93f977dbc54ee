//! A real lab is started, killed and put right again, with its own state and ports. The programs
//! must be in the cache already: `lab test` runs these after its own lab came up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

mod common;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use common::{TestLab, checkout, eventually, get, pause, signal};

impl TestLab {
    /// With a checkout of its own, whose files the test may change. The Rust services are those
    /// that were built already: nothing but configuration is in it.
    fn with_own_checkout() -> Self {
        let mut lab = Self::new();
        let root = lab.directory.path().join("root");
        for path in ["infra", "slo", "services/albums", "services/console/web"] {
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
        let name = path.file_name().unwrap();
        let target = to.join(name);
        if name == "node_modules" {
            // What npm brought; large, and no part of the checkout.
        } else if path.is_dir() {
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

/// A push that meets the end of Loki's ingester is never answered: nobody may wait long for it.
#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn loki_ends_in_time_while_it_is_written_to() {
    let lab = TestLab::new();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    let stored = Arc::new(AtomicUsize::new(0));
    let _writer = writer(lab.address(3100, "/loki/api/v1/push"), stored.clone());
    // A stop meets a push at that moment by chance: 11 of 24 did, and of 18 with 8 or 32 writers only one.
    for _ in 0..8 {
        let goal = stored.load(Ordering::Relaxed) + 100;
        let written = eventually(Duration::from_secs(60), || {
            stored.load(Ordering::Relaxed) >= goal
        });
        assert!(written, "{stored:?} of {goal} records are stored");
        let began = Instant::now();
        lab.lab(&["stop", "loki"]);
        // It is killed after 20 s.
        let took = began.elapsed();
        assert!(took < Duration::from_secs(12), "it took {took:?}");
        lab.lab(&["start", "loki"]);
        lab.becomes("loki", "healthy");
    }
}

/// Writes to Loki one record after the other, and counts what is stored.
fn writer(url: String, stored: Arc<AtomicUsize>) -> Background {
    Background::run(move |running| {
        get(async |client| {
            while running.load(Ordering::Relaxed) {
                if write(&client, &url).await {
                    stored.fetch_add(1, Ordering::Relaxed);
                } else {
                    // It is stopped, or not ready yet.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    })
}

/// Writes one record, as patient as the Collector; whether Loki has it.
async fn write(client: &reqwest::Client, url: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let record = serde_json::json!({"streams": [{
        "stream": {"service_name": "writer"},
        "values": [[now.as_nanos().to_string(), "a record"]],
    }]});
    let request = client.post(url).json(&record);
    let answer = request.timeout(Duration::from_secs(30)).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
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

/// The one value that Prometheus answers a query with.
fn value(lab: &TestLab, query: &str) -> Option<f64> {
    let url = lab.address(9090, "/api/v1/query");
    let answer: Value = get(async |client| {
        let answer = client.get(&url).query(&[("query", query)]).send().await;
        answer.unwrap().json().await.unwrap()
    });
    let value = answer["data"]["result"][0]["value"][1].as_str()?;
    value.parse().ok()
}

/// users is scraped, edge pushes. Nothing failed since their start, and then everything, between two scrapes.
#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn the_first_errors_after_a_start_are_in_the_objectives() {
    const BURST: u32 = 20;
    const FAILED: &str = r#"http_response_status_code=~"5..""#;
    let lab = TestLab::new();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    let counted = |job: &str, of: &str| {
        format!(r#"http_server_request_duration_seconds_count{{job="{job}"{of}}}"#)
    };
    for job in ["users", "edge"] {
        let series = counted(job, &format!(",{FAILED}"));
        let at_zero = eventually(Duration::from_secs(30), || {
            value(&lab, &format!("sum({series})")) == Some(0.0)
        });
        assert!(at_zero, "{job} has no errors at zero");
    }

    lab.lab(&["fault", "set", "users-error-share", "all"]);
    let url = lab.address(8001, "/users");
    let failed = get(async |client| {
        let mut failed = 0;
        let deadline = Instant::now() + Duration::from_secs(30);
        while failed < BURST && Instant::now() < deadline {
            let answer = client.get(&url).send().await.unwrap();
            failed += u32::from(answer.status() == 500);
        }
        failed
    });
    assert_eq!(failed, BURST);
    lab.lab(&["fault", "clear"]);

    for job in ["users", "edge"] {
        let (errors, all) = (counted(job, &format!(",{FAILED}")), counted(job, ""));
        let objective = format!("{job}-availability-12h");
        // What the counters have is what the objective has.
        let share = format!(
            r#"(1 - pyrra_availability{{slo="{objective}"}}) / on () (sum({errors}) / sum({all}))"#
        );
        let mut told = (None, None);
        let whole = eventually(Duration::from_secs(120), || {
            told = (value(&lab, &format!("sum({errors})")), value(&lab, &share));
            let counted = told.0 == Some(f64::from(BURST));
            counted && told.1.is_some_and(|share| (0.9..1.1).contains(&share))
        });
        assert!(
            whole,
            "{job}: errors counted, and their share in {objective}: {told:?}"
        );
    }
}

/// The rules that Prometheus has loaded, as text.
fn loaded_rules(lab: &TestLab) -> String {
    let url = lab.address(9090, "/api/v1/rules");
    get(async |client| match client.get(&url).send().await {
        Ok(response) => response.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    })
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_changed_objective_is_loaded_at_once_and_a_wrong_one_is_named() {
    let lab = TestLab::with_own_checkout();
    lab.up();
    lab.becomes("prometheus", "healthy");
    let prometheus = lab.pid("prometheus");
    let rules = loaded_rules(&lab);
    for name in ["users-availability-12h", "edge-latency-generic", "services"] {
        assert!(rules.contains(&format!("\"name\":\"{name}\"")), "{rules}");
    }
    let file = lab.root.join("slo/users-availability-12h.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let change = |from: &str, to: &str| std::fs::write(&file, good.replace(from, to)).unwrap();

    change("\"99\"", "\"97.5\"");
    let loaded = eventually(Duration::from_secs(15), || {
        loaded_rules(&lab).contains("(1 - 0.975)")
    });
    assert!(loaded, "{}", loaded_rules(&lab));

    change("window: 12h", "window: half a day");
    let output = lab.command(&["up", "--engine", "native"]).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(
            "slo/users-availability-12h.yaml:12:11: spec.window: expected a length of time"
        ),
        "{said}"
    );
    assert!(loaded_rules(&lab).contains("(1 - 0.975)"));

    std::fs::remove_file(&file).unwrap();
    let gone = eventually(Duration::from_secs(15), || {
        !loaded_rules(&lab).contains("users-availability-12h")
    });
    assert!(gone, "{}", loaded_rules(&lab));
    assert_eq!(lab.pid("prometheus"), prometheus);
    assert_eq!(lab.component("prometheus")["crashes"], 0);
}

/// What Alertmanager makes of this test's alerts, by severity and objective.
fn states_of_alerts(lab: &TestLab) -> BTreeMap<(String, String), String> {
    let url = lab.address(9093, "/api/v2/alerts?filter=alertname=OfThisTest");
    let alerts: Vec<Value> = get(async |client| {
        let answer = client.get(&url).send().await.unwrap();
        answer.json().await.unwrap()
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    alerts
        .iter()
        .map(|alert| {
            let labels = &alert["labels"];
            let whose = (text(&labels["severity"]), text(&labels["slo"]));
            (whose, text(&alert["status"]["state"]))
        })
        .collect()
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn while_an_objective_pages_its_own_warning_is_silent() {
    let lab = TestLab::new();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    let tell = |alerts: &[(&str, &str)], ends_in: SignedDuration| {
        let ends = (Timestamp::now() + ends_in).to_string();
        let alerts = alerts.iter().map(|(severity, slo)| {
            serde_json::json!({
                "labels": {"alertname": "OfThisTest", "severity": severity, "slo": slo},
                "endsAt": ends,
            })
        });
        let alerts: Vec<Value> = alerts.collect();
        let url = lab.address(9093, "/api/v2/alerts");
        get(async |client| {
            let answer = client.post(&url).json(&alerts).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        });
    };
    let become_all = |expected: &[(&str, &str, &str)]| {
        let expected = expected
            .iter()
            .map(|(severity, slo, state)| {
                let whose = ((*severity).to_owned(), (*slo).to_owned());
                (whose, (*state).to_owned())
            })
            .collect();
        let reached = eventually(Duration::from_secs(20), || {
            states_of_alerts(&lab) == expected
        });
        assert!(reached, "{:#?}", states_of_alerts(&lab));
    };
    let hour = SignedDuration::from_hours(1);
    tell(&[("warning", "one"), ("warning", "two")], hour);
    become_all(&[("warning", "one", "active"), ("warning", "two", "active")]);
    tell(&[("critical", "one")], hour);
    become_all(&[
        ("critical", "one", "active"),
        ("warning", "one", "suppressed"),
        ("warning", "two", "active"),
    ]);
    // The page is over, the warning goes on.
    tell(&[("critical", "one")], SignedDuration::ZERO);
    become_all(&[("warning", "one", "active"), ("warning", "two", "active")]);
}

/// Progress of a test that takes minutes, past the capture of the test runner.
fn say(line: &str) {
    use std::io::Write;
    let _closed = writeln!(std::io::stderr(), "    {line}");
}

/// Work that goes on until this is dropped.
struct Background {
    running: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn run(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let goes_on = running.clone();
        let thread = std::thread::spawn(move || work(&goes_on));
        Self {
            running,
            thread: Some(thread),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        let _panicked = self.thread.take().map(JoinHandle::join);
    }
}

/// Requests for one address.
fn load(url: String) -> Background {
    Background::run(move |running| {
        get(async |client| {
            while running.load(Ordering::Relaxed) {
                // An error is what a part of the test is about.
                let _answer = client.get(&url).send().await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    })
}

/// Takes a port, and turns everybody away.
fn take_port(port: u16) -> Option<Background> {
    let listener = TcpListener::bind(("127.0.0.1", port)).ok()?;
    listener.set_nonblocking(true).unwrap();
    Some(Background::run(move |running| {
        while running.load(Ordering::Relaxed) {
            while listener.accept().is_ok() {}
            pause(Duration::from_millis(20));
        }
    }))
}

/// An alert as it is told: some of its labels.
type Page = &'static [(&'static str, &'static str)];

const USERS_FAILS: Page = &[
    ("alertname", "ErrorBudgetBurn"),
    ("slo", "users-availability-12h"),
    ("severity", "critical"),
];
const EDGE_FAILS: Page = &[
    ("alertname", "ErrorBudgetBurn"),
    ("slo", "edge-availability-12h"),
    ("severity", "critical"),
];
const EDGE_IS_GONE: Page = &[
    ("alertname", "ServiceDown"),
    ("job", "edge"),
    ("severity", "critical"),
];
const USERS_IS_GONE: Page = &[
    ("alertname", "ServiceDown"),
    ("job", "users"),
    ("severity", "critical"),
];

/// An outage is to be known within three minutes, and so is its end: the shortest window that
/// still remembers it is a minute, and a restart that failed often waits half a minute.
const THREE_MINUTES: Duration = Duration::from_secs(180);

impl TestLab {
    /// What the webhook receiver kept.
    fn notifications(&self) -> Vec<Value> {
        let url = self.address(8080, "/00000000-0000-0000-0000-000000000000");
        get(async |client| {
            let answer = client.get(&url).send().await.unwrap();
            answer.json().await.unwrap()
        })
    }

    /// Whether the newest notification about this alert has this status.
    fn was_told(&self, page: Page, status: &str) -> bool {
        let notifications = self.notifications();
        let newest = notifications.iter().rev().find_map(|notification| {
            let alerts = notification["body"]["alerts"].as_array()?;
            alerts.iter().find(|alert| {
                let labels = &alert["labels"];
                page.iter().all(|(name, value)| labels[*name] == **value)
            })
        });
        newest.is_some_and(|alert| alert["status"] == *status)
    }

    /// Waits for both pages at once, or one twice, and says how long each took.
    #[track_caller]
    fn hears(&self, pages: &[Page], status: &str) {
        let since = Instant::now();
        let mut missing = pages.to_vec();
        let mut said = 0;
        eventually(THREE_MINUTES, || {
            missing.retain(|page| {
                let told = self.was_told(page, status);
                if told {
                    let seconds = since.elapsed().as_secs_f64();
                    say(&format!("{status} after {seconds:.0} s: {page:?}"));
                }
                !told
            });
            let waited = since.elapsed().as_secs() / 15;
            if waited > said && !missing.is_empty() {
                said = waited;
                say(&format!(
                    "waiting since {} s for {status}: {missing:?}",
                    waited * 15
                ));
            }
            missing.is_empty()
        });
        assert!(
            missing.is_empty(),
            "not {status} within three minutes: {missing:?}\n{:#?}",
            self.notifications()
        );
    }

    /// Kills a service and takes its port, so that it cannot come back.
    fn take_away(&self, name: &str, port: u16) -> Background {
        let mut taken = None;
        let done = eventually(Duration::from_secs(30), || {
            if let Some(pid) = self.pid(name) {
                let _already_gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            taken = take_port(port + self.offset);
            taken.is_some()
        });
        assert!(done, "the port of {name} cannot be taken");
        taken.unwrap()
    }

    /// Nobody is told anything for so long.
    #[track_caller]
    fn is_silent(&self, time: Duration) {
        let spoke = eventually(time, || !self.notifications().is_empty());
        assert!(!spoke, "{:#?}", self.notifications());
    }
}

/// Both kinds for both services: every answer a server error, and the process gone. edge is gone
/// while users fails, which is seen as users has a load of its own; then users is gone, and edge fails.
#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_total_outage_pages_within_three_minutes_and_its_end_is_told() {
    let lab = TestLab::new();
    lab.lab(&["up", "--engine", "native", "--wait"]);
    // Every rule is evaluated twice a minute.
    say("idle, then healthy: nothing is to be told");
    lab.is_silent(Duration::from_secs(35));
    let load = [
        load(lab.address(8000, "/users")),
        load(lab.address(8001, "/users")),
    ];
    lab.is_silent(Duration::from_secs(35));

    say("edge is gone, every answer of users is a 500");
    let edges_port = lab.take_away("edge", 8001);
    lab.lab(&["fault", "set", "users-error-share", "all"]);
    lab.hears(&[USERS_FAILS, EDGE_IS_GONE], "firing");

    say("users is healed, edge comes back");
    lab.lab(&["fault", "clear"]);
    drop(edges_port);
    lab.hears(&[USERS_FAILS, EDGE_IS_GONE], "resolved");

    say("users is gone, every answer of edge is a 502");
    let users_port = lab.take_away("users", 8000);
    lab.hears(&[USERS_IS_GONE, EDGE_FAILS], "firing");

    say("users comes back");
    drop(users_port);
    lab.hears(&[USERS_IS_GONE, EDGE_FAILS], "resolved");
    drop(load);
}
