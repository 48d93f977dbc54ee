//! The sampler: a CPU timer for each thread, a signal handler that notes where the thread is and for
//! which span, and a ring that takes the notes.
//!
//! The handler runs between any two instructions of the service. It takes no lock, allocates
//! nothing and calls nothing but `process_vm_readv`, by which the kernel copies a piece of the stack:
//! a frame pointer that leads nowhere is an error to it, not a fault.
#![expect(
    unsafe_code,
    reason = "a signal handler is installed by, and gets its arguments as, raw pointers"
)]

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::IoSliceMut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::time::ClockId;
use nix::unistd::{Pid, gettid};

use super::tag::Tag;
use super::{DEEPEST, PERIOD, symbols};

/// Records for each processor. The ring is emptied ten times a second and a processor makes ten in
/// that time.
const RECORDS: usize = 64;

/// How far two frames of one stack can be from each other.
const WIDEST: u64 = 1 << 20;

/// One sample. All of it is atomic, so that a handler and the reader need no lock; `state` says
/// whose it is.
struct Record {
    state: AtomicU32,
    weight: AtomicU32,
    name: AtomicU32,
    depth: AtomicUsize,
    span: AtomicU64,
    frames: [AtomicU64; DEEPEST],
}

/// `si_code` of a signal that a timer sent.
const SI_TIMER: libc::c_int = -2;

const EMPTY: u32 = 0;
const WRITING: u32 = 1;
const READY: u32 = 2;

struct Ring {
    records: Box<[Record]>,
    next: AtomicUsize,
    dropped: AtomicU64,
    /// Where this program's own code is.
    text: (u64, u64),
    process: Pid,
}

/// Made once and never freed: a late signal finds it.
static RING: OnceLock<Ring> = OnceLock::new();

impl Ring {
    fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(4, usize::from);
        let record = || Record {
            state: AtomicU32::new(EMPTY),
            weight: AtomicU32::new(0),
            name: AtomicU32::new(0),
            depth: AtomicUsize::new(0),
            span: AtomicU64::new(0),
            frames: [const { AtomicU64::new(0) }; DEEPEST],
        };
        let handler = on_signal as *const () as u64;
        Self {
            records: (0..RECORDS * processors.max(4)).map(|_| record()).collect(),
            next: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            text: symbols::code_around(handler).unwrap_or_default(),
            process: Pid::this(),
        }
    }

    /// A record of our own to write to; none when the reader is far behind.
    fn claim(&self) -> Option<&Record> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let record = self.records.get(next.checked_rem(self.records.len())?)?;
        record
            .state
            .compare_exchange(EMPTY, WRITING, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        Some(record)
    }

    fn is_ours(&self, address: u64) -> bool {
        (self.text.0..self.text.1).contains(&address)
    }
}

/// Where a thread was.
struct Registers {
    pc: u64,
    sp: u64,
    fp: u64,
    /// The return address, on machines that keep it in a register.
    link: u64,
}

/// The signal's handler.
extern "C" fn on_signal(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // What the interrupted code wants to read is not ours to change.
    let errno = Errno::last_raw();
    // SAFETY: the kernel calls a handler installed with SA_SIGINFO with pointers to a `siginfo_t` and a
    // `ucontext_t`, both valid until it returns.
    let (weight, registers) = unsafe { (expirations(info), registers(context.cast())) };
    if let (Some(weight), Some(ring)) = (weight, RING.get()) {
        match ring.claim() {
            Some(record) => note(ring, record, weight, &registers),
            None => {
                ring.dropped.fetch_add(u64::from(weight), Ordering::Relaxed);
            }
        }
    }
    Errno::set_raw(errno);
}

