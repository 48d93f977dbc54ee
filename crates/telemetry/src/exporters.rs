//! OTLP exporters. Their addresses, headers, timeouts and compression are `OTEL_EXPORTER_OTLP_*`,
//! read by the exporters themselves.

use opentelemetry_otlp::{LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig};

use crate::Error;
use crate::settings::OtlpProtocol;

fn http(protocol: OtlpProtocol) -> Protocol {
    if protocol == OtlpProtocol::HttpJson {
        Protocol::HttpJson
    } else {
        Protocol::HttpBinary
    }
}

fn refused(signal: &'static str, reason: impl std::fmt::Display) -> Error {
    Error::Exporter {
        signal,
        reason: reason.to_string(),
    }
}

pub(crate) fn spans(protocol: OtlpProtocol) -> Result<SpanExporter, Error> {
    let builder = SpanExporter::builder();
    match protocol {
        OtlpProtocol::Grpc => builder.with_tonic().build(),
        other => builder.with_http().with_protocol(http(other)).build(),
    }
    .map_err(|error| refused("traces", error))
}

pub(crate) fn metrics(protocol: OtlpProtocol) -> Result<MetricExporter, Error> {
    let builder = MetricExporter::builder();
    match protocol {
        OtlpProtocol::Grpc => builder.with_tonic().build(),
        other => builder.with_http().with_protocol(http(other)).build(),
    }
    .map_err(|error| refused("metrics", error))
}

pub(crate) fn logs(protocol: OtlpProtocol) -> Result<LogExporter, Error> {
    let builder = LogExporter::builder();
    match protocol {
        OtlpProtocol::Grpc => builder.with_tonic().build(),
        other => builder.with_http().with_protocol(http(other)).build(),
    }
    .map_err(|error| refused("logs", error))
}
