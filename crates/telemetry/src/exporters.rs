//! The SDK's OTLP exporters, with what this crate read from the environment and its own connections.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use tokio::runtime::Runtime;
use tonic::metadata::MetadataMap;
use url::Url;

use crate::Error;
use crate::settings::{Otlp, OtlpProtocol, Settings, Signal};
use crate::transport;

/// For the SDK, which knows no "no limit": a day.
const NO_LIMIT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// What the SDK gets in place of an answer that is none of OTLP's: a status that it does not try again.
const NO_OTLP: StatusCode = StatusCode::NOT_ACCEPTABLE;

macro_rules! exporter {
    ($name:ident, $type:ident, $signal:expr, $builder:expr) => {
        pub(crate) fn $name(settings: &Settings) -> Result<$type, Error> {
            let (signal, otlp) = ($signal, settings.otlp($signal));
            let refused = |reason| Error::exporter(signal, reason);
            let url = otlp.endpoint.clone().map_err(refused)?;
            let timeout = otlp.timeout.unwrap_or(NO_LIMIT);
            let builder = $builder(settings);
            let built = if otlp.protocol == OtlpProtocol::Grpc {
                let endpoint = transport::grpc_endpoint(otlp, &url).map_err(refused)?;
                let builder = builder
                    .with_tonic()
                    .with_channel(transport::connect(&endpoint))
                    .with_metadata(MetadataMap::from_headers(otlp.headers.clone()))
                    .with_timeout(timeout);
                if otlp.gzip {
                    builder.with_compression(Compression::Gzip).build()
                } else {
                    builder.build()
                }
            } else {
                let builder = builder
                    .with_http()
                    .with_protocol(http_protocol(otlp))
                    .with_endpoint(without_query(&url))
                    .with_http_client(Client::new(otlp, &url).map_err(refused)?)
                    .with_timeout(timeout);
                if otlp.gzip {
                    builder.with_compression(Compression::Gzip).build()
                } else {
                    builder.build()
                }
            };
            built.map_err(|error| refused(error.to_string()))
        }
    };
}

exporter!(spans, SpanExporter, Signal::Traces, |_| {
    SpanExporter::builder()
});
exporter!(logs, LogExporter, Signal::Logs, |_| LogExporter::builder());
exporter!(
    metrics,
    MetricExporter,
    Signal::Metrics,
    |settings: &Settings| {
        MetricExporter::builder().with_temporality(settings.metric_temporality)
    }
);

/// What the SDK sees and logs: a query may hold a secret. The client has the whole address.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

fn http_protocol(otlp: &Otlp) -> Protocol {
    if otlp.protocol == OtlpProtocol::HttpJson {
        Protocol::HttpJson
    } else {
        Protocol::HttpBinary
    }
}

/// The SDK's exporters run on threads without a Tokio runtime; this client brings its own.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    timeout: Option<std::time::Duration>,
    runtime: Mutex<Option<Runtime>>,
}

impl Client {
    fn new(otlp: &Otlp, url: &Url) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            http: transport::http_client(url, !otlp.headers.is_empty(), &otlp.tls)?,
            url: url.clone(),
            headers: otlp.headers.clone(),
            timeout: otlp.timeout,
            runtime: Mutex::new(Some(runtime)),
        })
    }

    async fn send(&self, request: Request<Bytes>) -> reqwest::Result<Response<Bytes>> {
        let (head, body) = request.into_parts();
        let mut request = self.http.request(head.method, self.url.clone()).body(body);
        for name in [http::header::CONTENT_TYPE, http::header::CONTENT_ENCODING] {
            if let Some(value) = head.headers.get(&name) {
                request = request.header(name, value);
            }
        }
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        let response = request.headers(self.headers.clone()).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = Response::new(response.bytes().await?);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

#[tonic::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtime.as_ref().ok_or("the exporter is shut down")?;
        let mut answer = runtime.block_on(self.send(request)).map_err(|error| {
            let error = error.without_url();
            let reason = transport::with_causes(&error);
            tracing::debug!(target: "opentelemetry", reason, "no answer from the receiver");
            error
        })?;
        // Of these two the SDK would tell the status alone.
        let status = answer.status();
        let reason = if status.is_success() {
            transport::export_response(answer.headers(), answer.body()).err()
        } else if status.is_redirection() {
            Some(transport::refusal(status, answer.headers()))
        } else {
            None
        };
        if let Some(reason) = reason {
            tracing::error!(target: "opentelemetry", reason, "the receiver refused an export");
            *answer.status_mut() = NO_OTLP;
        }
        Ok(answer)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may be dropped by an async thread, where a runtime must not wait for its end.
        let runtime = self
            .runtime
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::response::IntoResponse;
    use opentelemetry::trace::{Span, Tracer, TracerProvider};
    use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};

    use super::*;

    /// What a flush says of a receiver that answers so, and how often it was asked.
    fn flushed(
        protocol: &str,
        answer: impl Fn(usize) -> axum::response::Response + Clone + Send + Sync + 'static,
    ) -> (bool, usize) {
        let asked = Arc::new(Mutex::new(0));
        let count = asked.clone();
        let take = move || {
            let mut count = count.lock().unwrap();
            *count += 1;
            let answer = answer(*count);
            async move { answer }
        };
        let endpoint = crate::otlp::anywhere(Router::new().fallback(take));
        let settings = Settings::from_vars(|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
            "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
            // No limit, which is not no time at all.
            "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("0".to_owned()),
            _ => None,
        });
        let processor = BatchSpanProcessor::builder(spans(&settings).unwrap()).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .build();
        provider.tracer("test").start("work").end();
        let taken = provider.force_flush().is_ok();
        let _ = provider.shutdown();
        let asked = *asked.lock().unwrap();
        (taken, asked)
    }

    #[test]
    fn the_sdk_s_exporters_take_only_an_otlp_answer_for_success() {
        let html = [("content-type", "text/html")];
        let json = [("content-type", "application/json")];
        for protocol in ["http/protobuf", "http/json"] {
            let page = flushed(protocol, move |_| (html, "<html>").into_response());
            assert_eq!(page, (false, 1), "{protocol}");
            let login = flushed(protocol, move |_| {
                (StatusCode::FOUND, [("location", "/login")]).into_response()
            });
            assert_eq!(login, (false, 1), "{protocol}");
            let moved = flushed(protocol, move |asked| {
                if asked == 1 {
                    (StatusCode::PERMANENT_REDIRECT, [("location", "/new")]).into_response()
                } else {
                    StatusCode::OK.into_response()
                }
            });
            assert_eq!(moved, (true, 2), "{protocol}");
            let plain = flushed(protocol, move |_| (json, "{}").into_response());
            assert_eq!(plain, (true, 1), "{protocol}");
        }
    }
}
