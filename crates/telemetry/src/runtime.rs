//! The process and its Tokio runtime, read when somebody collects: nothing is counted in between.
//!
//! Process metrics have the semantic conventions' names; for Tokio there are none yet.

use std::fmt;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::runtime::{Handle, RuntimeMetrics};

use crate::metrics::{labels, metric_name};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only ever rises.
    Counter,
    /// Sums up over processes: a Prometheus gauge.
    UpDown,
}

/// One attribute or none, and a value.
type Values = Vec<(Option<(&'static str, &'static str)>, f64)>;

/// What is read, and how it is told.
struct Reading<S: 'static> {
    name: &'static str,
    description: &'static str,
    unit: &'static str,
    kind: Kind,
    read: fn(&S) -> Values,
}

impl<S> Clone for Reading<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Reading<S> {}

const TOKIO: [Reading<RuntimeMetrics>; 5] = [
    Reading {
        name: "tokio.workers",
        description: "Threads that poll tasks",
        unit: "{worker}",
        kind: Kind::UpDown,
        read: |tokio| one(count(tokio.num_workers())),
    },
    Reading {
        name: "tokio.tasks.alive",
        description: "Tasks that were spawned and have not ended",
        unit: "{task}",
        kind: Kind::UpDown,
        read: |tokio| one(count(tokio.num_alive_tasks())),
    },
    Reading {
        name: "tokio.global_queue.depth",
        description: "Tasks that are ready and wait in the queue that all workers share",
        unit: "{task}",
        kind: Kind::UpDown,
        read: |tokio| one(count(tokio.global_queue_depth())),
    },
    Reading {
        name: "tokio.worker.busy.time",
        description: "Time in which workers polled tasks, all of them together",
        unit: "s",
        kind: Kind::Counter,
        read: |tokio| {
            let workers = 0..tokio.num_workers();
            one(workers
                .map(|worker| tokio.worker_total_busy_duration(worker).as_secs_f64())
                .sum())
        },
    },
    Reading {
        name: "tokio.worker.parks",
        description: "How often a worker found nothing to do, all of them together",
        unit: "{park}",
        kind: Kind::Counter,
        read: |tokio| {
            let workers = 0..tokio.num_workers();
            one(workers
                .map(|worker| tokio.worker_park_count(worker) as f64)
                .sum())
        },
    },
];

fn one(value: f64) -> Values {
    vec![(None, value)]
}

/// Exact up to 2^53.
fn count(value: usize) -> f64 {
    value as f64
}

/// This process, as the kernel sees it.
#[derive(Debug)]
struct Process;

#[cfg(target_os = "linux")]
const PROCESS: [Reading<Process>; 4] = [
    Reading {
        name: "process.cpu.time",
        description: "CPU time, in the program (user) and in the kernel for it (system)",
        unit: "s",
        kind: Kind::Counter,
        read: |_| {
            let Ok(usage) =
                nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
            else {
                return Vec::new();
            };
            let seconds = |time: nix::sys::time::TimeVal| {
                time.tv_sec() as f64 + f64::from(i32::try_from(time.tv_usec()).unwrap_or(0)) / 1e6
            };
            vec![
                (Some(("cpu.mode", "user")), seconds(usage.user_time())),
                (Some(("cpu.mode", "system")), seconds(usage.system_time())),
            ]
        },
    },
    Reading {
        name: "process.memory.usage",
        description: "Physical memory in use",
        unit: "By",
        kind: Kind::UpDown,
        read: |_| {
            let resident = procfs::process::Process::myself().and_then(|process| process.statm());
            resident.map_or(Vec::new(), |pages| {
                one(pages.resident as f64 * procfs::page_size() as f64)
            })
        },
    },
    Reading {
        name: "process.thread.count",
        description: "Threads",
        unit: "{thread}",
        kind: Kind::UpDown,
        read: |_| {
            let stat = procfs::process::Process::myself().and_then(|process| process.stat());
            stat.map_or(Vec::new(), |stat| one(stat.num_threads as f64))
        },
    },
    Reading {
        name: "process.unix.file_descriptor.count",
        description: "Open file descriptors",
        unit: "{file_descriptor}",
        kind: Kind::UpDown,
        read: |_| {
            let open = procfs::process::Process::myself().and_then(|process| process.fd_count());
            open.map_or(Vec::new(), |open| one(count(open)))
        },
    },
];

#[cfg(not(target_os = "linux"))]
const PROCESS: [Reading<Process>; 0] = [];

/// All of it for whoever pushes.
pub(crate) fn observe(meter: &Meter) {
    if let Some(tokio) = tokio() {
        for reading in TOKIO {
            observe_one(meter, reading, tokio.clone());
        }
    }
    for reading in PROCESS {
        observe_one(meter, reading, Arc::new(Process));
    }
}

/// All of it for whoever scrapes.
pub(crate) fn collectors() -> Vec<Box<dyn Collector>> {
    let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
    if let Some(tokio) = tokio() {
        for reading in TOKIO {
            let source = tokio.clone();
            collectors.push(Box::new(Scraped { reading, source }));
        }
    }
    for reading in PROCESS {
        let source = Arc::new(Process);
        collectors.push(Box::new(Scraped { reading, source }));
    }
    collectors
}

/// The runtime that telemetry was started in.
fn tokio() -> Option<Arc<RuntimeMetrics>> {
    Handle::try_current()
        .ok()
        .map(|handle| Arc::new(handle.metrics()))
}

