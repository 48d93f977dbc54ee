//! From settings to providers, and back down without losing what was answered.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use opentelemetry::global;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{self, LogExporter, LoggerProviderBuilder, SdkLoggerProvider};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{
    self, SdkTracer, SdkTracerProvider, SimpleSpanProcessor, SpanExporter, SpanProcessor,
    TracerProviderBuilder,
};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::database::Database;
use crate::http::{Client, ServerLayer};
use crate::log_crate::OwnTarget;
use crate::metrics::{self, Histogram, Metrics, SCOPE};
use crate::otlp::{Counts, LogLayer, LogPipe, SpanPipe, Target};
use crate::profiling::{self, Pusher};
use crate::propagation::Propagation;
use crate::settings::{Batches, Exporter, Settings, Signal};
use crate::span_limits::Cut;
use crate::spans_only::SpansOnly;
use crate::{Error, exporters, resource};

/// How long one signal may take to flush at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What the exporters themselves log must not be exported: it would feed itself.
const NEVER_EXPORTED: [&str; 9] = [
    "hyper",
    "h2",
    "tonic",
    "reqwest",
    "tower",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry_otlp",
    "hyper_util",
];

/// Starts telemetry for this process as the environment says: sets the global tracer, meter,
/// propagator and `tracing` subscriber. `name` and `version` are the defaults of `service.name` and
/// `service.version`.
///
/// Call it inside the Tokio runtime and keep what it returns until the end of `main`.
///
/// # Errors
/// [`Error::Exporter`] when an OTLP setting cannot be used at all, [`Error::PrometheusListener`]
/// when the scrape address is taken, [`Error::AlreadyInitialised`] when called twice.
pub fn init(name: &'static str, version: &'static str) -> Result<Telemetry, Error> {
    Builder::new(name, version, Settings::from_env()).install()
}

/// [`init`] in steps, for tests and for exporters of your own.
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    resource: Resource,
    tracer: TracerProviderBuilder,
    logger: LoggerProviderBuilder,
    meter: MeterProviderBuilder,
    traces: bool,
    logs: bool,
    metrics: bool,
    counts: Vec<(Signal, Arc<Counts>)>,
    log_layer: Option<LogLayer>,
}

impl Builder {
    /// Starts from settings; nothing is exported yet.
    pub fn new(name: &'static str, version: &'static str, settings: Settings) -> Self {
        let resource = resource::build(name, version, &settings);
        Self {
            tracer: SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_sampler(settings.sampler.for_sdk())
                .with_span_limits(settings.span_limits.for_sdk()),
            logger: SdkLoggerProvider::builder()
                .with_resource(resource.clone())
                .with_log_processor(OwnTarget),
            meter: SdkMeterProvider::builder()
                .with_resource(resource.clone())
                .with_view(metrics::durations_view),
            resource,
            settings,
            traces: false,
            logs: false,
            metrics: false,
            counts: Vec::new(),
            log_layer: None,
        }
    }

    /// Adds an exporter of spans, called as each span ends.
    #[must_use]
    pub fn with_span_exporter(mut self, exporter: impl SpanExporter + 'static) -> Self {
        self.traces = true;
        self.with_span_processor(SimpleSpanProcessor::new(exporter))
    }

    fn with_span_processor(mut self, processor: impl SpanProcessor + 'static) -> Self {
        let limit = self.settings.span_limits.value_length;
        self.tracer = self.tracer.with_span_processor(Cut { processor, limit });
        self
    }

    /// Adds an exporter of log records, called as each is written.
    #[must_use]
    pub fn with_log_exporter(mut self, exporter: impl LogExporter + 'static) -> Self {
        self.logger = self.logger.with_simple_exporter(exporter);
        self.logs = true;
        self
    }

    /// Adds an exporter of metrics, called every `OTEL_METRIC_EXPORT_INTERVAL` ms.
    #[must_use]
    pub fn with_metric_exporter(mut self, exporter: impl PushMetricExporter) -> Self {
        let reader = PeriodicReader::builder(exporter)
            .with_interval(self.settings.metric_interval)
            .build();
        self.meter = self.meter.with_reader(reader);
        self.metrics = true;
        self
    }

