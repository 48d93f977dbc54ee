//! Starting and ending one process, with everything it may leave behind.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessGroup};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdout};

use crate::native::component::{Spec, Stop};
use crate::native::environment;
use crate::process::ProcessId;

/// A running child that leads a process group of its own. Dropping it kills the whole group.
pub(crate) struct Child {
    inner: Box<dyn ChildWrapper>,
    pub(crate) id: ProcessId,
    ended: bool,
}

/// Starts a child whose output goes to `log`. `mark` is the state directory of the lab.
pub(crate) fn spawn(spec: &Spec, log: &Path, mark: &Path) -> anyhow::Result<Child> {
    start(spec, Stdio::null(), to_log(log)?, Some(mark))
}

/// Starts a child whose output is read here.
pub(crate) fn spawn_piped(spec: &Spec) -> anyhow::Result<Child> {
    start(spec, Stdio::null(), (Stdio::piped(), Stdio::piped()), None)
}

fn to_log(log: &Path) -> anyhow::Result<(Stdio, Stdio)> {
    let out = append(log)?;
    let err = out.try_clone().context("cannot share the log file")?;
    Ok((out.into(), err.into()))
}

fn start(
    spec: &Spec,
    stdin: Stdio,
    (out, err): (Stdio, Stdio),
    mark: Option<&Path>,
) -> anyhow::Result<Child> {
    let mut command = std::process::Command::new(&spec.program);
    command.args(&spec.args);
    if spec.local {
        for name in environment::REMOVED {
            command.env_remove(name);
        }
    }
    for (name, value) in &spec.env {
        command.env(name, value);
    }
    if let Some(mark) = mark {
        command.env(environment::MARK, mark);
    }
    // A fixed directory, so that the caller's can be removed while the lab runs.
    command.current_dir(spec.directory.as_deref().unwrap_or(Path::new("/")));
    command.stdin(stdin).stdout(out).stderr(err);
    if let Some(user) = &spec.user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let parent = Pid::this();
    let signal = spec.death_signal;
    let nice = spec.nice;
    let processors = spec.aside.then(upper_half).flatten();
    let prepare = move || -> io::Result<()> {
        // Dies with the supervisor, even when that was killed. The kernel ties this to the
        // thread that spawned: the program has only one.
        prctl::set_pdeathsig(signal)?;
        if Pid::parent() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if nice != 0 {
            #[expect(unsafe_code, reason = "nix has no setpriority")]
            // SAFETY: a plain system call on the calling process.
            let _best_effort = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
        }
        if let Some(processors) = &processors {
            // Best effort: without it, it runs wherever there is room.
            let _ = sched_setaffinity(Pid::from_raw(0), processors);
        }
        Ok(())
    };
    #[expect(
        unsafe_code,
        reason = "only a hook between fork and exec can set these"
    )]
    // SAFETY: the hook only makes async-signal-safe system calls and does not allocate.
    unsafe {
        command.pre_exec(prepare);
    }
    let mut wrap = CommandWrap::from(tokio::process::Command::from(command));
    wrap.wrap(ProcessGroup::leader());
    let inner = wrap
        .spawn()
        .with_context(|| format!("cannot start {}", spec.program.display()))?;
    let pid = inner
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .context("the child ended before it could be watched")?;
    let id = ProcessId::of(pid).unwrap_or(ProcessId { pid, start: 0 });
    Ok(Child {
        inner,
        id,
        ended: false,
    })
}

/// Of the processors that this program may use, the second half; `None` where there is only one.
fn upper_half() -> Option<CpuSet> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let all: Vec<usize> = (0..CpuSet::count())
        .filter(|processor| allowed.is_set(*processor).unwrap_or(false))
        .collect();
    if all.len() < 2 {
        return None;
    }
    let mut half = CpuSet::new();
    for processor in all.get(all.len() / 2..)? {
        half.set(*processor).ok()?;
    }
    Some(half)
}

/// Opens a log for appending, making its directory.
pub(crate) fn append(log: &Path) -> anyhow::Result<File> {
    if let Some(directory) = log.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))
}

impl Child {
    /// Waits for its end. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.inner.wait().await?;
        self.ended = true;
        Ok(status)
    }

    /// The pipes of a child that was started with them.
    pub(crate) fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.inner.stdout().take(), self.inner.stderr().take())
    }

    /// Asks it to end, waits, kills what is left. True when it ended by itself.
    pub(crate) async fn stop(&mut self, stop: Stop) -> bool {
        let _gone = self.id.signal(stop.signal);
        let by_itself = matches!(
            tokio::time::timeout(stop.deadline, self.wait()).await,
            Ok(Ok(_))
        );
        self.id.signal_group(Signal::SIGKILL);
        if !by_itself {
            let _collected = tokio::time::timeout(Duration::from_secs(5), self.wait()).await;
        }
        self.ended = true;
        by_itself
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended {
            self.id.signal_group(Signal::SIGKILL);
        }
    }
}

/// Runs a command to its end. Dropping the future kills it and what it started.
pub(crate) async fn run(
    spec: &Spec,
    log: &Path,
    mark: &Path,
    stdin: &str,
    started: impl FnOnce(ProcessId),
) -> anyhow::Result<()> {
    let pipe = if stdin.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut child = start(spec, pipe, to_log(log)?, Some(mark))?;
    started(child.id);
    if let Some(mut input) = child.inner.stdin().take() {
        // A command that does not read all of it says so by its exit code.
        let _early_end = input.write_all(stdin.as_bytes()).await;
    }
    let status = child.wait().await?;
    anyhow::ensure!(status.success(), "{}", describe(status));
    Ok(())
}

/// "ended with code 1", "was killed by SIGKILL"
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    if let Some(code) = status.code() {
        return format!("ended with code {code}");
    }
    let signal = status
        .signal()
        .and_then(|number| Signal::try_from(number).ok());
    signal.map_or_else(
        || "ended".to_owned(),
        |signal| format!("was killed by {signal}"),
    )
}

/// The last line of a log that says something.
pub(crate) fn last_line(log: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096)))
        .ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let line = tail.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(400).collect())
}