fn observe_one<S: Send + Sync>(meter: &Meter, reading: Reading<S>, source: Arc<S>) {
    let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
        for (attribute, value) in (reading.read)(&source) {
            let attribute = attribute.map(|(key, value)| KeyValue::new(key, value));
            observer.observe(value, attribute.as_slice());
        }
    };
    // The instrument lives as long as its meter's provider.
    match reading.kind {
        Kind::Counter => drop(
            meter
                .f64_observable_counter(reading.name)
                .with_description(reading.description)
                .with_unit(reading.unit)
                .with_callback(observe)
                .build(),
        ),
        Kind::UpDown => drop(
            meter
                .f64_observable_up_down_counter(reading.name)
                .with_description(reading.description)
                .with_unit(reading.unit)
                .with_callback(observe)
                .build(),
        ),
    }
}

struct Scraped<S: 'static> {
    reading: Reading<S>,
    source: Arc<S>,
}

impl<S> fmt::Debug for Scraped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reading.name)
    }
}

impl<S: Send + Sync> Collector for Scraped<S> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = metric_name(self.reading.name);
        // As the Collector translates them: a unit in braces is none.
        let unit = match self.reading.unit {
            "s" => Some(&Unit::Seconds),
            "By" => Some(&Unit::Bytes),
            _ => None,
        };
        let kind = match self.reading.kind {
            Kind::Counter => MetricType::Counter,
            Kind::UpDown => MetricType::Gauge,
        };
        let mut metric = encoder.encode_descriptor(&name, self.reading.description, unit, kind)?;
        for (attribute, value) in (self.reading.read)(&self.source) {
            let labels = labels(attribute.map(|(key, value)| (key, value.to_owned())));
            let series = metric.encode_family(&labels)?;
            match self.reading.kind {
                Kind::Counter => ConstCounter::new(value).encode(series)?,
                Kind::UpDown => ConstGauge::new(value).encode(series)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

    use crate::metrics::Metrics;

    fn page() -> String {
        let metrics = Metrics::new(None, true, &[]);
        metrics.runtime();
        metrics.exposition().unwrap()
    }

    /// The value of the one series that begins so.
    fn value(page: &str, series: &str) -> f64 {
        let found: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix(series))
            .collect();
        let [value] = found.as_slice() else {
            panic!("not one {series} but {found:?} in\n{page}");
        };
        value.trim().parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn the_runtime_is_scraped() {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let waits = tokio::spawn(stopped);
        let busy = || value(&page(), "tokio_worker_busy_time_seconds_total{}");
        let before = busy();
        let work = async {
            #[expect(
                clippy::disallowed_methods,
                reason = "a task that blocks its worker is what is measured"
            )]
            std::thread::sleep(Duration::from_millis(30));
        };
        tokio::spawn(work).await.unwrap();
        // A worker counts its busy time when it goes to sleep, or about every millisecond of it.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while busy() < before + 0.03 {
            assert!(std::time::Instant::now() < deadline, "{before} {}", busy());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let page = page();
        assert!((value(&page, "tokio_workers{}") - 3.0).abs() < 1e-9);
        assert!(value(&page, "tokio_tasks_alive{}") >= 1.0);
        assert!(value(&page, "tokio_global_queue_depth{}") >= 0.0);
        assert!(value(&page, "tokio_worker_parks_total{}") >= 1.0);
        stop.send(()).unwrap();
        waits.await.unwrap().unwrap();
    }

    #[test]
    fn outside_of_a_runtime_only_the_process_is_told() {
        let page = page();
        assert!(!page.contains("tokio"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_scraped() {
        let before = value(&page(), "process_cpu_time_seconds_total{cpu_mode=\"user\"}");
        let begin = std::time::Instant::now();
        let mut sum = 0_u64;
        while begin.elapsed() < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let page = page();
        assert!(value(&page, "process_cpu_time_seconds_total{cpu_mode=\"user\"}") > before);
        assert!(value(&page, "process_cpu_time_seconds_total{cpu_mode=\"system\"}") >= 0.0);
        let memory = value(&page, "process_memory_usage_bytes{}");
        assert!((1e6..1e11).contains(&memory), "{memory}");
        assert!(value(&page, "process_thread_count{}") >= 1.0);
        assert!(value(&page, "process_unix_file_descriptor_count{}") >= 3.0);
    }

    /// What is pushed has the same names, units and attributes as what is scraped.
    #[tokio::test]
    async fn what_is_pushed_is_what_is_scraped() {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter.clone())
            .build();
        super::observe(&provider.meter("telemetry"));
        provider.force_flush().unwrap();
        let mut pushed = Vec::new();
        for metrics in exporter.get_finished_metrics().unwrap() {
            for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
                let AggregatedMetrics::F64(MetricData::Sum(sum)) = metric.data() else {
                    panic!("{} is no sum", metric.name());
                };
                let unit = match metric.unit() {
                    "s" => "_seconds",
                    "By" => "_bytes",
                    _ => "",
                };
                let total = if sum.is_monotonic() { "_total" } else { "" };
                for point in sum.data_points() {
                    let labels: Vec<String> = point
                        .attributes()
                        .map(|kv| format!("{}=\"{}\"", kv.key.as_str().replace('.', "_"), kv.value))
                        .collect();
                    let name = metric.name().replace('.', "_");
                    pushed.push(format!("{name}{unit}{total}{{{}}}", labels.join(",")));
                }
            }
        }
        pushed.sort();
        let page = page();
        let mut scraped: Vec<&str> = page
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("target_info"))
            .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
            .collect();
        scraped.sort_unstable();
        assert_eq!(pushed, scraped);
        assert!(pushed.len() >= 5, "{pushed:?}");
    }
}
