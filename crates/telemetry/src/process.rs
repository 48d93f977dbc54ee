//! What the process itself takes: CPU time and memory, by the semantic conventions' names.

use std::fmt;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

const CPU_TIME: &str = "CPU time of the process";
const MEMORY: &str = "Physical memory the process takes";
const MODE: &str = "cpu.mode";

/// What it took until now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Usage {
    user_seconds: f64,
    system_seconds: f64,
    memory_bytes: i64,
}

impl Usage {
    /// Nothing where the system does not tell.
    #[cfg(target_os = "linux")]
    fn now() -> Option<Self> {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeVal;

        let seconds = |time: TimeVal| {
            let micros = u32::try_from(time.tv_usec()).unwrap_or_default();
            let whole = u32::try_from(time.tv_sec()).unwrap_or(u32::MAX);
            f64::from(whole) + f64::from(micros) / 1e6
        };
        let times = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        Some(Self {
            user_seconds: seconds(times.user_time()),
            system_seconds: seconds(times.system_time()),
            memory_bytes: resident(&status)?,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn now() -> Option<Self> {
        None
    }

    fn cpu(&self) -> [(&'static str, f64); 2] {
        [("user", self.user_seconds), ("system", self.system_seconds)]
    }
}

/// `VmRSS:      5432 kB`
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "only Linux has the file")
)]
fn resident(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// For metrics that are pushed.
pub(crate) fn observe(meter: &Meter) {
    // The instruments live as long as their meter's provider.
    let _ = meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_description(CPU_TIME)
        .with_callback(|observer| {
            if let Some(usage) = Usage::now() {
                for (mode, seconds) in usage.cpu() {
                    observer.observe(seconds, &[KeyValue::new(MODE, mode)]);
                }
            }
        })
        .build();
    let _ = meter
        .i64_observable_up_down_counter("process.memory.usage")
        .with_unit("By")
        .with_description(MEMORY)
        .with_callback(|observer| {
            if let Some(usage) = Usage::now() {
                observer.observe(usage.memory_bytes, &[]);
            }
        })
        .build();
}

/// For metrics that are scraped.
#[derive(Debug)]
pub(crate) struct Scraped;

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(usage) = Usage::now() else {
            return Ok(());
        };
        let seconds = Unit::Seconds;
        let mut times = encoder.encode_descriptor(
            "process_cpu_time",
            CPU_TIME,
            Some(&seconds),
            MetricType::Counter,
        )?;
        for (mode, seconds) in usage.cpu() {
            let labels = [("cpu_mode", mode)];
            ConstCounter::new(seconds).encode(times.encode_family(&labels)?)?;
        }
        let bytes = Unit::Bytes;
        let memory = encoder.encode_descriptor(
            "process_memory_usage",
            MEMORY,
            Some(&bytes),
            MetricType::Gauge,
        )?;
        ConstGauge::new(usage.memory_bytes).encode(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tusers\nVmHWM:\t  9000 kB\nVmRSS:\t    5432 kB\nThreads:\t3\n";
        assert_eq!(resident(status), Some(5432 * 1024));
        assert_eq!(resident("Name:\tusers\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_and_memory_are_counted() {
        let before = Usage::now().unwrap();
        let kept = vec![1_u8; 64 << 20];
        let mut sum = 0_u64;
        while Usage::now().unwrap().user_seconds < before.user_seconds + 0.05 {
            sum = kept
                .iter()
                .fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        }
        let after = Usage::now().unwrap();
        assert!(sum > 0);
        assert!(
            after.memory_bytes >= before.memory_bytes + (32 << 20),
            "{before:?} {after:?}"
        );
    }
}
