//! A lab made of mock servers, broken in one place at a time: each link must be able to fail, and only where it should.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proof::{Backends, Event, Options, Outcome, Part, Report, Traceparent};
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    EdgeAnswers500,
    EdgeSendsHtml,
    EdgeNamesNoTrace,
    EdgeIgnoresTraceparent,
    EdgeTrustsBrokenTraceparent,
    UserIsNotFiltered,
    SomeRequestsFail,
    UsersIsNotReady,
    NoTraces,
    NoUsersSpan,
    WrongParent,
    CallerIsLost,
    AnotherSpanIsNamed,
    OldNames,
    NoAlbumsCall,
    NoLogsOfUsers,
    LogsOfAnotherSpan,
    NoLogsOfAlbums,
    LokiIsAway,
    UsersCountStands,
    EdgeMissesOne,
    ScopeLabel,
    OtherBuckets,
    NoExemplars,
    ExemplarsLeadNowhere,
    NoSpanMetrics,
    NoEdgeToAlbums,
    PrometheusAnswers500,
    JaegerSendsHtml,
    EdgeDropsSpans,
    SpansFailed,
    SpansStuck,
    QueueIsFull,
    TargetIsDown,
    EdgeIsScraped,
    NoAlertmanager,
    NoProfile,
    ProfileIsHtml,
    SamplesOfAnotherSpan,
    SamplesElsewhere,
    SpanNamesNoProfile,
    PageIsEmpty,
    ScriptIsGone,
    ConsolePassesNothingOn,
}

/// What the lab has seen, and what is wrong with it.
struct Lab {
    fault: Fault,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Clone)]
struct Seen {
    path: String,
    caller: String,
    trace: String,
    span: String,
}

impl Lab {
    fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }
}

type Answers = fn(&Lab, &Request) -> ResponseTemplate;

struct Backend(Arc<Lab>, Answers);

impl Respond for Backend {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        (self.1)(&self.0, request)
    }
}

fn edge(lab: &Lab, request: &Request) -> ResponseTemplate {
    let path = request.url.path();
    if path == "/readyz" {
        return ResponseTemplate::new(200);
    }
    let header = request
        .headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    let header = header.unwrap_or_default();
    let valid = Traceparent::parse(header).filter(|_| lab.fault != Fault::EdgeIgnoresTraceparent);
    let own = Traceparent::random();
    let named = match (&valid, lab.fault) {
        (None, Fault::EdgeTrustsBrokenTraceparent) if header.len() == 55 => header.to_owned(),
        (Some(caller), _) => Traceparent {
            trace: caller.trace.clone(),
            ..own.clone()
        }
        .to_string(),
        (None, _) => own.to_string(),
    };
    let mut all = lab.seen.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(Seen {
        path: path.to_owned(),
        caller: valid
            .as_ref()
            .map(|caller| caller.span.clone())
            .unwrap_or_default(),
        trace: valid.map_or(own.trace.to_string(), |caller| caller.trace.to_string()),
        span: own.span,
    });
    let body = match path {
        "/" => json!("hello-world"),
        "/users" => {
            json!([{"id": 1, "name": "admin", "age": 10}, {"id": 2, "name": "vasya", "age": 20}])
        }
        "/user/admin" if lab.fault == Fault::UserIsNotFiltered => {
            json!([{"name": "admin"}, {"name": "vasya"}])
        }
        "/user/admin" => json!([{"id": 1, "name": "admin", "age": 10}]),
        _ => json!([{"id": 1}, {"id": 2}, {"id": 3}]),
    };
    let status = match lab.fault {
        Fault::EdgeAnswers500 if path == "/users" => 500,
        Fault::SomeRequestsFail if path == "/users" && all.len().is_multiple_of(7) => 500,
        _ => 200,
    };
    let mut answer = ResponseTemplate::new(status);
    if lab.fault != Fault::EdgeNamesNoTrace {
        answer = answer.insert_header("traceparent", named.as_str());
    }
    if lab.fault == Fault::EdgeSendsHtml && path == "/albums" {
        return answer.set_body_raw("<html>", "text/html");
    }
    answer.set_body_json(body)
}

/// The span of `/do_long_work`.
const LONG_WORK: &str = "5555555555555555";

