//! `OTEL_*` variables, read once.
//!
//! The OpenTelemetry specification asks that a value nobody knows is warned about and ignored, so
//! nothing here fails: what was ignored is kept in [`Settings::warnings`] and logged by
//! [`init`](crate::init) once there is a log to write to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use url::Url;

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
    /// This crate's: encoded as they end, sent by a thread of its own. Compression, TLS and JSON are
    /// left to the SDK's.
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
///
/// Limits, batch sizes, sampler and OTLP addresses (`OTEL_BSP_*`, `OTEL_BLRP_*`,
/// `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_*`) are read by the SDK itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `OTEL_SDK_DISABLED`: `true` turns every signal off; propagation stays.
    pub disabled: bool,
    /// `OTEL_TRACES_EXPORTER`, default `otlp`.
    pub traces: Vec<Exporter>,
    /// `OTEL_METRICS_EXPORTER`, default `otlp`.
    pub metrics: Vec<Exporter>,
    /// `OTEL_LOGS_EXPORTER`, default `otlp`.
    pub logs: Vec<Exporter>,
    /// `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL`, default `http/protobuf`.
    pub traces_protocol: OtlpProtocol,
    /// The same for metrics.
    pub metrics_protocol: OtlpProtocol,
    /// The same for logs.
    pub logs_protocol: OtlpProtocol,
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
}

const EXPORTERS: &str = "a list of otlp, console, none";
const METRICS_EXPORTERS: &str = "a list of otlp, console, prometheus, none";
const PROTOCOLS: &str = "grpc, http/protobuf or http/json";

impl Settings {
    /// Reads the process environment.
    pub fn from_env() -> Self {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads variables from anywhere; an empty value counts as unset, as the specification says.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut reader = Reader {
            lookup: |name: &str| lookup(name).filter(|v| !v.trim().is_empty()),
            warnings: Vec::new(),
        };
        let disabled = reader
            .get("OTEL_SDK_DISABLED")
            .is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        Self {
            disabled,
            traces: reader.exporters(Signal::Traces),
            metrics: reader.exporters(Signal::Metrics),
            logs: reader.exporters(Signal::Logs),
            traces_protocol: reader.protocol(Signal::Traces),
            metrics_protocol: reader.protocol(Signal::Metrics),
            logs_protocol: reader.protocol(Signal::Logs),
            propagators: reader.propagators(),
            prometheus_listener: reader.prometheus_listener(),
            exemplars: reader.exemplars(),
            service_name: reader.get("OTEL_SERVICE_NAME"),
            otlp_encoder: reader.otlp_encoder(),
            sql_comments_per_second: reader.sql_comments_per_second(),
            profiling: reader.profiling(),
            pyroscope: reader.pyroscope(),
            log_format: reader.log_format(),
            log_filter: reader.log_filter(),
            warnings: reader.warnings,
        }
    }
}

struct Reader<F> {
    lookup: F,
    warnings: Vec<Warning>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    fn warn(&mut self, variable: &str, value: &str, expected: &'static str, used: &str) {
        self.warnings.push(Warning {
            variable: variable.to_owned(),
            value: value.to_owned(),
            expected,
            used: used.to_owned(),
        });
    }

