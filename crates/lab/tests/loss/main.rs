//! Nothing is lost, counted: real labs whose processes are stopped, killed and taken away under
//! load. What a request leaves behind is read from the Collector's ledger
//! (`infra/otel-collector/ledger.yaml`) and compared with what its sender saw, trace by trace.
//! `docs/loss.md` says what is promised. The programs must be in the cache already: `lab test`
//! runs these after its own lab came up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]
#![expect(
    clippy::print_stdout,
    reason = "what was counted is part of a test's result"
)]

#[path = "../common/mod.rs"]
mod common;
mod ledger;
mod load;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use common::{TestLab, eventually, pause, signal};
use ledger::{Ledger, Left};
use load::{Load, Request};

const SENDERS: usize = 8;
/// Requests a second: several are on their way at any moment, and two cores have time left.
const RATE: u32 = 200;
/// Through an outage of a minute.
const MODERATE: u32 = 50;
const OUTAGE: Duration = Duration::from_secs(60);
/// A store that answers after this long is slow and not away: longer than the limits that Loki sets itself by default (5 s
/// from one of its parts to the other), shorter than the Collector's (`timeout` of its exporters).
const LATE: Duration = Duration::from_secs(15);
/// Everything that waits somewhere has arrived by then.
const ARRIVAL: Duration = Duration::from_secs(60);
/// What `OTEL_BSP_SCHEDULE_DELAY` and `OTEL_BLRP_SCHEDULE_DELAY` are in a lab.
const DELAY: Duration = Duration::from_secs(1);
/// Between two scrapes of a service.
const SCRAPE: Duration = Duration::from_secs(5);
/// What a process may have counted since it was scraped last: the requests of that time and of a second
/// that a busy machine is late by, and those under way at its end.
const SINCE_SCRAPE: usize = (RATE as u64 * (SCRAPE.as_secs() + 1)) as usize + SENDERS;
/// Requests before a process is ended: half of them at least must be in a scrape.
const LIFE: usize = 2 * SINCE_SCRAPE;

/// A lab that keeps a ledger.
struct Books {
    lab: TestLab,
    ledger: Ledger,
    since: SystemTime,
}