fn users(lab: &Lab, request: &Request) -> ResponseTemplate {
    match request.url.path() {
        "/do_long_work" => {
            let header = request
                .headers
                .get("traceparent")
                .and_then(|value| value.to_str().ok());
            let caller = Traceparent::parse(header.unwrap_or_default()).expect("a traceparent");
            let named = Traceparent {
                trace: caller.trace.clone(),
                span: LONG_WORK.to_owned(),
                sampled: true,
            };
            let mut all = lab.seen.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Seen {
                path: "/do_long_work".to_owned(),
                caller: caller.span,
                trace: caller.trace.to_string(),
                span: LONG_WORK.to_owned(),
            });
            ResponseTemplate::new(200)
                .insert_header("traceparent", named.to_string().as_str())
                .set_body_json(json!({"worked_seconds": 1.0}))
        }
        "/debug/pprof/profile" => profile(lab.fault),
        _ if lab.fault == Fault::UsersIsNotReady => {
            ResponseTemplate::new(503).set_body_json(json!({"ready": false}))
        }
        _ => ResponseTemplate::new(200),
    }
}

/// A profile of two functions, in protobuf by hand: the handler and another one.
fn profile(fault: Fault) -> ResponseTemplate {
    if fault == Fault::NoProfile {
        return ResponseTemplate::new(404).set_body_string("nothing here");
    }
    if fault == Fault::ProfileIsHtml {
        return ResponseTemplate::new(200).set_body_raw("<html>", "text/html");
    }
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[number << 3 | 2, length], content].concat()
    }
    let span = if fault == Fault::SamplesOfAnotherSpan {
        "6666666666666666"
    } else {
        LONG_WORK
    };
    let elsewhere = if fault == Fault::SamplesElsewhere {
        20
    } else {
        5
    };
    let mut pprof = Vec::new();
    for (location, samples) in [(1, 100 - elsewhere), (2, elsewhere)] {
        let label = field(3, &[1 << 3, 1, 2 << 3, 2]);
        let content = [field(1, &[location]), field(2, &[samples, 0]), label].concat();
        pprof.extend(field(2, &content));
        // A location, its line and the function of the same number.
        let line = field(4, &[1 << 3, location]);
        pprof.extend(field(4, &[&[1 << 3, location], &line[..]].concat()));
        pprof.extend(field(5, &[1 << 3, location, 2 << 3, location + 2]));
    }
    for text in ["", "span_id", span, "users::work::spin", "elsewhere"] {
        pprof.extend(field(6, text.as_bytes()));
    }
    let mut gzip = flate2::read::GzEncoder::new(&*pprof, flate2::Compression::fast());
    let mut body = Vec::new();
    gzip.read_to_end(&mut body).expect("memory");
    ResponseTemplate::new(200).set_body_bytes(body)
}

fn jaeger(lab: &Lab, request: &Request) -> ResponseTemplate {
    if lab.fault == Fault::JaegerSendsHtml {
        return ResponseTemplate::new(200).set_body_raw("<html>", "text/html");
    }
    let id = request.url.path().rsplit('/').next().unwrap_or_default();
    match lab.seen().into_iter().find(|seen| seen.trace == id) {
        Some(seen) if lab.fault != Fault::NoTraces => {
            ResponseTemplate::new(200).set_body_json(json!({"data": [trace(lab.fault, &seen)]}))
        }
        _ => ResponseTemplate::new(404)
            .set_body_json(json!({"data": null, "errors": [{"msg": "trace not found"}]})),
    }
}

fn console(lab: &Lab, request: &Request) -> ResponseTemplate {
    match (request.url.path(), lab.fault) {
        ("/", Fault::PageIsEmpty) => ResponseTemplate::new(200),
        ("/", _) => ResponseTemplate::new(200)
            .set_body_raw("<script type=\"module\" src=\"/assets/a.js\">", "text/html"),
        ("/assets/a.js", Fault::ScriptIsGone) => ResponseTemplate::new(404),
        ("/assets/a.js", _) => ResponseTemplate::new(200).set_body_raw("1", "text/javascript"),
        (_, Fault::ConsolePassesNothingOn) => ResponseTemplate::new(502),
        (path, _) if path.starts_with("/proxy/jaeger/") => jaeger(lab, request),
        _ => ResponseTemplate::new(404),
    }
}

fn tags(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .map(|(key, value)| json!({"key": key, "type": "string", "value": value}))
        .collect()
}

