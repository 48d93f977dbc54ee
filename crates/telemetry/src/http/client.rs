use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{FutureExt, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, StringValue};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::trace::SdkTracer;
use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, SERVER_ADDRESS, SERVER_PORT,
    SERVICE_PEER_NAME, URL_FULL,
};
use opentelemetry_semantic_conventions::metric::HTTP_CLIENT_REQUEST_DURATION;
use reqwest::{Request, Response};

use super::{CANCELLED, KNOWN_ERRORS, bounded, known_method, status_text};
use crate::metrics::{BoundHistogram, Histogram, Metrics};
use crate::propagation::Propagation;
use crate::redact;

/// `error.type` of a call without an answer, as far as one is to be expected.
const NO_ANSWER: [&str; 4] = ["timeout", "connect", "request", CANCELLED];

/// A [`reqwest::Client`] for one upstream: each request gets a client span, carries the trace to
/// the upstream and is measured.
///
/// The span ends when the answer's head is there; reading the body is not part of it.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    instruments: Arc<Instruments>,
}

#[derive(Debug)]
struct Instruments {
    peer: StringValue,
    tracer: Option<SdkTracer>,
    propagation: Propagation,
    enabled: bool,
    histogram: Histogram,
    series: RwLock<HashMap<Outcome, BoundHistogram>>,
}

#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Outcome {
    method: &'static str,
    authority: (String, u16),
    result: Result<u16, &'static str>,
}

impl Client {
    pub(crate) fn new(
        http: reqwest::Client,
        peer: &str,
        tracer: Option<SdkTracer>,
        propagation: Propagation,
        metrics: &Metrics,
        histogram: Histogram,
    ) -> Self {
        let instruments = Instruments {
            peer: Arc::<str>::from(peer).into(),
            tracer,
            propagation,
            enabled: metrics.enabled(),
            histogram,
            series: RwLock::default(),
        };
        Self {
            http,
            instruments: Arc::new(instruments),
        }
    }

    pub(crate) fn histogram(metrics: &Metrics) -> Histogram {
        metrics.duration(
            HTTP_CLIENT_REQUEST_DURATION,
            "Duration of HTTP client requests",
        )
    }

    /// Makes nine series of `GET` requests to an upstream exist, at zero, before the first: 200, 500, 502, 503, 504, and
    /// `timeout`, `connect`, `request`, `cancelled`. The first errors are then in every rate.
    #[must_use]
    pub fn with_known_upstream(self, base: &url::Url) -> Self {
        let answers = [200].into_iter().chain(KNOWN_ERRORS);
        let outcomes = answers.map(Ok).chain(NO_ANSWER.map(Err));
        for result in outcomes {
            let _ = self.instruments.series(Outcome {
                method: "GET",
                authority: authority(base),
                result,
            });
        }
        self
    }

    /// The wrapped client, to build requests with.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request. Errors are those of [`reqwest::Client::execute`].
    pub async fn execute(&self, mut request: Request) -> reqwest::Result<Response> {
        let instruments = &*self.instruments;
        let method = known_method(request.method());
        let (host, port) = authority(request.url());
        let parent = Context::current();
        let context = match &instruments.tracer {
            Some(tracer) => {
                let mut builder = SpanBuilder::from_name(method).with_kind(SpanKind::Client);
                builder.attributes = Some(vec![
                    KeyValue::new(HTTP_REQUEST_METHOD, method),
                    KeyValue::new(URL_FULL, bounded(&redact::url(request.url())).to_owned()),
                    KeyValue::new(SERVER_ADDRESS, host.clone()),
                    KeyValue::new(SERVER_PORT, i64::from(port)),
                    KeyValue::new(SERVICE_PEER_NAME, instruments.peer.clone()),
                ]);
                parent.with_span(tracer.build_with_context(builder, &parent))
            }
            None => parent,
        };
        instruments
            .propagation
            .inject_context(&context, &mut HeaderInjector(request.headers_mut()));
        let mut call = Call {
            instruments,
            context,
            method,
            authority: (host, port),
            started: Instant::now(),
            result: None,
        };
        let answer = self
            .http
            .execute(request)
            .with_context(call.context.clone())
            .await;
        call.result = Some(match &answer {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => Err(no_answer(error)),
        });
        answer
    }
}

/// One call; ends its span when dropped, also when the caller stopped waiting.
struct Call<'a> {
    instruments: &'a Instruments,
    context: Context,
    method: &'static str,
    authority: (String, u16),
    started: Instant,
    result: Option<Result<u16, &'static str>>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let result = self.result.unwrap_or(Err(CANCELLED));
        let span = self.context.span();
        if self.instruments.enabled {
            let outcome = Outcome {
                method: self.method,
                authority: std::mem::take(&mut self.authority),
                result,
            };
            self.instruments
                .series(outcome)
                .record(elapsed, Some(span.span_context()));
        }
        if self.instruments.tracer.is_none() {
            // The current span is the caller's, not ours to end.
            return;
        }
        if let Ok(status) = result {
            span.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
        }
        if let Some(error_type) = error_type(result) {
            span.set_attribute(KeyValue::new(ERROR_TYPE, error_type));
            span.set_status(Status::error(result.err().unwrap_or_default()));
        }
        span.end();
    }
}

impl Instruments {
    fn series(&self, outcome: Outcome) -> BoundHistogram {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&outcome) {
            return series.clone();
        }
        drop(known);
        let (host, port) = &outcome.authority;
        let mut attributes = vec![
            KeyValue::new(HTTP_REQUEST_METHOD, outcome.method),
            KeyValue::new(SERVER_ADDRESS, host.clone()),
            KeyValue::new(SERVER_PORT, i64::from(*port)),
            KeyValue::new(SERVICE_PEER_NAME, self.peer.clone()),
        ];
        if let Ok(status) = outcome.result {
            attributes.push(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
        }
        attributes.extend(error_type(outcome.result).map(|error| KeyValue::new(ERROR_TYPE, error)));
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(outcome)
            .or_insert_with(|| self.histogram.bind(&attributes))
            .clone()
    }
}

fn authority(url: &url::Url) -> (String, u16) {
    // An address of IPv6 has brackets in a URL only.
    let host = url.host_str().unwrap_or_default();
    (
        host.trim_matches(['[', ']']).to_owned(),
        url.port_or_known_default().unwrap_or_default(),
    )
}

/// A 4xx is an error for a client, and so is no answer.
fn error_type(result: Result<u16, &'static str>) -> Option<Cow<'static, str>> {
    match result {
        Err(no_answer) => Some(no_answer.into()),
        Ok(status) => (status >= 400).then(|| status_text(status)),
    }
}

/// `error.type` of a call that got no answer.
fn no_answer(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else if error.is_body() || error.is_decode() {
        "body"
    } else if error.is_redirect() {
        "redirect"
    } else {
        "request"
    }
}