    fn with_configured_exporters(mut self) -> Result<Self, Error> {
        if self.settings.disabled {
            return Ok(self);
        }
        for exporter in self.settings.traces.clone() {
            self = match exporter {
                Exporter::Otlp => self.with_span_otlp()?,
                Exporter::Console | Exporter::Prometheus => {
                    self.with_span_exporter(opentelemetry_stdout::SpanExporter::default())
                }
            };
        }
        for exporter in self.settings.logs.clone() {
            self = match exporter {
                Exporter::Otlp => self.with_log_otlp()?,
                Exporter::Console | Exporter::Prometheus => {
                    self.with_log_exporter(opentelemetry_stdout::LogExporter::default())
                }
            };
        }
        for exporter in self.settings.metrics.clone() {
            self = match exporter {
                Exporter::Otlp => {
                    let exporter = exporters::metrics(&self.settings)?;
                    self.with_metric_exporter(exporter)
                }
                Exporter::Console => {
                    self.with_metric_exporter(opentelemetry_stdout::MetricExporter::default())
                }
                Exporter::Prometheus => self,
            };
        }
        Ok(self)
    }

    fn with_span_otlp(mut self) -> Result<Self, Error> {
        self.traces = true;
        let Some(target) = Target::new(Signal::Traces, &self.settings)? else {
            let exporter = exporters::spans(&self.settings)?;
            let Batches { delay, queue, size } = self.settings.span_batches;
            let mut batches = trace::BatchConfigBuilder::default().with_scheduled_delay(delay);
            if let Some(queue) = queue {
                batches = batches.with_max_queue_size(queue);
            }
            if let Some(size) = size {
                batches = batches.with_max_export_batch_size(size);
            }
            let processor = trace::BatchSpanProcessor::builder(exporter)
                .with_batch_config(batches.build())
                .build();
            return Ok(self.with_span_processor(processor));
        };
        let pipe = SpanPipe::new(target);
        self.counts.push((Signal::Traces, pipe.counts()));
        Ok(self.with_span_processor(pipe))
    }

    fn with_log_otlp(mut self) -> Result<Self, Error> {
        self.logs = true;
        let Some(target) = Target::new(Signal::Logs, &self.settings)? else {
            let exporter = exporters::logs(&self.settings)?;
            let Batches { delay, queue, size } = self.settings.log_batches;
            let mut batches = logs::BatchConfigBuilder::default().with_scheduled_delay(delay);
            if let Some(queue) = queue {
                batches = batches.with_max_queue_size(queue);
            }
            if let Some(size) = size {
                batches = batches.with_max_export_batch_size(size);
            }
            let processor = logs::BatchLogProcessor::builder(exporter)
                .with_batch_config(batches.build())
                .build();
            self.logger = self.logger.with_log_processor(processor);
            return Ok(self);
        };
        let pipe = LogPipe::new(target);
        self.counts.push((Signal::Logs, pipe.counts()));
        // With a second exporter the SDK hands each record to both.
        if self.settings.logs == [Exporter::Otlp] {
            self.log_layer = Some(pipe.layer());
        }
        self.logger = self.logger.with_log_processor(pipe);
        Ok(self)
    }

    /// Builds without touching anything global: for tests that run side by side. The one exception is
    /// the CPU profiler, which a process has once, where `PYROSCOPE_ENDPOINT` is set.
    pub fn build(self) -> Telemetry {
        let scraped =
            !self.settings.disabled && self.settings.metrics.contains(&Exporter::Prometheus);
        let attributes: Vec<_> = self
            .resource
            .iter()
            .map(|(key, value)| (key.as_str().to_owned(), value.as_str().into_owned()))
            .collect();
        let mut labels = attributes;
        labels.sort_unstable();
        let tracer_provider = self.traces.then(|| self.tracer.build());
        let logger_provider = self.logs.then(|| self.logger.build());
        let meter_provider = self.metrics.then(|| self.meter.build());
        let meter = meter_provider
            .as_ref()
            .map(|provider| provider.meter(SCOPE));
        let metrics = Metrics::new(meter, scraped, &labels).with_exemplars(self.settings.exemplars);
        for (signal, counts) in self.counts {
            metrics.exports(signal, counts);
        }
        metrics.runtime();
        let profiling = self.settings.profiling && !self.settings.disabled;
        let pyroscope = self.settings.pyroscope.as_ref();
        let pusher = pyroscope
            .filter(|_| profiling)
            .and_then(|target| Pusher::start(target, &self.resource));
        Telemetry {
            tracer: tracer_provider
                .as_ref()
                .map(|provider| provider.tracer(SCOPE)),
            propagation: Propagation::new(&self.settings.propagators),
            client_durations: Client::histogram(&metrics),
            database_durations: Database::histogram(&metrics),
            metrics,
            tracer_provider,
            logger_provider,
            meter_provider,
            log_layer: self.log_layer,
            pusher,
            settings: self.settings,
            finished: false,
        }
    }

