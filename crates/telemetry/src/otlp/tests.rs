//! What is sent is what the SDK would send, and nothing of it is lost on the way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{InMemoryLogExporter, LogBatch, SdkLoggerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use prost::Message;

use super::queue::{Batch, Limits};
use super::*;
use crate::settings::{OtlpProtocol, Settings, Signal};

/// One for all tests: a resource's attributes have no order of their own.
fn resource() -> Resource {
    static RESOURCE: LazyLock<Resource> = LazyLock::new(|| {
        Resource::builder_empty()
            .with_schema_url([KeyValue::new("service.name", "shop")], "https://schema/1")
            .with_attribute(KeyValue::new("process.pid", 7))
            .build()
    });
    RESOURCE.clone()
}

fn other(remote: bool, state: &str) -> SpanContext {
    SpanContext::new(
        TraceId::from(0xfeed_u128),
        SpanId::from(0xbeef_u64),
        TraceFlags::SAMPLED,
        remote,
        state.parse().unwrap(),
    )
}

/// Spans with everything that a span can have.
fn spans() -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .with_max_attributes_per_span(9)
        .with_max_events_per_span(2)
        .with_max_links_per_span(2)
        .with_max_attributes_per_event(1)
        .with_max_attributes_per_link(1)
        .build();
    let scope = InstrumentationScope::builder("shop.scope")
        .with_version("1.2")
        .with_schema_url("https://schema/2")
        .with_attributes([KeyValue::new("scope.attribute", true)])
        .build();
    let scoped = provider.tracer_with_scope(scope);
    let plain = provider.tracer("plain");

    let remote_parent = Context::new().with_remote_span_context(other(true, "a=1,b=2"));
    let long = "é".repeat(9_000);
    let mut full = scoped.build_with_context(
        SpanBuilder::from_name("everything")
            .with_kind(SpanKind::Consumer)
            .with_attributes([
                KeyValue::new("text", "value"),
                KeyValue::new("empty", ""),
                KeyValue::new("long", long),
                KeyValue::new("no", false),
                KeyValue::new("minus", -1),
                KeyValue::new("zero", 0),
                KeyValue::new("float", 0.25),
                KeyValue::new(
                    "texts",
                    Value::Array(Array::String(vec!["a".into(), "".into()])),
                ),
                KeyValue::new(
                    "numbers",
                    Value::Array(Array::I64(vec![0, i64::MIN, i64::MAX])),
                ),
                KeyValue::new("one too many", 1),
            ]),
        &remote_parent,
    );
    for i in 0..3 {
        let attributes = vec![KeyValue::new("i", i), KeyValue::new("dropped", i)];
        full.add_event(format!("event {i}"), attributes.clone());
        full.add_link(other(i == 1, "c=3"), attributes);
    }
    full.set_status(Status::error("it broke"));
    full.end();

    for (kind, status) in [
        (SpanKind::Internal, Status::Unset),
        (SpanKind::Server, Status::Ok),
        (SpanKind::Client, Status::error("")),
        (SpanKind::Producer, Status::Unset),
    ] {
        let builder = SpanBuilder::from_name("plain")
            .with_kind(kind)
            .with_attributes([
                KeyValue::new("flags", Value::Array(Array::Bool(vec![true, false]))),
                KeyValue::new("floats", Value::Array(Array::F64(vec![0.0, f64::MAX]))),
                KeyValue::new("none", Value::Array(Array::I64(vec![]))),
            ]);
        let mut span = plain.build_with_context(builder, &Context::new());
        span.set_status(status);
        span.end();
    }
    exporter.get_finished_spans().unwrap()
}

fn batch_of(spans: &[SpanData]) -> Vec<u8> {
    let mut batch = Batch::default();
    let mut item = Vec::new();
    for span in spans {
        item.clear();
        encode::span(&mut item, span);
        batch.push(
            &span.instrumentation_scope,
            span.instrumentation_scope.name(),
            &item,
        );
    }
    encoded(batch)
}

fn encoded(batch: Batch) -> Vec<u8> {
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    encode::resource(&mut head, &resource());
    encode::schema_url(&mut tail, resource().schema_url());
    batch.encode(&head, &tail).joined().to_vec()
}

