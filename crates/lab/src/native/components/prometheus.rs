//! prometheus: the committed configuration, byte for byte; the target files beside it are written
//! here, with this machine's addresses, and the rules by [`crate::native::rules`].

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::Lab;
use crate::native::component::{
    Component, Debian, Found, Launch, Probe, Recipe, Source, Spec, Stop, System, Tier,
};
use crate::native::provision;
use crate::native::rules::{self, yaml_files};
use crate::settings::{Port, Settings};
use crate::state::write_atomically;

pub(super) const COMPONENT: Component = Component {
    name: "prometheus",
    core: true,
    tier: Tier::Backend,
    ports: &[Port::Prometheus],
    address: |settings| Some(settings.http(Port::Prometheus)),
    recipe: |_| {
        Recipe::Sources(vec![
            Source::System(System {
                program: "prometheus",
                directories: &[],
                version: &["--version"],
                at_least: &[2, 42],
            }),
            Source::Debian(Debian {
                package: "prometheus",
                program: "usr/bin/prometheus",
                elsewhere: &[
                    ("dnf", "golang-github-prometheus"),
                    ("zypper", "golang-github-prometheus-prometheus"),
                    ("pacman", "prometheus"),
                    ("apk", "prometheus"),
                ],
            }),
        ])
    },
    configure,
    probe: |settings| Probe::Http(settings.http(Port::Prometheus) + "/-/ready"),
    stop: Stop::TERM,
};

fn configure(lab: &Lab, found: &Found) -> anyhow::Result<Launch> {
    let from = lab.paths.infra("prometheus");
    let to = lab.paths.config("prometheus");
    let data = lab.paths.data("prometheus");
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let mut inputs = render(&lab.settings, &from, &to)?;
    // Not among the inputs: a change of rules needs no restart, the supervisor has them loaded.
    let promtool = provision::beside(found, "promtool");
    let rules = rules::write(&lab.paths, promtool.as_deref())?;
    let config = to.join("prometheus.yml");
    let mut run = Spec::component(lab, &found.program)
        .flag("--config.file=", &config)
        .flag("--storage.tsdb.path=", &data)
        .arg("--storage.tsdb.retention.time=1d")
        .flag(
            "--web.listen-address=",
            lab.settings.address(Port::Prometheus),
        )
        .flag("--web.external-url=", lab.settings.http(Port::Prometheus))
        .arg("--web.enable-lifecycle")
        .arg("--web.enable-remote-write-receiver")
        .arg("--enable-feature=exemplar-storage,native-histograms")
        .arg("--log.level=warn");
    // Debian's package keeps the pages of the UI outside the program.
    if let Some(prefix) = &found.prefix {
        let assets = prefix.join("usr/share/prometheus/web");
        if assets.is_dir() {
            run = run.flag("--web.local-assets=", assets);
        }
    }
    let mut launch = Launch::new(run);
    launch.inputs.append(&mut inputs);
    launch.notice = rules.notice();
    Ok(launch)
}

/// Where each job's targets listen natively.
fn targets(settings: &Settings, job: &str) -> Vec<String> {
    let port = match job {
        "prometheus" => Port::Prometheus,
        "users" => Port::Users,
        "otel-collector" => Port::OtelcolPrometheus,
        "otel-collector-internal" => Port::OtelcolMetrics,
        "jaeger" => Port::JaegerMetrics,
        "loki" => Port::Loki,
        "alertmanager" => Port::Alertmanager,
        // Its component runs in the compose stack only: no target here.
        _ => return Vec::new(),
    };
    vec![settings.address(port)]
}

/// Copies the configuration and writes the targets; says what it wrote. A file that is right
/// already is left alone: a running Prometheus watches them.
fn render(settings: &Settings, from: &Path, to: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut content = vec![(
        to.join("prometheus.yml"),
        read(&from.join("prometheus.yml"))?,
    )];
    for path in yaml_files(&from.join("targets"))? {
        let job = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = path.file_name().unwrap_or_default();
        // JSON is YAML, and Prometheus goes by the file's ending only to choose a parser.
        let text = serde_json::to_vec(&serde_json::json!([
            { "targets": targets(settings, &job) }
        ]))?;
        content.push((to.join("targets").join(name), text));
    }
    for directory in [to.to_path_buf(), to.join("targets")] {
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        // What is gone from the checkout must go here too.
        for path in yaml_files(&directory)? {
            if !content.iter().any(|(wanted, _)| *wanted == path) {
                std::fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
    }
    for (path, text) in &content {
        if std::fs::read(path).ok().as_ref() != Some(text) {
            write_atomically(path, text)?;
        }
    }
    Ok(content.into_iter().map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_copied_and_targets_are_this_machines() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let settings = Settings::load(&root).unwrap();
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(from.path().join("targets")).unwrap();
        for (name, text) in [
            ("prometheus.yml", "global: {}\n"),
            ("targets/users.yml", "- targets: ['users:8000']\n"),
            ("targets/tempo.yml", "- targets: ['tempo:3200']\n"),
        ] {
            std::fs::write(from.path().join(name), text).unwrap();
        }
        let written = render(&settings, from.path(), to.path()).unwrap();
        assert_eq!(written.len(), 3);
        let read = |name: &str| std::fs::read_to_string(to.path().join(name)).unwrap();
        assert_eq!(read("prometheus.yml"), "global: {}\n");
        let users = settings.address(Port::Users);
        assert_eq!(
            read("targets/users.yml"),
            format!("[{{\"targets\":[\"{users}\"]}}]")
        );
        assert_eq!(read("targets/tempo.yml"), "[{\"targets\":[]}]");

        std::fs::remove_file(from.path().join("targets/tempo.yml")).unwrap();
        render(&settings, from.path(), to.path()).unwrap();
        assert!(!to.path().join("targets/tempo.yml").exists());
    }
}
