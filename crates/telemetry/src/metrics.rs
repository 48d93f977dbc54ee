//! One instrument, recorded once, readable both ways.
//!
//! `OTEL_METRICS_EXPORTER` decides who reads: `otlp` and `console` push through the SDK,
//! `prometheus` is scraped through `prometheus-client` (the SDK records no exemplars). Names and
//! labels come out equal, by the rules of OpenTelemetry's Prometheus compatibility: dots become
//! underscores, the unit is appended.

mod names;
mod page;
#[cfg(test)]
mod strict;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use opentelemetry::trace::SpanContext;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, Stream};
use opentelemetry_semantic_conventions::attribute::ERROR_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::otlp::Counts;
use crate::settings::Signal;

use names::{Labels, help};
pub(crate) use names::{labels, metric_name};
pub(crate) use page::router;

/// Upper bounds, in seconds, of every duration histogram: the semantic conventions' ones and up to
/// 30 s, because a bucket must exist above the slowest answer that is waited for.
pub const DURATION_BUCKETS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0,
];

/// Instrumentation scope of everything this crate records.
pub(crate) const SCOPE: &str = "telemetry";

/// One observation in this many offers its trace as an exemplar; a scrape keeps the newest only.
const EXEMPLAR_EVERY: u64 = 16;

type TraceLabels = [(&'static str, String); 2];
type PrometheusHistogram = HistogramWithExemplars<TraceLabels>;
type HistogramFamily = Family<Labels, PrometheusHistogram, Buckets>;

#[derive(Clone, Copy)]
struct Buckets(&'static [f64]);

impl MetricConstructor<PrometheusHistogram> for Buckets {
    fn new_metric(&self) -> PrometheusHistogram {
        HistogramWithExemplars::new(self.0.iter().copied())
    }
}

/// The buckets of this crate's pushed histograms. Without the least and the greatest value: for a series at zero the SDK
/// would send the largest numbers there are, and what they are since the start tells little.
pub(crate) fn durations_view(instrument: &Instrument) -> Option<Stream> {
    if instrument.scope().name() != SCOPE || instrument.kind() != InstrumentKind::Histogram {
        return None;
    }
    let aggregation = Aggregation::ExplicitBucketHistogram {
        boundaries: DURATION_BUCKETS.to_vec(),
        record_min_max: false,
    };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

/// Makes instruments for whichever readers are configured.
#[derive(Clone)]
pub struct Metrics {
    meter: Option<Meter>,
    page: Option<Arc<Mutex<Page>>>,
    exemplars: bool,
}

/// What is scraped. A registry takes a name twice and then writes a page that Prometheus refuses,
/// so that families are looked up by their name on the page.
#[derive(Default)]
struct Page {
    registry: Registry,
    families: HashMap<String, HistogramFamily>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("pushed", &self.meter.is_some())
            .field("scraped", &self.page.is_some())
            .finish()
    }
}

impl Metrics {
    pub(crate) fn new(meter: Option<Meter>, scraped: bool, resource: &[(String, String)]) -> Self {
        let page = scraped.then(|| {
            let mut page = Page::default();
            let labels = labels(resource.iter().map(|(k, v)| (k.as_str(), v.clone())));
            page.registry
                .register("target", "Resource of the process", Info::new(labels));
            Arc::new(Mutex::new(page))
        });
        Self {
            meter,
            page,
            exemplars: true,
        }
    }

    /// Whether observations may offer their trace.
    #[must_use]
    pub(crate) fn with_exemplars(mut self, exemplars: bool) -> Self {
        self.exemplars = exemplars;
        self
    }

    /// Whether anything reads what is recorded.
    pub fn enabled(&self) -> bool {
        self.meter.is_some() || self.page.is_some()
    }

    /// A histogram of durations in seconds, with [`DURATION_BUCKETS`].
    pub fn duration(&self, name: &'static str, description: &'static str) -> Histogram {
        let pushed = self.meter.as_ref().map(|meter| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .build()
        });
        let scraped = self.page.as_ref().and_then(|page| {
            let name = metric_name(name);
            // The unit is appended once.
            let name = name.strip_suffix("_seconds").unwrap_or(&name);
            if name.is_empty() {
                return None;
            }
            let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
            let Page { registry, families } = &mut *page;
            let register = || {
                let family = Family::new_with_constructor(Buckets(&DURATION_BUCKETS));
                let help = help(description);
                registry.register_with_unit(name, help, Unit::Seconds, family.clone());
                family
            };
            Some(
                families
                    .entry(name.to_owned())
                    .or_insert_with(register)
                    .clone(),
            )
        });
        Histogram {
            pushed,
            scraped,
            exemplars: self.exemplars,
        }
    }

    /// Tells what became of the spans or log records that were exported, by the semantic
    /// conventions' names for an SDK's own metrics.
    pub(crate) fn exports(&self, signal: Signal, counts: Arc<Counts>) {
        let item = if signal == Signal::Logs {
            "log"
        } else {
            "span"
        };
        let exported = ExportMetric {
            name: format!("otel.sdk.exporter.{item}.exported"),
            description: "Items that were sent, by outcome",
            series: &[
                (None, Counts::exported),
                (Some("rejected"), Counts::rejected),
                (Some("unanswered"), Counts::unanswered),
            ],
            counts: counts.clone(),
        };
        let processed = ExportMetric {
            name: format!("otel.sdk.processor.{item}.processed"),
            description: "Items that were taken for export, or dropped",
            series: &[(None, Counts::taken), (Some("queue_full"), Counts::dropped)],
            counts,
        };
        for metric in [exported, processed] {
            if let Some(meter) = &self.meter {
                let metric = metric.clone();
                let (name, description) = (metric.name.clone(), metric.description);
                // The instrument lives as long as its meter's provider.
                let _ = meter
                    .u64_observable_counter(name)
                    .with_description(description)
                    .with_callback(move |observer| {
                        for (error_type, count) in metric.series {
                            let attributes =
                                error_type.map(|error| KeyValue::new(ERROR_TYPE, error));
                            observer.observe(count(&metric.counts), attributes.as_slice());
                        }
                    })
                    .build();
            }
            if let Some(page) = &self.page {
                let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
                page.registry.register_collector(Box::new(metric));
            }
        }
    }

    /// Tells how the process and its Tokio runtime are.
    pub(crate) fn runtime(&self) {
        if let Some(meter) = &self.meter {
            crate::runtime::observe(meter);
        }
        if let Some(page) = &self.page {
            let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
            for collector in crate::runtime::collectors() {
                page.registry.register_collector(collector);
            }
        }
    }

    /// What a scrape answers, as OpenMetrics; `None` when `prometheus` is not configured.
    pub fn exposition(&self) -> Option<String> {
        let page = self.page.as_ref()?;
        let page = page.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail; a faulty encoder is shown as a truncated page.
        if prometheus_client::encoding::text::encode(&mut text, &page.registry).is_err() {
            tracing::error!("the metrics page could not be encoded completely");
        }
        Some(text)
    }
}

type Count = fn(&Counts) -> u64;

/// One counter that is read, not recorded.
#[derive(Debug, Clone)]
struct ExportMetric {
    name: String,
    description: &'static str,
    series: &'static [(Option<&'static str>, Count)],
    counts: Arc<Counts>,
}