#[test]
fn a_span_is_encoded_as_the_sdk_would() {
    let spans = spans();
    let full = &spans[0];
    assert_eq!(full.dropped_attributes_count, 1);
    assert_eq!(
        (full.events.dropped_count, full.links.dropped_count),
        (1, 1)
    );
    let ours = ExportTraceServiceRequest::decode(batch_of(&spans).as_slice()).unwrap();
    let resource = ResourceAttributesWithSchema::from(&resource());
    let theirs = group_spans_by_resource_and_scope(spans, &resource);
    assert_eq!(ours.resource_spans, theirs);
    assert_eq!(theirs[0].scope_spans.len(), 2);
}

#[test]
fn nothing_is_written_twice_or_longer_than_needed() {
    // What a decoder would forgive: a field twice, a default written out, a length with padding.
    let spans = spans();
    let ours = batch_of(&spans);
    let decoded = ExportTraceServiceRequest::decode(ours.as_slice()).unwrap();
    assert_eq!(decoded.encode_to_vec().len(), ours.len());
}

#[test]
fn a_log_record_is_encoded_as_the_sdk_would() {
    let exporter = InMemoryLogExporter::default();
    let provider = SdkLoggerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let logger = provider.logger("bridge");
    let now = std::time::SystemTime::now();
    let mut record = logger.create_log_record();
    record.set_event_name("named");
    record.set_target("shop::users");
    record.set_timestamp(now);
    record.set_observed_timestamp(now);
    record.set_severity_number(Severity::Warn3);
    record.set_severity_text("WARN");
    record.set_body("it is late".into());
    record.set_trace_context(
        TraceId::from(1_u128),
        SpanId::from(2_u64),
        Some(TraceFlags::SAMPLED),
    );
    record.add_attribute("text", "");
    record.add_attribute("int", 0);
    record.add_attribute("float", 0.5);
    record.add_attribute("bool", false);
    record.add_attribute("bytes", AnyValue::Bytes(Box::new(vec![0, 255])));
    let list = vec![AnyValue::Int(1), AnyValue::String("two".into())];
    record.add_attribute("list", AnyValue::ListAny(Box::new(list)));
    let map = [(Key::new("inner"), AnyValue::Boolean(true))]
        .into_iter()
        .collect();
    record.add_attribute("map", AnyValue::Map(Box::new(map)));
    logger.emit(record);
    let mut bare = logger.create_log_record();
    bare.set_observed_timestamp(now);
    logger.emit(bare);

    let emitted = exporter.get_emitted_logs().unwrap();
    assert_eq!(emitted.len(), 2);
    for data in &emitted {
        let (record, scope) = (&data.record, &data.instrumentation);
        let name = record.target().map_or(scope.name(), AsRef::as_ref);
        let mut item = Vec::new();
        encode::log_record(&mut item, record);
        let mut batch = Batch::default();
        batch.push(scope, name, &item);
        let ours = ExportLogsServiceRequest::decode(encoded(batch).as_slice()).unwrap();
        let pair = [(record, scope)];
        let attributes = ResourceAttributesWithSchema::from(&resource());
        let theirs = group_logs_by_resource_and_scope(&LogBatch::new(&pair), &attributes);
        assert_eq!(ours.resource_logs, theirs);
    }
}

fn target(protocol: OtlpProtocol, endpoint: &str) -> Target {
    let settings = Settings::from_vars(|name| match name {
        "OTEL_EXPORTER_OTLP_PROTOCOL" if protocol == OtlpProtocol::Grpc => Some("grpc".to_owned()),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.to_owned()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("authorization=Bearer%20secret".to_owned()),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("2000".to_owned()),
        "OTEL_BSP_SCHEDULE_DELAY" => Some("20".to_owned()),
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" => Some("512".to_owned()),
        _ => None,
    });
    Target::new(Signal::Traces, &settings).unwrap().unwrap()
}

/// A provider whose spans go through the pipe, and the pipe's counts.
fn provider(target: Target) -> (SdkTracerProvider, Arc<Counts>) {
    let pipe = SpanPipe::new(target);
    let counts = pipe.counts();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource())
        .with_span_processor(pipe)
        .build();
    (provider, counts)
}

