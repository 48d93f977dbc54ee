//! CPU profiles: which samples belong to which span, who may ask for them, and what must do no harm.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

#[path = "support/pprof.rs"]
mod pprof;
#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use nix::time::ClockId;
use pprof::Profile;
use prost::Message;
use reqwest::StatusCode;
use support::{Memory, attribute, memory, serve, settings};
use telemetry::Builder;

/// The sampler belongs to the whole process, and each test wants it for itself.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const DEADLINE: Duration = Duration::from_secs(10);

/// Uses so much CPU, however busy the machine is.
#[inline(never)]
fn burn(time: Duration) {
    let used = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
    let until = used() + time;
    while used() < until {
        for i in 0..10_000_u64 {
            black_box(i.wrapping_mul(i));
        }
    }
}

// Never inlined, and something is left to do after the call: each is a frame of its own.
#[inline(never)]
fn blocking_work() {
    burn(Duration::from_millis(500));
    black_box(1);
}

#[inline(never)]
fn red_work() {
    burn(Duration::from_millis(5));
    black_box(2);
}

#[inline(never)]
fn blue_work() {
    burn(Duration::from_millis(5));
    black_box(3);
}

async fn red() {
    for _ in 0..80 {
        red_work();
        tokio::task::yield_now().await;
    }
}

async fn blue() {
    for _ in 0..80 {
        blue_work();
        tokio::task::yield_now().await;
    }
}

#[inline(never)]
fn sending_work() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let used = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
    let until = used() + Duration::from_millis(500);
    while used() < until {
        for _ in 0..100 {
            // To nobody.
            let _ = socket.send_to(&[0; 8192], "127.0.0.1:9");
        }
    }
}

async fn sending() {
    let _ = telemetry::profiling::spawn_blocking(sending_work).await;
}

async fn blocking() {
    let _ = telemetry::profiling::spawn_blocking(blocking_work).await;
}

fn app(memory: &Memory) -> Router {
    Router::new()
        .route("/red", get(red))
        .route("/blue/{id}", get(blue))
        .route("/blocking", get(blocking))
        .route("/sending", get(sending))
        .merge(memory.telemetry.pprof_router())
        .layer(memory.telemetry.http_server())
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(20));
    client.build().unwrap()
}

async fn profile(base: &str, seconds: u32) -> Profile {
    let url = format!("{base}/debug/pprof/profile?seconds={seconds}");
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert!(!answer.headers().contains_key("traceparent"));
    Profile::read(&answer.bytes().await.unwrap())
}

async fn ask(url: String) {
    let answer = client().get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{url}");
}

/// Whether the thread that collects samples runs.
fn sampling() -> bool {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .any(|name| name.trim() == "profiler")
}

