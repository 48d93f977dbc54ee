//! The example `minimal` as a process: what a person sees, and what is sent when it is stopped.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

const DEADLINE: Duration = Duration::from_secs(20);

struct Example {
    child: Child,
    address: String,
    output: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

fn example_path() -> std::path::PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/minimal")
}

impl Example {
    /// Starts it on a free port, which it tells in its first line.
    fn start(vars: &[(&str, &str)]) -> Self {
        let path = example_path();
        let mut child = Command::new(&path)
            .env("PORT", "0")
            .envs(vars.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = Vec::new();
        let address = loop {
            let line = lines.next().expect("it ended without an address").unwrap();
            let address = line
                .split("address=")
                .nth(1)
                .and_then(|rest| rest.split(' ').next());
            let address = address.map(str::to_owned);
            seen.push(line);
            if let Some(address) = address {
                break address;
            }
        };
        let output = Arc::new(Mutex::new(seen));
        let kept = output.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            address,
            output,
            reader: Some(reader),
        }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        http.get(format!("http://{}{path}", self.address))
            .send()
            .await
            .unwrap()
    }

    /// SIGTERM, then everything it printed.
    fn stop(mut self) -> (std::process::ExitStatus, String) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let output = self.output.lock().unwrap().join("\n");
        (status, output)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn console_exporters_need_no_backend() {
    let example = Example::start(&[
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_LOGS_EXPORTER", "console"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_SERVICE_NAME", "shop"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=ignored,deployment.environment.name=a%20lab",
        ),
    ]);
    let answer = example.get("/hello/you").await;
    let trace_id = answer.headers()["traceparent"].to_str().unwrap()[3..35].to_owned();
    assert_eq!(answer.text().await.unwrap(), "hello you\n");
    let page = example.get("/metrics").await.text().await.unwrap();
    assert!(page.contains("http_route=\"/hello/{name}\""), "{page}");
    assert!(page.contains("service_name=\"shop\""), "{page}");
    let (status, output) = example.stop();
    assert!(status.success());
    for expected in [
        "Name         : GET /hello/{name}",
        "Name         : greeting",
        &format!("saying hello name=\"you\" trace_id={trace_id}"),
        &format!("TraceId      : {trace_id}"),
        "service.name=String(Owned(\"shop\"))",
        "deployment.environment.name=String(Owned(\"a lab\"))",
    ] {
        assert!(output.contains(expected), "no {expected:?} in\n{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_it_exports_nothing_and_still_writes_its_lines() {
    let example = Example::start(&[
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_LOGS_EXPORTER", "console"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
    ]);
    let answer = example.get("/hello/you").await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("traceparent"));
    assert_eq!(example.get("/metrics").await.status(), 404);
    let (status, output) = example.stop();
    assert!(status.success());
    for expected in ["saying hello name=\"you\"", "GET /hello/you 200"] {
        assert!(output.contains(expected), "no {expected:?} in\n{output}");
    }
    assert!(!output.contains("TraceId"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_sends_everything_that_was_answered() {
    let received: Arc<Mutex<(usize, usize)>> = Arc::default();
    let (spans, logs) = (received.clone(), received.clone());
    let sink = Router::new()
        .route(
            "/v1/traces",
            post(move |body: Bytes| async move {
                let request = ExportTraceServiceRequest::decode(body).unwrap();
                let scopes = request.resource_spans.iter().flat_map(|r| &r.scope_spans);
                let servers = scopes
                    .flat_map(|s| &s.spans)
                    .filter(|s| s.name == "GET /hello/{name}");
                spans.lock().unwrap().0 += servers.count();
            }),
        )
        .route(
            "/v1/logs",
            post(move |body: Bytes| async move {
                let request = ExportLogsServiceRequest::decode(body).unwrap();
                let scopes = request.resource_logs.iter().flat_map(|r| &r.scope_logs);
                logs.lock().unwrap().1 += scopes
                    .flat_map(|s| &s.log_records)
                    .filter(|l| !l.trace_id.is_empty())
                    .count();
            }),
        );
    let endpoint = support::serve(sink).await;
    let example = Example::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]);
    let answered = 200;
    for i in 0..answered {
        assert_eq!(example.get(&format!("/hello/{i}")).await.status(), 200);
    }
    let (status, output) = example.stop();
    assert!(status.success(), "{output}");
    // One line of the handler and one of the access log for each.
    assert_eq!(*received.lock().unwrap(), (answered, 2 * answered));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_series_at_zero_are_pushed_before_the_first_request() {
    let (pushed, mut first) = tokio::sync::mpsc::channel(1);
    let sink = Router::new().route(
        "/v1/metrics",
        post(move |body: Bytes| async move {
            let _ = pushed.try_send(ExportMetricsServiceRequest::decode(body).unwrap());
        }),
    );
    let endpoint = support::serve(sink).await;
    let example = Example::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
    ]);
    let first = tokio::time::timeout(DEADLINE, first.recv())
        .await
        .unwrap()
        .unwrap();
    let scopes = first.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
    let metrics: Vec<_> = scopes.flat_map(|scope| &scope.metrics).collect();
    let durations = metrics
        .iter()
        .find(|metric| metric.name == "http.server.request.duration");
    let Some(Data::Histogram(durations)) = durations.and_then(|metric| metric.data.as_ref()) else {
        panic!("no durations in {metrics:#?}");
    };
    assert_eq!(durations.data_points.len(), 6);
    for point in &durations.data_points {
        assert_eq!((point.count, point.sum), (0, Some(0.0)));
        assert_eq!((point.min, point.max), (None, None));
    }
    assert!(example.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_changes_no_answer_and_the_stop_ends_in_time() {
    for protocol in ["grpc", "http/protobuf"] {
        let example = Example::start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ]);
        for _ in 0..50 {
            assert_eq!(example.get("/hello/you").await.status(), 200);
        }
        let asked = Instant::now();
        let (_, _) = example.stop();
        assert!(
            asked.elapsed() < DEADLINE,
            "{protocol}: {:?}",
            asked.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_variable_is_named_and_the_service_runs() {
    let example = Example::start(&[
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]);
    assert_eq!(example.get("/hello/you").await.status(), 200);
    let (_, output) = example.stop();
    let expected = "OTEL_TRACES_EXPORTER=\"zipkin\" is not understood and ignored";
    assert!(output.contains(expected), "{output}");
}

#[test]
fn an_unusable_endpoint_stops_the_start_with_its_reason() {
    let output = Command::new(example_path())
        .env("PORT", "0")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("OTEL_EXPORTER_OTLP"), "{text}");
}

/// A proxy that notes what it is asked for, and answers itself.
async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let note = asked.clone();
    let take = move |request: axum::extract::Request| async move {
        let agent = request.headers().get("user-agent");
        let agent = agent.map(|value| value.to_str().unwrap().to_owned());
        let line = format!(
            "{} {} {}",
            request.method(),
            request.uri(),
            agent.unwrap_or_default()
        );
        note.lock().unwrap().push(line);
    };
    let address = support::serve(Router::new().fallback(take)).await;
    (address, asked)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}

/// One signal at a time, sent to `endpoint` with a proxy in the environment.
fn with_proxy(proxy: &str, endpoint: &str, signal: &str, vars: &[(&str, &str)]) -> Example {
    let exporters = ["TRACES", "LOGS", "METRICS"].map(|name| format!("OTEL_{name}_EXPORTER"));
    let mut all: Vec<(&str, &str)> = exporters
        .iter()
        .map(|name| {
            (
                name.as_str(),
                if name.contains(signal) {
                    "otlp"
                } else {
                    "none"
                },
            )
        })
        .collect();
    all.extend([
        ("HTTP_PROXY", proxy),
        ("NO_PROXY", ""),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "10"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
    ]);
    all.extend_from_slice(vars);
    Example::start(&all)
}

const WAYS: [&[(&str, &str)]; 5] = [
    &[],
    &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")],
    &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
    &[("TELEMETRY_OTLP_ENCODER", "sdk")],
    &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
];

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_used_for_every_signal_and_encoding() {
    for vars in WAYS {
        for signal in ["TRACES", "LOGS", "METRICS"] {
            let (address, asked) = proxy().await;
            let example = with_proxy(&address, "http://collector.invalid:4318", signal, vars);
            assert_eq!(example.get("/hello/you").await.status(), 200);
            until(&format!("{signal} {vars:?}"), || {
                !asked.lock().unwrap().is_empty()
            });
            let first = asked.lock().unwrap()[0].clone();
            let expected = if vars.contains(&("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")) {
                "CONNECT collector.invalid:4318 ".to_owned()
            } else {
                let path = format!("v1/{}", signal.to_lowercase());
                let version = env!("CARGO_PKG_VERSION");
                format!(
                    "POST http://collector.invalid:4318/{path} \
                     telemetry/{version} OTel-OTLP-Exporter-Rust/{version}"
                )
            };
            assert!(first.starts_with(&expected), "{first:?}, not {expected:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_reached_without_a_proxy() {
    for vars in WAYS {
        for signal in ["TRACES", "LOGS", "METRICS"] {
            let (address, through_proxy) = proxy().await;
            let (receiver, received) = proxy().await;
            let example = with_proxy(&address, &receiver, signal, vars);
            assert_eq!(example.get("/hello/you").await.status(), 200);
            until(&format!("{signal} {vars:?}"), || {
                !received.lock().unwrap().is_empty()
            });
            assert_eq!(*through_proxy.lock().unwrap(), [""; 0], "{signal} {vars:?}");
        }
    }
}

#[test]
fn https_without_tls_ends_the_start_whatever_carries_it() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let output = Command::new(example_path())
            .env("PORT", "0")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:hush@collector")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{protocol}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.contains("needs the feature `tls`"),
            "{protocol}: {text}"
        );
        assert!(!text.contains("hush"), "{protocol}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_shows_the_user_and_password_of_an_address() {
    let examples = WAYS.map(|vars| {
        let mut all = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hush@127.0.0.1:9"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "100"),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
            ("RUST_LOG", "trace"),
        ];
        all.extend_from_slice(vars);
        // gRPC has no place for a query.
        if !vars.contains(&("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")) {
            let signed = "http://me:hush@127.0.0.1:9/v1/traces?sig=hush";
            all.push(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", signed));
        }
        Example::start(&all)
    });
    for example in &examples {
        assert_eq!(example.get("/hello/you").await.status(), 200);
    }
    // Side by side: with a receiver that is away, each takes its whole time.
    let stops = examples.map(|example| std::thread::spawn(|| example.stop()));
    for (stop, vars) in stops.into_iter().zip(WAYS) {
        let (_, output) = stop.join().unwrap();
        assert!(output.contains("127.0.0.1"), "{output}");
        for secret in ["hush", "bWU6aHVzaA"] {
            let line = output.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{vars:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_without_effect_is_named() {
    let example = Example::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPONT", "http://127.0.0.1:9"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]);
    let (_, output) = example.stop();
    assert!(output.contains("OTEL_EXPORTER_OTLP_ENDPONT"), "{output}");
}
