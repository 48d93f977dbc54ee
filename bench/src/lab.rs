//! A lab of the bench's own: the backends that every configuration is measured with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::child::{self, Child};
use crate::printer::Printer;

/// Added to the lab's ports where the environment names no other offset, so that a lab may run beside it.
const OFFSET: u16 = 1400;
/// Backends whose cost is told beside that of the services.
pub(crate) const BACKENDS: [&str; 5] =
    ["otel-collector", "jaeger", "loki", "prometheus", "postgres"];

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Directory of this bench's lab, logs and scratch files.
    pub(crate) work: PathBuf,
    /// What is downloaded or built once.
    pub(crate) cache: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// The lab's command line.
    pub(crate) lab: PathBuf,
}

impl Paths {
    pub(crate) fn find() -> anyhow::Result<Self> {
        let env = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = match env("LAB_ROOT") {
            Some(root) => root,
            None => std::env::current_dir()?,
        };
        if !root.join("bench/Cargo.toml").is_file() {
            bail!(
                "{} is not a checkout of the lab: run `./lab bench` in one",
                root.display()
            );
        }
        let target =
            env("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |given| root.join(given));
        Ok(Self {
            // Not under a home directory: PostgreSQL's user must be able to enter it.
            work: PathBuf::from(format!(
                "/var/tmp/lab-bench-{}-{}",
                nix::unistd::Uid::effective(),
                offset()?
            )),
            cache: env("LAB_CACHE_DIR")
                .unwrap_or_else(|| target.join("bench-cache"))
                .join("bench"),
            lab: env("LAB_PROGRAM").unwrap_or_else(|| root.join("lab")),
            target,
            root,
        })
    }

    /// The log of something that is built or started.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.work.join(format!("{name}.log"))
    }
}

fn offset() -> anyhow::Result<u16> {
    match std::env::var("LAB_PORT_OFFSET") {
        Ok(text) if !text.is_empty() => text.parse().with_context(|| {
            format!("LAB_PORT_OFFSET is `{text}`: expected a number from 0 to 60000")
        }),
        _ => Ok(OFFSET),
    }
}

/// The lab that runs.
pub(crate) struct Lab {
    pub(crate) paths: Paths,
    pub(crate) http: reqwest::Client,
    state: State,
}

#[derive(Debug, Default, Deserialize)]
struct State {
    ports: BTreeMap<String, u16>,
    components: Vec<Component>,
}

#[derive(Debug, Deserialize)]
struct Component {
    name: String,
    phase: String,
    detail: Option<String>,
    hint: Option<String>,
    source: Option<String>,
    process: Option<Process>,
}

#[derive(Debug, Deserialize)]
struct Process {
    pid: i32,
}

/// A program that the lab found or fetched.
#[derive(Debug, Deserialize)]
pub(crate) struct Provided {
    pub(crate) program: PathBuf,
    pub(crate) prefix: Option<PathBuf>,
    pub(crate) library_path: Option<String>,
}