fn make(provider: &SdkTracerProvider, spans: usize) {
    let tracer = provider.tracer("test");
    (0..spans).for_each(|_| tracer.start("work").end());
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}

fn count(body: &[u8]) -> usize {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    request
        .resource_spans
        .iter()
        .flat_map(|r| &r.scope_spans)
        .map(|s| s.spans.len())
        .sum()
}

#[derive(Clone, Default)]
struct Receiver {
    spans: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    authorization: Arc<Mutex<String>>,
}

impl Receiver {
    fn note(&self, authorization: Option<&str>) -> usize {
        *lock(&self.authorization) = authorization.unwrap_or_default().to_owned();
        self.requests.fetch_add(1, Ordering::SeqCst)
    }

    fn received(&self) -> usize {
        self.spans.load(Ordering::SeqCst)
    }
}

/// Serves in a thread of its own, so that tests may block.
fn serve(listener: std::net::TcpListener, app: Router) {
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await
        })
    });
}

pub(crate) fn anywhere(app: Router) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    serve(listener, app);
    endpoint
}

fn http_receiver(
    receiver: &Receiver,
    answer: impl Fn(usize) -> StatusCode + Clone + Send + Sync + 'static,
) -> Router {
    let receiver = receiver.clone();
    let take = move |headers: HeaderMap, body: Bytes| async move {
        let header = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let status = answer(receiver.note(header));
        if status.is_success() {
            receiver.spans.fetch_add(count(&body), Ordering::SeqCst);
        }
        status.into_response()
    };
    Router::new().route("/v1/traces", post(take))
}

#[test]
fn over_http_everything_arrives_and_headers_go_along() {
    let receiver = Receiver::default();
    let endpoint = anywhere(http_receiver(&receiver, |_| StatusCode::OK));
    let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
    make(&provider, 1_300);
    provider.shutdown().unwrap();
    assert_eq!(
        (receiver.received(), counts.exported(), counts.dropped()),
        (1_300, 1_300, 0)
    );
    assert_eq!(*lock(&receiver.authorization), "Bearer secret");
    assert!(
        receiver.requests.load(Ordering::SeqCst) >= 3,
        "512 at the most in one request"
    );
}

#[test]
fn an_item_waits_for_its_delay_only() {
    let receiver = Receiver::default();
    let endpoint = anywhere(http_receiver(&receiver, |_| StatusCode::OK));
    let (provider, _) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
    make(&provider, 1);
    until("one span without a flush", || receiver.received() == 1);
    provider.shutdown().unwrap();
}

#[test]
fn a_busy_receiver_gets_it_later_and_once() {
    let receiver = Receiver::default();
    let endpoint = anywhere(http_receiver(&receiver, |n| {
        if n < 3 {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        }
    }));
    let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
    make(&provider, 10);
    until("ten spans", || counts.exported() == 10);
    assert_eq!(receiver.received(), 10);
    provider.shutdown().unwrap();
}

#[test]
fn what_is_refused_for_good_is_counted_and_the_next_goes_on() {
    let receiver = Receiver::default();
    let endpoint = anywhere(http_receiver(&receiver, |n| {
        if n == 0 {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::OK
        }
    }));
    let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
    make(&provider, 1);
    until("the refusal", || counts.rejected() == 1);
    make(&provider, 2);
    until("the next two", || counts.exported() == 2);
    provider.shutdown().unwrap();
}

#[test]
fn a_receiver_that_comes_back_gets_everything() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        // A port that is closed until later.
        let address = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let (provider, counts) = provider(target(protocol, &format!("http://{address}")));
        make(&provider, 5_000);
        assert_eq!(
            (counts.exported(), counts.dropped(), counts.rejected()),
            (0, 0, 0)
        );
        let receiver = Receiver::default();
        let app = if protocol == OtlpProtocol::Grpc {
            grpc_receiver(Grpc {
                receiver: receiver.clone(),
                rejected: 0,
            })
        } else {
            http_receiver(&receiver, |_| StatusCode::OK)
        };
        serve(std::net::TcpListener::bind(address).unwrap(), app);
        until("all spans", || counts.exported() == 5_000);
        assert_eq!(
            (receiver.received(), counts.dropped(), counts.rejected()),
            (5_000, 0, 0)
        );
        provider.shutdown().unwrap();
    }
}

