//! Work done on purpose: CPU and memory.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The most CPU time one request may ask for.
pub(crate) const LONGEST_WORK: Duration = Duration::from_secs(30);

/// How much of it may run at once, in requests.
const AT_ONCE: usize = 8;

/// The most that leaks, in bytes: enough to be seen, not enough to hurt the machine.
const MOST_LEAKED: usize = 512 * 1024 * 1024;

/// Bounds `/do_long_work`.
#[derive(Debug, Clone)]
pub(crate) struct LongWork(Arc<Semaphore>);

impl Default for LongWork {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl LongWork {
    /// Burns CPU for `time`; `false` when too many others do already.
    pub(crate) async fn run(&self, time: Duration) -> bool {
        let Ok(_permit) = self.0.try_acquire() else {
            return false;
        };
        burn(time).await;
        true
    }
}

/// Burns one core for `time`, off the async threads, and stops early when nobody waits any more.
pub(crate) async fn burn(time: Duration) {
    struct StopOnDrop(Arc<AtomicBool>);
    impl Drop for StopOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = StopOnDrop(Arc::default());
    let stopped = stop.0.clone();
    // It cannot panic, and is not aborted while it is awaited.
    let _ = telemetry::profiling::spawn_blocking(move || spin(time, &stopped)).await;
}

/// A function of its own and never inlined: profiles show it by this name.
#[inline(never)]
fn spin(time: Duration, stopped: &AtomicBool) {
    let until = Instant::now() + time;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while !stopped.load(Ordering::Relaxed) && Instant::now() < until {
        for _ in 0..10_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        black_box(state);
    }
}

static LEAKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Keeps `bytes` for ever, up to [`MOST_LEAKED`] in all.
pub(crate) fn leak(bytes: usize) {
    if bytes == 0 {
        return;
    }
    let mut leaked = LEAKED.lock().unwrap_or_else(PoisonError::into_inner);
    if (leaked.len() + 1).saturating_mul(bytes) <= MOST_LEAKED {
        // Written to, so that the memory is really taken.
        leaked.push(vec![0x5a; bytes]);
    }
}