impl Lab {
    /// Starts it and waits for all of it.
    pub(crate) async fn start(paths: &Paths, printer: &Printer) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()?;
        let mut lab = Self {
            paths: paths.clone(),
            http,
            state: State::default(),
        };
        printer.step("starting a lab of the bench's own: lab up --wait");
        let mut up = lab_command(paths, &["up", "--wait", "--engine", "native"])?;
        if printer.is_live() {
            printer.clear();
        }
        // Its progress is shown as it is.
        up.stdout(Stdio::null()).stderr(Stdio::inherit());
        let output = child::output(up, Duration::from_secs(3600))
            .await
            .context("lab up --wait")?;
        if !output.status.success() {
            bail!(
                "the bench's lab did not come up: the reason is above; {} holds its logs",
                lab.logs().display()
            );
        }
        lab.state = read_state(paths).await?;
        lab.state.check(&lab.logs())?;
        Ok(lab)
    }

    /// An error when a backend is not the process it was when the lab came up: then what was
    /// counted and timed is worth nothing.
    pub(crate) async fn check_backends(&self) -> anyhow::Result<()> {
        let now = read_state(&self.paths).await?;
        now.check(&self.logs())?;
        let before = self.backends();
        for (name, pid) in now.backends() {
            if !before.contains(&(name.clone(), pid)) {
                bail!(
                    "the backend {name} died and was started again while it was measured: see {}",
                    self.logs().join(format!("{name}.log")).display()
                );
            }
        }
        Ok(())
    }

    pub(crate) fn port(&self, variable: &str) -> anyhow::Result<u16> {
        self.state
            .ports
            .get(variable)
            .copied()
            .with_context(|| format!("the bench's lab has no {variable}"))
    }

    /// The process of each backend.
    pub(crate) fn backends(&self) -> Vec<(String, i32)> {
        self.state.backends()
    }

    pub(crate) fn backend(&self, name: &str) -> anyhow::Result<i32> {
        self.backends()
            .into_iter()
            .find_map(|(found, pid)| (found == name).then_some(pid))
            .with_context(|| format!("the bench's lab has no {name} that runs"))
    }

    /// Where each backend's program comes from, with its version as far as that tells.
    pub(crate) fn sources(&self) -> BTreeMap<String, String> {
        self.state
            .components
            .iter()
            .filter(|component| BACKENDS.contains(&component.name.as_str()))
            .filter_map(|component| Some((component.name.clone(), component.source.clone()?)))
            .collect()
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.paths.work.join("state/logs")
    }

    pub(crate) fn flags(&self) -> PathBuf {
        self.paths.work.join("state/flags/lab.flagd.json")
    }

    /// Makes the lab's own Prometheus scrape the measured users service in place of the lab's idle one.
    pub(crate) fn scrape(&self, users: u16) -> anyhow::Result<()> {
        let file = self
            .paths
            .work
            .join("state/config/prometheus/targets/users.yml");
        let text = serde_json::json!([{ "targets": [format!("127.0.0.1:{users}")] }]).to_string();
        let new = file.with_extension("new");
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Stops it and removes everything it wrote.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        remove(&self.paths).await
    }
}

impl State {
    fn backends(&self) -> Vec<(String, i32)> {
        self.components
            .iter()
            .filter(|component| BACKENDS.contains(&component.name.as_str()))
            .filter_map(|component| Some((component.name.clone(), component.process.as_ref()?.pid)))
            .collect()
    }

    /// An error that names a backend which does not run.
    fn check(&self, logs: &Path) -> anyhow::Result<()> {
        for name in BACKENDS {
            let Some(component) = self
                .components
                .iter()
                .find(|component| component.name == name)
            else {
                bail!("the bench's lab has no {name}");
            };
            if component.phase != "healthy" {
                let why = component.detail.as_deref().unwrap_or("no reason told");
                let hint = component
                    .hint
                    .as_deref()
                    .map(|hint| format!("; to mend it: {hint}"))
                    .unwrap_or_default();
                bail!(
                    "the backend {name} is {} ({why}){hint}; logs are in {}",
                    component.phase,
                    logs.display()
                );
            }
        }
        Ok(())
    }
}

async fn read_state(paths: &Paths) -> anyhow::Result<State> {
    let mut status = lab_command(paths, &["status", "--json"])?;
    status.stdout(Stdio::piped()).stderr(Stdio::null());
    let output = child::output(status, Duration::from_secs(60))
        .await
        .context("lab status --json")?;
    serde_json::from_slice(&output.stdout).context("lab status --json cannot be read")
}

/// Clears what an earlier bench left, and makes the work directory.
pub(crate) async fn prepare(paths: &Paths) -> anyhow::Result<()> {
    // An earlier bench that was killed may have left its lab.
    remove(paths).await?;
    make_work(paths)
}

fn make_work(paths: &Paths) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(&paths.work)
        .and_then(|()| {
            std::fs::set_permissions(&paths.work, std::fs::Permissions::from_mode(0o755))
        })
        .with_context(|| format!("cannot make {}", paths.work.display()))
}

