//! The programs `docker` and its plugin `compose`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::Lab;
use crate::native::provision::on_path;
use crate::native::provision::system::{dotted, first_version};

/// The plugin by itself is a program too; `lab test` puts it here where Docker has none.
const PLUGIN: &str = "docker-compose";
/// An engine that does not answer for so long is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// The oldest Compose that `lab` works with: `ps --no-trunc` came with 2.23. The files by themselves
/// need 2.20, for `depends_on.required`.
pub(crate) const COMPOSE_AT_LEAST: &[u32] = &[2, 23];

/// How to get what is missing.
const HINT: &str = "https://docs.docker.com/engine/install says how to get it; \
                    `./lab up --engine native` needs none";

/// An engine that answers, and a Compose that is new enough.
#[derive(Clone)]
pub(crate) struct Docker {
    docker: PathBuf,
    compose: Compose,
    /// Its name and version: `Docker 28.2.2`.
    pub(crate) engine: String,
}

/// `docker compose`, or the plugin alone.
#[derive(Clone)]
pub(crate) struct Compose {
    words: Vec<OsString>,
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
        let engine = engine(&docker).await?;
        let compose = Compose::find(lab).await?.with_context(|| {
            format!("{engine} answers, but there is no `docker compose`; {HINT}")
        })?;
        Ok(Self {
            docker,
            compose,
            engine,
        })
    }

    /// `docker ARGS`.
    pub(crate) fn command(&self) -> Command {
        quiet(&self.docker)
    }

    /// `docker compose ARGS`, in the checkout.
    pub(crate) fn compose(&self, root: &Path) -> Command {
        let mut command = self.compose.command();
        command.current_dir(root);
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

impl Compose {
    /// The first that is new enough: Docker's plugin, then the one in the cache. `None` when there is
    /// neither, an error when what is there is too old.
    pub(crate) async fn find(lab: &Lab) -> anyhow::Result<Option<Self>> {
        let mut too_old = None;
        let with_plugin = on_path("docker").map(|docker| vec![docker.into(), "compose".into()]);
        let alone = vec![plugin(lab).into_os_string()];
        for words in with_plugin.into_iter().chain([alone]) {
            let mut compose = Self {
                words,
                version: String::new(),
            };
            match compose_version(compose.command()).await {
                Some(version) if version.as_slice() >= COMPOSE_AT_LEAST => {
                    compose.version = dotted(&version);
                    return Ok(Some(compose));
                }
                Some(version) => too_old = too_old.or(Some(version)),
                None => {}
            }
        }
        match too_old {
            Some(version) => bail!(
                "Compose {} is too old: expected {} or newer (docs/compose.md says why); {HINT}",
                dotted(&version),
                dotted(COMPOSE_AT_LEAST)
            ),
            None => Ok(None),
        }
    }

    fn command(&self) -> Command {
        let mut command = quiet(Path::new(&self.words[0]));
        command.args(&self.words[1..]);
        command
    }

    /// As a person types it.
    pub(crate) fn program(&self) -> String {
        let words = self.words.iter().map(|word| word.to_string_lossy());
        words.collect::<Vec<_>>().join(" ")
    }
}

/// The version of a Compose, when it is one that answers.
pub(crate) async fn compose_version(mut compose: Command) -> Option<Vec<u32>> {
    compose.arg("version");
    first_version(&output(compose).await.ok()?)
}

/// Name and version of the engine that answers.
pub(crate) async fn engine(docker: &Path) -> anyhow::Result<String> {
    let mut command = quiet(docker);
    // Podman answers as Docker does, and names itself among the parts.
    let parts = "{{.Server.Version}}{{range .Server.Components}},{{.Name}}{{end}}";
    command.args(["version", "--format", parts]);
    let answer = tokio::time::timeout(PATIENCE, output(command))
        .await
        .context("the Docker engine does not answer")?;
    match answer {
        Ok(parts) => Ok(engine_name(&parts)),
        Err(error) => bail!("no Docker engine answers: {error:#}"),
    }
}

fn engine_name(parts: &str) -> String {
    let (version, parts) = parts.trim().split_once(',').unwrap_or((parts.trim(), ""));
    let name = if parts.contains("Podman") {
        "Podman"
    } else {
        "Docker"
    };
    format!("{name} {version}")
}

/// Whether the engine runs without root, by its own account.
pub(crate) async fn is_rootless(docker: &Path) -> bool {
    let mut command = quiet(docker);
    command.args(["info", "--format", "{{json .SecurityOptions}}"]);
    let answer = tokio::time::timeout(PATIENCE, output(command)).await;
    matches!(answer, Ok(Ok(options)) if options.contains("name=rootless"))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn engines_are_named() {
        for (parts, name) in [
            (
                "28.2.2,Engine,containerd,runc,docker-init\n",
                "Docker 28.2.2",
            ),
            (
                "5.4.2,Podman Engine,Conmon,OCI Runtime (crun)\n",
                "Podman 5.4.2",
            ),
            ("20.10.24\n", "Docker 20.10.24"),
        ] {
            assert_eq!(engine_name(parts), name);
        }
    }

    /// A program that prints what a Compose prints.
    async fn printed(text: &str) -> Option<Vec<u32>> {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("docker-compose");
        std::fs::write(&program, format!("#!/bin/sh\necho '{text}'\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        compose_version(Command::new(&program)).await
    }

    #[tokio::test]
    async fn versions_of_compose_are_compared_by_their_numbers() {
        for (text, new_enough) in [
            ("Docker Compose version v2.23.0", true),
            ("Docker Compose version v2.24.6-desktop.1", true),
            ("Docker Compose version 2.40.3+ds1-0ubuntu1", true),
            ("Docker Compose version v5.1.0", true),
            ("Docker Compose version v2.22.0", false),
            // Not by the letters: 9 is less than 23.
            ("Docker Compose version v2.9.0", false),
            ("docker-compose version 1.29.2, build unknown", false),
            ("podman-compose version 1.6.0", false),
        ] {
            let version = printed(text).await.unwrap();
            assert_eq!(version.as_slice() >= COMPOSE_AT_LEAST, new_enough, "{text}");
        }
        assert_eq!(printed("no version").await, None);
    }
}
