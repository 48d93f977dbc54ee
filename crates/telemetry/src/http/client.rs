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

use super::{bounded, known_method, status_text};
use crate::Propagation;
use crate::metrics::{BoundHistogram, Histogram, Metrics};

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
    status: Option<u16>,
    error_type: Option<&'static str>,
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

    /// The wrapped client, to build requests with.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request. Errors are those of [`reqwest::Client::execute`].
    pub async fn execute(&self, mut request: Request) -> reqwest::Result<Response> {
        let instruments = &*self.instruments;
        let method = known_method(request.method());
        // An address of IPv6 has brackets in a URL only.
        let host = request.url().host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = request.url().port_or_known_default().unwrap_or_default();
        let parent = Context::current();
        let context = match &instruments.tracer {
            Some(tracer) => {
                let mut builder = SpanBuilder::from_name(method).with_kind(SpanKind::Client);
                builder.attributes = Some(vec![
                    KeyValue::new(HTTP_REQUEST_METHOD, method),
                    KeyValue::new(URL_FULL, full_url(request.url())),
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
            Err(error) => Err(error_type(error)),
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
        let (status, error_type) = match self.result {
            Some(Ok(status)) => (Some(status), None),
            Some(Err(error_type)) => (None, Some(error_type)),
            None => (None, Some("cancelled")),
        };
        let span = self.context.span();
        if self.instruments.enabled {
            let outcome = Outcome {
                method: self.method,
                authority: std::mem::take(&mut self.authority),
                status,
                error_type,
            };
            self.instruments
                .series(outcome)
                .record(elapsed, Some(span.span_context()));
        }
        if self.instruments.tracer.is_none() {
            // The current span is the caller's, not ours to end.
            return;
        }
        if let Some(status) = status {
            span.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
            if status >= 400 {
                span.set_attribute(KeyValue::new(ERROR_TYPE, status_text(status)));
                span.set_status(Status::error(""));
            }
        }
        if let Some(error_type) = error_type {
            span.set_attribute(KeyValue::new(ERROR_TYPE, error_type));
            span.set_status(Status::error(error_type));
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
        ];
        if let Some(status) = outcome.status {
            attributes.push(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
            if status >= 400 {
                attributes.push(KeyValue::new(ERROR_TYPE, status_text(status)));
            }
        }
        attributes.extend(
            outcome
                .error_type
                .map(|error| KeyValue::new(ERROR_TYPE, error)),
        );
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(outcome)
            .or_insert_with(|| self.histogram.bind(&attributes))
            .clone()
    }
}

fn error_type(error: &reqwest::Error) -> &'static str {
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

/// `url.full` must not carry credentials.
fn full_url(url: &url::Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return bounded(url.as_str()).to_owned();
    }
    let mut url = url.clone();
    // Both fail only for URLs without a host, which cannot carry credentials.
    let _ = url.set_username("REDACTED");
    let _ = url.set_password(Some("REDACTED"));
    bounded(url.as_str()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_reach_a_span() {
        let url = url::Url::parse("http://me:secret@users:8000/users?name=a").unwrap();
        assert_eq!(
            full_url(&url),
            "http://REDACTED:REDACTED@users:8000/users?name=a"
        );
    }
}