    fn exporters(&mut self, signal: Signal) -> Vec<Exporter> {
        let variable = format!("OTEL_{}_EXPORTER", signal.variable_part());
        let Some(list) = self.get(&variable) else {
            return vec![Exporter::Otlp];
        };
        let expected = if signal == Signal::Metrics {
            METRICS_EXPORTERS
        } else {
            EXPORTERS
        };
        let mut known = Vec::new();
        let mut understood = false;
        for name in list.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            let exporter = match name {
                "none" => None,
                "otlp" => Some(Exporter::Otlp),
                // `logging` is the specification's deprecated name of `console`.
                "console" | "logging" => Some(Exporter::Console),
                "prometheus" if signal == Signal::Metrics => Some(Exporter::Prometheus),
                _ => {
                    self.warn(&variable, name, expected, "the rest of the list");
                    continue;
                }
            };
            understood = true;
            known.extend(exporter.filter(|e| !known.contains(e)));
        }
        if understood {
            known
        } else {
            vec![Exporter::Otlp]
        }
    }

    fn protocol(&mut self, signal: Signal) -> OtlpProtocol {
        let own = format!("OTEL_EXPORTER_OTLP_{}_PROTOCOL", signal.variable_part());
        for variable in [own.as_str(), "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            match self.get(variable).as_deref().map(str::trim) {
                None => {}
                Some("grpc") => return OtlpProtocol::Grpc,
                Some("http/protobuf") => return OtlpProtocol::HttpProtobuf,
                Some("http/json") => return OtlpProtocol::HttpJson,
                Some(other) => {
                    let other = other.to_owned();
                    self.warn(variable, &other, PROTOCOLS, "http/protobuf");
                }
            }
        }
        OtlpProtocol::HttpProtobuf
    }

    fn propagators(&mut self) -> Vec<Propagator> {
        const NAME: &str = "OTEL_PROPAGATORS";
        let Some(list) = self.get(NAME) else {
            return vec![Propagator::TraceContext, Propagator::Baggage];
        };
        let mut known = Vec::new();
        for name in list.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match name {
                "none" => {}
                "tracecontext" => known.push(Propagator::TraceContext),
                "baggage" => known.push(Propagator::Baggage),
                other => {
                    let expected = "a list of tracecontext, baggage, none";
                    self.warn(NAME, other, expected, "the rest of the list");
                }
            }
        }
        known
    }

    fn prometheus_listener(&mut self) -> Option<SocketAddr> {
        const HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";
        const PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";
        let (host, port) = (self.get(HOST), self.get(PORT));
        if host.is_none() && port.is_none() {
            return None;
        }
        let ip = match host.as_deref().map(str::trim) {
            None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(text) => text.parse().unwrap_or_else(|_| {
                self.warn(HOST, text, "localhost or an IP address", "localhost");
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }),
        };
        let port = match port.as_deref().map(str::trim) {
            None => 9464,
            Some(text) => text.parse().unwrap_or_else(|_| {
                self.warn(PORT, text, "a port number from 0 to 65535", "9464");
                9464
            }),
        };
        Some(SocketAddr::new(ip, port))
    }

    fn sql_comments_per_second(&mut self) -> u32 {
        const NAME: &str = "TELEMETRY_SQL_COMMENTS_PER_SECOND";
        const DEFAULT: u32 = 100;
        let Some(text) = self.get(NAME) else {
            return DEFAULT;
        };
        text.trim().parse().unwrap_or_else(|_| {
            self.warn(NAME, &text, "a whole number, 0 for none", "100");
            DEFAULT
        })
    }

    fn exemplars(&mut self) -> bool {
        const NAME: &str = "OTEL_METRICS_EXEMPLAR_FILTER";
        match self.get(NAME).as_deref().map(str::trim) {
            None | Some("trace_based") => true,
            Some("always_off") => false,
            Some(other) => {
                let other = other.to_owned();
                // An exemplar without a sampled trace leads nowhere.
                self.warn(NAME, &other, "trace_based or always_off", "trace_based");
                true
            }
        }
    }

    fn log_format(&mut self) -> LogFormat {
        match self.get("LOG_FORMAT").as_deref().map(str::trim) {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                let other = other.to_owned();
                self.warn("LOG_FORMAT", &other, "text or json", "text");
                LogFormat::Text
            }
        }
    }

    fn otlp_encoder(&mut self) -> OtlpEncoder {
        const NAME: &str = "TELEMETRY_OTLP_ENCODER";
        match self.get(NAME).as_deref().map(str::trim) {
            None | Some("direct") => OtlpEncoder::Direct,
            Some("sdk") => OtlpEncoder::Sdk,
            Some(other) => {
                let other = other.to_owned();
                self.warn(NAME, &other, "direct or sdk", "direct");
                OtlpEncoder::Direct
            }
        }
    }

    fn profiling(&mut self) -> bool {
        const NAME: &str = "TELEMETRY_PROFILING";
        match self.get(NAME).as_deref().map(str::trim) {
            None | Some("auto") => true,
            Some("off") => false,
            Some(other) => {
                let other = other.to_owned();
                self.warn(NAME, &other, "auto or off", "auto");
                true
            }
        }
    }

    fn pyroscope(&mut self) -> Option<Pyroscope> {
        const NAME: &str = "PYROSCOPE_ENDPOINT";
        let text = self.get(NAME)?;
        let endpoint = text.trim().parse::<Url>().ok();
        let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let Some(endpoint) = endpoint.filter(usable) else {
            // It may hold a password.
            let shown = if text.contains('@') {
                "(not shown)"
            } else {
                &text
            };
            let expected = "an address such as http://localhost:4040";
            self.warn(NAME, shown, expected, "no push of profiles");
            return None;
        };
        Some(Pyroscope {
            endpoint,
            user: self.get("PYROSCOPE_BASIC_AUTH_USER"),
            password: self.get("PYROSCOPE_BASIC_AUTH_PASSWORD").map(Secret),
            tenant: self.get("PYROSCOPE_TENANT_ID"),
            interval: self.upload_interval(),
        })
    }

    fn upload_interval(&mut self) -> Duration {
        const NAME: &str = "PYROSCOPE_UPLOAD_INTERVAL";
        const USUAL: Duration = Duration::from_secs(10);
        let Some(text) = self.get(NAME) else {
            return USUAL;
        };
        let number = text.trim().trim_end_matches('s').parse();
        if let Ok(seconds @ 1..=3600) = number {
            return Duration::from_secs(seconds);
        }
        self.warn(NAME, &text, "seconds from 1 to 3600, such as 15s", "10s");
        USUAL
    }

    fn log_filter(&mut self) -> String {
        let Some(filter) = self.get("RUST_LOG") else {
            return "info".to_owned();
        };
        if tracing_subscriber::EnvFilter::try_new(&filter).is_ok() {
            return filter;
        }
        let expected = "filter directives such as info or users=debug,info";
        self.warn("RUST_LOG", &filter, expected, "info");
        "info".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Settings {
        Settings::from_vars(|name| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn nothing_set_means_what_the_specification_says() {
        let settings = read(&[]);
        assert!(!settings.disabled);
        assert_eq!(settings.traces, [Exporter::Otlp]);
        assert_eq!(settings.metrics, [Exporter::Otlp]);
        assert_eq!(settings.logs, [Exporter::Otlp]);
        assert_eq!(settings.traces_protocol, OtlpProtocol::HttpProtobuf);
        assert_eq!(
            settings.propagators,
            [Propagator::TraceContext, Propagator::Baggage]
        );
        assert_eq!(settings.prometheus_listener, None);
        assert_eq!(settings.warnings, []);
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        assert_eq!(
            read(&[("OTEL_TRACES_EXPORTER", ""), ("LOG_FORMAT", " ")]),
            read(&[])
        );
    }

    #[test]
    fn exporters_are_lists() {
        let settings = read(&[
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "otlp, prometheus,otlp"),
            ("OTEL_LOGS_EXPORTER", "console"),
        ]);
        assert_eq!(settings.traces, []);
        assert_eq!(settings.metrics, [Exporter::Otlp, Exporter::Prometheus]);
        assert_eq!(settings.logs, [Exporter::Console]);
    }

    #[test]
    fn an_unknown_exporter_is_warned_about_and_the_default_stays() {
        let settings = read(&[
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_LOGS_EXPORTER", "prometheus"),
        ]);
        assert_eq!(settings.traces, [Exporter::Otlp]);
        assert_eq!(settings.logs, [Exporter::Otlp]);
        let names: Vec<_> = settings
            .warnings
            .iter()
            .map(|w| w.variable.as_str())
            .collect();
        assert_eq!(names, ["OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER"]);
        assert_eq!(
            settings.warnings[0].to_string(),
            "OTEL_TRACES_EXPORTER=\"zipkin\" is not understood and ignored: expected a list of \
             otlp, console, none; using the rest of the list"
        );
    }

    #[test]
    fn the_signal_s_protocol_wins_over_the_general_one() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json"),
        ]);
        assert_eq!(settings.traces_protocol, OtlpProtocol::Grpc);
        assert_eq!(settings.logs_protocol, OtlpProtocol::HttpJson);
    }

    #[test]
    fn a_wrong_protocol_port_filter_or_format_is_named() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier-pigeon"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "99999"),
            ("RUST_LOG", "users=loud"),
            ("LOG_FORMAT", "xml"),
            ("TELEMETRY_SQL_COMMENTS_PER_SECOND", "-1"),
            ("OTEL_PROPAGATORS", "b3,tracecontext"),
        ]);
        let mut names: Vec<_> = settings
            .warnings
            .iter()
            .map(|w| w.variable.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "LOG_FORMAT",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "OTEL_EXPORTER_PROMETHEUS_PORT",
                "OTEL_PROPAGATORS",
                "RUST_LOG",
                "TELEMETRY_SQL_COMMENTS_PER_SECOND"
            ]
        );
        assert_eq!(settings.traces_protocol, OtlpProtocol::HttpProtobuf);
        assert_eq!(
            settings.prometheus_listener,
            Some(SocketAddr::from(([127, 0, 0, 1], 9464)))
        );
        assert_eq!(settings.propagators, [Propagator::TraceContext]);
        assert_eq!(settings.log_filter, "info");
        assert_eq!(settings.sql_comments_per_second, 100);
    }

    #[test]
    fn exemplars_are_offered_unless_switched_off() {
        const NAME: &str = "OTEL_METRICS_EXEMPLAR_FILTER";
        assert!(read(&[]).exemplars);
        assert!(read(&[(NAME, "trace_based")]).exemplars);
        assert!(!read(&[(NAME, "always_off")]).exemplars);
        let settings = read(&[(NAME, "always_on")]);
        assert!(settings.exemplars);
        assert_eq!(settings.warnings[0].variable, NAME);
    }

    #[test]
    fn only_the_word_true_disables() {
        assert!(read(&[("OTEL_SDK_DISABLED", "TRUE")]).disabled);
        assert!(!read(&[("OTEL_SDK_DISABLED", "1")]).disabled);
    }

    #[test]
    fn profiles_are_on_and_pushed_nowhere() {
        let settings = read(&[]);
        assert!(settings.profiling);
        assert_eq!(settings.pyroscope, None);
        assert!(!read(&[("TELEMETRY_PROFILING", "off")]).profiling);
        let unclear = read(&[("TELEMETRY_PROFILING", "maybe")]);
        assert!(unclear.profiling);
        assert_eq!(unclear.warnings[0].variable, "TELEMETRY_PROFILING");
    }

    #[test]
    fn pyroscope_s_variables() {
        let settings = read(&[
            ("PYROSCOPE_ENDPOINT", "http://localhost:4040"),
            ("PYROSCOPE_BASIC_AUTH_USER", "me"),
            ("PYROSCOPE_BASIC_AUTH_PASSWORD", "hush"),
            ("PYROSCOPE_TENANT_ID", "lab"),
            ("PYROSCOPE_UPLOAD_INTERVAL", "15s"),
        ]);
        assert_eq!(settings.warnings, []);
        assert!(!format!("{settings:?}").contains("hush"));
        let pyroscope = settings.pyroscope.unwrap();
        assert_eq!(pyroscope.endpoint.as_str(), "http://localhost:4040/");
        assert_eq!(pyroscope.user.as_deref(), Some("me"));
        assert_eq!(pyroscope.password.unwrap().get(), "hush");
        assert_eq!(pyroscope.tenant.as_deref(), Some("lab"));
        assert_eq!(pyroscope.interval, Duration::from_secs(15));
    }

    #[test]
    fn a_wrong_pyroscope_is_none_and_its_password_is_not_told() {
        for endpoint in ["localhost:4040", "ftp://h", "http://", "http://u:hush@"] {
            let settings = read(&[("PYROSCOPE_ENDPOINT", endpoint)]);
            assert_eq!(settings.pyroscope, None, "{endpoint}");
            let told = settings.warnings[0].to_string();
            assert!(told.contains("PYROSCOPE_ENDPOINT"), "{told}");
            assert!(!told.contains("hush"), "{told}");
        }
        for interval in ["0", "1m", "soon", "-1", "3601"] {
            let settings = read(&[
                ("PYROSCOPE_ENDPOINT", "http://h"),
                ("PYROSCOPE_UPLOAD_INTERVAL", interval),
            ]);
            assert_eq!(settings.pyroscope.unwrap().interval.as_secs(), 10);
            assert_eq!(settings.warnings.len(), 1, "{interval}");
        }
    }
}
