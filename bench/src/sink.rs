//! Backends on another machine, as the services see them: takes OTLP over gRPC, counts the spans and log
//! records in it, and keeps nothing.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use axum::routing::post_service;
use prost::Message;
use prost::bytes::Bytes;
use tonic::Status;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::counters::Counters;

/// As much as the Collector takes in one message.
const LARGEST: usize = 16 << 20;

#[derive(Clone, Default)]
struct Counted {
    spans: Arc<AtomicU64>,
    logs: Arc<AtomicU64>,
}

pub(crate) struct Sink {
    pub(crate) port: u16,
    counted: Counted,
}

impl Sink {
    /// Listens until the program ends, on a thread of its own: the bench's is busy watching.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))
            .context("the sink for telemetry finds no free port")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let counted = Counted::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let kept = counted.clone();
        std::thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || runtime.block_on(serve(listener, kept)))?;
        Ok(Self { port, counted })
    }

    /// What arrived; it counts as stored, since nobody here can lose it.
    pub(crate) fn read(&self) -> Counters {
        let spans = self.counted.spans.load(Ordering::Relaxed);
        let logs = self.counted.logs.load(Ordering::Relaxed);
        Counters {
            spans_received: spans,
            spans_acknowledged: spans,
            spans_stored: spans,
            logs_received: logs,
            logs_acknowledged: logs,
            logs_stored: logs,
            ..Counters::default()
        }
    }
}

async fn serve(listener: std::net::TcpListener, counted: Counted) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut router = Router::new();
    for (service, counter) in [
        ("trace.v1.TraceService", counted.spans),
        ("logs.v1.LogsService", counted.logs),
        // Taken, and asked for by nobody.
        ("metrics.v1.MetricsService", Arc::default()),
    ] {
        let path = format!("/opentelemetry.proto.collector.{service}/Export");
        let counter = Counter(counter);
        let answer = service_fn(move |request: Request| {
            let counter = counter.clone();
            async move {
                let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(LARGEST);
                Ok::<_, Infallible>(grpc.unary(counter, request).await)
            }
        });
        router = router.route(&path, post_service(answer));
    }
    axum::serve(listener, router).await?;
    Ok(())
}

/// `Export...ServiceRequest` down to its items, which stay as they came: reading them would take the processor
/// from the services, which a receiver on another machine does not.
#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
}

impl ExportRequest {
    fn items(&self) -> usize {
        let scopes = self.resources.iter().flat_map(|resource| &resource.scopes);
        scopes.map(|scope| scope.items.len()).sum()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    items: Vec<Bytes>,
}

/// All was taken.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {}

#[derive(Clone)]
struct Counter(Arc<AtomicU64>);

impl UnaryService<ExportRequest> for Counter {
    type Response = ExportResponse;
    type Future = Ready<Result<tonic::Response<ExportResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<ExportRequest>) -> Self::Future {
        let items = request.get_ref().items();
        self.0.fetch_add(items as u64, Ordering::Relaxed);
        ready(Ok(tonic::Response::new(ExportResponse {})))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn items(request: &impl Message) -> usize {
        let bytes = Bytes::from(request.encode_to_vec());
        ExportRequest::decode(bytes).unwrap().items()
    }

    #[test]
    fn spans_and_log_records_of_all_scopes_are_counted() {
        let span = Span {
            name: "GET /users".to_owned(),
            ..Span::default()
        };
        let scope = |spans: usize| ScopeSpans {
            spans: vec![span.clone(); spans],
            ..ScopeSpans::default()
        };
        let resource = |scopes: &[usize]| ResourceSpans {
            scope_spans: scopes.iter().map(|spans| scope(*spans)).collect(),
            ..ResourceSpans::default()
        };
        let traces = ExportTraceServiceRequest {
            resource_spans: vec![resource(&[3, 0]), resource(&[]), resource(&[4])],
        };
        assert_eq!(items(&traces), 7);
        let logs = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                scope_logs: vec![ScopeLogs {
                    log_records: vec![LogRecord::default(); 5],
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        assert_eq!(items(&logs), 5);
    }
}
