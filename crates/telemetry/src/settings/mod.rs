//! `OTEL_*` variables, read once and in one place: the SDK gets what is read here.
//!
//! The OpenTelemetry specification asks that a value that is not understood is warned about and ignored,
//! so nothing here fails: what was ignored is kept in [`Settings::warnings`] and logged by
//! [`init`](crate::init) once there is a log to write to. The one exception is an address that OTLP
//! cannot be sent to, which ends the start.

mod otlp;
mod reader;
#[cfg(test)]
mod tests;
mod variables;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::trace as sdk;
use url::Url;

pub use otlp::{Otlp, Tls};
use reader::{Reader, pairs};

use crate::redact;

/// Where one signal goes. A list may name several, `OTEL_TRACES_EXPORTER=otlp,console`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exporter {
    /// OTLP to `OTEL_EXPORTER_OTLP_ENDPOINT`.
    Otlp,
    /// Standard output, for looking and for learning.
    Console,
    /// Served as OpenMetrics text for Prometheus to scrape. Metrics only.
    Prometheus,
}

/// How OTLP is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Protobuf over gRPC, port 4317 by default.
    Grpc,
    /// Protobuf over HTTP, port 4318 by default.
    HttpProtobuf,
    /// JSON over HTTP, port 4318 by default.
    HttpJson,
}

/// One of the three signals this crate exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Measurements.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    pub(crate) const fn variable_part(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// What is counted: for messages.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "metrics",
            Self::Logs => "log records",
        }
    }

    pub(crate) const fn thread(self) -> &'static str {
        match self {
            Self::Traces => "otlp-traces",
            Self::Metrics => "otlp-metrics",
            Self::Logs => "otlp-logs",
        }
    }

    pub(crate) const fn http_path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
            Self::Logs => "v1/logs",
        }
    }

    pub(crate) const fn grpc_path(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }
}

/// A header format that carries the trace from one service to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagator {
    /// W3C `traceparent` and `tracestate`.
    TraceContext,
    /// W3C `baggage`.
    Baggage,
}

/// What turns spans and log records into OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpEncoder {
    /// This crate's: encoded as they end, sent by a thread of its own. Compression and JSON are left
    /// to the SDK's.
    Direct,
    /// The SDK's batch processors and exporters.
    Sdk,
}

/// How log lines look on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-01-01T00:00:00.000Z  INFO users: message key=value trace_id=...`
    Text,
    /// One JSON object a line.
    Json,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Of the traces that begin here, the share that is recorded.
    pub ratio: f64,
    /// Whether a caller's decision wins.
    pub parent_based: bool,
}

impl Sampler {
    pub(crate) fn for_sdk(self) -> sdk::Sampler {
        let root = if self.ratio >= 1.0 {
            sdk::Sampler::AlwaysOn
        } else if self.ratio <= 0.0 {
            sdk::Sampler::AlwaysOff
        } else {
            sdk::Sampler::TraceIdRatioBased(self.ratio)
        };
        if self.parent_based {
            sdk::Sampler::ParentBased(Box::new(root))
        } else {
            root
        }
    }
}

/// How items of one signal are put together for an export. What is not set is the encoder's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    /// How long an item waits for others.
    pub delay: Duration,
    /// How many items may wait.
    pub queue: Option<usize>,
    /// How many items one request has at most.
    pub size: Option<usize>,
}

/// What bounds a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanLimits {
    /// `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`.
    pub attributes: u32,
    /// `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, in characters; `None`: no limit.
    pub value_length: Option<u32>,
    /// `OTEL_SPAN_EVENT_COUNT_LIMIT`.
    pub events: u32,
    /// `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`.
    pub event_attributes: u32,
    /// `OTEL_SPAN_LINK_COUNT_LIMIT`.
    pub links: u32,
    /// `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`.
    pub link_attributes: u32,
}

impl SpanLimits {
    pub(crate) fn for_sdk(&self) -> sdk::SpanLimits {
        sdk::SpanLimits {
            max_attributes_per_span: self.attributes,
            max_events_per_span: self.events,
            max_attributes_per_event: self.event_attributes,
            max_links_per_span: self.links,
            max_attributes_per_link: self.link_attributes,
        }
    }
}