#[test]
fn a_dead_receiver_costs_bounded_memory_and_every_drop_is_counted() {
    let mut target = target(OtlpProtocol::HttpProtobuf, "http://127.0.0.1:9");
    target.limits = Limits {
        queue_bytes: 100_000,
        ..target.limits
    };
    let (provider, counts) = provider(target);
    make(&provider, 10_000);
    let dropped = counts.dropped();
    assert!(dropped > 8_000, "{dropped}");
    assert!(
        provider
            .shutdown_with_timeout(Duration::from_millis(50))
            .is_err()
    );
    assert_eq!(
        counts.dropped() + counts.exported() + counts.unanswered(),
        10_000
    );
}

/// A receiver that takes a request and never answers: each span is counted once all the same.
#[test]
fn what_is_with_a_silent_receiver_at_the_end_is_counted_as_unanswered() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut target = target(protocol, &endpoint);
        target.timeout = Some(Duration::from_secs(60));
        let batch = target.limits.batch_items;
        let (provider, counts) = provider(target);
        make(&provider, 3 * batch);
        let asked = Instant::now();
        let timeout = Duration::from_millis(300);
        assert!(provider.shutdown_with_timeout(timeout).is_err());
        assert!(asked.elapsed() < Duration::from_secs(10));
        let all = (counts.exported(), counts.dropped(), counts.unanswered());
        assert_eq!(all, (0, 2 * batch as u64, batch as u64), "{protocol:?}");
    }
}

/// The same, but its answer comes after the time for the flush is over: too late to be counted as
/// exported, and not counted as dropped, since it arrived.
#[test]
fn an_answer_that_comes_too_late_is_not_counted_twice() {
    let receiver = Receiver::default();
    let (late, spans) = (Duration::from_millis(700), receiver.spans.clone());
    let take = move |body: Bytes| async move {
        spans.fetch_add(count(&body), Ordering::SeqCst);
        tokio::time::sleep(late).await;
    };
    let endpoint = anywhere(Router::new().route("/v1/traces", post(take)));
    let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
    make(&provider, 10);
    until("the request", || receiver.received() == 10);
    assert!(
        provider
            .shutdown_with_timeout(Duration::from_millis(50))
            .is_err()
    );
    let counted = || (counts.exported(), counts.dropped(), counts.unanswered());
    assert_eq!(counted(), (0, 0, 10));
    let end = Instant::now() + 2 * late;
    until("the late answer", || Instant::now() > end);
    assert_eq!(counted(), (0, 0, 10));
}

#[derive(Clone)]
struct Grpc {
    receiver: Receiver,
    rejected: i64,
}

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let header = request
            .metadata()
            .get("authorization")
            .and_then(|v| v.to_str().ok());
        match self.receiver.note(header) {
            0 => return Err(tonic::Status::unavailable("not yet")),
            1 => return Err(tonic::Status::resource_exhausted("slower, please")),
            _ => {}
        }
        let spans = count(&request.into_inner().encode_to_vec());
        self.receiver.spans.fetch_add(spans, Ordering::SeqCst);
        let partial = ExportTracePartialSuccess {
            rejected_spans: self.rejected,
            error_message: "too old".to_owned(),
        };
        let partial_success = (self.rejected > 0).then_some(partial);
        Ok(tonic::Response::new(ExportTraceServiceResponse {
            partial_success,
        }))
    }
}

fn grpc_receiver(service: Grpc) -> Router {
    tonic::service::Routes::new(TraceServiceServer::new(service)).into_axum_router()
}