fn trace(fault: Fault, seen: &Seen) -> Value {
    let span = |id: &str, parent: &str, process: &str, name: &str, attributes: &[(&str, &str)]| {
        let references = match parent {
            "" => json!([]),
            parent => json!([{"refType": "CHILD_OF", "traceID": seen.trace, "spanID": parent}]),
        };
        json!({
            "traceID": seen.trace, "spanID": id, "operationName": name, "references": references,
            "startTime": 1_000_000, "duration": 500, "processID": process, "tags": tags(attributes)
        })
    };
    let server = |old: bool| {
        let mut attributes = vec![
            ("span.kind", "server"),
            ("http.request.method", "GET"),
            ("http.route", "/users"),
            ("http.response.status_code", "200"),
            ("url.path", "/users"),
            ("url.scheme", "http"),
        ];
        if old {
            attributes.push(("http.method", "GET"));
        }
        attributes
    };
    let client = |peer| {
        [
            ("span.kind", "client"),
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("server.address", "127.0.0.1"),
            ("server.port", "8000"),
            ("url.full", "http://127.0.0.1:8000/users"),
            ("service.peer.name", peer),
        ]
    };
    let database = [
        ("span.kind", "client"),
        ("db.system.name", "postgresql"),
        ("db.namespace", "lab"),
        ("db.operation.name", "SELECT"),
        ("db.collection.name", "users"),
        ("db.query.text", "SELECT id, name, age FROM users"),
        ("service.peer.name", "postgres"),
    ];
    let caller = if fault == Fault::CallerIsLost {
        ""
    } else {
        seen.caller.as_str()
    };
    let first = if fault == Fault::AnotherSpanIsNamed {
        "ffffffffffffffff"
    } else {
        seen.span.as_str()
    };
    if seen.path == "/do_long_work" {
        let mut attributes = server(false);
        if fault != Fault::SpanNamesNoProfile {
            attributes.push(("pyroscope.profile.id", LONG_WORK));
        }
        return json!({
            "traceID": seen.trace,
            "spans": [span(LONG_WORK, caller, "p2", "GET /do_long_work", &attributes)],
            "processes": {"p2": {"serviceName": "users"}}
        });
    }
    let mut spans = vec![span(first, caller, "p1", "GET /users", &server(false))];
    if seen.path == "/albums" {
        if fault != Fault::NoAlbumsCall {
            spans.push(span(
                "bbbbbbbbbbbbbbbb",
                first,
                "p1",
                "GET",
                &client("albums"),
            ));
        }
    } else {
        let parent = if fault == Fault::WrongParent {
            first
        } else {
            "bbbbbbbbbbbbbbbb"
        };
        spans.push(span(
            "dddddddddddddddd",
            "cccccccccccccccc",
            "p2",
            "SELECT users",
            &database,
        ));
        if fault != Fault::NoUsersSpan {
            let attributes = server(fault == Fault::OldNames);
            spans.push(span(
                "cccccccccccccccc",
                parent,
                "p2",
                "GET /users",
                &attributes,
            ));
        }
        spans.push(span(
            "bbbbbbbbbbbbbbbb",
            first,
            "p1",
            "GET",
            &client("users"),
        ));
    }
    json!({
        "traceID": seen.trace, "spans": spans,
        "processes": {"p1": {"serviceName": "edge"}, "p2": {"serviceName": "users"}}
    })
}

fn query(request: &Request) -> String {
    let found = request.url.query_pairs().find(|(name, _)| name == "query");
    found
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn loki(lab: &Lab, request: &Request) -> ResponseTemplate {
    if lab.fault == Fault::LokiIsAway {
        return ResponseTemplate::new(502).set_body_string("bad gateway");
    }
    let query = query(request);
    let service = ["edge", "users", "albums"]
        .into_iter()
        .find(|name| query.contains(&format!("service_name=\"{name}\"")))
        .unwrap_or_default();
    let seen = lab
        .seen()
        .into_iter()
        .find(|seen| query.contains(&seen.trace));
    let there = match service {
        "albums" => lab.fault != Fault::NoLogsOfAlbums,
        "users" => lab.fault != Fault::NoLogsOfUsers && seen.is_some(),
        _ => seen.is_some(),
    };
    let span = match service {
        _ if lab.fault == Fault::LogsOfAnotherSpan => "eeeeeeeeeeeeeeee".to_owned(),
        "edge" => seen.map(|seen| seen.span).unwrap_or_default(),
        _ => "cccccccccccccccc".to_owned(),
    };
    let id = lab
        .seen()
        .into_iter()
        .find(|seen| query.contains(&seen.trace));
    let id = id.map(|seen| seen.trace).unwrap_or_default();
    let labels =
        json!({"service_name": service, "span_id": span, "trace_id": id, "severity_text": "INFO"});
    let result = if there {
        json!([{"stream": labels, "values": [["1", "GET /users 200"]]}])
    } else {
        json!([])
    };
    success(&json!({"resultType": "streams", "result": result}))
}

fn success(data: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"status": "success", "data": data}))
}