impl Collector for ExportMetric {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = metric_name(&self.name);
        let kind = MetricType::Counter;
        let mut metric = encoder.encode_descriptor(&name, self.description, None, kind)?;
        for (error_type, count) in self.series {
            let labels = labels(error_type.map(|error| (ERROR_TYPE, error.to_owned())));
            let series = metric.encode_family(&labels)?;
            ConstCounter::new(count(&self.counts)).encode(series)?;
        }
        Ok(())
    }
}

/// A histogram before its attributes are known.
#[derive(Debug, Clone)]
pub struct Histogram {
    pushed: Option<opentelemetry::metrics::Histogram<f64>>,
    scraped: Option<HistogramFamily>,
    exemplars: bool,
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} buckets", self.0.len())
    }
}

impl Histogram {
    /// Looks one series up, once; recording through it costs no further look-up. The series exists,
    /// at zero, from here on, scraped or pushed (but for a pushed one without any attribute).
    pub fn bind(&self, attributes: &[KeyValue]) -> BoundHistogram {
        let scraped = self.scraped.as_ref().map(|family| {
            let attributes = attributes.iter();
            family.get_or_create_owned(&labels(
                attributes.map(|kv| (kv.key.as_str(), kv.value.as_str().into_owned())),
            ))
        });
        BoundHistogram(Arc::new(Bound {
            pushed: self
                .pushed
                .as_ref()
                .map(|histogram| histogram.bind(attributes)),
            scraped,
            exemplars: self.exemplars,
            observations: AtomicU64::new(0),
        }))
    }
}

struct Bound {
    pushed: Option<opentelemetry::metrics::BoundHistogram<f64>>,
    scraped: Option<PrometheusHistogram>,
    exemplars: bool,
    observations: AtomicU64,
}

/// One series of a histogram.
#[derive(Clone)]
pub struct BoundHistogram(Arc<Bound>);

impl fmt::Debug for BoundHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundHistogram")
    }
}