/// Where profiles are pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pyroscope {
    /// `PYROSCOPE_ENDPOINT`; the path of the push is added to it.
    pub endpoint: Url,
    /// `PYROSCOPE_BASIC_AUTH_USER`.
    pub user: Option<String>,
    /// `PYROSCOPE_BASIC_AUTH_PASSWORD`.
    pub password: Option<Secret>,
    /// `PYROSCOPE_TENANT_ID`.
    pub tenant: Option<String>,
    /// `PYROSCOPE_UPLOAD_INTERVAL`, default 10 s.
    pub interval: Duration,
}

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn get(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

/// A variable whose value was ignored, and what is used in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The variable's name.
    pub variable: String,
    /// Its value.
    pub value: String,
    /// What would have been understood.
    pub expected: &'static str,
    /// What is used now.
    pub used: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={:?} is not understood and ignored: expected {}; using {}",
            self.variable, self.value, self.expected, self.used
        )
    }
}

/// Everything this crate reads from the environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `OTEL_SDK_DISABLED`: `true` turns every signal off; propagation stays.
    pub disabled: bool,
    /// `OTEL_TRACES_EXPORTER`, default `otlp`.
    pub traces: Vec<Exporter>,
    /// `OTEL_METRICS_EXPORTER`, default `otlp`.
    pub metrics: Vec<Exporter>,
    /// `OTEL_LOGS_EXPORTER`, default `otlp`.
    pub logs: Vec<Exporter>,
    /// `OTEL_EXPORTER_OTLP_TRACES_*`, else `OTEL_EXPORTER_OTLP_*`.
    pub traces_otlp: Otlp,
    /// The same for metrics.
    pub metrics_otlp: Otlp,
    /// The same for logs.
    pub logs_otlp: Otlp,
    /// `OTEL_BSP_*`.
    pub span_batches: Batches,
    /// `OTEL_BLRP_*`.
    pub log_batches: Batches,
    /// `OTEL_METRIC_EXPORT_INTERVAL`, default one minute.
    pub metric_interval: Duration,
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`, default cumulative.
    pub metric_temporality: Temporality,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`, default `parentbased_always_on`.
    pub sampler: Sampler,
    /// `OTEL_SPAN_*_LIMIT`, `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`, `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`.
    pub span_limits: SpanLimits,
    /// `OTEL_PROPAGATORS`, default `tracecontext,baggage`.
    pub propagators: Vec<Propagator>,
    /// `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT` (defaults `localhost`, 9464): a listener of its
    /// own for the scrape, opened only when one of the two is set. `/metrics` is in the service's
    /// own router in any case, see [`Telemetry::metrics_router`](crate::Telemetry::metrics_router).
    pub prometheus_listener: Option<SocketAddr>,
    /// `OTEL_METRICS_EXEMPLAR_FILTER`: whether observations may offer their trace (`trace_based`, the
    /// default) or not (`always_off`).
    pub exemplars: bool,
    /// `OTEL_SERVICE_NAME`; kept here because it wins over the name compiled in.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource_attributes: Vec<(String, String)>,
    /// `TELEMETRY_OTLP_ENCODER`: `direct`, the default, or `sdk`.
    pub otlp_encoder: OtlpEncoder,
    /// `TELEMETRY_SQL_COMMENTS_PER_SECOND`, default 100: how many statements a second carry their
    /// trace as a comment; 0 means none.
    pub sql_comments_per_second: u32,
    /// `TELEMETRY_PROFILING`: `auto`, the default, or `off`.
    pub profiling: bool,
    /// `PYROSCOPE_*`; without an endpoint profiles are taken on request only.
    pub pyroscope: Option<Pyroscope>,
    /// `LOG_FORMAT`, default `text`.
    pub log_format: LogFormat,
    /// `RUST_LOG`, default `info`: what is logged, on standard output and by OTLP alike.
    pub log_filter: String,
    /// What was ignored.
    pub warnings: Vec<Warning>,
    /// Variables that are set, begin with `OTEL_` and have no effect here.
    pub without_effect: Vec<String>,
}

impl Settings {
    /// Reads the process environment.
    pub fn from_env() -> Self {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        let mut settings = Self::from_vars(|name| std::env::var_os(name).map(text));
        let names = std::env::vars_os().map(|(name, _)| text(name));
        settings.without_effect = names
            .filter(|name| name.starts_with("OTEL_") && variables::entry(name).is_none())
            .collect();
        settings.without_effect.sort_unstable();
        settings
    }

