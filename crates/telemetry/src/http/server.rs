use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath};
use http::header::{HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, ContextGuard, KeyValue, StringValue};
use opentelemetry_sdk::trace::SdkTracer;
use opentelemetry_semantic_conventions::attribute::{
    CLIENT_ADDRESS, ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PROTOCOL_VERSION, URL_PATH, URL_QUERY,
    URL_SCHEME, USER_AGENT_ORIGINAL,
};
use opentelemetry_semantic_conventions::metric::HTTP_SERVER_REQUEST_DURATION;
use pin_project_lite::pin_project;

use super::{CANCELLED, KNOWN_ERRORS, bounded, known_method, protocol_version, status_text};
use crate::metrics::{BoundHistogram, Histogram, Metrics};
use crate::profiling::{self, Entered, Tag};
use crate::propagation::{Headers, Propagation, traceparent};
use crate::redact;

/// Paths that no signal speaks of: they are asked all the time and by machines only.
const EXCLUDED: [&str; 4] = ["/healthz", "/readyz", "/metrics", profiling::PATH];

/// By this attribute a span says that a profile has samples of it, and under which `span_id`.
const PROFILE_ID: &str = "pyroscope.profile.id";

/// Adds a server span, the request's duration, an access log line and a `traceparent` response
/// header to every request. Put it outermost with [`axum::Router::layer`], so that the matched
/// route is known.
#[derive(Debug, Clone)]
pub struct ServerLayer {
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    tracer: Option<SdkTracer>,
    propagation: Propagation,
    profiling: bool,
    durations: Durations,
}

impl ServerLayer {
    pub(crate) fn new(
        tracer: Option<SdkTracer>,
        propagation: Propagation,
        metrics: &Metrics,
        profiling: bool,
    ) -> Self {
        let histogram = metrics.duration(
            HTTP_SERVER_REQUEST_DURATION,
            "Duration of HTTP server requests",
        );
        let durations = Durations {
            enabled: metrics.enabled(),
            histogram,
            series: RwLock::default(),
        };
        Self {
            server: Arc::new(Server {
                tracer,
                propagation,
                profiling,
                durations,
            }),
        }
    }

    /// Makes six series exist for each route that is read with `GET`, at zero, before its first
    /// request: 200, 500, 502, 503, 504 and `cancelled`. An idle service is then measured, not
    /// absent, and the first errors are in every rate: a rate begins with a series' second value.
    #[must_use]
    pub fn with_known_routes<'a>(self, routes: impl IntoIterator<Item = &'a str>) -> Self {
        let answers = KNOWN_ERRORS.map(Some);
        for route in routes {
            for status in answers.into_iter().chain([Some(200), None]) {
                let _ = self.server.durations.series("GET", Some(route), status);
            }
        }
        self
    }
}

impl<S> tower::Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService {
            inner,
            server: self.server.clone(),
        }
    }
}

/// The service made by [`ServerLayer`].
#[derive(Debug, Clone)]
pub struct ServerService<S> {
    inner: S,
    server: Arc<Server>,
}

impl<S, B, R> tower::Service<Request<B>> for ServerService<S>
where
    S: tower::Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = (!EXCLUDED.contains(&request.uri().path()))
            .then(|| Exchange::start(self.server.clone(), &request));
        ServerFuture {
            inner: self.inner.call(request),
            exchange,
        }
    }
}

pin_project! {
    /// The answer on its way; its span is current whenever it is polled.
    pub struct ServerFuture<F> {
        #[pin]
        inner: F,
        exchange: Option<Exchange>,
    }
}

impl<F, R, E> Future for ServerFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let entered = this.exchange.as_ref().map(Exchange::enter);
        let result = std::task::ready!(this.inner.poll(task));
        Poll::Ready(match result {
            Ok(mut response) => {
                if let Some(exchange) = this.exchange.as_mut() {
                    exchange.answered(&mut response);
                }
                drop(entered);
                drop(this.exchange.take());
                Ok(response)
            }
            Err(error) => Err(error),
        })
    }
}

