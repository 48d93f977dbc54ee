//! The environment every component gets: ports and addresses with the offset applied.

use std::ffi::OsString;

use crate::Lab;
use crate::settings::Port;
use crate::versions;

/// Marks every process of a lab, so that leftovers can be found after a `kill -9`.
pub(crate) const MARK: &str = "LAB_SUPERVISED";

/// What every signal of a service says about it.
pub(crate) const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Variables of the caller that would change where a component connects to.
pub(crate) const REMOVED: [&str; 12] = [
    // Everything is on loopback.
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    // Postgres reads these.
    "PGDATA",
    "PGPORT",
    "PGHOST",
    "PGUSER",
    "PGPASSWORD",
    "PGDATABASE",
];

/// For each native process.
pub(crate) fn common(lab: &Lab) -> Vec<(String, OsString)> {
    let mut env: Vec<(String, OsString)> = lab
        .settings
        .port_variables()
        .iter()
        .map(|(name, port)| (name.clone(), port.to_string().into()))
        .collect();
    for name in [
        "LISTEN_HOST",
        "JAEGER_HOST",
        "LOKI_HOST",
        "PROMETHEUS_HOST",
        "ALERTMANAGER_HOST",
        "TEMPO_HOST",
        "OTELCOL_HOST",
    ] {
        env.push((name.to_owned(), "127.0.0.1".into()));
    }
    env
}

/// For the services that speak OTLP.
pub(crate) fn telemetry(lab: &Lab, name: &str, metrics: &str) -> Vec<(String, OsString)> {
    let mut env = vec![
        ("OTEL_SERVICE_NAME".into(), name.into()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL".into(), "grpc".into()),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT".into(),
            lab.settings.http(Port::OtlpGrpc).into(),
        ),
        ("OTEL_METRICS_EXPORTER".into(), metrics.into()),
        ("OTEL_METRIC_EXPORT_INTERVAL".into(), "5000".into()),
        // Five seconds by default: long, for somebody who waits to see a trace.
        ("OTEL_BSP_SCHEDULE_DELAY".into(), "1000".into()),
    ];
    if let Some(version) = versions::current(&lab.paths).get(name) {
        // Besides what the person who started the lab says about it; the last one counts.
        let mut attributes = std::env::var(ATTRIBUTES).unwrap_or_default();
        if !attributes.is_empty() {
            attributes.push(',');
        }
        attributes.push_str("service.version=");
        attributes.push_str(version);
        env.push((ATTRIBUTES.to_owned(), attributes.into()));
    }
    env
}
