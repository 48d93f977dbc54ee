//! CPU profiles whose samples know the request they were taken in.
//!
//! Every thread has a CPU timer; its signal's handler notes the stack and the span of the request
//! that the thread is working for. The layer of [`http`](crate::http) sets that span whenever it polls
//! a request. Work that a request hands to another thread takes its span along by [`spawn_blocking`].
//!
//! The sampler runs only while somebody wants a profile: a request for `/debug/pprof/profile`, or the
//! push to Pyroscope.

mod endpoint;
mod pprof;
mod push;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod sampler;
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "unsupported.rs"]
mod sampler;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod symbols;
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "no_symbols.rs"]
mod symbols;
mod tag;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use endpoint::router;
pub(crate) use push::Pusher;
pub(crate) use tag::{Entered, Tag};
use tokio::task::JoinHandle;

/// 100 samples for each second of CPU, on the clock of each thread: not in step with anything that
/// ticks in real time.
const PERIOD: Duration = Duration::from_millis(10);

/// Frames of a stack; the outermost ones beyond are cut.
const DEEPEST: usize = 128;

/// Different stacks of one profile. At 100 Hz it takes ten processors a quarter of a minute to make so
/// many, if no two were alike.
const MOST_STACKS: usize = 16_384;

/// How often samples are collected, and threads looked for.
const TURN: Duration = Duration::from_millis(100);

/// Where a profile is served.
pub(crate) const PATH: &str = "/debug/pprof/profile";

/// [`tokio::task::spawn_blocking`] for work that belongs to the current request: its log lines have
/// the request's trace, and its CPU time is the request's in profiles.
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let (tag, context) = (Tag::current(), opentelemetry::Context::current());
    tokio::task::spawn_blocking(move || {
        let _context = context.attach();
        let _tag = tag.enter();
        work()
    })
}

/// Whether samples are being taken.
pub(crate) fn active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

static ACTIVE: AtomicBool = AtomicBool::new(false);

/// A stack in a request.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Stack {
    tag: Tag,
    frames: Box<[u64]>,
}

/// Samples of some time, the same stacks counted together.
#[derive(Debug)]
struct Profile {
    at: SystemTime,
    since: Instant,
    duration: Duration,
    stacks: HashMap<Stack, u64>,
    /// Samples that did not fit.
    dropped: u64,
}

impl Profile {
    fn new() -> Self {
        Self {
            at: SystemTime::now(),
            since: Instant::now(),
            duration: Duration::ZERO,
            stacks: HashMap::new(),
            dropped: 0,
        }
    }

    fn add(&mut self, sample: &sampler::Sample<'_>) {
        let stack = Stack {
            tag: sample.tag,
            frames: sample.frames.into(),
        };
        let weight = u64::from(sample.weight);
        if let Some(count) = self.stacks.get_mut(&stack) {
            *count += weight;
        } else if self.stacks.len() < MOST_STACKS {
            self.stacks.insert(stack, weight);
        } else {
            self.dropped += weight;
        }
    }
}

/// Who wants samples. There is one sampler in a process: signals belong to all of it.
struct Wanted {
    next: u64,
    sessions: Vec<(u64, Profile)>,
    /// Whether the collecting thread runs.
    collecting: bool,
}

static WANTED: Mutex<Wanted> = Mutex::new(Wanted {
    next: 0,
    sessions: Vec::new(),
    collecting: false,
});

/// Told when a session ended.
static ENDED: Condvar = Condvar::new();

fn wanted() -> MutexGuard<'static, Wanted> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wanted {
    /// Gives every session what was sampled since.
    fn collect(&mut self) {
        let sessions = &mut self.sessions;
        let dropped = sampler::drain(|sample| {
            for (_, profile) in sessions.iter_mut() {
                profile.add(&sample);
            }
        });
        for (_, profile) in sessions {
            profile.dropped += dropped;
        }
    }
}

/// Somebody who wants samples, from now until it is dropped.
#[derive(Debug)]
struct Session(u64);

impl Session {
    fn start() -> Result<Self, String> {
        let mut wanted = wanted();
        if wanted.collecting {
            // What was sampled before is not this session's.
            wanted.collect();
        } else {
            sampler::install()?;
            let thread = std::thread::Builder::new().name("profiler".to_owned());
            if let Err(error) = thread.spawn(collect) {
                sampler::uninstall();
                return Err(format!("cannot start a thread: {error}"));
            }
            wanted.collecting = true;
            ACTIVE.store(true, Ordering::Relaxed);
        }
        let number = wanted.next;
        wanted.next += 1;
        wanted.sessions.push((number, Profile::new()));
        Ok(Self(number))
    }

    /// What was sampled since the last time.
    fn take(&self) -> Profile {
        let mut wanted = wanted();
        wanted.collect();
        let own = wanted.sessions.iter_mut().find(|(id, _)| *id == self.0);
        let mut profile = match own {
            Some((_, profile)) => std::mem::replace(profile, Profile::new()),
            None => Profile::new(),
        };
        profile.duration = profile.since.elapsed();
        profile
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        wanted().sessions.retain(|(id, _)| *id != self.0);
        ENDED.notify_all();
    }
}

/// The collecting thread: it ends, and with it the timers, when nobody wants samples any more.
fn collect() {
    let mut threads = sampler::Threads::new();
    let mut wanted = wanted();
    while !wanted.sessions.is_empty() {
        drop(wanted);
        threads.follow();
        let turn = ENDED.wait_timeout(self::wanted(), TURN);
        wanted = turn.map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        wanted.collect();
    }
    drop(threads);
    sampler::uninstall();
    // Taken too late for anybody, or its record would be in the way of the next profile.
    wanted.collect();
    ACTIVE.store(false, Ordering::Relaxed);
    wanted.collecting = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(frames: &[u64]) -> sampler::Sample<'_> {
        sampler::Sample {
            tag: Tag::default(),
            weight: 2,
            frames,
        }
    }

    #[test]
    fn the_same_stack_is_counted_together() {
        let mut profile = Profile::new();
        profile.add(&sample(&[1, 2]));
        profile.add(&sample(&[1, 2]));
        profile.add(&sample(&[1, 3]));
        let mut counts: Vec<u64> = profile.stacks.values().copied().collect();
        counts.sort_unstable();
        assert_eq!(counts, [2, 4]);
    }

    #[test]
    fn a_profile_is_bounded() {
        let mut profile = Profile::new();
        for address in 0..MOST_STACKS as u64 + 3 {
            profile.add(&sample(&[address]));
        }
        assert_eq!((profile.stacks.len(), profile.dropped), (MOST_STACKS, 6));
    }
}
