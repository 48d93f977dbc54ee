//! Backends on another machine, as the services see them: takes OTLP over gRPC, counts the spans and log
//! records in it, and keeps nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::counters::Counters;

/// As much as the Collector takes in one message.
const LARGEST: usize = 16 << 20;

#[derive(Clone, Default)]
struct Counted(Arc<Counts>);

#[derive(Default)]
struct Counts {
    spans: AtomicU64,
    logs: AtomicU64,
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
        let spans = self.counted.0.spans.load(Ordering::Relaxed);
        let logs = self.counted.0.logs.load(Ordering::Relaxed);
        Counters {
            spans_received: spans,
            spans_stored: spans,
            logs_received: logs,
            logs_stored: logs,
            ..Counters::default()
        }
    }
}

async fn serve(listener: std::net::TcpListener, counted: Counted) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let traces = TraceServiceServer::new(counted.clone()).max_decoding_message_size(LARGEST);
    let logs = LogsServiceServer::new(counted.clone()).max_decoding_message_size(LARGEST);
    let metrics = MetricsServiceServer::new(counted).max_decoding_message_size(LARGEST);
    let routes = Routes::new(traces).add_service(logs).add_service(metrics);
    axum::serve(listener, routes.into_axum_router()).await?;
    Ok(())
}

fn count(counter: &AtomicU64, items: usize) {
    counter.fetch_add(items as u64, Ordering::Relaxed);
}

#[tonic::async_trait]
impl TraceService for Counted {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request
            .get_ref()
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans);
        count(&self.0.spans, scopes.map(|scope| scope.spans.len()).sum());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Counted {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let scopes = request
            .get_ref()
            .resource_logs
            .iter()
            .flat_map(|resource| &resource.scope_logs);
        count(
            &self.0.logs,
            scopes.map(|scope| scope.log_records.len()).sum(),
        );
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Counted {
    async fn export(
        &self,
        _: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