/// Stops the bench's lab after a failure, and leaves its logs to be read.
pub(crate) async fn halt(paths: &Paths) -> anyhow::Result<()> {
    if !paths.work.join("state").exists() {
        return Ok(());
    }
    let mut down = lab_command(paths, &["down"])?;
    down.stdout(Stdio::null()).stderr(Stdio::null());
    let output = child::output(down, Duration::from_secs(120))
        .await
        .context("lab down")?;
    if !output.status.success() {
        bail!(
            "the bench's lab in {} could not be stopped",
            paths.work.display()
        );
    }
    Ok(())
}

/// Stops the bench's lab, if there is one, and removes the work directory.
pub(crate) async fn remove(paths: &Paths) -> anyhow::Result<()> {
    if paths.work.join("state").exists() {
        let mut down = lab_command(paths, &["down", "--purge"])?;
        down.stdout(Stdio::null()).stderr(Stdio::piped());
        let output = child::output(down, Duration::from_secs(120))
            .await
            .context("lab down --purge")?;
        if !output.status.success() {
            bail!(
                "the bench's lab in {} could not be stopped: {}",
                paths.work.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    match std::fs::remove_dir_all(&paths.work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", paths.work.display()))
        }
        _ => Ok(()),
    }
}

fn lab_command(paths: &Paths, args: &[&str]) -> anyhow::Result<tokio::process::Command> {
    let mut command = child::inheriting(&paths.lab);
    command
        .args(args)
        .env("LAB_ROOT", &paths.root)
        .env("LAB_STATE_DIR", paths.work.join("state"))
        .env("LAB_PORT_OFFSET", offset()?.to_string())
        // Else Linux gives the backends half of the processors whatever the services ask for, or lets them fall
        // behind: sessions have equal shares (autogroup). Under `lab up` backends and services are in one.
        .env("LAB_SESSION", "caller")
        // `.env` of a person's lab must not move single ports of this one onto theirs, and engines stay native.
        .env_remove("LAB_ENGINE");
    Ok(command)
}

/// Asks the lab for a program that is on PATH or in a Debian package.
pub(crate) async fn provide(paths: &Paths, name: &str) -> anyhow::Result<Provided> {
    let mut command = lab_command(paths, &["provide", name])?;
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output = child::output(command, Duration::from_secs(600))
        .await
        .with_context(|| format!("{name} cannot be had"))?;
    if !output.status.success() {
        bail!("{name} is needed and cannot be had: the reason is above");
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("what the lab says about {name} cannot be read"))
}

/// A port that is free now, another with each call. It is below those that Linux by default gives to outgoing
/// connections (`ip_local_port_range`): one of these may be gone when the service starts.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const MANY: u32 = 12_000;
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        if tried >= MANY {
            bail!("no port from {FIRST} to {} is free", FIRST + MANY - 1);
        }
        // Two benches at once begin at different ones.
        let port = u16::try_from(FIRST + (std::process::id() + tried) % MANY)?;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}

/// Waits until a service answers 200, or says why it does not.
pub(crate) async fn ready(
    http: &reqwest::Client,
    child: &mut Child,
    name: &str,
    url: &str,
) -> anyhow::Result<()> {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        child.check(name)?;
        let answer = http.get(url).timeout(Duration::from_secs(5)).send().await;
        if answer
            .as_ref()
            .is_ok_and(|answer| answer.status().is_success())
        {
            return Ok(());
        }
        if std::time::Instant::now() >= end {
            bail!(
                "{name} is not ready after 60 s at {url}: {}",
                child.last_lines()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether another bench is at work here: two would measure each other.
pub(crate) fn lock(paths: &Paths) -> anyhow::Result<std::fs::File> {
    let path: &Path = &paths.work.with_extension("lock");
    let file = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!(
                "another bench is running with this LAB_PORT_OFFSET: wait for it, or set another one"
            )
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