/// One request from its head to its answer's head. Dropped without an answer, it is `cancelled`.
struct Exchange {
    server: Arc<Server>,
    context: Context,
    method: &'static str,
    route: Option<MatchedPath>,
    path: Box<str>,
    started: Instant,
    /// Whose its CPU time is in profiles, if there are any.
    tag: Option<Tag>,
    profiled: bool,
    finished: bool,
}

impl Exchange {
    fn start<B>(server: Arc<Server>, request: &Request<B>) -> Self {
        let method = known_method(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let parent = server
            .propagation
            .extract_with_context(&Context::new(), &Headers(request.headers()));
        let context = match &server.tracer {
            Some(tracer) => {
                let builder = span_builder(request, method, route.as_ref());
                let span = tracer.build_with_context(builder, &parent);
                parent.with_span(span)
            }
            None => parent,
        };
        let path = bounded(request.uri().path()).into();
        let tag = server.profiling.then(|| {
            let route = route.as_ref().map(MatchedPath::as_str);
            // Without a tracer, the context's span is the caller's.
            let span = server.tracer.is_some().then(|| context.span());
            Tag::of_request(method, route, span.as_ref().map(|span| span.span_context()))
        });
        let mut exchange = Self {
            server,
            context,
            method,
            route,
            path,
            started: Instant::now(),
            tag,
            profiled: false,
            finished: false,
        };
        exchange.name_profile();
        exchange
    }

    fn enter(&self) -> (ContextGuard, Option<Entered>) {
        (self.context.clone().attach(), self.tag.map(Tag::enter))
    }

    /// Asked when the request begins and when it ends: a profile may begin or end in between.
    fn name_profile(&mut self) {
        if self.profiled || self.tag.is_none() || !profiling::active() {
            return;
        }
        let span = self.context.span();
        if span.is_recording() {
            self.profiled = true;
            let id = span.span_context().span_id().to_string();
            span.set_attribute(KeyValue::new(PROFILE_ID, id));
        }
    }

    fn route(&self) -> Option<&str> {
        self.route.as_ref().map(MatchedPath::as_str)
    }

    fn answered<R>(&mut self, response: &mut Response<R>) {
        self.finished = true;
        self.name_profile();
        let status = response.status().as_u16();
        let failed = error_type(Some(status));
        let elapsed = self.started.elapsed().as_secs_f64();
        let span = self.context.span();
        let value = traceparent(&self.context).and_then(|value| HeaderValue::try_from(value).ok());
        if let Some(value) = value {
            response
                .headers_mut()
                .insert(HeaderName::from_static("traceparent"), value);
        }
        self.record(elapsed, Some(status));
        self.access_log(status, elapsed);
        if span.is_recording() {
            span.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
            if let Some(error_type) = failed {
                span.set_attribute(KeyValue::new(ERROR_TYPE, error_type));
                span.set_status(Status::error(""));
            }
        }
        span.end();
    }

    fn access_log(&self, status: u16, elapsed: f64) {
        let (method, path, route) = (self.method, &*self.path, self.route().unwrap_or_default());
        // Made once for both, the line and the record.
        let message = format!("{method} {path} {status}");
        if status >= 500 {
            tracing::error!(
                target: "access",
                message = message.as_str(), http.request.method = method, url.path = path,
                http.route = route, http.response.status_code = status, duration = elapsed
            );
        } else {
            tracing::info!(
                target: "access",
                message = message.as_str(), http.request.method = method, url.path = path,
                http.route = route, http.response.status_code = status, duration = elapsed
            );
        }
    }

    fn record(&self, elapsed: f64, status: Option<u16>) {
        let durations = &self.server.durations;
        if durations.enabled {
            let series = durations.series(self.method, self.route(), status);
            series.record(elapsed, Some(self.context.span().span_context()));
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.name_profile();
        let elapsed = self.started.elapsed().as_secs_f64();
        self.record(elapsed, None);
        let span = self.context.span();
        span.set_attribute(KeyValue::new(ERROR_TYPE, CANCELLED));
        span.set_status(Status::error("the caller went away before the answer"));
        span.end();
    }
}

fn span_builder<B>(
    request: &Request<B>,
    method: &'static str,
    route: Option<&MatchedPath>,
) -> SpanBuilder {
    let uri = request.uri();
    let mut attributes = Vec::with_capacity(10);
    attributes.push(KeyValue::new(HTTP_REQUEST_METHOD, method));
    attributes.push(KeyValue::new(URL_SCHEME, "http"));
    attributes.push(KeyValue::new(URL_PATH, bounded(uri.path()).to_owned()));
    if method == "_OTHER" {
        let original = bounded(request.method().as_str()).to_owned();
        attributes.push(KeyValue::new(HTTP_REQUEST_METHOD_ORIGINAL, original));
    }
    if let Some(query) = uri.query() {
        attributes.push(KeyValue::new(
            URL_QUERY,
            bounded(&redact::query(query)).to_owned(),
        ));
    }
    if let Some(version) = protocol_version(request.version()) {
        attributes.push(KeyValue::new(NETWORK_PROTOCOL_VERSION, version));
    }
    if let Some(agent) = request
        .headers()
        .get(USER_AGENT)
        .and_then(|v| v.to_str().ok())
    {
        attributes.push(KeyValue::new(
            USER_AGENT_ORIGINAL,
            bounded(agent).to_owned(),
        ));
    }
    if let Some(ConnectInfo(peer)) = request
        .extensions()
        .get::<ConnectInfo<std::net::SocketAddr>>()
    {
        attributes.push(KeyValue::new(CLIENT_ADDRESS, address(peer.ip())));
    }
    let known = if method == "_OTHER" { "HTTP" } else { method };
    let name = match route {
        Some(route) => {
            attributes.push(KeyValue::new(HTTP_ROUTE, route.as_str().to_owned()));
            format!("{known} {}", route.as_str()).into()
        }
        None => Cow::Borrowed(known),
    };
    let mut builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
    builder.attributes = Some(attributes);
    builder
}

/// An address as text. Callers are few and come again and again, so that each thread keeps the last.
fn address(ip: IpAddr) -> StringValue {
    thread_local! {
        static LAST: RefCell<Option<(IpAddr, Arc<str>)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some((known, text)) if *known == ip => text.clone().into(),
        _ => {
            let text: Arc<str> = ip.to_string().into();
            *last = Some((ip, text.clone()));
            text.into()
        }
    })
}

/// A 5xx is an error, and so is no answer.
fn error_type(status: Option<u16>) -> Option<Cow<'static, str>> {
    match status {
        None => Some(CANCELLED.into()),
        Some(status) => (status >= 500).then(|| status_text(status)),
    }
}