    fn install(self) -> Result<Telemetry, Error> {
        let telemetry = self.with_configured_exporters()?.build();
        // Instruments and propagators made before these are set would stay without effect.
        global::set_text_map_propagator(telemetry.propagation.clone());
        if let Some(provider) = &telemetry.tracer_provider {
            global::set_tracer_provider(provider.clone());
        }
        if let Some(provider) = &telemetry.meter_provider {
            global::set_meter_provider(provider.clone());
        }
        telemetry.subscriber().try_init()?;
        for warning in &telemetry.settings.warnings {
            tracing::warn!(variable = warning.variable, "{warning}");
        }
        if !telemetry.settings.without_effect.is_empty() {
            let variables = telemetry.settings.without_effect.join(", ");
            tracing::warn!(variables, "variables are set that have no effect here");
        }
        if let Some(address) = telemetry.settings.prometheus_listener
            && telemetry.settings.metrics.contains(&Exporter::Prometheus)
            && !telemetry.settings.disabled
        {
            let listener = TcpListener::bind(address)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                .and_then(tokio::net::TcpListener::from_std)
                .map_err(|source| Error::PrometheusListener { address, source })?;
            let router = telemetry.metrics_router();
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Ok(telemetry)
    }
}

/// Telemetry of this process: makes the layers and clients, and flushes at the end.
///
/// [`shutdown`](Self::shutdown) is the way out. Dropped without it, on an error path say, it flushes
/// all the same, blocking the thread for at most five seconds a signal.
#[derive(Debug)]
#[must_use = "telemetry ends when this is dropped"]
pub struct Telemetry {
    settings: Settings,
    tracer: Option<SdkTracer>,
    propagation: Propagation,
    metrics: Metrics,
    client_durations: Histogram,
    database_durations: Histogram,
    tracer_provider: Option<SdkTracerProvider>,
    logger_provider: Option<SdkLoggerProvider>,
    log_layer: Option<LogLayer>,
    meter_provider: Option<SdkMeterProvider>,
    pusher: Option<Pusher>,
    finished: bool,
}

impl Telemetry {
    /// The layer for an axum router; apply it last, so that it is outermost.
    pub fn http_server(&self) -> ServerLayer {
        ServerLayer::new(
            self.tracer.clone(),
            self.propagation.clone(),
            &self.metrics,
            self.profiling(),
        )
    }

    /// Wraps an HTTP client for the upstream named `peer` (`service.peer.name`).
    pub fn http_client(&self, http: reqwest::Client, peer: &str) -> Client {
        let (tracer, propagation) = (self.tracer.clone(), self.propagation.clone());
        let histogram = self.client_durations.clone();
        Client::new(http, peer, tracer, propagation, &self.metrics, histogram)
    }

    /// Wraps a PostgreSQL pool; `peer` is the database's name as a node of the service graph.
    pub fn database(&self, pool: sqlx::PgPool, peer: &str) -> Database {
        let histogram = self.database_durations.clone();
        let comments = self.settings.sql_comments_per_second;
        let tracer = self.tracer.clone();
        Database::new(pool, peer, tracer, &self.metrics, histogram, comments)
    }

