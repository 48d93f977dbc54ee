//! The stack as a whole: its file, its project, what it starts and what runs of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::Lab;
use crate::compose::docker::{Docker, output};
use crate::compose::left_out::{self, InPlace};
use crate::flags;
use crate::native::environment::ATTRIBUTES;
use crate::native::{components, rules};
use crate::settings;
use crate::state::{ComponentState, Phase, State, now, write_atomically};
use crate::versions::Versions;

/// How a state says that it is one of containers.
pub(crate) const COMPOSE: &str = "compose";
/// As the file names it.
const PROJECT: &str = "observability-lab";
/// The shipped file.
pub(crate) const FILE: &str = "docker-compose.yaml";

/// Those that the flags break.
const READERS: [&str; 2] = ["albums", "users"];

/// The user of the console's image.
const CONSOLE: u32 = 65_532;

/// The console writes the flags, too: it runs as the user whose directory they are in. Root gives
/// it the directory instead, and needs no leave.
fn flags_owner() -> Option<String> {
    let user = nix::unistd::Uid::effective();
    (!user.is_root()).then(|| format!("{user}:{}", nix::unistd::Gid::effective()))
}

pub(crate) struct Stack<'a> {
    lab: &'a Lab,
    pub(crate) docker: Docker,
}

/// A service of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) image: String,
    /// Its image is built from the checkout.
    pub(crate) built: bool,
    /// The image of a program of our own, which takes its place where its image cannot be had.
    pub(crate) stand_in: Option<String>,
}

/// The service for which there is one: without a receiver nobody would see what Alertmanager tells.
pub(crate) const STOOD_IN_FOR: &str = "webhook";

impl<'a> Stack<'a> {
    pub(crate) async fn find(lab: &'a Lab) -> anyhow::Result<Self> {
        let docker = Docker::find(lab).await?;
        Ok(Self { lab, docker })
    }