/// How many periods passed since this timer's last signal; `None` when no timer sent it.
///
/// # Safety
/// `info` is valid.
unsafe fn expirations(info: *const libc::siginfo_t) -> Option<u32> {
    // SAFETY: valid, as this function's caller says.
    let code = unsafe { (*info).si_code };
    if code != SI_TIMER {
        return None;
    }
    // SAFETY: for SI_TIMER, 64-bit Linux has signal, error, code, padding, timer and overrun in front, each of
    // them an `int`; `siginfo_t` is 128 bytes long.
    let overrun = unsafe { *info.cast::<libc::c_int>().add(5) };
    Some(u32::try_from(overrun).unwrap_or(0).min(1_000) + 1)
}

/// # Safety
/// `context` is valid.
#[cfg(target_arch = "x86_64")]
unsafe fn registers(context: *const libc::ucontext_t) -> Registers {
    // SAFETY: valid, as this function's caller says; the array has all general registers.
    let all = unsafe { &(*context).uc_mcontext.gregs };
    let register = |number: libc::c_int| {
        let number = usize::try_from(number).ok();
        let value = number.and_then(|number| all.get(number));
        value.map_or(0, |value| value.cast_unsigned())
    };
    Registers {
        pc: register(libc::REG_RIP),
        sp: register(libc::REG_RSP),
        fp: register(libc::REG_RBP),
        link: 0,
    }
}

/// # Safety
/// `context` is valid.
#[cfg(target_arch = "aarch64")]
unsafe fn registers(context: *const libc::ucontext_t) -> Registers {
    // SAFETY: valid, as this function's caller says.
    let machine = unsafe { &(*context).uc_mcontext };
    Registers {
        pc: machine.pc,
        sp: machine.sp,
        fp: machine.regs[29],
        link: machine.regs[30],
    }
}

fn note(ring: &Ring, record: &Record, weight: u32, registers: &Registers) {
    let tag = Tag::current();
    record.weight.store(weight, Ordering::Relaxed);
    record.name.store(tag.name, Ordering::Relaxed);
    record.span.store(tag.span, Ordering::Relaxed);
    let depth = walk(ring, &record.frames, registers);
    record.depth.store(depth, Ordering::Relaxed);
    record.state.store(READY, Ordering::Release);
}

/// Follows the frame pointers; gives the number of frames. Of a caller the address before the
/// return address is noted: it is in the call.
fn walk(ring: &Ring, frames: &[AtomicU64], registers: &Registers) -> usize {
    let mut depth = 0;
    let mut push = |address: u64| {
        if let Some(frame) = frames.get(depth) {
            frame.store(address, Ordering::Relaxed);
            depth += 1;
        }
    };
    push(registers.pc);
    let mut stack = Stack::new(ring.process);
    let (mut fp, mut below) = (registers.fp, registers.sp);
    if !ring.is_ours(registers.pc)
        && let Some(entry) = entry(ring, &mut stack, registers)
    {
        push(entry.caller - 1);
        (fp, below) = (entry.fp, entry.below);
    }
    for _ in 0..DEEPEST {
        // Towards the stack's beginning only, so that it ends.
        if fp < below || fp - below > WIDEST {
            break;
        }
        let (Some(next), Some(caller)) = (stack.word(fp), stack.word(fp.wrapping_add(8))) else {
            break;
        };
        if caller == 0 {
            break;
        }
        push(caller - 1);
        (fp, below) = (next, fp + 16);
    }
    depth
}

/// Where our code went into a library that keeps no frame pointers.
struct Entry {
    caller: u64,
    fp: u64,
    below: u64,
}

/// How much of the stack is searched for it, in words: the C library's system calls need no more.
const SEARCHED: u64 = 32;

