//! Where one signal is sent without the SDK's exporters, and what bounds it on the way.

use std::time::Duration;

use http::HeaderMap;
use tonic::transport::Endpoint;
use url::Url;

use super::queue::Limits;
use crate::Error;
use crate::settings::{Batches, OtlpEncoder, OtlpProtocol, Settings, Signal};
use crate::transport;

/// What waits at the most, in bytes, when no number of items is asked for.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Half of what receivers take, since one item may be long.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(super) signal: Signal,
    pub(super) endpoint: Url,
    pub(super) headers: HeaderMap,
    /// `None`: an answer is waited for without a limit.
    pub(super) timeout: Option<Duration>,
    pub(super) connection: Connection,
    pub(crate) limits: Limits,
}

/// Made at the start, so that what cannot be used ends it; opened by the sender's thread.
#[derive(Debug, Clone)]
pub(super) enum Connection {
    Grpc(Box<Endpoint>),
    Http(reqwest::Client),
}

impl Target {
    /// `None` when the SDK's exporter has to: it is asked for, or the encoding is compressed or JSON.
    ///
    /// # Errors
    /// An address or a file that cannot be used.
    pub(crate) fn new(signal: Signal, settings: &Settings) -> Result<Option<Self>, Error> {
        let otlp = settings.otlp(signal);
        if settings.otlp_encoder == OtlpEncoder::Sdk
            || otlp.protocol == OtlpProtocol::HttpJson
            || otlp.gzip
        {
            return Ok(None);
        }
        let refused = |reason| Error::exporter(signal, reason);
        let endpoint = otlp.endpoint.clone().map_err(refused)?;
        let connection = if otlp.protocol == OtlpProtocol::Grpc {
            transport::grpc_endpoint(otlp, &endpoint)
                .map(|endpoint| Connection::Grpc(Box::new(endpoint)))
        } else {
            transport::http_client(&endpoint, !otlp.headers.is_empty(), &otlp.tls)
                .map(Connection::Http)
        };
        let batches = if signal == Signal::Logs {
            &settings.log_batches
        } else {
            &settings.span_batches
        };
        Ok(Some(Self {
            signal,
            endpoint,
            headers: otlp.headers.clone(),
            timeout: otlp.timeout,
            connection: connection.map_err(refused)?,
            limits: limits(batches),
        }))
    }
}

fn limits(batches: &Batches) -> Limits {
    Limits {
        batch_items: batches.size.unwrap_or(512),
        request_items: batches.size.unwrap_or(usize::MAX),
        batch_bytes: BATCH_BYTES,
        queue_items: batches.queue.unwrap_or(usize::MAX),
        queue_bytes: QUEUE_BYTES,
        delay: batches.delay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(vars: &[(&str, &str)]) -> Result<Option<Target>, Error> {
        let settings = Settings::from_vars(|name| {
            let var = vars.iter().find(|(known, _)| *known == name);
            var.map(|(_, value)| (*value).to_owned())
        });
        Target::new(Signal::Traces, &settings)
    }

    #[test]
    fn what_it_cannot_do_is_left_to_the_sdk() {
        assert!(target(&[]).unwrap().is_some());
        for vars in [
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("TELEMETRY_OTLP_ENCODER", "sdk"),
        ] {
            assert!(target(&[vars]).unwrap().is_none(), "{vars:?}");
        }
    }

    #[test]
    fn batches_are_the_encoder_s_unless_set() {
        let usual = target(&[]).unwrap().unwrap().limits;
        assert_eq!(
            (usual.batch_items, usual.request_items, usual.queue_items),
            (512, usize::MAX, usize::MAX)
        );
        let vars = [
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "200"),
        ];
        let set = target(&vars).unwrap().unwrap().limits;
        assert_eq!(
            (set.batch_items, set.request_items, set.queue_items),
            (100, 100, 200)
        );
    }
}