fn prometheus(lab: &Lab, request: &Request) -> ResponseTemplate {
    if lab.fault == Fault::PrometheusAnswers500 {
        return ResponseTemplate::new(500).set_body_string("oops");
    }
    // As the real one: a matcher that is not there is a mistake.
    if query(request).contains("{,") || query(request).contains("[]") {
        return ResponseTemplate::new(400).set_body_string("parse error");
    }
    match request.url.path() {
        "/api/v1/query" => {
            success(&json!({"resultType": "vector", "result": series(lab, &query(request))}))
        }
        "/api/v1/query_exemplars" => success(&exemplars(lab)),
        "/api/v1/targets" => {
            let mut jobs = vec!["users", "otel-collector", "otel-collector-internal", "loki"];
            if lab.fault == Fault::EdgeIsScraped {
                jobs.push("edge");
            }
            let down = lab.fault == Fault::TargetIsDown;
            let targets: Vec<Value> = jobs
                .into_iter()
                .map(|job| {
                    let health = if down && job == "loki" { "down" } else { "up" };
                    json!({"labels": {"job": job}, "scrapeUrl": "http://h/metrics", "health": health, "lastError": "",
                        "lastScrape": "9999-01-01T00:00:00Z"})
                })
                .collect();
            success(&json!({"activeTargets": targets}))
        }
        "/api/v1/alertmanagers" => {
            let none = lab.fault == Fault::NoAlertmanager;
            let found = if none {
                json!([])
            } else {
                json!([{"url": "http://h:9093/api/v2/alerts"}])
            };
            success(&json!({"activeAlertmanagers": found}))
        }
        _ => ResponseTemplate::new(404),
    }
}

fn one(labels: &[(&str, &str)], value: usize) -> Value {
    let labels: serde_json::Map<String, Value> = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), Value::from(*v)))
        .collect();
    json!({"metric": labels, "value": [1.0, value.to_string()]})
}

fn series(lab: &Lab, query: &str) -> Vec<Value> {
    let fault = lab.fault;
    let users = lab.count("/users");
    let albums = lab.count("/albums");
    if query.contains("refused|failed") {
        let lost = if fault == Fault::SpansFailed {
            users
        } else {
            0
        };
        return vec![one(
            &[
                ("__name__", "otelcol_exporter_send_failed_spans"),
                ("exporter", "otlp_http/jaeger"),
            ],
            lost,
        )];
    }
    if query.contains("otel_sdk_") {
        let dropped = if fault == Fault::EdgeDropsSpans { 3 } else { 0 };
        let lost = [
            ("__name__", "otel_sdk_processor_span_processed_total"),
            ("job", "edge"),
            ("error_type", "queue_full"),
        ];
        let mut series = vec![one(&lost, if users == 0 { 0 } else { dropped })];
        for job in ["edge", "users"] {
            let span = ("__name__", "otel_sdk_exporter_span_exported_total");
            let log = ("__name__", "otel_sdk_exporter_log_exported_total");
            series.push(one(&[span, ("job", job)], users * 2));
            series.push(one(&[log, ("job", job)], users));
        }
        return series;
    }
    if query.contains("receiver_accepted") {
        let sent = if fault == Fault::SpansStuck {
            0
        } else {
            users * 4
        };
        return vec![
            one(
                &[
                    ("__name__", "otelcol_receiver_accepted_spans"),
                    ("receiver", "otlp"),
                ],
                users * 4,
            ),
            one(
                &[
                    ("__name__", "otelcol_receiver_accepted_log_records"),
                    ("receiver", "otlp"),
                ],
                users * 2,
            ),
            one(
                &[
                    ("__name__", "otelcol_exporter_sent_spans"),
                    ("exporter", "otlp_http/jaeger"),
                ],
                sent,
            ),
            one(
                &[
                    ("__name__", "otelcol_exporter_sent_log_records"),
                    ("exporter", "otlp_http/loki"),
                ],
                users * 2,
            ),
        ];
    }
    if query.contains("exporter_queue") {
        let size = if fault == Fault::QueueIsFull { 1000 } else { 1 };
        let exporter = ("exporter", "otlp_http/loki");
        return vec![
            one(
                &[("__name__", "otelcol_exporter_queue_size"), exporter],
                size,
            ),
            one(
                &[("__name__", "otelcol_exporter_queue_capacity"), exporter],
                1000,
            ),
        ];
    }
    if query.contains("traces_span_metrics") {
        return if fault == Fault::NoSpanMetrics {
            Vec::new()
        } else {
            vec![one(&[], users)]
        };
    }
    if query.contains("by (client, server)") {
        let edge = |client, server| one(&[("client", client), ("server", server)], users);
        return vec![edge("edge", "users"), edge("users", "postgres")];
    }
    if query.contains("service_graph") {
        let to_albums = if fault == Fault::NoEdgeToAlbums {
            0
        } else {
            albums
        };
        return vec![one(
            &[],
            if query.contains("albums") {
                to_albums
            } else {
                users
            },
        )];
    }
    if query.contains("_duration_seconds_count{job") {
        let of_users = query.contains("job=\"users\"");
        let count = match fault {
            Fault::UsersCountStands if of_users => 5,
            Fault::EdgeMissesOne if !of_users => users.saturating_sub(1),
            _ => users,
        };
        return vec![one(&[], count)];
    }
    ["edge", "users"]
        .into_iter()
        .map(|job| {
            let le = if fault == Fault::OtherBuckets && job == "edge" {
                "1"
            } else {
                "1.0"
            };
            let mut labels = vec![
                ("__name__", "x_bucket"),
                ("job", job),
                ("instance", "i"),
                ("le", le),
            ];
            if query.contains("db_client") {
                labels.push(("db_system_name", "postgresql"));
            } else if query.contains("http_client") {
                labels.extend([
                    ("http_request_method", "GET"),
                    ("server_address", "h"),
                    ("service_peer_name", "h"),
                ]);
            } else {
                labels.extend([("http_request_method", "GET"), ("http_route", "/users")]);
            }
            if fault == Fault::ScopeLabel && job == "edge" {
                labels.push(("otel_scope_name", "telemetry"));
            }
            one(&labels, 1)
        })
        .collect()
}