    /// Reads variables from anywhere; an empty value counts as unset, as the specification says.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut reader = Reader::new(&lookup);
        Self {
            disabled: reader.switch("OTEL_SDK_DISABLED").unwrap_or(false),
            traces: exporters(&mut reader, "OTEL_TRACES_EXPORTER"),
            metrics: exporters(&mut reader, "OTEL_METRICS_EXPORTER"),
            logs: exporters(&mut reader, "OTEL_LOGS_EXPORTER"),
            traces_otlp: Otlp::read(&mut reader, Signal::Traces),
            metrics_otlp: Otlp::read(&mut reader, Signal::Metrics),
            logs_otlp: Otlp::read(&mut reader, Signal::Logs),
            span_batches: batches(&mut reader, "OTEL_BSP", 5_000),
            log_batches: batches(&mut reader, "OTEL_BLRP", 1_000),
            metric_interval: reader
                .milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 1)
                .unwrap_or(Duration::from_secs(60)),
            metric_temporality: reader
                .choice(
                    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
                    &[
                        ("cumulative", Temporality::Cumulative),
                        ("delta", Temporality::Delta),
                        ("lowmemory", Temporality::LowMemory),
                    ],
                )
                .unwrap_or(Temporality::Cumulative),
            sampler: sampler(&mut reader),
            span_limits: span_limits(&mut reader),
            propagators: propagators(&mut reader),
            prometheus_listener: prometheus_listener(&mut reader),
            exemplars: reader
                .choice(
                    "OTEL_METRICS_EXEMPLAR_FILTER",
                    &[("trace_based", true), ("always_off", false)],
                )
                .unwrap_or(true),
            service_name: reader.get("OTEL_SERVICE_NAME"),
            resource_attributes: resource_attributes(&mut reader),
            otlp_encoder: reader
                .choice(
                    "TELEMETRY_OTLP_ENCODER",
                    &[("direct", OtlpEncoder::Direct), ("sdk", OtlpEncoder::Sdk)],
                )
                .unwrap_or(OtlpEncoder::Direct),
            sql_comments_per_second: reader
                .limit("TELEMETRY_SQL_COMMENTS_PER_SECOND")
                .unwrap_or(100),
            profiling: reader
                .choice("TELEMETRY_PROFILING", &[("auto", true), ("off", false)])
                .unwrap_or(true),
            pyroscope: pyroscope(&mut reader),
            log_format: reader
                .choice(
                    "LOG_FORMAT",
                    &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                )
                .unwrap_or(LogFormat::Text),
            log_filter: log_filter(&mut reader),
            warnings: reader.warnings,
            without_effect: Vec::new(),
        }
    }

    pub(crate) fn otlp(&self, signal: Signal) -> &Otlp {
        match signal {
            Signal::Traces => &self.traces_otlp,
            Signal::Metrics => &self.metrics_otlp,
            Signal::Logs => &self.logs_otlp,
        }
    }
}

fn exporters(reader: &mut Reader<'_>, name: &str) -> Vec<Exporter> {
    let mut choices = vec![
        ("none", None),
        ("otlp", Some(Exporter::Otlp)),
        ("console", Some(Exporter::Console)),
        // The specification's deprecated name of `console`.
        ("logging", Some(Exporter::Console)),
    ];
    if name == "OTEL_METRICS_EXPORTER" {
        choices.push(("prometheus", Some(Exporter::Prometheus)));
    }
    reader
        .list(name, &choices)
        .unwrap_or_else(|| vec![Exporter::Otlp])
}

fn propagators(reader: &mut Reader<'_>) -> Vec<Propagator> {
    let choices = [
        ("none", None),
        ("tracecontext", Some(Propagator::TraceContext)),
        ("baggage", Some(Propagator::Baggage)),
    ];
    reader
        .list("OTEL_PROPAGATORS", &choices)
        .unwrap_or_else(|| vec![Propagator::TraceContext, Propagator::Baggage])
}

fn batches(reader: &mut Reader<'_>, processor: &str, delay: u64) -> Batches {
    let size_name = format!("{processor}_MAX_EXPORT_BATCH_SIZE");
    let mut items = |name: &str| {
        let number = reader.number(name, 1..=10_000_000)?;
        usize::try_from(number).ok()
    };
    let queue = items(&format!("{processor}_MAX_QUEUE_SIZE"));
    let mut size = items(&size_name);
    if let (Some(larger), Some(queue)) = (size, queue)
        && larger > queue
    {
        let used = format!("{queue}, the size of the queue");
        reader.warn_using(&size_name, &larger.to_string(), &used);
        size = Some(queue);
    }
    Batches {
        delay: reader
            .milliseconds(&format!("{processor}_SCHEDULE_DELAY"), 0)
            .unwrap_or(Duration::from_millis(delay)),
        queue,
        size,
    }
}