impl BoundHistogram {
    /// Records `value` (in the histogram's unit); every sixteenth offers `span` as exemplar when
    /// that span is sampled, the first one included.
    pub fn record(&self, value: f64, span: Option<&SpanContext>) {
        let bound = &*self.0;
        if let Some(pushed) = &bound.pushed {
            pushed.record(value);
        }
        if let Some(scraped) = &bound.scraped {
            let sampled = span
                .filter(|span| bound.exemplars && span.is_sampled() && span.is_valid())
                .filter(|_| {
                    bound
                        .observations
                        .fetch_add(1, Ordering::Relaxed)
                        .is_multiple_of(EXEMPLAR_EVERY)
                });
            let labels = sampled.map(|span| {
                [
                    ("trace_id", span.trace_id().to_string()),
                    ("span_id", span.span_id().to_string()),
                ]
            });
            let at = labels.is_some().then(std::time::SystemTime::now);
            scraped.observe(value, labels, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    fn span(sampled: bool) -> SpanContext {
        let flags = if sampled {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::default()
        };
        let (trace, span) = (TraceId::from(0xabc_u128), SpanId::from(0xdef_u64));
        SpanContext::new(trace, span, flags, false, TraceState::default())
    }

    fn scraped() -> (Metrics, BoundHistogram) {
        let metrics = Metrics::new(None, true, &[("service.name".into(), "users".into())]);
        let series = metrics
            .duration("http.server.request.duration", "Duration of answers")
            .bind(&[KeyValue::new("http.route", "/users")]);
        (metrics, series)
    }

    #[test]
    fn a_bound_series_is_scraped_at_zero() {
        let (metrics, _series) = scraped();
        let page = metrics.exposition().unwrap();
        assert!(
            page.contains("http_server_request_duration_seconds_count{http_route=\"/users\"} 0"),
            "{page}"
        );
        assert!(
            page.contains("target_info{service_name=\"users\"} 1"),
            "{page}"
        );
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn one_in_sixteen_observations_leaves_its_trace() {
        let (metrics, series) = scraped();
        series.record(0.2, Some(&span(true)));
        let page = metrics.exposition().unwrap();
        let exemplar = "le=\"0.25\",http_route=\"/users\"} 1 # {trace_id=\"00000000000000000000000000000abc\",span_id=\"0000000000000def\"} 0.2 ";
        assert!(page.contains(exemplar), "{page}");
        for _ in 0..15 {
            series.record(2.0, Some(&span(true)));
        }
        assert!(!metrics.exposition().unwrap().contains("} 2.0 "));
        series.record(2.0, Some(&span(true)));
        assert!(metrics.exposition().unwrap().contains("} 2.0 "));
    }

    #[test]
    fn an_unsampled_span_is_no_exemplar() {
        let (metrics, series) = scraped();
        series.record(0.2, Some(&span(false)));
        series.record(0.2, None);
        assert!(!metrics.exposition().unwrap().contains("trace_id"));
    }

    #[test]
    fn exemplars_can_be_switched_off() {
        let metrics = Metrics::new(None, true, &[]).with_exemplars(false);
        let series = metrics.duration("a", "b").bind(&[]);
        series.record(0.2, Some(&span(true)));
        let page = metrics.exposition().unwrap();
        assert!(page.contains("a_seconds_count{} 1"), "{page}");
        assert!(!page.contains("trace_id"), "{page}");
    }

    #[test]
    fn what_was_exported_is_scraped() {
        let metrics = Metrics::new(None, true, &[]);
        metrics.exports(Signal::Traces, Arc::default());
        let page = metrics.exposition().unwrap();
        for line in [
            "otel_sdk_exporter_span_exported_total{} 0\n",
            "otel_sdk_exporter_span_exported_total{error_type=\"rejected\"} 0\n",
            "otel_sdk_exporter_span_exported_total{error_type=\"unanswered\"} 0\n",
            "otel_sdk_processor_span_processed_total{} 0\n",
            "otel_sdk_processor_span_processed_total{error_type=\"queue_full\"} 0\n",
        ] {
            assert!(page.contains(line), "no {line} in\n{page}");
        }
    }

    #[test]
    fn asked_for_twice_it_is_one_family() {
        let (metrics, series) = scraped();
        let again = metrics
            .duration("http.server.request.duration", "Duration of answers")
            .bind(&[KeyValue::new("http.route", "/users")]);
        series.record(0.2, None);
        again.record(0.2, None);
        let page = metrics.exposition().unwrap();
        assert_eq!(page.matches("# TYPE http_server").count(), 1, "{page}");
        assert!(page.contains("_count{http_route=\"/users\"} 2"), "{page}");
    }

    #[test]
    fn names_that_become_one_are_one_family_and_attributes_in_any_order_one_series() {
        let metrics = Metrics::new(None, true, &[]);
        let (a, b) = (KeyValue::new("a", "1"), KeyValue::new("b", "2"));
        for (name, attributes) in [
            ("x.y", [a.clone(), b.clone()]),
            ("x_y", [b.clone(), a.clone()]),
            ("x.y.seconds", [a, b]),
        ] {
            metrics
                .duration(name, "")
                .bind(&attributes)
                .record(1.0, None);
        }
        let page = metrics.exposition().unwrap();
        assert_eq!(page.matches("# TYPE x_y_seconds ").count(), 1, "{page}");
        assert!(
            page.contains("x_y_seconds_count{a=\"1\",b=\"2\"} 3\n"),
            "{page}"
        );
    }

    #[test]
    fn without_the_prometheus_exporter_there_is_no_page() {
        let metrics = Metrics::new(None, false, &[]);
        metrics.duration("a", "b").bind(&[]).record(1.0, None);
        assert_eq!(metrics.exposition(), None);
        assert!(!metrics.enabled());
    }
}