    /// Containers, networks and volumes carry this name. A second lab has one of its own.
    fn project(&self) -> String {
        let given = std::env::var("COMPOSE_PROJECT_NAME").ok();
        let offset = self.lab.settings.port_offset;
        match given.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None if offset == 0 => PROJECT.to_owned(),
            None => format!("{PROJECT}-{offset}"),
        }
    }

    /// Data that a stack without containers left.
    pub(crate) async fn has_volumes(&self) -> anyhow::Result<bool> {
        let label = format!("label=com.docker.compose.project={}", self.project());
        let mut command = self.docker.command();
        command.args(["volume", "ls", "--quiet", "--filter", &label]);
        Ok(!output(command).await?.trim().is_empty())
    }

    /// The versions that services are to run as, when a scenario wants others than the images'.
    fn versions_file(&self) -> PathBuf {
        self.lab.paths.config("compose").join("versions.yaml")
    }

    fn overlay_file(&self) -> PathBuf {
        self.lab.paths.config("compose").join("left-out.yaml")
    }

    /// `docker compose` for this stack; the services that were left out stay so.
    pub(crate) fn compose(&self) -> Command {
        let paths = &self.lab.paths;
        let mut command = self.docker.compose(&paths.root);
        command.arg("--project-name").arg(self.project());
        command.arg("--file").arg(paths.root.join(FILE));
        for overlay in [self.overlay_file(), self.versions_file()] {
            if overlay.is_file() {
                command.arg("--file").arg(overlay);
            }
        }
        for (name, port) in self.lab.settings.port_variables() {
            command.env(name, port.to_string());
        }
        // Only `lab` writes these: the committed ones are what is mounted without it.
        if let Some(directory) = paths.flags_file().parent() {
            command.env("LAB_FLAGS_DIR", directory);
        }
        if let Some(user) = flags_owner() {
            command.env("LAB_CONSOLE_USER", user);
        }
        // The ports above have it.
        command.env_remove(settings::PORT_OFFSET);
        command
    }

    /// Every service of the shipped file.
    pub(crate) async fn services(&self) -> anyhow::Result<Vec<Service>> {
        #[derive(Deserialize)]
        struct Config {
            services: BTreeMap<String, Described>,
        }
        #[derive(Deserialize)]
        struct Described {
            image: String,
            build: Option<serde::de::IgnoredAny>,
        }
        let mut command = self.docker.compose(&self.lab.paths.root);
        command.args(["--file", FILE, "config", "--format", "json"]);
        let text = output(command).await.context(FILE)?;
        let config: Config = serde_json::from_str(&text).context(FILE)?;
        // Ours are all of one version.
        let ours = config.services.get("edge").map(|edge| edge.image.as_str());
        let stand_in = ours.and_then(|image| {
            let (repository, version) = image.rsplit_once("/edge:")?;
            Some(format!("{repository}/{STOOD_IN_FOR}:{version}"))
        });
        Ok(config
            .services
            .into_iter()
            .map(|(name, service)| Service {
                stand_in: stand_in.clone().filter(|_| name == STOOD_IN_FOR),
                name,
                image: service.image,
                built: service.build.is_some(),
            })
            .collect())
    }

    /// The images that the Dockerfiles build on, by the arguments that name them.
    pub(crate) async fn bases(&self) -> anyhow::Result<BTreeMap<String, String>> {
        #[derive(Deserialize)]
        struct Config {
            services: BTreeMap<String, Built>,
        }
        #[derive(Deserialize)]
        struct Built {
            build: Option<Build>,
        }
        #[derive(Deserialize)]
        struct Build {
            #[serde(default)]
            args: BTreeMap<String, String>,
        }
        let mut command = self.docker.compose(&self.lab.paths.root);
        command.args(["--file", FILE, "config", "--format", "json"]);
        let text = output(command).await.context(FILE)?;
        let config: Config = serde_json::from_str(&text).context(FILE)?;
        let builds = config
            .services
            .into_values()
            .filter_map(|service| service.build);
        let mut bases: BTreeMap<String, String> = builds.flat_map(|build| build.args).collect();
        bases.retain(|name, _| name.ends_with("_IMAGE"));
        Ok(bases)
    }

    /// Writes what has to be there before containers start. `left_out` has a reason for each,
    /// `stand_in` is the image that takes the webhook tester's place.
    pub(crate) fn prepare(
        &self,
        left_out: &BTreeMap<String, String>,
        stand_in: Option<&str>,
    ) -> anyhow::Result<()> {
        flags::ensure(&self.lab.paths)?;
        if let Some(directory) = self.lab.paths.flags_file().parent()
            && flags_owner().is_none()
        {
            std::os::unix::fs::chown(directory, Some(CONSOLE), Some(CONSOLE))
                .with_context(|| format!("cannot give {} to console", directory.display()))?;
        }
        let overlay = self.overlay_file();
        if left_out.is_empty() && stand_in.is_none() {
            if overlay.exists() {
                std::fs::remove_file(&overlay)
                    .with_context(|| format!("cannot remove {}", overlay.display()))?;
            }
            return Ok(());
        }
        // In place of those that Pyrra would make.
        rules::write(&self.lab.paths)?;
        let in_place = InPlace {
            rules: self.lab.paths.config("prometheus").join("rules"),
            targets: self.lab.paths.config("compose").join("targets"),
            webhook: stand_in.map(str::to_owned),
        };
        self.write_targets(left_out, &in_place.targets)?;
        if let Some(directory) = overlay.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut text = left_out::overlay(left_out, &in_place);
        text["x-left-out"] = serde_json::to_value(left_out)?;
        write_atomically(&overlay, &serde_json::to_vec_pretty(&text)?)
    }

    fn write_targets(&self, left_out: &BTreeMap<String, String>, to: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
        for path in rules::yaml_files(&self.lab.paths.infra("prometheus").join("targets"))? {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let text = left_out::targets(&text, left_out)
                .with_context(|| format!("{} is no list of targets", path.display()))?;
            let target = to.join(path.file_name().unwrap_or_default());
            write_atomically(&target, text.as_bytes())?;
        }
        Ok(())
    }

    /// Goes for containers that are made from now on.
    pub(crate) fn set_versions(&self, versions: &Versions) -> anyhow::Result<()> {
        let file = self.versions_file();
        if versions.is_empty() {
            return match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot remove {}", file.display()))
                }
                _ => Ok(()),
            };
        }
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let services: BTreeMap<&String, Value> = versions
            .iter()
            .map(|(service, version)| {
                let attributes = format!("service.version={version}");
                (
                    service,
                    json!({ "environment": { ATTRIBUTES: attributes } }),
                )
            })
            .collect();
        let text = json!({ "services": services });
        write_atomically(&file, &serde_json::to_vec_pretty(&text)?)
    }

    /// `docker compose ARGUMENTS NAMES` to its end; what it prints is told only when it fails.
    pub(crate) async fn quietly(&self, arguments: &[&str], names: &[String]) -> anyhow::Result<()> {
        let mut command = self.compose();
        command.args(arguments).args(names);
        let said = output(command).await;
        said.map(drop)
            .with_context(|| format!("docker compose {} {}", arguments[0], names.join(" ")))
    }

    /// The services that were left out, with the reasons.
    pub(crate) fn left_out(&self) -> BTreeMap<String, String> {
        #[derive(Deserialize)]
        struct Overlay {
            #[serde(rename = "x-left-out")]
            left_out: BTreeMap<String, String>,
        }
        std::fs::read(self.overlay_file())
            .ok()
            .and_then(|text| serde_json::from_slice::<Overlay>(&text).ok())
            .map(|overlay| overlay.left_out)
            .unwrap_or_default()
    }

    /// What runs, in the form that the native engine's state has; `None` when there is no container.
    pub(crate) async fn look(&self) -> anyhow::Result<Option<State>> {
        let mut command = self.compose();
        command.args(["ps", "--all", "--format", "json"]);
        let text = output(command).await.context("docker compose ps")?;
        let containers = containers(&text)?;
        if containers.is_empty() {
            return Ok(None);
        }
        let paths = &self.lab.paths;
        let mut state = State::new(&paths.root, String::new(), self.lab.ports().clone());
        COMPOSE.clone_into(&mut state.engine);
        state.looked = state.generation;
        for container in containers {
            // It has done its work and ended, as it should.
            if container.service == "probe" && container.is_done() {
                continue;
            }
            state.components.push(self.component(&container));
        }
        for (name, why) in self.left_out() {
            let mut component = ComponentState::new(&name, false);
            component.generation = state.generation;
            component.phase = Phase::Missing;
            component.detail = Some(why);
            state.components.push(component);
        }
        let order = components::names();
        let place = |name: &str| order.iter().position(|each| *each == name);
        state.components.sort_by_key(|each| {
            let missing = each.phase == Phase::Missing;
            (missing, place(&each.name).unwrap_or(order.len()))
        });
        Ok(Some(state))
    }

    /// A service that reads other flags than those of the state directory.
    pub(crate) async fn flags_elsewhere(&self) -> anyhow::Result<Option<String>> {
        let mut command = self.compose();
        command.args(["ps", "--all", "--no-trunc", "--format", "json"]);
        let text = output(command).await.context("docker compose ps")?;
        let flags = self.lab.paths.flags_file();
        let ours = flags
            .parent()
            .map(|directory| directory.display().to_string());
        let other = containers(&text)?.into_iter().find(|container| {
            let mut mounts = container.mounts.split(',');
            READERS.contains(&container.service.as_str())
                && !mounts.any(|mount| Some(mount) == ours.as_deref())
        });
        Ok(other.map(|container| container.service))
    }

    /// Bytes that each service takes, without the file cache.
    pub(crate) async fn memory(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut list = self.compose();
        list.args(["ps", "--format", "json"]);
        let running = containers(&output(list).await?)?;
        let mut stats = self.docker.command();
        stats.args([
            "stats",
            "--no-stream",
            "--format",
            "{{.Name}} {{.MemUsage}}",
        ]);
        stats.args(running.iter().map(|container| &container.name));
        let text = output(stats).await?;
        Ok(text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let name = words.next()?;
                let bytes = bytes(words.next()?)?;
                let container = running.iter().find(|each| each.name == name)?;
                Some((container.service.clone(), bytes))
            })
            .collect())
    }

    fn component(&self, container: &Container) -> ComponentState {
        let native = components::by_name(&container.service);
        let mut component =
            ComponentState::new(&container.service, native.is_some_and(|native| native.core));
        component.generation = 1;
        component.phase = container.phase();
        component.since = now() - container.age().unwrap_or(0.0);
        if component.phase != Phase::Healthy {
            component.detail = Some(container.status.clone());
        }
        let settings = &self.lab.settings;
        component.address = native
            .and_then(|native| (native.address)(settings))
            .or_else(|| container.address());
        component.source = Some(container.image.clone());
        component
    }
}