    /// Makes instruments of your own.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Pushes metrics once, in the background, where they are pushed at all. Called when every series that is to be at zero is
    /// made ([`ServerLayer::with_known_routes`] and the like) and before the first request, it lets a burst of errors right
    /// after the start be in the rates: the next push, an interval later, would be the first that anything knows.
    pub fn push_metrics(&self) {
        if let Some(provider) = self.meter_provider.clone() {
            // It waits for the receiver, and its failure is logged by the SDK.
            std::thread::spawn(move || provider.force_flush());
        }
    }

    /// `GET /metrics`, as OpenMetrics or as Prometheus' text format, by the request's `Accept`; empty unless
    /// `OTEL_METRICS_EXPORTER` has `prometheus`.
    pub fn metrics_router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        metrics::router(self.metrics.clone())
    }

    /// `GET /debug/pprof/profile?seconds=`: a CPU profile for `go tool pprof` and everything else that
    /// reads its format; empty when profiles are off (`TELEMETRY_PROFILING`, `OTEL_SDK_DISABLED`).
    ///
    /// It tells names of functions and what is asked most: keep it from the outside world.
    pub fn pprof_router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        if self.profiling() {
            profiling::router()
        } else {
            Router::new()
        }
    }

    fn profiling(&self) -> bool {
        self.settings.profiling && !self.settings.disabled
    }

    /// What `tracing` goes through: lines on standard output, records to the log exporters, and
    /// people's own spans (`#[instrument]`) to the span exporters, below this crate's spans.
    pub fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static + use<> {
        let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(self.settings.log_format)
            .with_ansi(false)
            .with_filter(self.filter());
        layers.push(lines.boxed());
        if let Some(records) = &self.log_layer {
            layers.push(records.clone().with_filter(self.exported()).boxed());
        } else if let Some(provider) = &self.logger_provider {
            let records = OpenTelemetryTracingBridge::new(provider).with_filter(self.exported());
            layers.push(records.boxed());
        }
        if let Some(tracer) = &self.tracer {
            let spans = tracing_opentelemetry::layer()
                .with_tracer(tracer.clone())
                .with_location(false)
                .with_threads(false)
                .with_level(false)
                .with_target(false)
                .with_tracked_inactivity(false);
            let spans = SpansOnly(spans).with_filter(self.exported());
            layers.push(spans.boxed());
        }
        Registry::default().with(layers)
    }

    fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.settings.log_filter)
    }

    fn exported(&self) -> EnvFilter {
        NEVER_EXPORTED.iter().fold(self.filter(), |filter, target| {
            match format!("{target}=off").parse() {
                Ok(directive) => filter.add_directive(directive),
                Err(_) => filter,
            }
        })
    }

    /// Flushes traces, logs and profiles, then metrics, off the async threads. Call it after the last
    /// request was answered.
    ///
    /// # Errors
    /// [`Error::Shutdown`] names each signal that could not be flushed in five seconds.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        tokio::task::spawn_blocking(move || self.flush())
            .await
            .unwrap_or_else(|error| Err(Error::Shutdown(error.to_string())))
    }

    fn flush(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        let (tracer, logger) = (self.tracer_provider.as_ref(), self.logger_provider.as_ref());
        // Side by side: with a receiver that is away, each takes its whole time.
        let pusher = &mut self.pusher;
        let (traces, logs, profiles) = std::thread::scope(|scope| {
            let traces = scope.spawn(|| tracer.map(|p| p.shutdown_with_timeout(FLUSH_TIMEOUT)));
            let profiles = scope.spawn(move || pusher.as_mut().map(|p| p.stop(FLUSH_TIMEOUT)));
            let logs = logger.map(|p| p.shutdown_with_timeout(FLUSH_TIMEOUT));
            let profiles = profiles.join().ok().flatten();
            (traces.join().ok().flatten(), logs, profiles)
        });
        let meter = self.meter_provider.as_ref();
        let metrics = meter.map(|provider| provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        let failures: Vec<_> = [("traces", traces), ("logs", logs), ("metrics", metrics)]
            .into_iter()
            .filter_map(|(signal, result)| Some(format!("{signal}: {}", result?.err()?)))
            .chain(
                profiles
                    .and_then(Result::err)
                    .map(|error| format!("profiles: {error}")),
            )
            .collect();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::Shutdown(failures.join("; ")))
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!("{error}");
        }
    }
}
