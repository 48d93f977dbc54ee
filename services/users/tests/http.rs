//! The service over HTTP, on a real PostgreSQL: `DATABASE_URL` names one where databases may be
//! made (`./lab test` sets it). Each test has a database of its own.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};
use reqwest::StatusCode;
use service::{Limits, Readiness, Stop};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use telemetry::{Builder, Settings, Telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use users::faults::{Faults, Live};
use users::store::Store;
use users::{App, settings};

const DEADLINE: Duration = Duration::from_secs(20);

struct Service {
    base: String,
    http: reqwest::Client,
    spans: InMemorySpanExporter,
    _telemetry: Telemetry,
}

impl Service {
    async fn start(options: PgConnectOptions, faults: Faults) -> Self {
        let spans = InMemorySpanExporter::default();
        let settings = Settings::from_vars(|name| {
            (name == "OTEL_METRICS_EXPORTER").then(|| "prometheus".to_owned())
        });
        let telemetry = Builder::new("users", "0", settings)
            .with_span_exporter(spans.clone())
            .build();
        let readiness = Readiness::default();
        let database = settings::Database {
            options,
            max_connections: 4,
        };
        let store = Store::open(&database, &telemetry, readiness.clone());
        let app = App {
            store,
            faults: Live::fixed(faults),
            readiness,
        }
        .router(&telemetry);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let limits = Limits::from_env(DEADLINE).unwrap();
        tokio::spawn(service::serve(
            listener,
            app,
            Stop::on(mpsc::channel(1).1),
            limits,
        ));
        let http = reqwest::Client::builder()
            .timeout(DEADLINE)
            .build()
            .unwrap();
        Self {
            base,
            http,
            spans,
            _telemetry: telemetry,
        }
    }

    async fn ready(options: PgConnectOptions, faults: Faults) -> Self {
        let service = Self::start(options, faults).await;
        service.until("/readyz", StatusCode::OK).await;
        service
    }

    async fn get(&self, path: &str) -> (StatusCode, serde_json::Value) {
        let answer = self
            .http
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let expected = if status.is_success() || path == "/readyz" {
            "application/json"
        } else {
            "application/problem+json"
        };
        assert_eq!(kind, expected, "{path}");
        (
            status,
            serde_json::from_str(&answer.text().await.unwrap()).unwrap(),
        )
    }

    /// The status that bytes are answered with.
    async fn status(&self, request: &[u8]) -> u16 {
        let address = self.base.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(request).await.unwrap();
        let mut line = [0; "HTTP/1.1 200".len()];
        let read = tokio::time::timeout(DEADLINE, connection.read_exact(&mut line));
        read.await.unwrap().unwrap();
        let line = str::from_utf8(&line).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn until(&self, path: &str, expected: StatusCode) {
        let started = Instant::now();
        loop {
            let (status, body) = self.get(path).await;
            if status == expected {
                return;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "{path} still answers {status} {body}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn span(&self, name: &str) -> SpanData {
        let spans = self.spans.get_finished_spans().unwrap();
        spans
            .into_iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no span {name}"))
    }
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|kv| kv.key.as_str() == key);
    found.map(|kv| kv.value.to_string()).unwrap_or_default()
}

#[sqlx::test(migrations = false)]
async fn the_seed_s_two_users_are_there(_: PgPoolOptions, options: PgConnectOptions) {
    let service = Service::ready(options, Faults::default()).await;
    let (status, users) = service.get("/users").await;
    assert_eq!(status, 200);
    assert_eq!(
        users,
        serde_json::json!([
            { "id": 1, "name": "admin", "age": 10 },
            { "id": 2, "name": "vasya", "age": 20 }
        ])
    );
    let (_, users) = service.get("/users?name=vasya").await;
    assert_eq!(
        users,
        serde_json::json!([{ "id": 2, "name": "vasya", "age": 20 }])
    );
    assert_eq!(
        service.get("/users?name=nobody").await.1,
        serde_json::json!([])
    );
    assert_eq!(
        service.get("/users?name=%27%20OR%201%3D1--").await.1,
        serde_json::json!([])
    );
    assert_eq!(service.get("/").await.0, 200);
}

#[sqlx::test(migrations = false)]
async fn an_answer_tells_how_long_it_took(_: PgPoolOptions, options: PgConnectOptions) {
    let service = Service::ready(options, Faults::default()).await;
    let answer = service
        .http
        .get(format!("{}/users", service.base))
        .send()
        .await
        .unwrap();
    let seconds: f64 = answer.headers()["x-process-time"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(seconds > 0.0 && seconds < 20.0, "{seconds}");
}

#[sqlx::test(migrations = false)]
async fn wrong_requests_are_told_what_is_wrong(_: PgPoolOptions, options: PgConnectOptions) {
    let service = Service::ready(options, Faults::default()).await;
    for (path, status, detail) in [
        ("/users?nme=admin", 400, "unknown field `nme`"),
        (
            &format!("/users?name={}", "x".repeat(101)),
            400,
            "longer than 100",
        ),
        ("/do_long_work?sec=31", 400, "from 0 to 30"),
        ("/do_long_work?sec=-1", 400, "from 0 to 30"),
        ("/do_long_work?sec=NaN", 400, "from 0 to 30"),
        ("/do_long_work?sec=soon", 400, "sec: invalid float literal"),
        ("/nowhere", 404, "nothing at this path"),
    ] {
        let (found, problem) = service.get(path).await;
        assert_eq!(found.as_u16(), status, "{path}: {problem}");
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"].as_str().unwrap().contains(detail),
            "{path}: {problem}"
        );
    }
    let answer = service
        .http
        .post(format!("{}/users", service.base))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(service.get("/users").await.0, 200);
}

/// Where the fault is the caller's, the service's error budget is not touched.
#[sqlx::test(migrations = false)]
async fn no_request_makes_a_5xx(_: PgPoolOptions, options: PgConnectOptions) {
    let service = Service::ready(options, Faults::default()).await;
    let long = |length| format!("/users?name={}", "x".repeat(length));
    for (target, status) in [
        // PostgreSQL has no text with a NUL: SQLSTATE 22021.
        ("/users?name=%00", 400),
        ("/users?name=a%00b", 400),
        ("/users?%00=a", 400),
        // What is no UTF-8 is read as U+FFFD.
        ("/users?name=%ff", 200),
        ("/users?name=%ED%A0%80", 200),
        ("/users?name=%F4%8F%BF%BF", 200),
        ("/users?name=", 200),
        ("/users?name", 200),
        ("/users?name=%", 200),
        ("/users?name=a&name=b", 400),
        ("/users?=", 400),
        (&long(100), 200),
        (&long(101), 400),
        (&long(60_000), 400),
        (&long(70_000), 431),
        ("/do_long_work?sec=inf", 400),
        ("/do_long_work?sec=-inf", 400),
        ("/do_long_work?sec=1e308", 400),
        ("/do_long_work?sec=1e-400", 200),
        ("/do_long_work?sec=-0.0", 200),
        ("/do_long_work?sec=%00", 400),
        ("/do_long_work?sec=", 400),
        ("/users%00", 404),
        ("/%ff", 404),
        ("/users/", 404),
        ("//users", 404),
        ("/users/../users", 404),
        ("*", 404),
        ("http://elsewhere/users", 200),
        ("http://elsewhere", 200),
        ("?", 400),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: here\r\n\r\n");
        let shown = &target[..target.len().min(50)];
        assert_eq!(service.status(request.as_bytes()).await, status, "{shown}");
    }
    let many = "x: x\r\n".repeat(200);
    let large = format!("x: {}\r\n", "x".repeat(70 << 10));
    for (request, status) in [
        ("GET /users HTTP/1.0\r\n\r\n", 200),
        ("GET /users HTTP/1.1\r\n\r\n", 200),
        ("GET /users\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\n\r\n", 400),
        ("get /users HTTP/1.1\r\n\r\n", 405),
        ("BREW /users HTTP/1.1\r\n\r\n", 405),
        ("TRACE /users HTTP/1.1\r\n\r\n", 405),
        ("OPTIONS * HTTP/1.1\r\n\r\n", 404),
        ("CONNECT here:80 HTTP/1.1\r\n\r\n", 404),
        ("POST /users HTTP/1.1\r\ncontent-length: 1\r\n\r\n", 405),
        ("GET /users HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody", 200),
        (
            "GET /users HTTP/1.1\r\ncontent-length: 9999999999\r\n\r\n",
            200,
        ),
        ("GET /users HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        ("GET /users HTTP/1.1\r\ntransfer-encoding: x\r\n\r\n", 400),
        ("GET /users HTTP/1.1\r\nexpect: x\r\n\r\n", 200),
        (
            "GET /users HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
            200,
        ),
        ("GET /users HTTP/1.1\r\nx: \0\r\n\r\n", 400),
        (
            "GET /users HTTP/1.1\r\ntraceparent: \u{fc}\r\nbaggage: \u{fc}=%ff\r\n\r\n",
            200,
        ),
        (&format!("GET /users HTTP/1.1\r\n{many}\r\n"), 431),
        (&format!("GET /users HTTP/1.1\r\n{large}\r\n"), 431),
    ] {
        let shown = &request[..request.len().min(80)];
        assert_eq!(
            service.status(request.as_bytes()).await,
            status,
            "{shown:?}"
        );
    }
    let (status, problem) = service.get("/users?name=%00").await;
    assert_eq!(status, 400);
    let detail = "The name has a character that no name can have.";
    assert_eq!(problem["detail"], detail);
}

#[sqlx::test(migrations = false)]
async fn a_query_is_a_span_and_carries_its_trace(_: PgPoolOptions, options: PgConnectOptions) {
    let service = Service::ready(options.clone(), Faults::default()).await;
    service.get("/users").await;
    let (server, query) = (service.span("GET /users"), service.span("SELECT users"));
    assert_eq!(query.span_kind, SpanKind::Client);
    assert_eq!(query.parent_span_id, server.span_context.span_id());
    assert_eq!(
        query.span_context.trace_id(),
        server.span_context.trace_id()
    );
    assert_eq!(attribute(&query, "db.system.name"), "postgresql");
    assert_eq!(
        attribute(&query, "db.namespace"),
        options.get_database().unwrap()
    );
    assert_eq!(attribute(&query, "service.peer.name"), "postgres");
    assert!(attribute(&query, "db.query.text").starts_with("SELECT id, name, age FROM users"));

    let (trace, span) = (query.span_context.trace_id(), query.span_context.span_id());
    let comment = format!("/*traceparent='00-{trace}-{span}-03'*/");
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let statements: Vec<String> = sqlx::query_scalar(
        "SELECT query FROM pg_stat_activity WHERE application_name = 'users' AND datname = current_database()",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(
        statements.iter().any(|text| text.ends_with(&comment)),
        "no {comment} in {statements:#?}"
    );

    let page = service
        .http
        .get(format!("{}/metrics", service.base))
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    let series = "db_client_operation_duration_seconds_count{db_collection_name=\"users\",db_operation_name=\"SELECT\",db_system_name=\"postgresql\"} 1";
    assert!(page.contains(series), "{page}");
}

#[sqlx::test(migrations = false)]
async fn a_long_work_is_done_and_bounded(_: PgPoolOptions, options: PgConnectOptions) {
    let service = Service::ready(options, Faults::default()).await;
    let started = Instant::now();
    let (status, done) = service.get("/do_long_work?sec=0.2").await;
    assert_eq!(
        (status.as_u16(), done["worked_seconds"].as_f64()),
        (200, Some(0.2))
    );
    assert!(started.elapsed() >= Duration::from_millis(200));
    let paths = vec!["/do_long_work?sec=1"; 9];
    let mut works = tokio::task::JoinSet::new();
    for path in paths {
        let request = service.http.get(format!("{}{path}", service.base));
        works.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    let mut statuses = works.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 429]);
}

#[sqlx::test(migrations = false)]
async fn the_error_fault_answers_500(_: PgPoolOptions, options: PgConnectOptions) {
    let service = Service::ready(
        options,
        Faults {
            error_share: 1.0,
            ..Faults::default()
        },
    )
    .await;
    let (status, problem) = service.get("/users").await;
    assert_eq!(status, 500);
    assert_eq!(problem["detail"], "The users could not be listed.");
    assert_eq!(attribute(&service.span("GET /users"), "error.type"), "500");
}

#[sqlx::test(migrations = false)]
async fn the_slow_fault_takes_its_time(_: PgPoolOptions, options: PgConnectOptions) {
    let slow = Duration::from_millis(300);
    let service = Service::ready(
        options,
        Faults {
            slow_share: 1.0,
            slow,
            ..Faults::default()
        },
    )
    .await;
    let started = Instant::now();
    assert_eq!(service.get("/users").await.0, 200);
    assert!(started.elapsed() >= slow);
}

#[sqlx::test(migrations = false)]
async fn the_slow_query_is_slow_in_the_database(_: PgPoolOptions, options: PgConnectOptions) {
    let slow_query = Duration::from_millis(300);
    let service = Service::ready(
        options,
        Faults {
            slow_query,
            ..Faults::default()
        },
    )
    .await;
    assert_eq!(service.get("/users").await.1.as_array().unwrap().len(), 2);
    let query = service.span("SELECT users");
    assert!(query.end_time.duration_since(query.start_time).unwrap() >= slow_query);
    assert!(attribute(&query, "db.query.text").contains("pg_sleep"));
}

#[sqlx::test(migrations = false)]
async fn the_lock_is_waited_for_in_turn(_: PgPoolOptions, options: PgConnectOptions) {
    let lock = Duration::from_millis(200);
    let service = Service::ready(
        options,
        Faults {
            lock,
            ..Faults::default()
        },
    )
    .await;
    let started = Instant::now();
    let (a, b, c) = tokio::join!(
        service.get("/users"),
        service.get("/users"),
        service.get("/users")
    );
    assert_eq!([a.0, b.0, c.0], [200, 200, 200]);
    assert!(started.elapsed() >= 3 * lock, "{:?}", started.elapsed());
}

/// Forwards to the real database as long as it lives.
struct Proxy(tokio::task::JoinHandle<()>);

impl Proxy {
    async fn start(address: SocketAddr, to: (String, u16)) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut inbound, _)) = listener.accept().await {
                let to = to.clone();
                connections.spawn(async move {
                    let mut outbound = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await;
                });
            }
        }))
    }

    async fn stop(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

#[sqlx::test(migrations = false)]
async fn a_late_a_lost_and_a_returned_database(_: PgPoolOptions, options: PgConnectOptions) {
    let to = (options.get_host().to_owned(), options.get_port());
    let address = free_address().await;
    let service = Service::start(
        options.port(address.port()).host("127.0.0.1"),
        Faults::default(),
    )
    .await;
    let (status, problem) = service.get("/users").await;
    assert_eq!(status, 503);
    assert!(
        problem["detail"].as_str().unwrap().contains("try again"),
        "{problem}"
    );
    let (status, report) = service.get("/readyz").await;
    assert_eq!(status, 503);
    assert_ne!(report["checks"]["database"], "ok");
    assert_eq!(service.get("/healthz").await.0, 200);

    let proxy = Proxy::start(address, to.clone()).await;
    service.until("/readyz", StatusCode::OK).await;
    assert_eq!(service.get("/users").await.0, 200);

    proxy.stop().await;
    let (status, problem) = service.get("/users").await;
    assert_eq!(status, 503, "{problem}");
    service
        .until("/readyz", StatusCode::SERVICE_UNAVAILABLE)
        .await;

    let _proxy = Proxy::start(address, to).await;
    service.until("/readyz", StatusCode::OK).await;
    assert_eq!(service.get("/users").await.0, 200);
}

#[sqlx::test(migrations = false)]
async fn profiles_are_served_and_in_no_signal(_: PgPoolOptions, options: PgConnectOptions) {
    let service = Service::start(options, Faults::default()).await;
    let (status, problem) = service.get("/debug/pprof/profile?seconds=0").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let answer = service
        .http
        .get(format!("{}/debug/pprof/profile?seconds=1", service.base))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let gzip = answer.bytes().await.unwrap();
    assert!(gzip.starts_with(&[0x1f, 0x8b]), "{} bytes", gzip.len());
    let spans = service.spans.get_finished_spans().unwrap();
    assert!(spans.iter().all(|span| !span.name.contains("pprof")));
}
