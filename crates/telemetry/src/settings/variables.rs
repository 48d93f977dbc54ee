//! Every variable that this crate reads, what it takes, and what stands in its place.

/// One documented variable.
pub(super) struct Variable {
    pub(super) name: &'static str,
    /// What is understood, for warnings.
    pub(super) expected: &'static str,
    /// What is used when it is unset or not understood.
    pub(super) default: &'static str,
}

const fn variable(name: &'static str, expected: &'static str, default: &'static str) -> Variable {
    Variable {
        name,
        expected,
        default,
    }
}

const SWITCH: &str = "true or false";
const EXPORTERS: &str = "a list of otlp, console, none";
const PAIRS: &str = "key=value,... with percent-encoded UTF-8";
const DELAY: &str = "whole milliseconds up to 86400000 (a day)";
const INTERVAL: &str = "whole milliseconds from 1 to 86400000 (a day)";
const ITEMS: &str = "a number of items from 1 to 10000000";
const LIMIT: &str = "a number from 0 to 4294967295";
const FILE: &str = "the path of a PEM file";
const TEXT: &str = "UTF-8 text";

/// Those of OTLP can also be set for one signal: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, and so on.
pub(super) const VARIABLES: [Variable; 45] = [
    variable("OTEL_SDK_DISABLED", SWITCH, "false"),
    variable("OTEL_SERVICE_NAME", TEXT, "the name given to init"),
    variable("OTEL_RESOURCE_ATTRIBUTES", PAIRS, "none of its attributes"),
    variable("OTEL_TRACES_EXPORTER", EXPORTERS, "otlp"),
    variable("OTEL_LOGS_EXPORTER", EXPORTERS, "otlp"),
    variable(
        "OTEL_METRICS_EXPORTER",
        "a list of otlp, console, prometheus, none",
        "otlp",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "an address such as http://localhost:4318",
        "http://localhost:4317 (grpc) or http://localhost:4318",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "grpc, http/protobuf or http/json",
        "http/protobuf",
    ),
    variable("OTEL_EXPORTER_OTLP_HEADERS", PAIRS, "its other entries"),
    variable(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "whole milliseconds up to 86400000 (a day), 0 for no limit",
        "10000",
    ),
    variable("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip or none", "none"),
    variable("OTEL_EXPORTER_OTLP_INSECURE", SWITCH, "false"),
    variable("OTEL_EXPORTER_OTLP_CERTIFICATE", FILE, "the system's roots"),
    variable("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", FILE, "none"),
    variable("OTEL_EXPORTER_OTLP_CLIENT_KEY", FILE, "none"),
    variable(
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "localhost or an IP address",
        "localhost",
    ),
    variable(
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        "a port number from 0 to 65535",
        "9464",
    ),
    // An exemplar without a sampled trace leads nowhere, so that `always_on` is not offered.
    variable(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "trace_based or always_off",
        "trace_based",
    ),
    variable("OTEL_METRIC_EXPORT_INTERVAL", INTERVAL, "60000"),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "cumulative, delta or lowmemory",
        "cumulative",
    ),
    variable(
        "OTEL_PROPAGATORS",
        "a list of tracecontext, baggage, none",
        "tracecontext,baggage",
    ),
    variable(
        "OTEL_TRACES_SAMPLER",
        "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or \
         parentbased_traceidratio",
        "parentbased_always_on",
    ),
    variable(
        "OTEL_TRACES_SAMPLER_ARG",
        "a ratio from 0 to 1, such as 0.25",
        "1",
    ),
    variable("OTEL_BSP_SCHEDULE_DELAY", DELAY, "5000"),
    variable("OTEL_BSP_MAX_QUEUE_SIZE", ITEMS, "64 MiB of spans"),
    variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", ITEMS, "512"),
    variable("OTEL_BLRP_SCHEDULE_DELAY", DELAY, "1000"),
    variable("OTEL_BLRP_MAX_QUEUE_SIZE", ITEMS, "64 MiB of log records"),
    variable("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", ITEMS, "512"),
    variable("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", LIMIT, "128"),
    variable("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", LIMIT, "no limit"),
    variable("OTEL_SPAN_EVENT_COUNT_LIMIT", LIMIT, "128"),
    variable("OTEL_SPAN_LINK_COUNT_LIMIT", LIMIT, "128"),
    variable("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", LIMIT, "128"),
    variable("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", LIMIT, "128"),
    variable(
        "PYROSCOPE_ENDPOINT",
        "an address such as http://localhost:4040 (https:// needs the crate's feature tls)",
        "no push of profiles",
    ),
    variable("PYROSCOPE_BASIC_AUTH_USER", TEXT, "none"),
    variable("PYROSCOPE_BASIC_AUTH_PASSWORD", TEXT, "none"),
    variable("PYROSCOPE_TENANT_ID", TEXT, "none"),
    variable(
        "PYROSCOPE_UPLOAD_INTERVAL",
        "seconds from 1 to 3600, such as 15s",
        "10s",
    ),
    variable("TELEMETRY_PROFILING", "auto or off", "auto"),
    variable("TELEMETRY_OTLP_ENCODER", "direct or sdk", "direct"),
    variable(
        "TELEMETRY_SQL_COMMENTS_PER_SECOND",
        "a whole number, 0 for none",
        "100",
    ),
    variable(
        "RUST_LOG",
        "filter directives such as info or users=debug,info",
        "info",
    ),
    variable("LOG_FORMAT", "text or json", "text"),
];

/// The entry of a variable, or of the general one when it is set for one signal.
pub(super) fn entry(name: &str) -> Option<&'static Variable> {
    let general = general(name);
    VARIABLES
        .iter()
        .find(|known| known.name == name || general.as_deref() == Some(known.name))
}

/// `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT` is `OTEL_EXPORTER_OTLP_TIMEOUT` for one signal.
pub(super) fn general(name: &str) -> Option<String> {
    // One is of metrics alone.
    if VARIABLES.iter().any(|known| known.name == name) {
        return None;
    }
    let rest = name.strip_prefix("OTEL_EXPORTER_OTLP_")?;
    let (signal, what) = rest.split_once('_')?;
    matches!(signal, "TRACES" | "METRICS" | "LOGS").then(|| format!("OTEL_EXPORTER_OTLP_{what}"))
}
