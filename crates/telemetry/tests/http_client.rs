//! What the client wrapper tells of a call, and what it sends along.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use opentelemetry::trace::{
    FutureExt, SpanId, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, global};
use support::{attribute, memory, serve, settings};
use telemetry::http::Client;
use telemetry::{Builder, Telemetry};

async fn upstream() -> String {
    let echo = |headers: HeaderMap| async move {
        headers
            .get("traceparent")
            .map(|v| v.to_str().unwrap().to_owned())
            .unwrap_or_default()
    };
    let app = Router::new()
        .route("/echo", get(echo))
        .route("/broken", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/stuck", get(std::future::pending::<()>));
    serve(app).await
}

fn client(telemetry: &Telemetry) -> Client {
    let http = reqwest::Client::builder()
        .timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    telemetry.http_client(http, "users")
}

async fn ask(client: &Client, url: &str) -> reqwest::Result<reqwest::Response> {
    client
        .execute(client.http().get(url).build().unwrap())
        .await
}

#[tokio::test]
async fn an_address_of_ipv6_has_brackets_in_the_url_only() {
    let memory = memory();
    let client = client(&memory.telemetry);
    // Whether it listens does not matter.
    let _ = ask(&client, "http://[::1]:9/base/users").await;
    let span = memory.span("GET");
    assert_eq!(attribute(&span, "server.address"), Some("::1".into()));
    assert_eq!(attribute(&span, "server.port"), Some(9.into()));
    let url = "http://[::1]:9/base/users";
    assert_eq!(attribute(&span, "url.full"), Some(url.into()));
    let series = memory.scraped("http_client_request_duration_seconds_count");
    assert!(series[0].contains("server_address=\"::1\""), "{series:?}");
}

#[tokio::test]
async fn a_call_is_a_client_span_and_carries_the_trace() {
    let (memory, base) = (memory(), upstream().await);
    let client = client(&memory.telemetry);
    let sent = ask(&client, &format!("{base}/echo"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let span = memory.span("GET");
    assert_eq!(span.span_kind, SpanKind::Client);
    let context = &span.span_context;
    assert_eq!(
        sent,
        format!("00-{}-{}-03", context.trace_id(), context.span_id())
    );
    assert_eq!(attribute(&span, "service.peer.name"), Some("users".into()));
    assert_eq!(attribute(&span, "server.address"), Some("127.0.0.1".into()));
    assert_eq!(
        attribute(&span, "url.full"),
        Some(format!("{base}/echo").into())
    );
    assert_eq!(
        attribute(&span, "http.response.status_code"),
        Some(200.into())
    );
    let series = memory.scraped("http_client_request_duration_seconds_count");
    assert_eq!(series.len(), 1);
    assert!(
        series[0].contains("server_address=\"127.0.0.1\"") && series[0].ends_with(" 1"),
        "{series:?}"
    );
}

#[tokio::test]
async fn an_error_answer_and_no_answer_are_errors() {
    let (memory, base) = (memory(), upstream().await);
    let client = client(&memory.telemetry);
    assert_eq!(
        ask(&client, &format!("{base}/broken"))
            .await
            .unwrap()
            .status(),
        503
    );
    assert!(ask(&client, &format!("{base}/stuck")).await.is_err());
    // Port 9 (discard) is closed here.
    assert!(ask(&client, "http://127.0.0.1:9/").await.is_err());
    let kinds: Vec<_> = memory
        .finished()
        .iter()
        .map(|span| {
            assert!(matches!(span.status, Status::Error { .. }), "{span:?}");
            attribute(span, "error.type").unwrap().to_string()
        })
        .collect();
    assert_eq!(kinds, ["503", "timeout", "connect"]);
}

#[tokio::test]
async fn a_call_nobody_waits_for_ends_as_cancelled() {
    let (memory, base) = (memory(), upstream().await);
    let client = client(&memory.telemetry);
    let url = format!("{base}/stuck");
    assert!(
        tokio::time::timeout(Duration::from_millis(20), ask(&client, &url))
            .await
            .is_err()
    );
    assert_eq!(
        attribute(&memory.span("GET"), "error.type"),
        Some("cancelled".into())
    );
}

#[tokio::test]
async fn the_current_span_is_the_parent() {
    let (memory, base) = (memory(), upstream().await);
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_simple_exporter(memory.spans.clone())
        .build();
    let outer = Context::new().with_span(provider.tracer("test").start("outer"));
    let outer_id = outer.span().span_context().span_id();
    let client = client(&memory.telemetry);
    ask(&client, &format!("{base}/echo"))
        .with_context(outer)
        .await
        .unwrap();
    assert_eq!(memory.span("GET").parent_span_id, outer_id);
}

#[tokio::test]
async fn with_telemetry_off_the_caller_s_trace_is_still_passed_on() {
    let base = upstream().await;
    let telemetry = Builder::new("test", "1", settings(&[("OTEL_SDK_DISABLED", "true")])).build();
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let url = format!("{base}/echo");
    let client = client(&telemetry);
    let relay = Router::new()
        .route(
            "/",
            get(move || async move { ask(&client, &url).await.unwrap().text().await.unwrap() }),
        )
        .layer(telemetry.http_server());
    let relay = serve(relay).await;
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let answer = http
        .get(relay)
        .header("traceparent", caller)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), caller);
    // Nothing global was needed for any of this.
    let untouched = global::tracer("x").start("x");
    assert_eq!(
        opentelemetry::trace::Span::span_context(&untouched).span_id(),
        SpanId::INVALID
    );
}

#[tokio::test]
async fn a_secret_of_an_address_is_in_no_span() {
    let (memory, base) = (memory(), upstream().await);
    let url = base.replace("http://", "http://me:hush@") + "/echo?sig=hush&name=a";
    ask(&client(&memory.telemetry), &url).await.unwrap();
    // reqwest makes a header of user and password.
    let full = base + "/echo?sig=REDACTED&name=a";
    assert_eq!(
        attribute(&memory.span("GET"), "url.full"),
        Some(full.into())
    );
}
