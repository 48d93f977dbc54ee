//! A telemetry that keeps everything in memory, and a router served on a port of its own.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses its part"
)]

use axum::Router;
use opentelemetry::Value;
use opentelemetry_sdk::logs::InMemoryLogExporter;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};
use telemetry::{Builder, Settings, Telemetry};

pub(crate) struct Memory {
    pub(crate) telemetry: Telemetry,
    pub(crate) spans: InMemorySpanExporter,
    pub(crate) logs: InMemoryLogExporter,
}

pub(crate) fn settings(vars: &[(&str, &str)]) -> Settings {
    Settings::from_vars(|name| {
        vars.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

/// Everything on: spans and logs in memory, metrics to be scraped.
pub(crate) fn memory() -> Memory {
    let (spans, logs) = (
        InMemorySpanExporter::default(),
        InMemoryLogExporter::default(),
    );
    let settings = settings(&[("OTEL_METRICS_EXPORTER", "prometheus")]);
    let telemetry = Builder::new("test", "1.2.3", settings)
        .with_span_exporter(spans.clone())
        .with_log_exporter(logs.clone())
        .build();
    Memory {
        telemetry,
        spans,
        logs,
    }
}

impl Memory {
    pub(crate) fn finished(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// The one finished span of this name.
    pub(crate) fn span(&self, name: &str) -> SpanData {
        let all = self.finished();
        let mut named = all.iter().filter(|span| span.name == name);
        let found = named.next();
        let names: Vec<_> = all.iter().map(|span| &span.name).collect();
        assert!(named.next().is_none(), "more than one {name} in {names:?}");
        found
            .unwrap_or_else(|| panic!("no {name} in {names:?}"))
            .clone()
    }

    /// Lines of the scrape that start with `prefix`.
    pub(crate) fn scraped(&self, prefix: &str) -> Vec<String> {
        let page = self.telemetry.metrics().exposition().unwrap();
        page.lines()
            .filter(|line| line.starts_with(prefix))
            .map(str::to_owned)
            .collect()
    }

    /// Those of them that are not at zero.
    pub(crate) fn counted(&self, prefix: &str) -> Vec<String> {
        let mut lines = self.scraped(prefix);
        lines.retain(|line| !line.ends_with(" 0"));
        lines
    }
}

pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<Value> {
    span.attributes
        .iter()
        .find(|kv| kv.key.as_str() == key)
        .map(|kv| kv.value.clone())
}

pub(crate) async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}