impl Books {
    fn open(env: &[(&'static str, &str)]) -> Self {
        let mut lab = TestLab::new();
        lab.env.push((
            "LAB_OTELCOL_CONFIG",
            "infra/otel-collector/ledger.yaml".into(),
        ));
        lab.env
            .extend(env.iter().map(|(name, value)| (*name, value.into())));
        lab.lab(&["up", "--engine", "native", "--wait"]);
        Self {
            ledger: Ledger::of(&lab.state_dir()),
            since: SystemTime::now(),
            lab,
        }
    }

    fn load(&self, rate: u32) -> Load {
        Load::start(&self.lab.address(8001, "/users"), SENDERS, rate)
    }

    /// Signals a component and waits until the engine has brought it back.
    #[track_caller]
    fn strike(&self, name: &str, with: Signal) -> Instant {
        let pid = self.lab.pid(name).unwrap();
        signal(pid, with);
        let struck = Instant::now();
        let back = eventually(Duration::from_secs(60), || {
            self.lab.pid(name).is_some_and(|now| now != pid)
                && self.lab.component(name)["phase"] == "healthy"
        });
        assert!(back, "{name} is {:#}", self.lab.component(name));
        struck
    }

    /// Every request left exactly what it should have: no less, and no more.
    #[track_caller]
    fn balance(&mut self, requests: &[Request], expected: impl Fn(&Request) -> Left) {
        let mut wrong = Vec::new();
        let balanced = eventually(ARRIVAL, || {
            self.ledger.read();
            wrong = requests
                .iter()
                .filter(|one| self.ledger.left(&one.trace) != expected(one))
                .collect();
            wrong.is_empty()
        });
        let some: Vec<_> = wrong
            .iter()
            .take(5)
            .map(|one| (one, self.ledger.left(&one.trace)))
            .collect();
        assert!(
            balanced,
            "{} of {} requests left something else than they should: {some:#?}",
            wrong.len(),
            requests.len()
        );
        println!(
            "{} requests, each with all that belongs to it; {} items came more than once",
            requests.len(),
            self.ledger.repeated
        );
    }

    /// edge's histogram, which is pushed, counted every server span of each of its processes.
    #[track_caller]
    fn edge_counted_exactly(&mut self) {
        let mut told = Vec::new();
        let exact = eventually(ARRIVAL, || {
            self.ledger.read();
            let edges = self.ledger.instances("edge").into_iter();
            told = edges
                .map(|edge| {
                    let metric = "http.server.request.duration";
                    (
                        self.ledger.pushed(&edge, metric, ""),
                        self.ledger.servers[&edge],
                    )
                })
                .collect();
            told.iter().all(|(counted, spans)| counted == spans)
        });
        assert!(exact, "counted and server spans: {told:?}");
    }

    /// users' histogram, which is scraped, has each request of its one process.
    #[track_caller]
    fn users_counted_all(&mut self) {
        self.users_counted_within_a_scrape(0..=0);
        assert_eq!(self.ledger.servers_of("users").len(), 1);
    }

    /// users' histogram, which is scraped, lacks at most what each process that ended had counted
    /// since its last scrape: nothing, where none ended. `silent` is how many requests may be counted
    /// that left no span: those of a process that was killed.
    #[track_caller]
    fn users_counted_within_a_scrape(&mut self, silent: RangeInclusive<u64>) {
        let (mut spans, mut now) = (BTreeMap::new(), 0);
        let running = self.lab.scraped_instance();
        let exact = eventually(ARRIVAL, || {
            self.ledger.read();
            spans = self.ledger.servers_of("users");
            now = stores::of_users(&self.lab, "http_server_request_duration_seconds_count");
            spans.get(&running) == Some(&now)
        });
        assert!(exact, "{running} counted {now}, spans: {spans:?}");
        let most = SINCE_SCRAPE as u64;
        for (ended, spans) in spans.iter().filter(|(id, _)| **id != running) {
            assert!(
                *spans > most,
                "{ended} answered {spans}, no more than the {most} that may lack"
            );
        }
        let most = most * (spans.len() as u64 - 1);
        let spans: u64 = spans.values().sum();
        let (least, made) = (spans + silent.start(), spans + silent.end());

        let series = "http_server_request_duration_seconds_count{job=\"users\"}";
        let scraped = eventually(4 * SCRAPE, || stores::scraped_now(&self.lab, series) == now);
        assert!(scraped, "Prometheus does not have the {now} of {running}");
        let counted = stores::scraped_rise(&self.lab, series);
        println!("scraped: {counted} of {least} to {made} requests, at most {most} may lack");
        assert!(
            counted <= made && counted + most >= least,
            "{counted} counted of {least} to {made}, at most {most} may lack"
        );
    }
}

fn with_status(requests: &[Request], status: Option<u16>) -> Vec<Request> {
    let of = |one: &&Request| one.status() == status;
    requests.iter().filter(of).cloned().collect()
}

/// What a request leaves that was answered by users, by edge alone, too early, or not at all.
fn by_status(request: &Request) -> Left {
    match request.status() {
        Some(200) => Left::ALL,
        Some(502) => Left::EDGE,
        Some(503) => Left::EARLY,
        None => Left::default(),
        Some(_) => panic!("{request:?}"),
    }
}

#[track_caller]
fn all_were_answered(requests: &[Request]) {
    let failed: Vec<_> = requests
        .iter()
        .filter(|one| one.status() != Some(200))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {:#?}",
        failed.len(),
        requests.len(),
        failed.iter().take(3).collect::<Vec<_>>()
    );
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_stop_of_users_and_of_edge_loses_nothing_that_was_answered() {
    let mut books = Books::open(&[]);
    let load = books.load(RATE);
    load.more(LIFE);
    books.strike("users", Signal::SIGTERM);
    load.more(400);
    books.strike("edge", Signal::SIGTERM);
    load.more(400);
    let requests = load.stop();
    let (whole, by_edge) = (
        with_status(&requests, Some(200)).len(),
        with_status(&requests, Some(502)).len(),
    );
    println!(
        "{whole} answered by users, {by_edge} by edge alone, of {}",
        requests.len()
    );
    assert!(whole >= LIFE + 400);
    // What was not answered left nothing: no request was taken and then forgotten.
    books.balance(&requests, by_status);
    books.edge_counted_exactly();
    books.users_counted_within_a_scrape(0..=0);
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn replaced_while_they_run_users_and_edge_fail_no_request_and_lose_nothing() {
    let mut books = Books::open(&[]);
    let load = books.load(RATE);
    for name in ["users", "users", "edge", "users", "edge"] {
        load.more(if name == "users" { LIFE } else { 200 });
        let before = books.lab.pid(name);
        books.lab.lab(&["restart", name]);
        assert_ne!(books.lab.pid(name), before);
        assert_eq!(books.lab.component(name)["crashes"], 0);
    }
    load.more(200);
    let requests = load.stop();
    all_were_answered(&requests);
    books.balance(&requests, |_| Left::ALL);
    let processes = |service| books.ledger.instances(service).len();
    assert_eq!((processes("users"), processes("edge")), (4, 3));
    books.edge_counted_exactly();
    books.users_counted_within_a_scrape(0..=0);
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_collector_that_is_restarted_or_killed_loses_nothing() {
    let mut books = Books::open(&[]);
    let load = books.load(RATE);
    load.more(400);
    books.lab.lab(&["restart", "otel-collector"]);
    load.more(400);
    for _ in 0..2 {
        books.strike("otel-collector", Signal::SIGKILL);
        load.more(400);
    }
    books.nothing_is_missing(load);
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn a_collector_that_is_away_for_a_minute_costs_nothing() {
    let mut books = Books::open(&[]);
    let load = books.load(MODERATE);
    load.more(100);
    books.lab.lab(&["stop", "otel-collector"]);
    assert_eq!(books.lab.component("otel-collector")["phase"], "stopped");
    pause(OUTAGE);
    for service in ["users", "edge"] {
        let bytes = books.memory(service);
        println!(
            "{service} takes {} MiB after a minute without Collector",
            bytes >> 20
        );
        assert!(bytes < 64 << 20, "{service} takes {bytes} bytes");
    }
    books.lab.lab(&["start", "otel-collector"]);
    load.more(100);
    let requests = load.stop();
    all_were_answered(&requests);
    // A busy machine sends less than it was asked to.
    assert!(requests.len() >= 20 * MODERATE as usize);
    books.balance(&requests, |_| Left::ALL);
    books.edge_counted_exactly();
    books.users_counted_all();
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn jaeger_and_loki_away_for_a_minute_get_everything_though_the_collector_is_killed_meanwhile() {
    // On disk: in memory Jaeger would forget what it had before.
    let mut books = Books::open(&[("LAB_JAEGER_STORE", "badger")]);
    let load = books.load(MODERATE);
    load.more(100);
    books.lab.lab(&["stop", "jaeger", "loki"]);
    pause(OUTAGE / 2);
    // What waits in its memory is gone: only its queues on disk have the first half.
    books.strike("otel-collector", Signal::SIGKILL);
    pause(OUTAGE / 2);
    books.lab.lab(&["start", "jaeger", "loki"]);
    load.more(100);
    books.nothing_is_missing(load);
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn jaeger_and_loki_that_are_late_get_everything_once() {
    let mut books = Books::open(&[]);
    let (before, again_before) = books.delivered();
    let load = books.load(MODERATE);
    load.more(100);
    for name in ["jaeger", "loki"] {
        let pid = books.lab.pid(name).unwrap();
        signal(pid, Signal::SIGSTOP);
        // What is under way to it waits this long for its answer.
        pause(LATE);
        signal(pid, Signal::SIGCONT);
        load.more(100);
        assert_eq!(books.lab.pid(name), Some(pid));
    }
    let requests = books.nothing_is_missing(load);
    let (after, sent_again) = books.delivered();
    println!("acknowledged: {after:?} spans and log records; sent again: {sent_again:?}");
    let made = |each: u64| each * requests.len() as u64;
    assert!(after.0 >= before.0 + made(4) && after.1 >= before.1 + made(3));
    // While it came up Loki may have refused some that it had counted.
    assert_eq!(sent_again, again_before);
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn without_the_database_every_error_has_its_telemetry() {
    let mut books = Books::open(&[]);
    let load = books.load(RATE);
    load.more(400);
    books.lab.lab(&["stop", "postgres"]);
    // Each waits for a connection before it fails.
    load.more(3 * SENDERS);
    books.lab.lab(&["start", "postgres"]);
    let healed = eventually(Duration::from_secs(30), || {
        books.lab.component("users")["phase"] == "healthy"
    });
    assert!(healed);
    load.more(400);
    let requests = load.stop();
    let failed = requests
        .iter()
        .filter(|one| one.status() != Some(200))
        .count();
    println!("{failed} of {} requests failed", requests.len());
    assert!(failed > 0);
    let unanswered = with_status(&requests, None);
    assert!(unanswered.is_empty(), "{:?}", unanswered[0]);
    books.balance(&requests, |_| Left::ALL);
    books.edge_counted_exactly();
    books.users_counted_all();
}

#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn killed_users_loses_at_most_what_it_had_not_sent_and_edge_tells_how_much() {
    let mut books = Books::open(&[]);
    let load = books.load(RATE);
    load.more(LIFE);
    let killed = books.strike("users", Signal::SIGKILL);
    load.more(400);
    let requests = load.stop();
    let unanswered = with_status(&requests, None);
    assert!(unanswered.is_empty(), "{:?}", unanswered[0]);
    let of_edge = |left: Left| Left {
        users_server: 0,
        database: 0,
        users_access: 0,
        users_handler: 0,
        ..left
    };
    // edge's part is complete, so that what it asked for and users does not tell is the loss.
    let complete = eventually(ARRIVAL, || {
        books.ledger.read();
        let whole =
            |one: &&Request| of_edge(books.ledger.left(&one.trace)) == of_edge(by_status(one));
        requests.iter().filter(whole).count() == requests.len()
    });
    assert!(complete, "edge's own part is not complete");
    // What the new process had not sent yet is there in a moment. An answer of the old one may have passed
    // edge after the kill.
    let answered = with_status(&requests, Some(200));
    let after: Vec<_> = answered
        .iter()
        .filter(|one| one.began > killed)
        .cloned()
        .collect();
    books.balance(&after, |_| Left::ALL);
    let lost: Vec<_> = answered
        .iter()
        .filter(|one| books.ledger.left(&one.trace) != Left::ALL)
        .collect();
    // The spans among it can be told without the senders: from edge's client spans.
    let span_lost = |one: &&&Request| books.ledger.left(&one.trace).users_server == 0;
    let spans_lost: BTreeSet<_> = lost
        .iter()
        .filter(span_lost)
        .map(|one| one.trace.as_str())
        .collect();
    assert_eq!(books.ledger.untold(), spans_lost);
    let oldest = lost
        .iter()
        .map(|one| killed.saturating_duration_since(one.ended))
        .max();
    let most = (f64::from(RATE) * DELAY.as_secs_f64() * 1.5) as usize + SENDERS;
    println!(
        "{} of {} requests that users answered lost telemetry, {} of them the server span, as edge's \
         client spans tell; the oldest {oldest:?} before the kill; at most {most} may",
        lost.len(),
        answered.len(),
        spans_lost.len()
    );
    assert!(
        lost.len() <= most,
        "{} lost, at most {most} may be",
        lost.len()
    );
    // Ended before its telemetry was due, and one export may have been on its way.
    assert!(oldest.unwrap_or_default() < DELAY + DELAY / 2, "{oldest:?}");
    for one in with_status(&requests, Some(502)) {
        assert!(
            killed.saturating_duration_since(one.ended) < DELAY,
            "{one:?}"
        );
    }
    books.edge_counted_exactly();
    // What edge got no answer to may have been counted just before the kill.
    let lost = spans_lost.len() as u64;
    let cut_off = with_status(&requests, Some(502)).len() as u64;
    books.users_counted_within_a_scrape(lost..=lost + cut_off);
}

/// Stopped, not killed: its port still takes connections and nobody ever answers.
#[test]
#[ignore = "starts a real lab; `lab test` runs it"]
fn more_than_can_be_sent_is_dropped_counted_and_told_and_no_request_suffers() {
    const BOUND: u64 = 1_000;
    let bound = BOUND.to_string();
    let mut books = Books::open(&[
        ("OTEL_BSP_MAX_QUEUE_SIZE", &bound),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", &bound),
    ]);
    let collector = books.lab.pid("otel-collector").unwrap();
    signal(collector, Signal::SIGSTOP);
    let load = books.load(0);
    load.more(5_000);
    let requests = load.stop();
    for service in ["users", "edge"] {
        let bytes = books.memory(service);
        println!("{service} takes {} MiB", bytes >> 20);
        assert!(bytes < 40 << 20, "{service} takes {bytes} bytes");
    }
    signal(collector, Signal::SIGCONT);
    all_were_answered(&requests);

    // users tells by its page, edge by what it pushes; each made a span for what it measured. Log
    // records are not measured: two of users and one of edge for each of these requests.
    let users = books.ledger_of("users");
    let mut told = String::new();
    let mut lost = 0;
    let exact = eventually(ARRIVAL, || {
        books.ledger.read();
        let made = stores::of_users(&books.lab, "http_server_request_duration_seconds_count")
            + stores::of_users(&books.lab, "db_client_operation_duration_seconds_count");
        let stored = books.ledger.spans.get(&users).copied().unwrap_or_default();
        let spans = books
            .lab
            .scraped("otel_sdk_processor_span_processed_total{error_type=\"queue_full\"}");
        let logs = books
            .lab
            .scraped("otel_sdk_processor_log_processed_total{error_type=\"queue_full\"}");
        let sent = books.lab.scraped("otel_sdk_exporter_log_exported_total{}");
        let all = books.ledger.records.get(&users).copied();
        let lines = books.arrived(&requests, |left| left.users_access + left.users_handler);
        let logged = 2 * requests.len() as u64;
        told = format!(
            "users made {made} spans, {stored} are stored, {spans} were dropped; {logged} log records, \
             {lines} are stored, {logs} were dropped; with others it sent {sent}, {all:?} are stored"
        );
        lost = spans + logs;
        let each_counts = spans > 0 && logs > 0 && Some(sent) == all;
        each_counts && made == stored + spans && logged == lines + logs
    });
    assert!(exact, "{told}");
    println!("{told}");
    let of_users = lost;
    let edge = books.ledger_of("edge");
    let exact = eventually(ARRIVAL, || {
        books.ledger.read();
        let pushed = |metric, part| books.ledger.pushed(&edge, metric, part);
        let made =
            pushed("http.server.request.duration", "") + pushed("http.client.request.duration", "");
        let stored = books.ledger.spans.get(&edge).copied().unwrap_or_default();
        let spans = pushed("otel.sdk.processor.span.processed", "queue_full");
        let logs = pushed("otel.sdk.processor.log.processed", "queue_full");
        let lines = books.arrived(&requests, |left| left.edge_access);
        let logged = requests.len() as u64;
        told = format!(
            "edge made {made} spans, {stored} are stored, {spans} were dropped; {logged} log records, \
             {lines} are stored, {logs} were dropped"
        );
        lost = of_users + spans + logs;
        spans > 0 && logs > 0 && made == stored + spans && logged == lines + logs
    });
    assert!(exact, "{told}");
    println!("{told}");

    // The histograms do not pass a queue that was full: each of these requests is counted, and what
    // was asked while the lab came up.
    let mut counted = Vec::new();
    let exact = eventually(ARRIVAL, || {
        books.ledger.read();
        let series = "http_server_request_duration_seconds_count{job=\"users\"}";
        let pushed = books
            .ledger
            .pushed(&edge, "http.server.request.duration", "");
        let before = |service, here: u64| books.ledger.servers[service] - here;
        let sent = requests.len() as u64;
        let of_edge = books.arrived(&requests, |left| left.edge_server);
        let of_users = books.arrived(&requests, |left| left.users_server);
        counted = vec![
            (pushed, sent + before(&edge, of_edge)),
            (
                stores::scraped_now(&books.lab, series),
                sent + before(&users, of_users),
            ),
        ];
        counted.iter().all(|(counted, made)| counted == made)
    });
    assert!(exact, "counted and answered: {counted:?}");
    println!("counted and answered: {counted:?}");

    // Before Prometheus has seen it `verify` fails on it; afterwards it is over, and told.
    let mut known = 0;
    let seen = eventually(ARRIVAL, || {
        let dropped = "{__name__=~\"otel_sdk_processor_(span|log)_processed_total\",error_type=\"queue_full\"}";
        known = stores::scraped_now(&books.lab, dropped);
        known == lost
    });
    assert!(seen, "Prometheus has {known} of {lost} that were dropped");
    let output = books.lab.lab(&["verify", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["links"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["name"] == "the services dropped nothing");
    let answer = row.unwrap()["answer"].as_str().unwrap().to_owned();
    println!("verify: {answer}");
    let number = format!("; {lost} were lost earlier");
    assert!(answer.ends_with(&number), "{lost} were lost: {answer}");
}

impl Books {
    /// Ends the load: all of it was answered, left what it should, is counted, and is in Jaeger and Loki.
    #[track_caller]
    fn nothing_is_missing(&mut self, load: Load) -> Vec<Request> {
        let requests = load.stop();
        all_were_answered(&requests);
        self.balance(&requests, |_| Left::ALL);
        self.edge_counted_exactly();
        self.users_counted_all();
        self.everything_is_stored(&requests);
        requests
    }

    /// Jaeger has every span and Loki every line of these requests, once.
    #[track_caller]
    fn everything_is_stored(&self, requests: &[Request]) {
        let mut missing = (0, 0);
        let stored = eventually(ARRIVAL, || {
            missing = (
                stores::missing_in_jaeger(&self.lab, requests, 4),
                stores::missing_in_loki(&self.lab, requests, self.since),
            );
            missing == (0, 0)
        });
        assert!(stored, "not complete in Jaeger and in Loki: {missing:?}");
        println!("Jaeger and Loki have all of {} requests", requests.len());
    }

    /// Spans and log records that Jaeger and Loki acknowledged, and those that they took more than once, when nothing
    /// is under way.
    #[track_caller]
    fn delivered(&self) -> ((u64, u64), (u64, u64)) {
        let look = || (stores::spans(&self.lab), stores::log_records(&self.lab));
        let mut last = look();
        let calm = eventually(ARRIVAL, || {
            // Longer than a batch of the Collector waits to be filled.
            pause(Duration::from_secs(1));
            std::mem::replace(&mut last, look()) == last
        });
        assert!(calm, "still sending: {last:?}");
        let (spans, logs) = last;
        (
            (spans.acknowledged, logs.acknowledged),
            (
                spans.taken - spans.acknowledged,
                logs.taken - logs.acknowledged,
            ),
        )
    }

    /// How many spans or log records of these requests arrived, of some kinds.
    fn arrived(&self, requests: &[Request], kinds: impl Fn(Left) -> u32) -> u64 {
        let each = requests.iter().map(|one| self.ledger.left(&one.trace));
        each.map(|left| u64::from(kinds(left))).sum()
    }

    /// Bytes in memory.
    fn memory(&self, service: &str) -> u64 {
        self.lab.status()["memory"]["components"][service]
            .as_u64()
            .unwrap()
    }

    /// The one process of a service.
    #[track_caller]
    fn ledger_of(&mut self, service: &str) -> ledger::Instance {
        let mut all = Vec::new();
        let one = eventually(ARRIVAL, || {
            self.ledger.read();
            all = self.ledger.instances(service);
            all.len() == 1
        });
        assert!(one, "{all:?}");
        all.remove(0)
    }
}

impl TestLab {
    /// The `service.instance.id` of the process whose page that is.
    fn scraped_instance(&self) -> String {
        let page = self.page();
        let mut parts = page.split("service_instance_id=\"").skip(1);
        let id = parts.next().and_then(|rest| rest.split('"').next());
        id.unwrap().to_owned()
    }
}