#[test]
fn over_grpc_everything_arrives_and_a_partial_success_is_counted() {
    let receiver = Receiver::default();
    let endpoint = anywhere(grpc_receiver(Grpc {
        receiver: receiver.clone(),
        rejected: 3,
    }));
    let (provider, counts) = provider(target(OtlpProtocol::Grpc, &endpoint));
    make(&provider, 100);
    provider.shutdown().unwrap();
    assert_eq!(receiver.received(), 100);
    assert_eq!(*lock(&receiver.authorization), "Bearer secret");
    assert_eq!(
        (counts.exported() + counts.rejected(), counts.dropped()),
        (100, 0)
    );
    assert!(counts.rejected() >= 3);
}

/// Takes all, and says of each request what `partial` says.
fn http_receiver_that_says(receiver: &Receiver, partial: ExportTracePartialSuccess) -> Router {
    let spans = receiver.spans.clone();
    let answer = ExportTraceServiceResponse {
        partial_success: Some(partial),
    };
    let take = move |body: Bytes| async move {
        spans.fetch_add(count(&body), Ordering::SeqCst);
        let protobuf = [("content-type", "application/x-protobuf")];
        (protobuf, answer.encode_to_vec())
    };
    Router::new().route("/v1/traces", post(take))
}

#[test]
fn over_http_a_partial_success_is_counted_and_a_mere_warning_is_none() {
    for (rejected, message) in [(3, "too old"), (0, "soon too old")] {
        let receiver = Receiver::default();
        let partial = ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: message.to_owned(),
        };
        let endpoint = anywhere(http_receiver_that_says(&receiver, partial));
        let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
        make(&provider, 5);
        provider.shutdown().unwrap();
        let rejected = u64::try_from(rejected).unwrap();
        let counted = (receiver.received(), counts.exported(), counts.rejected());
        assert_eq!(counted, (5, 5 - rejected, rejected), "{message}");
    }
}

#[test]
fn a_receiver_that_says_when_is_not_asked_before() {
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let times = asked.clone();
    let busy_once = move || async move {
        let mut times = lock(&times);
        times.push(Instant::now());
        let first = times.len() == 1;
        let status = if first {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            StatusCode::OK
        };
        (status, [("retry-after", "1")])
    };
    let endpoint = anywhere(Router::new().route("/v1/traces", post(busy_once)));
    let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
    make(&provider, 1);
    until("the second attempt", || counts.exported() == 1);
    let asked = lock(&asked);
    // By itself it would have asked again after a tenth of that.
    assert!(asked[1] - asked[0] >= Duration::from_secs(1), "{asked:?}");
}

#[test]
fn an_unsampled_span_is_not_sent() {
    let receiver = Receiver::default();
    let endpoint = anywhere(http_receiver(&receiver, |_| StatusCode::OK));
    let pipe = SpanPipe::new(target(OtlpProtocol::HttpProtobuf, &endpoint));
    let provider = SdkTracerProvider::builder()
        .with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOff)
        .with_span_processor(pipe)
        .build();
    make(&provider, 10);
    provider.shutdown().unwrap();
    assert_eq!(receiver.requests.load(Ordering::SeqCst), 0);
}

/// A receiver whose answers are given, and what arrived at it.
fn answers(
    answer: impl Fn() -> axum::response::Response + Clone + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let take = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let answer = answer();
        async move { answer }
    };
    (anywhere(Router::new().fallback(take)), asked)
}