/// Most of a service's time in system calls is spent below functions of the C library, which use the
/// frame pointer's register for something else. The return address into our code is then near the
/// stack's end, and our frame pointer was saved beside it.
fn entry(ring: &Ring, stack: &mut Stack, registers: &Registers) -> Option<Entry> {
    let sp = registers.sp;
    if registers.link != 0 {
        let (fp, below) = (registers.fp, sp);
        let caller = registers.link;
        return ring.is_ours(caller).then_some(Entry { caller, fp, below });
    }
    let (place, caller) = (0..SEARCHED).find_map(|number| {
        let place = sp.checked_add(number * 8)?;
        let word = stack.word(place)?;
        (ring.is_ours(word) && follows_a_call(ring, word)).then_some((place, word))
    })?;
    let below = place + 8;
    let mut is_frame = |fp: u64| {
        fp >= below
            && fp - below <= WIDEST
            && stack
                .word(fp.wrapping_add(8))
                .is_some_and(|word| ring.is_ours(word))
    };
    if is_frame(registers.fp) {
        let fp = registers.fp;
        return Some(Entry { caller, fp, below });
    }
    // What was saved first is next to the return address.
    let mut saved = Stack::new(ring.process);
    let fp = (1..=(place - sp) / 8)
        .filter_map(|number| saved.word(place - number * 8))
        .find(|word| is_frame(*word))
        .unwrap_or(0);
    Some(Entry { caller, fp, below })
}

/// Whether the instruction before `address` is a call: an old return address may lie about, but
/// most other words that look like one are none.
fn follows_a_call(ring: &Ring, address: u64) -> bool {
    let mut bytes = [0; 8];
    let Some(()) = copy(ring.process, address - 8, &mut bytes) else {
        return false;
    };
    // From its end, by length: call to a distance; to a register or where it points, without, with a
    // short, and with a long offset.
    let indirect = |at: usize| bytes[at] == 0xff && bytes[at + 1] & 0x38 == 0x10;
    bytes[3] == 0xe8 || [6, 5, 4, 2, 1].into_iter().any(indirect)
}

/// Copies memory of this process; `None` where there is none.
fn copy(process: Pid, address: u64, bytes: &mut [u8]) -> Option<()> {
    let (base, len) = (usize::try_from(address).ok()?, bytes.len());
    let remote = [RemoteIoVec { base, len }];
    let copied = process_vm_readv(process, &mut [IoSliceMut::new(bytes)], &remote).ok()?;
    (copied == len).then_some(())
}

/// A window on this thread's stack, copied by the kernel.
struct Stack {
    process: Pid,
    start: u64,
    length: u64,
    bytes: [u8; 512],
}

/// The smallest page there is; a copy must not reach into the next one, which may not be there.
const PAGE: u64 = 4096;

impl Stack {
    fn new(process: Pid) -> Self {
        Self {
            process,
            start: 0,
            length: 0,
            bytes: [0; 512],
        }
    }

    fn word(&mut self, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8) || address < PAGE {
            return None;
        }
        if address.wrapping_sub(self.start) >= self.length {
            self.read(address)?;
        }
        let at = usize::try_from(address.wrapping_sub(self.start)).ok()?;
        let word = self.bytes.get(at..at.checked_add(8)?)?;
        Some(u64::from_ne_bytes(word.try_into().ok()?))
    }

    fn read(&mut self, address: u64) -> Option<()> {
        self.length = 0;
        let len = usize::try_from((PAGE - address % PAGE).min(512)).ok()?;
        copy(self.process, address, self.bytes.get_mut(..len)?)?;
        (self.start, self.length) = (address, len as u64);
        Some(())
    }
}

/// A sample as it was taken.
pub(super) struct Sample<'a> {
    pub(super) tag: Tag,
    /// In periods.
    pub(super) weight: u32,
    /// The innermost first.
    pub(super) frames: &'a [u64],
}