/// A line of `docker compose ps`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    name: String,
    service: String,
    image: String,
    state: String,
    #[serde(default)]
    health: String,
    status: String,
    exit_code: i32,
    /// Names of volumes and directories of the host, with commas between them.
    #[serde(default)]
    mounts: String,
    #[serde(default)]
    publishers: Option<Vec<Publisher>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publisher {
    published_port: u16,
}

impl Container {
    fn is_done(&self) -> bool {
        self.state == "exited" && self.exit_code == 0
    }

    fn phase(&self) -> Phase {
        match (self.state.as_str(), self.health.as_str()) {
            ("running", "healthy" | "") => Phase::Healthy,
            ("running", "starting") => Phase::Starting,
            ("running", _) => Phase::Unhealthy,
            ("created", _) => Phase::Waiting,
            ("restarting", _) => Phase::Crashed,
            ("exited", _) if self.exit_code == 0 => Phase::Stopped,
            // By SIGTERM or SIGKILL of a `stop`, or of a person.
            ("exited", _) if matches!(self.exit_code, 130 | 137 | 143) => Phase::Stopped,
            _ => Phase::Failed,
        }
    }

    fn address(&self) -> Option<String> {
        let ports = self.publishers.as_ref()?;
        let port = ports.iter().map(|each| each.published_port);
        let port = port.filter(|port| *port != 0).min()?;
        Some(format!("http://127.0.0.1:{port}"))
    }

