//! The programs `docker` and its plugin `compose`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::Lab;
use crate::native::provision::on_path;

/// The plugin by itself is a program too; `lab test` puts it here where Docker has none.
const PLUGIN: &str = "docker-compose";
/// An engine that does not answer for so long is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to get what is missing.
const HINT: &str = "https://docs.docker.com/engine/install says how to get it; \
                    `./lab up --engine native` needs none";

/// A Docker that answers.
#[derive(Clone)]
pub(crate) struct Docker {
    docker: PathBuf,
    /// `docker compose`, or the plugin alone.
    compose: Vec<OsString>,
    pub(crate) version: String,
}

/// Where a compose plugin is kept that no package brought.
pub(crate) fn plugin(lab: &Lab) -> PathBuf {
    lab.paths.cache.join("bin").join(PLUGIN)
}

impl Docker {
    /// An engine that answers, with compose; else why there is none.
    pub(crate) async fn find(lab: &Lab) -> anyhow::Result<Self> {
        let Some(docker) = on_path("docker") else {
            bail!("`docker` is not on this machine; {HINT}");
        };
        let version = engine_version(&docker).await?;
        let with_plugin = vec![docker.clone().into_os_string(), "compose".into()];
        for compose in [with_plugin, vec![plugin(lab).into_os_string()]] {
            if answers(&compose).await {
                return Ok(Self {
                    docker,
                    compose,
                    version,
                });
            }
        }
        bail!("a Docker engine answers, but there is no `docker compose`; {HINT}")
    }

    /// `docker ARGS`.
    pub(crate) fn command(&self) -> Command {
        quiet(&self.docker)
    }

    /// `docker compose ARGS`, in the checkout.
    pub(crate) fn compose(&self, root: &Path) -> Command {
        let mut command = quiet(Path::new(&self.compose[0]));
        command.args(&self.compose[1..]).current_dir(root);
        command
    }

    /// Hands an image to the engine.
    pub(crate) async fn load(&self, archive: &Path) -> anyhow::Result<()> {
        let mut command = self.command();
        command
            .arg("load")
            .arg("--quiet")
            .arg("--input")
            .arg(archive);
        output(command).await.map(drop)
    }

    /// What an image says about itself in one of its labels; `None` when it is not here.
    pub(crate) async fn label(&self, image: &str, label: &str) -> Option<String> {
        let format = format!("{{{{index .Config.Labels {label:?}}}}}");
        let mut command = self.command();
        command.args(["image", "inspect", "--format", &format, image]);
        let text = output(command).await.ok()?;
        Some(text.trim().to_owned())
    }
}

async fn engine_version(docker: &Path) -> anyhow::Result<String> {
    let mut command = quiet(docker);
    command.args(["version", "--format", "{{.Server.Version}}"]);
    let answer = tokio::time::timeout(PATIENCE, output(command))
        .await
        .context("the Docker engine does not answer")?;
    match answer {
        Ok(version) => Ok(version.trim().to_owned()),
        Err(error) => bail!("no Docker engine answers: {error:#}"),
    }
}

async fn answers(compose: &[OsString]) -> bool {
    let mut command = quiet(Path::new(&compose[0]));
    command.args(&compose[1..]).arg("version");
    output(command).await.is_ok()
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it to its end, for what it prints.
pub(crate) async fn output(mut command: Command) -> anyhow::Result<String> {
    let said = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .await
        .with_context(|| format!("cannot run {command:?}"))?;
    if !said.status.success() {
        let text = String::from_utf8_lossy(&said.stderr);
        // The last line says what is wrong; those before it, what was done.
        bail!(
            "{}",
            text.trim().lines().last().unwrap_or("no reason given")
        );
    }
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}
