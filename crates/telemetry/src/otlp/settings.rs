//! Where one signal is sent and what bounds it on the way: `OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*` and
//! `OTEL_BLRP_*` by the specification's names and defaults, but for the queue.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::queue::Limits;
use crate::settings::{OtlpProtocol, Signal};

/// What waits at the most, in bytes, when no number of items is asked for.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Half of what receivers take, since one item may be long.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(super) signal: Signal,
    pub(super) protocol: OtlpProtocol,
    pub(super) endpoint: Url,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(crate) limits: Limits,
}

impl Target {
    /// `None` for what only the SDK's exporters can do: TLS, compression, JSON, certificates.
    pub(crate) fn from_vars(
        signal: Signal,
        protocol: OtlpProtocol,
        lookup: &impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let vars = Vars { signal, lookup };
        if protocol == OtlpProtocol::HttpJson
            || vars
                .otlp("COMPRESSION")
                .is_some_and(|value| value != "none")
            || vars.otlp("CERTIFICATE").is_some()
            || vars.otlp("CLIENT_CERTIFICATE").is_some()
        {
            return None;
        }
        let endpoint = vars.endpoint(protocol)?;
        if endpoint.scheme() != "http" || !endpoint.has_host() {
            return None;
        }
        Some(Self {
            signal,
            protocol,
            endpoint,
            headers: vars.headers()?,
            timeout: Duration::from_millis(vars.number(&vars.otlp_names("TIMEOUT"), 10_000)),
            limits: vars.limits(),
        })
    }
}

struct Vars<'a, F> {
    signal: Signal,
    lookup: &'a F,
}

impl<F: Fn(&str) -> Option<String>> Vars<'_, F> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    /// The signal's own variable, then the general one.
    fn otlp_names(&self, what: &str) -> [String; 2] {
        let signal = self.signal.variable_part();
        [
            format!("OTEL_EXPORTER_OTLP_{signal}_{what}"),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ]
    }

    fn otlp(&self, what: &str) -> Option<String> {
        self.otlp_names(what).iter().find_map(|name| self.get(name))
    }

    fn number<T: FromStr>(&self, names: &[String], default: T) -> T {
        let value = names.iter().find_map(|name| self.get(name)?.parse().ok());
        value.unwrap_or(default)
    }

    fn endpoint(&self, protocol: OtlpProtocol) -> Option<Url> {
        let [own, general] = self.otlp_names("ENDPOINT");
        if protocol == OtlpProtocol::Grpc {
            let address = self.get(&own).or_else(|| self.get(&general));
            return address
                .unwrap_or_else(|| "http://localhost:4317".to_owned())
                .parse()
                .ok();
        }
        // Over HTTP the signal's own address is used as it is, the general one gets a path.
        if let Some(address) = self.get(&own) {
            return address.parse().ok();
        }
        let base = self
            .get(&general)
            .unwrap_or_else(|| "http://localhost:4318".to_owned());
        let path = self.signal.http_path();
        format!("{}/{path}", base.trim_end_matches('/'))
            .parse()
            .ok()
    }

    /// `key=value,...`, values percent-encoded.
    fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for pair in self.otlp("HEADERS").unwrap_or_default().split(',') {
            if pair.trim().is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value.trim())
                .decode_utf8()
                .ok()?;
            let name = HeaderName::from_str(&name.trim().to_ascii_lowercase()).ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Some(headers)
    }

    fn limits(&self) -> Limits {
        let processor = if self.signal == Signal::Logs {
            "BLRP"
        } else {
            "BSP"
        };
        let delay = if self.signal == Signal::Logs {
            1_000
        } else {
            5_000
        };
        let name = |what: &str| [format!("OTEL_{processor}_{what}")];
        let batch_items =
            |default: usize| self.number(&name("MAX_EXPORT_BATCH_SIZE"), default).max(1);
        Limits {
            batch_items: batch_items(512),
            request_items: batch_items(usize::MAX),
            batch_bytes: BATCH_BYTES,
            queue_items: self.number(&name("MAX_QUEUE_SIZE"), usize::MAX).max(1),
            queue_bytes: QUEUE_BYTES,
            delay: Duration::from_millis(self.number(&name("SCHEDULE_DELAY"), delay)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(signal: Signal, protocol: OtlpProtocol, vars: &[(&str, &str)]) -> Option<Target> {
        Target::from_vars(signal, protocol, &|name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn endpoints_are_those_of_the_specification() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:9/base/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:7/x");
        for (protocol, vars, expected) in [
            (OtlpProtocol::Grpc, vec![], "http://localhost:4317/"),
            (
                OtlpProtocol::HttpProtobuf,
                vec![],
                "http://localhost:4318/v1/traces",
            ),
            (
                OtlpProtocol::HttpProtobuf,
                vec![general],
                "http://collector:9/base/v1/traces",
            ),
            (
                OtlpProtocol::HttpProtobuf,
                vec![general, own],
                "http://other:7/x",
            ),
            (OtlpProtocol::Grpc, vec![general, own], "http://other:7/x"),
        ] {
            let target = target(Signal::Traces, protocol, &vars).unwrap();
            assert_eq!(target.endpoint.as_str(), expected);
        }
    }

    #[test]
    fn what_it_cannot_do_is_left_to_the_sdk() {
        for vars in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/etc/ca.pem"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no-equals-sign"),
        ] {
            assert!(
                target(Signal::Traces, OtlpProtocol::Grpc, &[vars]).is_none(),
                "{vars:?}"
            );
        }
        assert!(target(Signal::Traces, OtlpProtocol::HttpJson, &[]).is_none());
    }

    #[test]
    fn headers_timeout_and_limits() {
        let vars = [
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Bearer%20x, b = 2",
            ),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "250"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "77"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "66"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "soon"),
        ];
        let logs = target(Signal::Logs, OtlpProtocol::Grpc, &vars).unwrap();
        assert_eq!(logs.headers["authorization"], "Bearer x");
        assert_eq!(logs.headers["b"], "2");
        assert_eq!(logs.timeout, Duration::from_millis(250));
        assert_eq!(logs.limits.queue_items, 77);
        assert_eq!(logs.limits.delay, Duration::from_secs(1));
        assert_eq!(logs.limits.batch_items, 512);
        assert_eq!(logs.limits.request_items, usize::MAX);
        let vars = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")];
        let limits = target(Signal::Traces, OtlpProtocol::Grpc, &vars)
            .unwrap()
            .limits;
        assert_eq!((limits.batch_items, limits.request_items), (100, 100));
    }
}