    /// Seconds, from `Up 5 minutes (healthy)`: engines tell it in words only.
    fn age(&self) -> Option<f64> {
        let mut words = self.status.split_whitespace();
        words.by_ref().find(|word| *word == "Up")?;
        let first = words.next()?;
        let (number, unit) = match first {
            "Less" => return Some(0.0),
            "About" => (1.0, words.nth(1)?),
            number => (number.parse().ok()?, words.next()?),
        };
        let seconds = match unit.trim_end_matches('s') {
            "second" => 1.0,
            "minute" => 60.0,
            "hour" => 3600.0,
            "day" => 86_400.0,
            "week" => 604_800.0,
            _ => return None,
        };
        Some(number * seconds)
    }
}

/// `18.34MiB`
fn bytes(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no negative number and no exabytes are printed"
    )]
    Some(bytes as u64)
}

/// One JSON object a line; older versions print one list.
fn containers(text: &str) -> anyhow::Result<Vec<Container>> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).context("docker compose ps");
    }
    text.lines()
        .map(|line| serde_json::from_str(line).context("docker compose ps"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(state: &str, health: &str, exit_code: i32, status: &str) -> Container {
        Container {
            name: "lab-loki-1".into(),
            service: "loki".into(),
            image: "grafana/loki:1".into(),
            state: state.into(),
            health: health.into(),
            status: status.into(),
            exit_code,
            mounts: String::new(),
            publishers: None,
        }
    }

    #[test]
    fn states_of_containers_are_phases() {
        for (state, health, code, phase) in [
            ("running", "healthy", 0, Phase::Healthy),
            ("running", "", 0, Phase::Healthy),
            ("running", "starting", 0, Phase::Starting),
            ("running", "unhealthy", 0, Phase::Unhealthy),
            ("restarting", "", 1, Phase::Crashed),
            ("exited", "", 0, Phase::Stopped),
            ("exited", "", 137, Phase::Stopped),
            ("exited", "", 2, Phase::Failed),
            ("created", "", 0, Phase::Waiting),
        ] {
            assert_eq!(container(state, health, code, "").phase(), phase, "{state}");
        }
    }

    #[test]
    fn ages_are_read_from_words() {
        for (status, age) in [
            ("Up 5 minutes (healthy)", Some(300.0)),
            ("Up About a minute (unhealthy)", Some(60.0)),
            ("Up About an hour", Some(3600.0)),
            ("Up Less than a second (health: starting)", Some(0.0)),
            ("Up 1 second", Some(1.0)),
            ("Exited (0) 3 days ago", None),
        ] {
            assert_eq!(container("running", "", 0, status).age(), age, "{status}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("18.5MiB"), Some(19_398_656));
        assert_eq!(bytes("900B"), Some(900));
        assert_eq!(bytes("1GiB"), Some(1 << 30));
        assert_eq!(bytes("--"), None);
    }

    #[test]
    fn both_forms_of_a_list_are_read() {
        let line = r#"{"Name":"lab-edge-1","Service":"edge","Image":"e:1","State":"running","Health":"healthy","Status":"Up 2 seconds (healthy)","ExitCode":0,"Publishers":[{"URL":"127.0.0.1","TargetPort":8001,"PublishedPort":9001,"Protocol":"tcp"}]}"#;
        let lines = containers(&format!("{line}\n{line}\n")).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].address().as_deref(), Some("http://127.0.0.1:9001"));
        assert_eq!(containers(&format!("[{line}]")).unwrap().len(), 1);
        assert!(containers("").unwrap().is_empty());
    }
}