/// Takes all samples that are ready, and gives how many were dropped. One caller at a time.
pub(super) fn drain(mut take: impl FnMut(Sample<'_>)) -> u64 {
    let Some(ring) = RING.get() else { return 0 };
    let mut frames = [0; DEEPEST];
    for record in &ring.records {
        if record.state.load(Ordering::Acquire) != READY {
            continue;
        }
        let depth = record.depth.load(Ordering::Relaxed).min(DEEPEST);
        for (to, from) in frames.iter_mut().zip(&record.frames).take(depth) {
            *to = from.load(Ordering::Relaxed);
        }
        take(Sample {
            tag: Tag {
                name: record.name.load(Ordering::Relaxed),
                span: record.span.load(Ordering::Relaxed),
            },
            weight: record.weight.load(Ordering::Relaxed),
            frames: &frames[..depth],
        });
        record.state.store(EMPTY, Ordering::Release);
    }
    ring.dropped.swap(0, Ordering::Relaxed)
}

/// Installs the handler. No timer runs yet.
pub(super) fn install() -> Result<(), String> {
    let ring = RING.get_or_init(Ring::new);
    let mut stack = Stack::new(ring.process);
    let here = 0_u64;
    let address = (&raw const here) as u64;
    if stack.word(address).is_none() {
        return Err(format!(
            "process_vm_readv, which reads the stacks, is not allowed here ({})",
            Errno::last()
        ));
    }
    // SAFETY: all zeros is a valid `sigaction`, and a null pointer says that nothing is set.
    let before = unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPROF, std::ptr::null(), &raw mut before);
        before.sa_sigaction
    };
    let ours = on_signal as *const () as usize;
    if ![libc::SIG_DFL, libc::SIG_IGN, ours].contains(&before) {
        return Err("another profiler in this process has the signal SIGPROF".to_owned());
    }
    // Calls that were interrupted go on by themselves.
    set_action(ours, libc::SA_SIGINFO | libc::SA_RESTART)
}

/// Takes the handler away, once no timer runs. A signal that is still under way is ignored; with
/// the default action it would end the process.
pub(super) fn uninstall() {
    if let Err(error) = set_action(libc::SIG_IGN, 0) {
        // The handler stays, which does no harm.
        tracing::debug!(error, "SIGPROF is not ignored");
    }
}

fn set_action(handler: usize, flags: libc::c_int) -> Result<(), String> {
    // SAFETY: all zeros is a valid `sigaction` with an empty mask. The handler is SIG_IGN or
    // `on_signal`, which has the signature that SA_SIGINFO asks for and is safe in a signal.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut())
    };
    Errno::result(result)
        .map(drop)
        .map_err(|error| format!("cannot handle SIGPROF: {error}"))
}

/// A timer for every thread but the calling one. Timers stop when this is dropped; a child process
/// inherits none.
pub(super) struct Threads {
    own: i32,
    timers: HashMap<i32, Timer>,
    told: bool,
}

impl Threads {
    pub(super) fn new() -> Self {
        Self {
            own: gettid().as_raw(),
            timers: HashMap::new(),
            told: false,
        }
    }

    /// Starts timers for threads that are new, and ends those of threads that are gone.
    pub(super) fn follow(&mut self) {
        let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
            return;
        };
        let threads: Vec<i32> = tasks
            .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
            .filter(|thread| *thread != self.own)
            .collect();
        self.timers.retain(|thread, _| threads.contains(thread));
        for thread in threads {
            if self.timers.contains_key(&thread) {
                continue;
            }
            match timer(thread) {
                Ok(timer) => {
                    self.timers.insert(thread, timer);
                }
                // It has ended meanwhile.
                Err(Errno::EINVAL | Errno::ESRCH) => {}
                Err(error) if !std::mem::replace(&mut self.told, true) => {
                    tracing::warn!(%error, "no CPU timer for a thread; it is missing in profiles");
                }
                Err(_) => {}
            }
        }
    }
}

/// Signals the thread each time it has used [`PERIOD`] of CPU.
fn timer(thread: i32) -> nix::Result<Timer> {
    // How the kernel names the CPU clock of a thread.
    let clock = ClockId::from_raw((!thread << 3) | 6);
    let event = SigEvent::new(SigevNotify::SigevThreadId {
        signal: Signal::SIGPROF,
        thread_id: thread,
        si_value: 0,
    });
    let mut timer = Timer::new(clock, event)?;
    // Not all threads at once.
    let period = PERIOD.as_nanos() as u64;
    let first = Duration::from_nanos(RandomState::new().hash_one(thread) % period + 1);
    let expiration = Expiration::IntervalDelayed(first.into(), PERIOD.into());
    timer.set(expiration, TimerSetTimeFlags::empty())?;
    Ok(timer)
}