fn sampler(reader: &mut Reader<'_>) -> Sampler {
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let choices = [
        ("always_on", (Some(1.0), false)),
        ("always_off", (Some(0.0), false)),
        ("traceidratio", (None, false)),
        ("parentbased_always_on", (Some(1.0), true)),
        ("parentbased_always_off", (Some(0.0), true)),
        ("parentbased_traceidratio", (None, true)),
    ];
    let (fixed, parent_based) = reader
        .choice("OTEL_TRACES_SAMPLER", &choices)
        .unwrap_or((Some(1.0), true));
    let argument = reader.get(ARGUMENT).and_then(|text| {
        let ratio = text.parse().ok().filter(|r| (0.0..=1.0).contains(r));
        if ratio.is_none() {
            reader.warn(ARGUMENT, &text);
        }
        ratio
    });
    Sampler {
        ratio: fixed.or(argument).unwrap_or(1.0),
        parent_based,
    }
}

fn span_limits(reader: &mut Reader<'_>) -> SpanLimits {
    let mut count = |name| reader.limit(name).unwrap_or(128);
    SpanLimits {
        attributes: count("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        events: count("OTEL_SPAN_EVENT_COUNT_LIMIT"),
        event_attributes: count("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
        links: count("OTEL_SPAN_LINK_COUNT_LIMIT"),
        link_attributes: count("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
        value_length: reader.limit("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    }
}

/// All or none: the specification discards the whole value when one entry is wrong.
fn resource_attributes(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(list) = reader.get(NAME) else {
        return Vec::new();
    };
    let attributes: Result<Vec<_>, _> = pairs(&list).collect();
    attributes.unwrap_or_else(|_| {
        reader.warn(NAME, &list);
        Vec::new()
    })
}

fn prometheus_listener(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    const HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";
    const PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";
    let (host, port) = (reader.get(HOST), reader.get(PORT));
    if host.is_none() && port.is_none() {
        return None;
    }
    let host = host.filter(|host| !host.eq_ignore_ascii_case("localhost"));
    let ip = host.and_then(|text| {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let ip = bare.unwrap_or(&text).parse().ok();
        if ip.is_none() {
            reader.warn(HOST, &text);
        }
        ip
    });
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let port = reader.number(PORT, 0..=u16::MAX.into());
    let port = port.and_then(|port| u16::try_from(port).ok());
    Some(SocketAddr::new(ip, port.unwrap_or(9464)))
}

fn pyroscope(reader: &mut Reader<'_>) -> Option<Pyroscope> {
    const NAME: &str = "PYROSCOPE_ENDPOINT";
    let text = reader.get(NAME)?;
    let endpoint = otlp::address(&text).ok();
    // The method's path is appended.
    let is_base = |url: &Url| url.query().is_none() && url.fragment().is_none();
    let Some(endpoint) = endpoint.filter(is_base) else {
        reader.warn(NAME, &redact::text(&text));
        return None;
    };
    Some(Pyroscope {
        endpoint,
        user: reader.get("PYROSCOPE_BASIC_AUTH_USER"),
        password: reader.get("PYROSCOPE_BASIC_AUTH_PASSWORD").map(Secret),
        tenant: reader.get("PYROSCOPE_TENANT_ID"),
        interval: upload_interval(reader),
    })
}

fn upload_interval(reader: &mut Reader<'_>) -> Duration {
    const NAME: &str = "PYROSCOPE_UPLOAD_INTERVAL";
    let Some(text) = reader.get(NAME) else {
        return Duration::from_secs(10);
    };
    let number = text.strip_suffix('s').unwrap_or(&text).parse();
    if let Ok(seconds @ 1..=3600) = number {
        return Duration::from_secs(seconds);
    }
    reader.warn(NAME, &text);
    Duration::from_secs(10)
}

fn log_filter(reader: &mut Reader<'_>) -> String {
    const NAME: &str = "RUST_LOG";
    if let Some(filter) = reader.get(NAME) {
        if tracing_subscriber::EnvFilter::try_new(&filter).is_ok() {
            return filter;
        }
        reader.warn(NAME, &filter);
    }
    "info".to_owned()
}
