//! What the server layer tells of a request.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use axum::routing::get;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use support::{Memory, attribute, memory};
use tower::ServiceExt;
use tracing::instrument::WithSubscriber;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn app(memory: &Memory) -> Router {
    Router::new()
        .route("/users/{id}", get(user))
        .route(
            "/broken",
            get(|| async { StatusCode::INTERNAL_SERVER_ERROR }),
        )
        .route("/stuck", get(std::future::pending::<()>))
        .route("/healthz", get(|| async { "ok" }))
        .merge(memory.telemetry.metrics_router())
        .layer(
            memory
                .telemetry
                .http_server()
                .with_known_routes(["/users/{id}"]),
        )
}

async fn user(Path(id): Path<String>) -> String {
    tracing::info!(id, "looked up");
    inner().await;
    id
}

#[tracing::instrument]
async fn inner() {
    tracing::warn!("inside");
}

async fn send(memory: &Memory, request: Request<Body>) -> Response {
    let subscriber = memory.telemetry.subscriber();
    app(memory)
        .oneshot(request)
        .with_subscriber(subscriber)
        .await
        .unwrap()
}

fn get_request(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_request_is_a_server_span_by_the_semantic_conventions() {
    let memory = memory();
    let response = send(&memory, get_request("/users/7?full=yes")).await;
    let span = memory.span("GET /users/{id}");
    assert_eq!(span.span_kind, SpanKind::Server);
    assert_eq!(span.status, Status::Unset);
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/users/{id}"),
        ("url.path", "/users/7"),
        ("url.query", "full=yes"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(attribute(&span, key), Some(value.into()), "{key}");
    }
    assert_eq!(
        attribute(&span, "http.response.status_code"),
        Some(200.into())
    );
    let context = span.span_context;
    let expected = format!("00-{}-{}-03", context.trace_id(), context.span_id());
    assert_eq!(response.headers()["traceparent"], expected);
}

#[tokio::test]
async fn the_caller_s_trace_goes_on() {
    let memory = memory();
    let mut request = get_request("/users/7");
    request
        .headers_mut()
        .insert("traceparent", PARENT.parse().unwrap());
    request
        .headers_mut()
        .insert("tracestate", "vendor=1".parse().unwrap());
    send(&memory, request).await;
    let span = memory.span("GET /users/{id}");
    assert_eq!(
        span.span_context.trace_id().to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(span.parent_span_is_remote);
    assert_eq!(span.span_context.trace_state().get("vendor"), Some("1"));
}

#[tokio::test]
async fn a_broken_traceparent_starts_a_new_trace() {
    for broken in [
        &[b"".as_slice()][..],
        &[b"garbage"],
        &[b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
        &[b"00-0-0-1"],
        // One too many, even where the other cannot be read at all.
        &[PARENT.as_bytes(), PARENT.as_bytes()],
        &[b"\xff", PARENT.as_bytes()],
    ] {
        let memory = memory();
        let mut request = get_request("/users/7");
        for value in broken {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append("traceparent", value);
        }
        let response = send(&memory, request).await;
        assert_eq!(response.status(), 200);
        let span = memory.span("GET /users/{id}");
        assert_eq!(span.parent_span_id, SpanId::INVALID, "{broken:?}");
        assert_ne!(span.span_context.trace_id(), TraceId::INVALID);
    }
}

#[tokio::test]
async fn an_unsampled_caller_is_not_exported_but_still_counted() {
    let memory = memory();
    let mut request = get_request("/users/7");
    request
        .headers_mut()
        .insert("traceparent", PARENT.replace("-01", "-00").parse().unwrap());
    let response = send(&memory, request).await;
    assert!(
        response.headers()["traceparent"]
            .to_str()
            .unwrap()
            .ends_with("-00")
    );
    assert_eq!(memory.finished().len(), 0);
    let series = memory.counted("http_server_request_duration_seconds_count");
    assert!(series.len() == 1 && series[0].ends_with(" 1"), "{series:?}");
}

#[tokio::test]
async fn a_server_error_is_an_error_and_a_client_error_is_not() {
    let memory = memory();
    send(&memory, get_request("/broken")).await;
    let span = memory.span("GET /broken");
    assert!(matches!(span.status, Status::Error { .. }));
    assert_eq!(attribute(&span, "error.type"), Some("500".into()));
    send(&memory, get_request("/nowhere")).await;
    let span = memory.span("GET");
    assert_eq!(span.status, Status::Unset);
    assert_eq!(attribute(&span, "http.route"), None);
    let series = memory.scraped("http_server_request_duration_seconds_count");
    assert!(series.contains(&"http_server_request_duration_seconds_count{error_type=\"500\",http_request_method=\"GET\",http_response_status_code=\"500\",http_route=\"/broken\",url_scheme=\"http\"} 1".to_owned()), "{series:#?}");
    assert!(series.contains(&"http_server_request_duration_seconds_count{http_request_method=\"GET\",http_response_status_code=\"404\",url_scheme=\"http\"} 1".to_owned()), "{series:#?}");
}

#[tokio::test]
async fn a_caller_cannot_make_label_values() {
    let memory = memory();
    for i in 0..50 {
        let method = Method::from_bytes(format!("BREW{i}").as_bytes()).unwrap();
        let mut request = get_request(&format!("/nowhere/{i}"));
        *request.method_mut() = method;
        send(&memory, request).await;
    }
    let series = memory.counted("http_server_request_duration_seconds_count");
    assert_eq!(series.len(), 1, "{series:#?}");
    assert!(memory.finished().iter().all(|span| span.name == "HTTP"));
}

#[tokio::test]
async fn a_caller_who_leaves_is_told_as_cancelled() {
    let memory = memory();
    let request = send(&memory, get_request("/stuck"));
    assert!(
        tokio::time::timeout(Duration::from_millis(20), request)
            .await
            .is_err()
    );
    let span = memory.span("GET /stuck");
    assert!(matches!(span.status, Status::Error { .. }));
    assert_eq!(attribute(&span, "error.type"), Some("cancelled".into()));
    let series = memory.scraped("http_server_request_duration_seconds_count");
    assert!(
        series
            .iter()
            .any(|line| line.contains("error_type=\"cancelled\"") && line.ends_with("} 1")),
        "{series:#?}"
    );
}

#[tokio::test]
async fn health_and_metrics_are_not_spoken_of() {
    let memory = memory();
    for path in ["/healthz", "/metrics"] {
        let response = send(&memory, get_request(path)).await;
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("traceparent"));
    }
    assert_eq!(memory.finished().len(), 0);
    assert_eq!(memory.logs.get_emitted_logs().unwrap().len(), 0);
    let series = memory.counted("http_server_request_duration_seconds_count");
    assert!(series.is_empty(), "{series:#?}");
}

#[tokio::test]
async fn people_s_spans_nest_below_and_log_records_know_their_span() {
    let memory = memory();
    send(&memory, get_request("/users/7")).await;
    let server = memory.span("GET /users/{id}");
    let inner = memory.span("inner");
    assert_eq!(inner.parent_span_id, server.span_context.span_id());
    assert_eq!(
        inner.span_context.trace_id(),
        server.span_context.trace_id()
    );
    let logs = memory.logs.get_emitted_logs().unwrap();
    let spans: Vec<_> = logs
        .iter()
        .map(|log| {
            log.record
                .trace_context()
                .map(|context| context.span_id)
                .unwrap()
        })
        .collect();
    let (server, inner) = (server.span_context.span_id(), inner.span_context.span_id());
    // "looked up", "inside" and the access log line.
    assert_eq!(spans, [server, inner, server]);
}

#[tokio::test]
async fn over_long_text_is_cut() {
    let memory = memory();
    let request = Request::builder()
        .uri(format!(
            "/users/{}?q={}",
            "x".repeat(5_000),
            "y".repeat(5_000)
        ))
        .header("user-agent", "z".repeat(5_000))
        .body(Body::empty())
        .unwrap();
    send(&memory, request).await;
    let span = memory.span("GET /users/{id}");
    for key in ["url.path", "url.query", "user_agent.original"] {
        assert_eq!(attribute(&span, key).unwrap().as_str().len(), 1024, "{key}");
    }
}

#[tokio::test]
async fn a_signature_in_the_query_is_in_no_span() {
    let memory = memory();
    send(
        &memory,
        get_request("/users/7?full=yes&X-Amz-Signature=hush"),
    )
    .await;
    let query = attribute(&memory.span("GET /users/{id}"), "url.query");
    assert_eq!(query, Some("full=yes&X-Amz-Signature=REDACTED".into()));
}
