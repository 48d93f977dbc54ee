use std::net::SocketAddr;

use crate::settings::Signal;

/// Why telemetry could not be started or stopped cleanly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An exporter's settings were refused.
    #[error("cannot build the OTLP exporter for {signal} (see OTEL_EXPORTER_OTLP_*): {reason}")]
    Exporter {
        /// `traces`, `metrics` or `logs`.
        signal: &'static str,
        /// What the exporter said.
        reason: String,
    },
    /// The scrape listener's address is taken or not ours.
    #[error(
        "cannot serve metrics on {address} (OTEL_EXPORTER_PROMETHEUS_HOST, OTEL_EXPORTER_PROMETHEUS_PORT): {source}"
    )]
    PrometheusListener {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Something else in this process already set a global subscriber.
    #[error("telemetry was initialised twice in one process: {0}")]
    AlreadyInitialised(#[from] tracing_subscriber::util::TryInitError),
    /// A signal could not be flushed in time: what it held is lost.
    #[error("telemetry was not flushed completely: {0}")]
    Shutdown(String),
}

impl Error {
    pub(crate) fn exporter(signal: Signal, reason: String) -> Self {
        let signal = signal.name();
        Self::Exporter { signal, reason }
    }
}
