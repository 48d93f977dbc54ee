//! Child processes: none outlives the bench.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

/// What a measured process may see of the caller's environment: nothing that changes what it does.
const KEPT: [&str; 7] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "TZ",
];

/// How long a service may take to stop: it drains and flushes.
const STOP: Duration = Duration::from_secs(30);

/// A command with a clean environment.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = inheriting(program);
    command.env_clear();
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A command with the caller's environment: tools that download or build.
pub(crate) fn inheriting(program: impl AsRef<OsStr>) -> Command {
    let mut command = std::process::Command::new(program);
    command.stdin(Stdio::null()).process_group(0);
    let parent = Pid::this();
    let tie = move || -> io::Result<()> {
        // Dies with the bench, even when that was killed. The kernel ties this to the thread that
        // spawned: there is only one.
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        if Pid::parent() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "only a hook between fork and exec can set this")]
    // SAFETY: the hook only makes async-signal-safe system calls and does not allocate.
    unsafe {
        command.pre_exec(tie);
    }
    Command::from(command)
}

/// A running child and the group it leads. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Child {
    inner: tokio::process::Child,
    pub(crate) pid: i32,
    log: PathBuf,
}

impl Child {
    /// Starts it with its output in `log`, which is emptied.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().context("cannot share the log file")?;
        command.stdout(out).stderr(err);
        let program = command.as_std().get_program().display().to_string();
        let inner = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let pid = inner
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .with_context(|| format!("{program} ended at once"))?;
        Ok(Self {
            inner,
            pid,
            log: log.to_path_buf(),
        })
    }

    /// An error when it has ended by itself.
    pub(crate) fn check(&mut self, name: &str) -> anyhow::Result<()> {
        match self.inner.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("{name} {}: {}", describe(status), self.last_lines()),
            Err(error) => Err(error).with_context(|| format!("cannot watch {name}")),
        }
    }

    pub(crate) async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.inner.wait().await.context("cannot wait for a child")
    }

    /// Asks it to end and waits for that.
    pub(crate) async fn stop(mut self, name: &str) -> anyhow::Result<()> {
        self.check(name)?;
        let _gone = kill(Pid::from_raw(self.pid), Signal::SIGTERM);
        match tokio::time::timeout(STOP, self.inner.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error).with_context(|| format!("cannot wait for {name}")),
            Err(_) => bail!("{name} did not stop within {} s of SIGTERM", STOP.as_secs()),
        }
    }

    /// The end of its log, for a person.
    pub(crate) fn last_lines(&self) -> String {
        last_lines(&self.log)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The group may outlive its leader; a group that is gone is fine.
        let _gone = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
    }
}

/// Runs a command to its end and gives what it printed. Dropping the future kills its group.
pub(crate) async fn output(mut command: Command, most: Duration) -> anyhow::Result<Output> {
    struct Group(Option<i32>);
    impl Drop for Group {
        fn drop(&mut self) {
            if let Some(pid) = self.0 {
                let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    let child = command.spawn().context("cannot start it")?;
    let mut group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()));
    let output = tokio::time::timeout(most, child.wait_with_output())
        .await
        .with_context(|| format!("not done after {} s", most.as_secs()))??;
    group.0 = None;
    Ok(output)
}

/// The end of a log on one line.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(3)
        .collect();
    lines.reverse();
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.trim().chars().take(300).collect())
        .collect();
    if lines.is_empty() {
        format!("its log {} is empty", log.display())
    } else {
        format!("{} ({})", lines.join(" | "), log.display())
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_that_ends_early_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let mut sh = command("sh");
        sh.args(["-c", "echo the port is taken >&2; exit 3"]);
        let mut child = Child::start(sh, &dir.path().join("x.log")).unwrap();
        child.wait().await.unwrap();
        let error = child.check("users").unwrap_err().to_string();
        assert!(
            error.starts_with("users ended with code 3: the port is taken"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn dropping_kills_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let mut sh = command("sh");
        sh.args(["-c", "sleep 100 & echo $!; wait"]);
        let log = dir.path().join("x.log");
        let child = Child::start(sh, &log).unwrap();
        let grandchild = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if let Ok(pid) = text.trim().parse::<i32>() {
                break pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        drop(child);
        let end = std::time::Instant::now() + Duration::from_secs(5);
        let alive = || {
            procfs::process::Process::new(grandchild)
                .and_then(|process| process.stat())
                .is_ok_and(|stat| stat.state != 'Z')
        };
        while alive() {
            assert!(std::time::Instant::now() < end, "the grandchild lives");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn measured_processes_do_not_see_the_callers_settings() {
        let command = command("true");
        let names: Vec<_> = command
            .as_std()
            .get_envs()
            .map(|(name, _)| name.to_owned())
            .collect();
        assert!(
            names
                .iter()
                .all(|name| KEPT.iter().any(|kept| name == kept)),
            "{names:?}"
        );
    }
}