/// The histogram's series, found without making a string.
#[derive(Debug)]
struct Durations {
    enabled: bool,
    histogram: Histogram,
    series: RwLock<HashMap<Box<str>, HashMap<Outcome, BoundHistogram>>>,
}

#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
struct Outcome {
    method: &'static str,
    /// `None` when there was no answer.
    status: Option<u16>,
}

impl Durations {
    fn series(
        &self,
        method: &'static str,
        route: Option<&str>,
        status: Option<u16>,
    ) -> BoundHistogram {
        let outcome = Outcome { method, status };
        let route_key = route.unwrap_or_default();
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known
            .get(route_key)
            .and_then(|outcomes| outcomes.get(&outcome))
        {
            return series.clone();
        }
        drop(known);
        let mut attributes = vec![
            KeyValue::new(HTTP_REQUEST_METHOD, method),
            KeyValue::new(URL_SCHEME, "http"),
        ];
        attributes.extend(route.map(|route| KeyValue::new(HTTP_ROUTE, route.to_owned())));
        attributes.extend(
            status.map(|status| KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status))),
        );
        attributes.extend(error_type(status).map(|error| KeyValue::new(ERROR_TYPE, error)));
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(route_key.into())
            .or_default()
            .entry(outcome)
            .or_insert_with(|| self.histogram.bind(&attributes))
            .clone()
    }
}
