//! The service over HTTP, with upstreams that answer as the test wants.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::time::Duration;

use edge::App;
use edge::settings::Upstreams;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};
use service::{Limits, Stop};
use telemetry::{Builder, Settings, Telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

struct Service {
    base: String,
    http: reqwest::Client,
    spans: InMemorySpanExporter,
    upstream: MockServer,
    _telemetry: Telemetry,
}

impl Service {
    async fn start() -> Self {
        let upstream = MockServer::start().await;
        let address = upstream.uri();
        Self::with_upstream(upstream, &address).await
    }

    async fn with_upstream(upstream: MockServer, address: &str) -> Self {
        let spans = InMemorySpanExporter::default();
        let settings = Settings::from_vars(|name| {
            (name == "OTEL_METRICS_EXPORTER").then(|| "prometheus".to_owned())
        });
        let telemetry = Builder::new("edge", "0", settings)
            .with_span_exporter(spans.clone())
            .build();
        let upstreams = Upstreams {
            users: address.parse().unwrap(),
            albums: address.parse().unwrap(),
            timeout: Duration::from_millis(300),
        };
        let app = App::new(&upstreams, &telemetry).unwrap().router(&telemetry);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let limits = Limits::from_env(Duration::from_secs(1)).unwrap();
        tokio::spawn(service::serve(
            listener,
            app,
            Stop::on(mpsc::channel(1).1),
            limits,
        ));
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Self {
            base,
            http,
            spans,
            upstream,
            _telemetry: telemetry,
        }
    }

    async fn answers(&self, at: &str, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(at))
            .respond_with(answer)
            .mount(&self.upstream)
            .await;
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        let answer = self
            .http
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap();
        let kind = answer
            .headers()
            .get("content-type")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        (answer.status().as_u16(), kind, answer.text().await.unwrap())
    }

    /// The status that bytes are answered with.
    async fn status(&self, request: &[u8]) -> u16 {
        let address = self.base.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(request).await.unwrap();
        let mut line = [0; "HTTP/1.1 200".len()];
        let read = tokio::time::timeout(Duration::from_secs(10), connection.read_exact(&mut line));
        read.await.unwrap().unwrap();
        let line = str::from_utf8(&line).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn problem(&self, path: &str) -> (u16, String) {
        let (status, kind, body) = self.get(path).await;
        assert_eq!(kind, "application/problem+json", "{path}: {body}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], status);
        (status, problem["detail"].as_str().unwrap().to_owned())
    }

    fn span(&self, name: &str) -> SpanData {
        let spans = self.spans.get_finished_spans().unwrap();
        spans
            .into_iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no span {name}"))
    }
}

fn json(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body, "application/json")
}

#[tokio::test]
async fn the_root_says_hello() {
    let service = Service::start().await;
    assert_eq!(service.get("/").await.2, "hello-world");
}

#[tokio::test]
async fn status_and_json_pass_through() {
    let service = Service::start().await;
    service.answers("/users", json(200, "[{\"id\":1}]")).await;
    service
        .answers("/albums", json(418, "{\"tea\":true}"))
        .await;
    assert_eq!(
        service.get("/users").await,
        (200, "application/json".into(), "[{\"id\":1}]".into())
    );
    assert_eq!(
        service.get("/albums").await,
        (418, "application/json".into(), "{\"tea\":true}".into())
    );
}

#[tokio::test]
async fn a_user_is_asked_for_by_name() {
    let service = Service::start().await;
    let name = "a&b=ü /?";
    Mock::given(path("/users"))
        .and(query_param("name", name))
        .respond_with(json(200, "[{\"id\":7}]"))
        .expect(1)
        .mount(&service.upstream)
        .await;
    let (status, _, body) = service.get("/user/a%26b%3D%C3%BC%20%2F%3F").await;
    assert_eq!((status, body.as_str()), (200, "[{\"id\":7}]"));
    // Not UTF-8.
    assert_eq!(service.problem("/user/%ff").await.0, 400);
}

/// Where the fault is the caller's, edge's error budget is not touched; and wherever a name leads, it
/// leads to the users of this name.
#[tokio::test]
async fn no_request_makes_a_5xx_or_leads_elsewhere() {
    let service = Service::start().await;
    service.answers("/users", json(200, "[]")).await;
    service.answers("/albums", json(200, "[]")).await;
    let repeated = |text: &str, times| format!("/user/{}", text.repeat(times));
    let names = [
        ("/user/..", ".."),
        ("/user/%2e%2e", ".."),
        ("/user/%2e%2e%2fdo_long_work", "../do_long_work"),
        ("/user/%2f", "/"),
        ("/user/a%3fname=b", "a?name=b"),
        ("/user/a%26name=b", "a&name=b"),
        ("/user/a%23b", "a#b"),
        ("/user/a%2526b", "a%26b"),
        ("/user/a+b", "a+b"),
        ("/user/%0d%0ax:%20y", "\r\nx: y"),
        ("/user/%00", "\0"),
        ("/user/%F0%9F%98%80", "\u{1f600}"),
        ("/user/\u{fc}", "\u{fc}"),
        ("/user/a?name=b", "a"),
        ("http://elsewhere/user/a", "a"),
        (&repeated("!", 1000), &"!".repeat(1000)),
    ];
    for (target, _) in names {
        let request = format!("GET {target} HTTP/1.1\r\nhost: here\r\n\r\n");
        assert_eq!(
            service.status(request.as_bytes()).await,
            200,
            "{target:.50}"
        );
    }
    let asked = service.upstream.received_requests().await.unwrap();
    for (asked, (target, name)) in asked.iter().zip(names) {
        assert_eq!(asked.url.path(), "/users", "{target:.50}");
        let query: Vec<_> = asked.url.query_pairs().collect();
        assert_eq!(query, [("name".into(), name.into())], "{target:.50}");
    }

    let baggage: String = (0..8)
        .map(|number| format!("baggage: k{number}={}\r\n", "!".repeat(1000)))
        .collect();
    let tracestate: Vec<String> = (0..32)
        .map(|number| format!("k{number}={}", "v".repeat(256)))
        .collect();
    let trace = format!(
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         tracestate: {}\r\n{baggage}",
        tracestate.join(",")
    );
    for (line, headers, status) in [
        // Names that do not fit into edge's own request, once they are encoded.
        (&*repeated("!", 1001), "", 400),
        (&repeated("!", 30_000), "", 400),
        (&repeated("\u{fc}", 15_000), "", 400),
        (&repeated("x", 70_000), "", 431),
        ("/user/%ff", "", 400),
        ("/user/%ED%A0%80", "", 400),
        ("/user/", "", 404),
        ("/user/a/b", "", 404),
        ("/users/../do_long_work", "", 404),
        ("//users", "", 404),
        ("*", "", 404),
        ("/users?name=%00", "", 200),
        ("/albums?%ff", "", 200),
        ("/users", &trace, 200),
        ("/albums", &trace, 200),
        ("/albums", "expect: x\r\n", 200),
        ("/albums", "content-length: 9999999999\r\n", 200),
        ("/albums", "transfer-encoding: x\r\n", 400),
    ] {
        let request = format!("GET {line} HTTP/1.1\r\nhost: here\r\n{headers}\r\n");
        let found = service.status(request.as_bytes()).await;
        assert_eq!(found, status, "{line:.50} {headers:.50}");
    }
    for asked in service.upstream.received_requests().await.unwrap() {
        assert!(
            ["/users", "/albums"].contains(&asked.url.path()),
            "{}",
            asked.url
        );
    }
}

#[tokio::test]
async fn a_path_of_an_upstream_s_address_is_kept() {
    let upstream = MockServer::start().await;
    let base = format!("{}/a%20b/c/", upstream.uri());
    let service = Service::with_upstream(upstream, &base).await;
    Mock::given(path("/a%20b/c/users"))
        .and(query_param("name", "a"))
        .respond_with(json(200, "[]"))
        .expect(1)
        .mount(&service.upstream)
        .await;
    service.answers("/a%20b/c/albums", json(200, "[]")).await;
    assert_eq!(service.get("/user/a").await.0, 200);
    assert_eq!(service.get("/albums").await.0, 200);
}

#[tokio::test]
async fn an_upstream_s_refusal_passes_through() {
    let service = Service::start().await;
    let problem = r#"{"type":"about:blank","title":"x","status":400,"detail":"no such name"}"#;
    let answer = ResponseTemplate::new(400).set_body_raw(problem, "application/problem+json");
    service.answers("/users", answer).await;
    assert_eq!(
        service.problem("/user/%00").await,
        (400, "no such name".to_owned())
    );
}

#[tokio::test]
async fn an_upstream_s_problem_passes_through() {
    let service = Service::start().await;
    let problem = r#"{"type":"about:blank","title":"x","status":503,"detail":"no database"}"#;
    let answer = ResponseTemplate::new(503).set_body_raw(problem, "application/problem+json");
    service.answers("/users", answer).await;
    assert_eq!(
        service.problem("/users").await,
        (503, "no database".to_owned())
    );
}

#[tokio::test]
async fn an_unreachable_upstream_is_502() {
    let service = Service::with_upstream(MockServer::start().await, "http://127.0.0.1:9").await;
    let expected = (502, "The service users cannot be reached.".to_owned());
    assert_eq!(service.problem("/users").await, expected);
    let expected = (502, "The service albums cannot be reached.".to_owned());
    assert_eq!(service.problem("/albums").await, expected);
}

#[tokio::test]
async fn a_slow_upstream_is_504() {
    let service = Service::start().await;
    service
        .answers("/users", json(200, "[]").set_delay(Duration::from_secs(5)))
        .await;
    let expected = (504, "The service users did not answer in time.".to_owned());
    assert_eq!(service.problem("/users").await, expected);
}

#[tokio::test]
async fn what_is_not_json_or_too_long_is_502() {
    let service = Service::start().await;
    service
        .answers(
            "/users",
            ResponseTemplate::new(200).set_body_raw("<p>", "text/html"),
        )
        .await;
    service
        .answers("/albums", json(200, &"x".repeat(5 * 1024 * 1024)))
        .await;
    for (path, name) in [("/users", "users"), ("/albums", "albums")] {
        let detail = format!("The service {name} gave an answer that cannot be passed on.");
        assert_eq!(service.problem(path).await, (502, detail));
    }
}

#[tokio::test]
async fn wrong_paths_and_methods_are_told() {
    let service = Service::start().await;
    assert_eq!(service.problem("/nowhere").await.0, 404);
    assert_eq!(service.problem("/user/").await.0, 404);
    let answer = service
        .http
        .delete(format!("{}/users", service.base))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn the_trace_goes_from_the_caller_to_the_upstream() {
    let service = Service::start().await;
    service.answers("/users", json(200, "[]")).await;
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = service
        .http
        .get(format!("{}/users", service.base))
        .header("traceparent", caller);
    let answer = request.send().await.unwrap();
    let (server, client) = (service.span("GET /users"), service.span("GET"));
    assert_eq!(server.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert_eq!(client.span_kind, SpanKind::Client);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let told = answer.headers()["traceparent"].to_str().unwrap();
    assert_eq!(
        told,
        format!("00-{trace}-{}-01", server.span_context.span_id())
    );
    let received = service.upstream.received_requests().await.unwrap();
    let sent = received[0].headers["traceparent"].to_str().unwrap();
    assert_eq!(
        sent,
        format!("00-{trace}-{}-01", client.span_context.span_id())
    );
}

#[tokio::test]
async fn what_a_caller_passes_along_reaches_the_upstream() {
    let service = Service::start().await;
    service.answers("/albums", json(200, "[]")).await;
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = service
        .http
        .get(format!("{}/albums", service.base))
        .header("traceparent", caller)
        .header("tracestate", "a=1")
        .header("tracestate", "b=2,c@d@e=3")
        .header("baggage", "user=Am%C3%A9lie;hidden")
        .header("baggage", "sum=1+1=2");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let received = service.upstream.received_requests().await.unwrap();
    for (name, expected) in [
        ("tracestate", "a=1,b=2,c@d@e=3"),
        ("baggage", "user=Am%C3%A9lie;hidden,sum=1+1=2"),
    ] {
        let values: Vec<_> = received[0].headers.get_all(name).iter().collect();
        assert_eq!(values, [expected], "{name}");
    }
}

#[tokio::test]
async fn every_answer_names_its_trace_and_health_has_none() {
    let service = Service::start().await;
    for path in ["/", "/users", "/nowhere"] {
        let answer = service
            .http
            .get(format!("{}{path}", service.base))
            .send()
            .await
            .unwrap();
        assert!(answer.headers().contains_key("traceparent"), "{path}");
    }
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/debug/pprof/profile?seconds=1",
    ] {
        let answer = service
            .http
            .get(format!("{}{path}", service.base))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.headers().contains_key("traceparent"), "{path}");
    }
}