async fn sampling_becomes(wanted: bool) {
    let deadline = Instant::now() + DEADLINE;
    while sampling() != wanted {
        assert!(Instant::now() < deadline, "sampling is not {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// CPU that this process used, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_of_a_span_are_in_its_handler() {
    let _one = ONE_AT_A_TIME.lock().await;
    let memory = memory();
    let base = serve(app(&memory)).await;
    let before = cpu();
    let (profile, ()) = tokio::join!(profile(&base, 2), ask(format!("{base}/blocking")));
    let used = cpu() - before;
    let span = memory.span("GET /blocking");
    let id = span.span_context.span_id().to_string();
    assert_eq!(
        attribute(&span, "pyroscope.profile.id").map(|id| id.to_string()),
        Some(id.clone())
    );
    let (all, inside) = profile.counts(("span_id", &id), "profiles::blocking_work");
    assert!(all >= 20, "{all} samples of 0.5 s of CPU: {profile:#?}");
    assert!(inside * 10 >= all * 9, "{inside} of {all}: {profile:#?}");
    let (named, _) = profile.counts(("span_name", "GET /blocking"), "");
    assert_eq!(named, all);
    assert_eq!(
        profile.types,
        [
            ("samples".to_owned(), "count".to_owned()),
            ("cpu".to_owned(), "nanoseconds".to_owned())
        ]
    );
    assert_eq!(profile.period, 10_000_000);
    assert!((2.0..3.0).contains(&profile.seconds), "{}", profile.seconds);
    let seconds: f64 = profile
        .samples
        .iter()
        .map(|sample| {
            assert_eq!(sample.nanoseconds, sample.count * profile.period);
            Duration::from_nanos(sample.nanoseconds.unsigned_abs()).as_secs_f64()
        })
        .sum();
    // New threads are found within a tenth of a second.
    assert!(
        seconds > used * 0.6 && seconds < used * 1.2 + 0.1,
        "{seconds} s in the profile, {used} s used"
    );
    // The stack goes on below the function that was hit: from the work to the thread's start.
    let whole = profile.samples.iter().any(|sample| {
        sample.is_in("profiles::burn")
            && sample.is_in("profiles::blocking_work")
            && sample.is_in("tokio::runtime::blocking")
            && sample.is_in("std::thread")
    });
    assert!(whole, "{profile:#?}");
    sampling_becomes(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_call_has_a_caller() {
    let _one = ONE_AT_A_TIME.lock().await;
    let memory = memory();
    let base = serve(app(&memory)).await;
    let (profile, ()) = tokio::join!(profile(&base, 2), ask(format!("{base}/sending")));
    let own = ("span_name", "GET /sending");
    let (all, inside) = profile.counts(own, "profiles::sending_work");
    assert!(all >= 20, "{all}");
    // The C library keeps no frame pointers.
    assert!(inside * 10 >= all * 9, "{inside} of {all}: {profile:#?}");
    let (_, whole) = profile.counts(own, "tokio::runtime::blocking");
    assert!(whole * 10 >= all * 9, "{whole} of {all}: {profile:#?}");
    sampling_becomes(false).await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_span_is_switched_at_every_poll() {
    let _one = ONE_AT_A_TIME.lock().await;
    let memory = memory();
    let base = serve(app(&memory)).await;
    // On one thread, five milliseconds for the one, five for the other.
    let (profile, (), ()) = tokio::join!(
        profile(&base, 2),
        ask(format!("{base}/red")),
        ask(format!("{base}/blue/7"))
    );
    for (name, own, other) in [
        ("GET /red", "profiles::red_work", "profiles::blue_work"),
        (
            "GET /blue/{id}",
            "profiles::blue_work",
            "profiles::red_work",
        ),
    ] {
        let id = memory.span(name).span_context.span_id().to_string();
        let (all, inside) = profile.counts(("span_id", &id), own);
        assert!(all >= 20, "{name}: {all}");
        assert!(inside * 10 >= all * 9, "{name}: {inside} of {all} in {own}");
        assert_eq!(profile.counts(("span_id", &id), other).1, 0, "{name}");
        assert_eq!(profile.counts(("span_name", name), own).0, all);
    }
    sampling_becomes(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_profile_a_span_names_none() {
    let _one = ONE_AT_A_TIME.lock().await;
    let memory = memory();
    let base = serve(app(&memory)).await;
    ask(format!("{base}/blocking")).await;
    let span = memory.span("GET /blocking");
    assert_eq!(attribute(&span, "pyroscope.profile.id"), None);
    assert!(!sampling());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_profiles_at_once_and_a_fifth_is_told_to_wait() {
    let _one = ONE_AT_A_TIME.lock().await;
    let memory = memory();
    let base = serve(app(&memory)).await;
    let url = format!("{base}/debug/pprof/profile?seconds=1");
    let statuses = futures_util::future::join_all((0..5).map(|_| async {
        let answer = client().get(&url).send().await.unwrap();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        (answer.status().as_u16(), kind)
    }))
    .await;
    let refused: Vec<_> = statuses
        .iter()
        .filter(|(status, _)| *status != 200)
        .collect();
    let expected = (503, "application/problem+json".to_owned());
    assert_eq!(refused, [&expected], "{statuses:?}");
    sampling_becomes(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_ends_the_sampling() {
    let _one = ONE_AT_A_TIME.lock().await;
    let memory = memory();
    let base = serve(app(&memory)).await;
    let url = format!("{base}/debug/pprof/profile?seconds=60");
    let asked = tokio::spawn(async move { client().get(url).send().await });
    sampling_becomes(true).await;
    asked.abort();
    sampling_becomes(false).await;
}

#[tokio::test]
async fn wrong_seconds_are_explained() {
    let memory = memory();
    let base = serve(app(&memory)).await;
    for seconds in ["0", "61", "ten", "1.5", ""] {
        let url = format!("{base}/debug/pprof/profile?seconds={seconds}");
        let answer = client().get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let text = answer.text().await.unwrap();
        assert!(text.contains("a whole number from 1 to 60"), "{text}");
    }
}

#[tokio::test]
async fn switched_off_there_is_no_such_path() {
    for off in [
        ("TELEMETRY_PROFILING", "off"),
        ("OTEL_SDK_DISABLED", "true"),
    ] {
        let endpoint = ("PYROSCOPE_ENDPOINT", "http://127.0.0.1:9");
        let telemetry = Builder::new("test", "1.2.3", settings(&[off, endpoint])).build();
        let base = serve(telemetry.pprof_router()).await;
        let answer = client().get(format!("{base}/debug/pprof/profile")).send();
        assert_eq!(answer.await.unwrap().status(), StatusCode::NOT_FOUND);
    }
}

/// What Pyroscope would get.
#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Pushed>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Pushed {
    #[prost(bytes = "vec", tag = "1")]
    profile: Vec<u8>,
}

type Pushes = Arc<Mutex<Vec<(HeaderMap, Push)>>>;

async fn pyroscope(pushes: &Pushes) -> String {
    let kept = pushes.clone();
    let take = move |headers: HeaderMap, body: Bytes| async move {
        let push = Push::decode(body).unwrap();
        kept.lock().unwrap().push((headers, push));
    };
    serve(Router::new().route("/base/push.v1.PusherService/Push", post(take))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_are_pushed_and_the_last_one_at_the_stop() {
    let _one = ONE_AT_A_TIME.lock().await;
    let pushes = Pushes::default();
    let endpoint = pyroscope(&pushes).await + "/base";
    let settings = settings(&[
        ("PYROSCOPE_ENDPOINT", &endpoint),
        ("PYROSCOPE_UPLOAD_INTERVAL", "1s"),
        ("PYROSCOPE_BASIC_AUTH_USER", "me"),
        ("PYROSCOPE_BASIC_AUTH_PASSWORD", "hush"),
        ("PYROSCOPE_TENANT_ID", "lab"),
        ("OTEL_SERVICE_NAME", "shop"),
    ]);
    let mut memory = memory();
    memory.telemetry = Builder::new("test", "1.2.3", settings)
        .with_span_exporter(memory.spans.clone())
        .build();
    let base = serve(app(&memory)).await;
    sampling_becomes(true).await;
    ask(format!("{base}/blocking")).await;
    let deadline = Instant::now() + DEADLINE;
    while pushes.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "nothing was pushed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Done just before the stop: only the last push can have it.
    ask(format!("{base}/red")).await;
    let spans = ["GET /blocking", "GET /red"].map(|name| memory.span(name));
    memory.telemetry.shutdown().await.unwrap();
    sampling_becomes(false).await;
    let pushes = std::mem::take(&mut *pushes.lock().unwrap());
    let mut samples = [0, 0];
    for (headers, push) in &pushes {
        assert_eq!(headers["content-type"], "application/proto");
        assert_eq!(headers["x-scope-orgid"], "lab");
        assert_eq!(headers["authorization"], "Basic bWU6aHVzaA==");
        assert_eq!(push.series.len(), 1);
        let labels: Vec<(&str, &str)> = push.series[0]
            .labels
            .iter()
            .map(|label| (label.name.as_str(), label.value.as_str()))
            .collect();
        let expected = [
            ("__name__", "process_cpu"),
            ("service_name", "shop"),
            ("service_version", "1.2.3"),
        ];
        assert_eq!(labels, expected);
        let profile = Profile::read(&push.series[0].samples[0].profile);
        for (sum, span) in samples.iter_mut().zip(&spans) {
            let id = span.span_context.span_id().to_string();
            *sum += profile.counts(("span_id", &id), "").0;
        }
    }
    assert!(samples.iter().all(|count| *count >= 20), "{samples:?}");
    for span in &spans {
        assert!(attribute(span, "pyroscope.profile.id").is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pyroscope_that_is_away_hurts_nobody() {
    let _one = ONE_AT_A_TIME.lock().await;
    let settings = settings(&[
        ("PYROSCOPE_ENDPOINT", "http://127.0.0.1:9"),
        ("PYROSCOPE_UPLOAD_INTERVAL", "1s"),
    ]);
    let telemetry = Builder::new("test", "1.2.3", settings).build();
    sampling_becomes(true).await;
    burn(Duration::from_millis(1200));
    let asked = Instant::now();
    telemetry.shutdown().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5));
    sampling_becomes(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_process_is_not_signalled() {
    let _one = ONE_AT_A_TIME.lock().await;
    let memory = memory();
    let base = serve(app(&memory)).await;
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let child = tokio::task::spawn_blocking(move || {
        while !sampling() {
            std::thread::yield_now();
        }
        Command::new("sh").args(["-c", busy]).status().unwrap()
    });
    let (_, status) = tokio::join!(profile(&base, 2), child);
    // SIGPROF would have ended it.
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_and_stopping_under_load_does_no_harm() {
    let _one = ONE_AT_A_TIME.lock().await;
    let memory = memory();
    let base = serve(app(&memory)).await;
    let until = Instant::now() + Duration::from_secs(3);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                while Instant::now() < until {
                    burn(Duration::from_millis(10));
                    // Allocation and system calls of all kinds are interrupted, too.
                    let text = std::fs::read_to_string("/proc/self/maps").unwrap();
                    assert!(text.lines().count() > 1);
                    let short = std::thread::spawn(|| burn(Duration::from_millis(1)));
                    short.join().unwrap();
                }
            })
        })
        .collect();
    let mut times = 0;
    while Instant::now() < until {
        let url = format!("{base}/debug/pprof/profile?seconds=60");
        let asked = tokio::spawn(async move { client().get(url).send().await });
        sampling_becomes(true).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        asked.abort();
        sampling_becomes(false).await;
        times += 1;
    }
    for worker in workers {
        worker.join().unwrap();
    }
    assert!(times >= 5, "{times}");
}

/// Code whose frame pointer register is no frame pointer, as in a C library.
#[cfg(target_arch = "x86_64")]
mod broken_chain {
    #![expect(unsafe_code, reason = "only assembly can break the chain")]

    use super::*;

    #[inline(never)]
    fn loop_with_frame_pointer(value: u64) {
        // SAFETY: the register is restored before the block ends, and nothing else is touched.
        unsafe {
            std::arch::asm!(
                "push rbp",
                "mov rbp, {value}",
                "2:",
                "sub {count}, 1",
                "jnz 2b",
                "pop rbp",
                value = in(reg) value,
                count = inout(reg) 300_000_000_u64 => _,
            );
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn is_followed_no_further_and_no_fault() {
        let _one = ONE_AT_A_TIME.lock().await;
        let memory = memory();
        let base = serve(app(&memory)).await;
        let on_the_stack = [0_u64; 2];
        let text = loop_with_frame_pointer as *const () as u64;
        let values = [
            0,
            1,
            0xdead_beef_0000,
            0x8000_0000_0000_0000,
            !7,
            text & !7,
            (&raw const on_the_stack) as u64,
        ];
        let work = tokio::task::spawn_blocking(move || {
            while !sampling() {
                std::thread::yield_now();
            }
            for value in values {
                loop_with_frame_pointer(value);
            }
        });
        let (profile, worked) = tokio::join!(profile(&base, 2), work);
        worked.unwrap();
        let hit = profile
            .samples
            .iter()
            .filter(|sample| sample.functions[0].contains("loop_with_frame_pointer"))
            .map(|sample| sample.count)
            .sum::<i64>();
        assert!(hit >= 10, "{hit}: {profile:#?}");
    }
}