fn exemplars(lab: &Lab) -> Value {
    let found = lab.seen().into_iter().find(|seen| seen.path == "/users");
    let id = match (lab.fault, found) {
        (Fault::NoExemplars, _) | (_, None) => return json!([]),
        (Fault::ExemplarsLeadNowhere, _) => "1".repeat(32),
        (_, Some(seen)) => seen.trace,
    };
    json!([{"seriesLabels": {"le": "1.0"}, "exemplars": [{"labels": {"trace_id": id}, "value": "0.2", "timestamp": 1.0}]}])
}

async fn serve(lab: &Arc<Lab>, answers: Answers) -> (MockServer, Option<Url>) {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(Backend(Arc::clone(lab), answers))
        .mount(&server)
        .await;
    let url = Url::parse(&server.uri()).ok();
    (server, url)
}

/// Verifies a lab with a fault.
async fn verify(fault: Fault) -> Report {
    verify_with(fault, None).await
}

/// Verifies a lab with a fault, and with the files of a Grafana.
async fn verify_with(fault: Fault, grafana: Option<PathBuf>) -> Report {
    let lab = Arc::new(Lab {
        fault,
        seen: Mutex::default(),
    });
    let (_edge, edge) = serve(&lab, edge).await;
    let (_users, users) = serve(&lab, users).await;
    let (_jaeger, jaeger) = serve(&lab, jaeger).await;
    let (_console, console) = serve(&lab, console).await;
    let (_loki, loki) = serve(&lab, loki).await;
    let (_prometheus, prometheus) = serve(&lab, prometheus).await;
    let status = |_: &Lab, _: &Request| {
        ResponseTemplate::new(200).set_body_json(json!({"versionInfo": {"version": "1"}}))
    };
    let (_alertmanager, alertmanager) = serve(&lab, status).await;
    let mut backends = Backends {
        albums: edge.clone(),
        collector: edge.clone(),
        edge,
        users,
        jaeger,
        loki,
        prometheus,
        alertmanager,
        console,
        grafana,
        ..Backends::default()
    };
    backends
        .absent
        .insert(Part::Postgres, "mock servers speak HTTP only".to_owned());
    let options = Options {
        timeout: Duration::from_millis(1500),
    };
    proof::verify(&backends, &options, &|_: Event<'_>| {})
        .await
        .expect("a client")
}

const ANSWERED: [&str; 4] = [
    "edge answers /",
    "edge answers /users",
    "edge answers /user/admin",
    "edge answers /albums",
];
const TRACES: [&str; 3] = [
    "trace: edge, users, database",
    "trace: semantic conventions",
    "trace: the call to albums",
];
const EXEMPLARS: [&str; 2] = [
    "exemplar of users -> trace",
    "exemplar of edge's spans -> trace",
];
const SAMPLES: &str = "span -> its samples";
const PAGE: &str = "console -> its page and script";
const BY_CONSOLE: &str = "console -> the trace, by way of it";
const LOGS: [&str; 2] = ["trace -> log lines of edge", "trace -> log lines of users"];

/// The links that must fail, and no other.
fn expected(fault: Fault) -> Vec<&'static str> {
    let all = |lists: &[&[&'static str]]| lists.concat();
    match fault {
        Fault::None => vec![],
        Fault::EdgeAnswers500 => vec!["edge answers /users", "every request is served"],
        Fault::EdgeSendsHtml => vec!["edge answers /albums"],
        Fault::EdgeNamesNoTrace => all(&[
            &ANSWERED,
            &["traceparent is honoured", "broken traceparent is ignored"],
            &["trace: edge, users, database", "trace: the call to albums"],
        ]),
        Fault::EdgeIgnoresTraceparent => {
            all(&[&["traceparent is honoured"], &TRACES, &LOGS, &[BY_CONSOLE]])
        }
        Fault::EdgeTrustsBrokenTraceparent => vec!["broken traceparent is ignored"],
        Fault::UserIsNotFiltered => vec!["edge answers /user/admin"],
        Fault::SomeRequestsFail => vec!["every request is served"],
        Fault::UsersIsNotReady => vec!["services are ready"],
        Fault::NoTraces => all(&[&TRACES, &LOGS, &EXEMPLARS, &[SAMPLES, BY_CONSOLE]]),
        Fault::NoUsersSpan => vec![TRACES[0], TRACES[1], LOGS[1], BY_CONSOLE],
        Fault::WrongParent => vec![TRACES[0], TRACES[1], BY_CONSOLE],
        Fault::CallerIsLost => vec![TRACES[0], TRACES[2]],
        Fault::AnotherSpanIsNamed => vec![TRACES[0], TRACES[2], LOGS[0]],
        Fault::OldNames => vec![TRACES[1]],
        Fault::NoAlbumsCall => vec![TRACES[2]],
        Fault::NoLogsOfUsers => vec![LOGS[1]],
        Fault::LogsOfAnotherSpan => LOGS.to_vec(),
        Fault::NoLogsOfAlbums => vec!["log lines of albums"],
        Fault::LokiIsAway => all(&[&LOGS, &["log lines of albums"]]),
        Fault::UsersCountStands => vec!["requests counted by users"],
        Fault::EdgeMissesOne => vec!["requests counted by edge"],
        Fault::ScopeLabel | Fault::OtherBuckets => vec!["labels are equal and few"],
        Fault::NoExemplars | Fault::ExemplarsLeadNowhere => EXEMPLARS.to_vec(),
        Fault::NoSpanMetrics => vec!["span metrics of edge", "span metrics of users"],
        Fault::NoEdgeToAlbums => vec!["service graph: edge -> albums"],
        Fault::PrometheusAnswers500 => all(&[
            &EXEMPLARS,
            &[
                "requests counted by users",
                "requests counted by edge",
                "labels are equal and few",
            ],
            &[
                "span metrics of edge",
                "span metrics of users",
                "service graph: edge -> users",
            ],
            &[
                "service graph: users -> postgres",
                "service graph: edge -> albums",
            ],
            &[
                "the services dropped nothing",
                "nothing was lost on the way",
                "every Prometheus target is up",
                "Prometheus -> Alertmanager",
            ],
        ]),
        Fault::JaegerSendsHtml => all(&[&TRACES, &EXEMPLARS, &[SAMPLES, BY_CONSOLE]]),
        Fault::EdgeDropsSpans => vec!["the services dropped nothing"],
        Fault::SpansFailed | Fault::SpansStuck | Fault::QueueIsFull => {
            vec!["nothing was lost on the way"]
        }
        Fault::TargetIsDown | Fault::EdgeIsScraped => vec!["every Prometheus target is up"],
        Fault::NoAlertmanager => vec!["Prometheus -> Alertmanager"],
        Fault::NoProfile
        | Fault::ProfileIsHtml
        | Fault::SamplesOfAnotherSpan
        | Fault::SamplesElsewhere
        | Fault::SpanNamesNoProfile => vec![SAMPLES],
        Fault::PageIsEmpty | Fault::ScriptIsGone => vec![PAGE],
        Fault::ConsolePassesNothingOn => vec![BY_CONSOLE],
    }
}

const FAULTS: [Fault; 45] = [
    Fault::None,
    Fault::EdgeAnswers500,
    Fault::EdgeSendsHtml,
    Fault::EdgeNamesNoTrace,
    Fault::EdgeIgnoresTraceparent,
    Fault::EdgeTrustsBrokenTraceparent,
    Fault::UserIsNotFiltered,
    Fault::SomeRequestsFail,
    Fault::UsersIsNotReady,
    Fault::NoTraces,
    Fault::NoUsersSpan,
    Fault::WrongParent,
    Fault::CallerIsLost,
    Fault::AnotherSpanIsNamed,
    Fault::OldNames,
    Fault::NoAlbumsCall,
    Fault::NoLogsOfUsers,
    Fault::LogsOfAnotherSpan,
    Fault::NoLogsOfAlbums,
    Fault::LokiIsAway,
    Fault::UsersCountStands,
    Fault::EdgeMissesOne,
    Fault::ScopeLabel,
    Fault::OtherBuckets,
    Fault::NoExemplars,
    Fault::ExemplarsLeadNowhere,
    Fault::NoSpanMetrics,
    Fault::NoEdgeToAlbums,
    Fault::PrometheusAnswers500,
    Fault::JaegerSendsHtml,
    Fault::EdgeDropsSpans,
    Fault::SpansFailed,
    Fault::SpansStuck,
    Fault::QueueIsFull,
    Fault::TargetIsDown,
    Fault::EdgeIsScraped,
    Fault::NoAlertmanager,
    Fault::NoProfile,
    Fault::ProfileIsHtml,
    Fault::SamplesOfAnotherSpan,
    Fault::SamplesElsewhere,
    Fault::SpanNamesNoProfile,
    Fault::PageIsEmpty,
    Fault::ScriptIsGone,
    Fault::ConsolePassesNothingOn,
];

#[tokio::test]
async fn each_fault_is_found_where_it_is() {
    let mut found_by = BTreeSet::new();
    let mut all = BTreeSet::new();
    for some in FAULTS.chunks(6) {
        let reports = futures_util::future::join_all(some.iter().map(|fault| verify(*fault))).await;
        for (fault, report) in some.iter().zip(reports) {
            let failed: BTreeSet<&str> = report
                .links
                .iter()
                .filter(|link| link.result == Outcome::Fail)
                .map(|link| link.name.as_str())
                .collect();
            let expected: BTreeSet<&str> = expected(*fault).into_iter().collect();
            assert_eq!(failed, expected, "{fault:?}: {:#?}", report.links);
            assert_eq!(report.ok, expected.is_empty(), "{fault:?}");
            for link in &report.links {
                assert!(!link.asked.is_empty(), "{fault:?}: {link:?}");
                let told = link.result != Outcome::Fail || link.answer.contains("; next: ");
                assert!(told, "{fault:?}: {link:?}");
            }
            found_by.extend(expected);
            all.extend(
                report
                    .links
                    .into_iter()
                    .filter(|link| link.result != Outcome::NotApplicable)
                    .map(|link| link.name),
            );
        }
    }
    let never: Vec<&String> = all
        .iter()
        .filter(|name| !found_by.contains(name.as_str()))
        .collect();
    assert!(
        never.is_empty(),
        "links that no fault of this test makes fail: {never:?}"
    );
}

const LOG_LINES: [&str; 2] = [
    "Grafana: span in tempo -> its log lines",
    "Grafana: span in jaeger -> its log lines",
];
const FROM_LOGS: [&str; 2] = [
    "Grafana: log line -> trace in tempo",
    "Grafana: log line -> trace in jaeger",
];
const FROM_EXEMPLARS: [&str; 2] = [
    "Grafana: exemplar -> trace in tempo",
    "Grafana: exemplar -> trace in jaeger",
];
const RATES: [&str; 4] = [
    "Grafana: span in tempo -> rate of this operation",
    "Grafana: span in tempo -> p95 of this operation",
    "Grafana: span in jaeger -> rate of this operation",
    "Grafana: span in jaeger -> p95 of this operation",
];
const SOURCES: &str = "Grafana's datasources";

/// A mistake in Grafana's file, and the links that it breaks.
const MISTAKES: [(&str, &str, &[&str]); 11] = [
    ("", "", &[]),
    ("datasourceUid: loki", "datasourceUid: lokki", &[SOURCES]),
    ("datasourceUid: loki", "datasourceUid: jaeger", &[SOURCES]),
    ("\ndatasources:", "\nsources:", &[SOURCES]),
    ("    uid: loki", "", &[SOURCES]),
    ("- name: trace_id", "- name: traceID", &FROM_EXEMPLARS),
    (
        "matcherRegex: trace_id",
        "matcherRegex: traceID",
        &FROM_LOGS,
    ),
    ("url: $${__value.raw}", "url: ${__value.raw}", &FROM_LOGS),
    ("{$${__tags}}", "{${__tags}}", &LOG_LINES),
    ("$${__trace.traceId}", "$${__trace.id}", &LOG_LINES),
    ("{$$__tags, span_name", "{$__tags, span_name", &RATES),
];

#[tokio::test]
async fn each_mistake_in_grafanas_file_is_found() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../infra/grafana/provisioning/datasources/lab.yaml");
    let shipped = std::fs::read_to_string(shipped).expect("the shipped file");
    let folders: Vec<tempfile::TempDir> = MISTAKES
        .iter()
        .map(|(from, to, _)| {
            assert!(shipped.contains(from), "{from}");
            let folder = tempfile::tempdir().expect("a folder");
            let below = folder.path().join("datasources");
            std::fs::create_dir(&below).expect("a folder below");
            let text = if from.is_empty() {
                shipped.clone()
            } else {
                shipped.replace(from, to)
            };
            std::fs::write(below.join("lab.yaml"), text).expect("a file");
            folder
        })
        .collect();
    let reports = folders
        .iter()
        .map(|folder| verify_with(Fault::None, Some(folder.path().to_owned())));
    let reports = futures_util::future::join_all(reports).await;
    for ((from, to, expected), report) in MISTAKES.iter().zip(reports) {
        let failed: BTreeSet<&str> = report
            .links
            .iter()
            .filter(|link| link.result == Outcome::Fail)
            .map(|link| link.name.as_str())
            .collect();
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        assert_eq!(failed, expected, "{from} -> {to}: {:#?}", report.links);
    }
}

#[tokio::test]
async fn what_is_absent_is_not_applicable() {
    let lab = Arc::new(Lab {
        fault: Fault::None,
        seen: Mutex::default(),
    });
    let (_edge, edge) = serve(&lab, edge).await;
    let mut backends = Backends {
        edge,
        ..Backends::default()
    };
    backends
        .absent
        .insert(Part::Jaeger, "compose only".to_owned());
    let options = Options {
        timeout: Duration::from_millis(500),
    };
    let report = proof::verify(&backends, &options, &|_| {})
        .await
        .expect("a client");
    assert!(report.ok, "{report:#?}");
    let trace = report
        .links
        .iter()
        .find(|link| link.name == TRACES[0])
        .expect("the link");
    assert_eq!(
        (trace.result, trace.answer.as_str()),
        (Outcome::NotApplicable, "no jaeger here: compose only")
    );
    assert_eq!(
        report.count(Outcome::NotApplicable),
        report.links.len() - 8,
        "{report:#?}"
    );
}

#[tokio::test]
async fn an_edge_that_is_away_fails_everything_at_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let lab = Arc::new(Lab {
        fault: Fault::None,
        seen: Mutex::default(),
    });
    let (_jaeger, jaeger) = serve(&lab, jaeger).await;
    let backends = Backends {
        edge: Url::parse(&format!("http://{address}")).ok(),
        jaeger,
        ..Backends::default()
    };
    let began = std::time::Instant::now();
    let report = proof::verify(&backends, &Options::default(), &|_| {})
        .await
        .expect("a client");
    assert!(!report.ok);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "nothing is waited for that cannot come"
    );
    let trace = report
        .links
        .iter()
        .find(|link| link.name == TRACES[0])
        .expect("the link");
    assert!(
        trace
            .answer
            .contains("expected an answer to /users; came: none; next: the link"),
        "{}",
        trace.answer
    );
}

#[tokio::test]
async fn progress_is_told() {
    let lab = Arc::new(Lab {
        fault: Fault::NoTraces,
        seen: Mutex::default(),
    });
    let (_edge, edge) = serve(&lab, edge).await;
    let (_jaeger, jaeger) = serve(&lab, jaeger).await;
    let backends = Backends {
        edge,
        jaeger,
        ..Backends::default()
    };
    let told = Mutex::new(BTreeSet::new());
    let tell = |event: Event<'_>| {
        let word = match event {
            Event::Sending => "sending".to_owned(),
            Event::Started { .. } => "started".to_owned(),
            Event::Waiting { came, .. } => format!("waiting: {came}"),
            Event::Done(link) => format!("done: {}", link.result),
        };
        told.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(word);
    };
    let options = Options {
        timeout: Duration::from_millis(800),
    };
    proof::verify(&backends, &options, &tell)
        .await
        .expect("a client");
    let told: Vec<String> = told
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_iter()
        .collect();
    assert_eq!(
        told,
        [
            "done: fail",
            "done: n/a",
            "done: ok",
            "sending",
            "started",
            "waiting: Jaeger has no such trace"
        ]
    );
}
