//! What goes through a service: from the headers of a request to those of the calls it makes.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request};
use axum::routing::get;
use support::{Memory, memory, serve, settings};
use telemetry::http::Client;
use telemetry::{Builder, Telemetry};
use tokio::sync::mpsc;
use tower::ServiceExt;
use tracing::instrument::WithSubscriber;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A service that makes one call for each request, and what it sends.
struct Relay {
    app: Router,
    calls: mpsc::UnboundedReceiver<HeaderMap>,
}

impl Relay {
    async fn new(telemetry: &Telemetry) -> Self {
        let (called, calls) = mpsc::unbounded_channel();
        let upstream = Router::new().route(
            "/",
            get(async move |headers: HeaderMap| called.send(headers).unwrap()),
        );
        let upstream = serve(upstream).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let client = telemetry.http_client(http, "upstream");
        let app = Router::new()
            .route("/", get(call))
            .with_state((client, upstream))
            .layer(telemetry.http_server());
        Self { app, calls }
    }

    /// The `traceparent` of the answer, and the headers of the call.
    async fn request(
        &mut self,
        telemetry: &Telemetry,
        sent: &[(&'static str, &str)],
    ) -> (String, HeaderMap) {
        let mut request = Request::new(Body::empty());
        for (name, value) in sent {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().append(*name, value);
        }
        let answer = self
            .app
            .clone()
            .oneshot(request)
            .with_subscriber(telemetry.subscriber())
            .await
            .unwrap();
        let named = answer.headers()["traceparent"].to_str().unwrap().to_owned();
        (named, self.calls.recv().await.unwrap())
    }
}

async fn call(State((client, upstream)): State<(Client, String)>) {
    below(&client, &upstream).await;
}

/// In a span of the service's own, made by `tracing`.
#[tracing::instrument(skip_all)]
async fn below(client: &Client, upstream: &str) {
    let request = client.http().get(upstream).build().unwrap();
    client.execute(request).await.unwrap();
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

fn only(memory: &Memory, name: &str) -> opentelemetry::trace::SpanContext {
    memory.span(name).span_context
}

#[tokio::test]
async fn headers_that_come_several_times_go_on_as_one() {
    let memory = memory();
    let mut relay = Relay::new(&memory.telemetry).await;
    let sent = [
        ("traceparent", &*format!("00-{TRACE}-{PARENT}-03")),
        ("tracestate", "a=1,b=2"),
        ("tracestate", ""),
        ("tracestate", "c=3"),
        ("baggage", "user=Am%C3%A9lie;hidden, broken, sum=1+1=2"),
        ("baggage", "last=1"),
    ];
    let (_, call) = relay.request(&memory.telemetry, &sent).await;
    let client = only(&memory, "GET");
    let expected = format!("00-{TRACE}-{}-03", client.span_id());
    assert_eq!(values(&call, "traceparent"), [expected]);
    assert_eq!(values(&call, "tracestate"), ["a=1,b=2,c=3"]);
    let baggage = "user=Am%C3%A9lie;hidden,sum=1+1=2,last=1";
    assert_eq!(values(&call, "baggage"), [baggage]);
    // And what is exported has the state, too.
    for name in ["GET /", "below", "GET"] {
        let state = only(&memory, name).trace_state().header();
        assert_eq!(state, "a=1,b=2,c=3", "{name}");
    }
}

#[tokio::test]
async fn a_state_that_the_library_refuses_in_part_goes_on_in_full() {
    let memory = memory();
    let mut relay = Relay::new(&memory.telemetry).await;
    let sent = [
        ("traceparent", &*format!("00-{TRACE}-{PARENT}-01")),
        ("tracestate", "a=1"),
        ("tracestate", "b@c@d=2"),
    ];
    let (_, call) = relay.request(&memory.telemetry, &sent).await;
    assert_eq!(values(&call, "tracestate"), ["a=1,b@c@d=2"]);
    for name in ["GET /", "below", "GET"] {
        assert_eq!(only(&memory, name).trace_state().header(), "a=1", "{name}");
    }
}

#[tokio::test]
async fn the_answer_and_the_call_have_the_same_flags() {
    for (sent, expected) in [
        (None, "03"),
        (Some("00"), "00"),
        (Some("01"), "01"),
        (Some("02"), "02"),
        (Some("03"), "03"),
        (Some("ff"), "03"),
    ] {
        let memory = memory();
        let mut relay = Relay::new(&memory.telemetry).await;
        let parent = sent.map(|flags| format!("00-{TRACE}-{PARENT}-{flags}"));
        let parent: Vec<_> = parent.iter().map(|p| ("traceparent", p.as_str())).collect();
        let (answer, call) = relay.request(&memory.telemetry, &parent).await;
        let called = values(&call, "traceparent")[0];
        assert_eq!(&answer[..36], &called[..36], "{sent:?}");
        assert_eq!(&answer[53..], expected, "{sent:?}");
        assert_eq!(&called[53..], expected, "{sent:?}");
        assert_eq!(answer[3..].starts_with(TRACE), sent.is_some());
        assert_ne!(&answer[36..52], &called[36..52]);
    }
}

#[tokio::test]
async fn with_telemetry_off_headers_go_on_as_they_came() {
    let telemetry = Builder::new("test", "1", settings(&[("OTEL_SDK_DISABLED", "true")])).build();
    let mut relay = Relay::new(&telemetry).await;
    let parent = format!("00-{TRACE}-{PARENT}-02");
    let sent = [
        ("traceparent", parent.as_str()),
        ("tracestate", "a=1"),
        ("tracestate", "b@c@d=2"),
        ("baggage", "a=1"),
        ("baggage", "b=2"),
    ];
    let (answer, call) = relay.request(&telemetry, &sent).await;
    assert_eq!(answer, parent);
    assert_eq!(values(&call, "traceparent"), [parent]);
    assert_eq!(values(&call, "tracestate"), ["a=1,b@c@d=2"]);
    assert_eq!(values(&call, "baggage"), ["a=1,b=2"]);
}