#[test]
fn only_an_otlp_answer_is_success() {
    let page = "<html>log in</html>";
    let html = ("content-type", "text/html");
    let protobuf = ("content-type", "application/x-protobuf");
    let json = ("content-type", "application/json; charset=utf-8");
    for (header, body, taken) in [
        (html, page, false),
        (protobuf, page, false),
        (json, page, false),
        (json, "[]", false),
        (("x-none", ""), page, false),
        (html, "", true),
        (("x-none", ""), "", true),
        (json, "{}", true),
        (json, r#"{"partialSuccess":{}}"#, true),
    ] {
        let (endpoint, _) = answers(move || ([header], body).into_response());
        let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
        make(&provider, 3);
        let _ = provider.shutdown();
        let expected = if taken { (3, 0) } else { (0, 3) };
        assert_eq!(
            (counts.exported(), counts.rejected()),
            expected,
            "{header:?} {body:?}"
        );
    }
}

#[test]
fn a_redirect_is_followed_when_it_keeps_method_and_body() {
    for (status, followed) in [
        (StatusCode::MOVED_PERMANENTLY, false),
        (StatusCode::FOUND, false),
        (StatusCode::SEE_OTHER, false),
        (StatusCode::NOT_MODIFIED, false),
        (StatusCode::TEMPORARY_REDIRECT, true),
        (StatusCode::PERMANENT_REDIRECT, true),
    ] {
        let receiver = Receiver::default();
        let redirect = move || async move { (status, [("location", "/moved/v1/traces")]) };
        let app = Router::new().route("/v1/traces", post(redirect));
        let endpoint = anywhere(app.nest("/moved", http_receiver(&receiver, |_| StatusCode::OK)));
        let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
        make(&provider, 3);
        let _ = provider.shutdown();
        let expected = if followed { (3, 3, 0) } else { (0, 0, 3) };
        let counted = (receiver.received(), counts.exported(), counts.rejected());
        assert_eq!(counted, expected, "{status}");
        let header = if followed { "Bearer secret" } else { "" };
        assert_eq!(*lock(&receiver.authorization), header, "{status}");
    }
}

#[test]
fn a_redirect_in_a_circle_ends_and_secrets_stay_with_their_host() {
    let (endpoint, asked) =
        answers(|| (StatusCode::TEMPORARY_REDIRECT, [("location", "/again")]).into_response());
    let (provider_, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
    make(&provider_, 1);
    let _ = provider_.shutdown();
    assert_eq!(counts.rejected(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 11);

    // Another name of the same machine is another host.
    let receiver = Receiver::default();
    let to = anywhere(http_receiver(&receiver, |_| StatusCode::OK));
    let location = to.replace("127.0.0.1", "localhost") + "/v1/traces";
    let (endpoint, _) = answers(move || {
        (
            StatusCode::TEMPORARY_REDIRECT,
            [("location", location.clone())],
        )
            .into_response()
    });
    let (provider, counts) = provider(target(OtlpProtocol::HttpProtobuf, &endpoint));
    make(&provider, 1);
    let _ = provider.shutdown();
    assert_eq!(
        (receiver.requests.load(Ordering::SeqCst), counts.rejected()),
        (0, 1)
    );
}

#[test]
fn a_timeout_of_zero_is_no_limit() {
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = Receiver::default();
        let endpoint = if protocol == "grpc" {
            anywhere(grpc_receiver(Grpc {
                receiver: receiver.clone(),
                rejected: 0,
            }))
        } else {
            anywhere(http_receiver(&receiver, |_| StatusCode::OK))
        };
        let settings = Settings::from_vars(|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
            "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
            "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("0".to_owned()),
            _ => None,
        });
        let target = Target::new(Signal::Traces, &settings).unwrap().unwrap();
        let (provider, counts) = provider(target);
        make(&provider, 3);
        provider.shutdown().unwrap();
        assert_eq!(
            (receiver.received(), counts.exported()),
            (3, 3),
            "{protocol}"
        );
    }
}

#[test]
fn a_user_in_the_address_is_a_header_and_the_sender_says_who_it_is() {
    type Seen = Arc<Mutex<(String, String)>>;
    let seen: Seen = Arc::default();
    let note = seen.clone();
    let take = move |headers: HeaderMap| async move {
        let text = |name| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        *lock(&note) = (
            text("authorization").unwrap_or_default(),
            text("user-agent").unwrap_or_default(),
        );
    };
    let endpoint = anywhere(Router::new().fallback(post(take)));
    let endpoint = endpoint.replace("http://", "http://me:s%40y@");
    let settings = Settings::from_vars(|name| {
        (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone())
    });
    let target = Target::new(Signal::Traces, &settings).unwrap().unwrap();
    assert!(!format!("{target:?}").contains("s%40y"));
    let (provider, _) = provider(target);
    make(&provider, 1);
    provider.shutdown().unwrap();
    let (user, agent) = lock(&seen).clone();
    // "me:s@y" in Base64.
    assert_eq!(user, "Basic bWU6c0B5");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        agent,
        format!("telemetry/{version} OTel-OTLP-Exporter-Rust/{version}")
    );
}
