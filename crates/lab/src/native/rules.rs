//! Prometheus' rules: those of `infra/prometheus/rules`, and those made from the objectives in
//! `slo/`. They are loaded without a restart whenever a file of either folder changes, as Pyrra
//! does in the compose stack: who edits an objective sees what it does, and has nothing to type.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use slo::{FileError, read_folder};
use tokio::sync::{Notify, mpsc};

use crate::Lab;
use crate::paths::Paths;
use crate::settings::Port;
use crate::state::write_atomically;

/// An editor writes in several steps, a checkout many files.
const SETTLE: Duration = Duration::from_millis(200);
/// A Prometheus that just starts may have read its rules already and not listen yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was written for Prometheus.
pub(crate) struct Rules {
    /// How many objectives have rules now.
    pub(crate) objectives: usize,
    /// Files that have none, or those of an earlier state.
    pub(crate) wrong: Vec<FileError>,
    /// Changes with what Prometheus would load.
    digest: String,
}

/// Writes the rules of both folders. A file of `slo/` that is wrong leaves the others alone, and
/// the rules that were made from it before stay: better a page too many than a silent service.
pub(crate) fn write(paths: &Paths) -> anyhow::Result<Rules> {
    let to = paths.config("prometheus").join("rules");
    let mut content: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for path in yaml_files(&paths.infra("prometheus").join("rules"))? {
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        content.push((to.join(path.file_name().unwrap_or_default()), text));
    }
    let mut objectives = 0;
    let mut wrong = Vec::new();
    let folder = paths.slo();
    let sources = if folder.is_dir() {
        read_folder(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    } else {
        Vec::new()
    };
    for source in sources {
        let name = source
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let target = to.join(format!("slo-{name}.yaml"));
        match source.objective {
            Ok(objective) => {
                objectives += 1;
                content.push((target, objective.rules().to_yaml().into_bytes()));
            }
            Err(error) => {
                wrong.push(error);
                if let Ok(before) = std::fs::read(&target) {
                    content.push((target, before));
                }
            }
        }
    }
    std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    // What is gone from the checkout must go here too.
    for path in yaml_files(&to)? {
        if !content.iter().any(|(wanted, _)| *wanted == path) {
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let mut digest = Sha256::new();
    for (path, text) in &content {
        digest.update(path.as_os_str().as_encoded_bytes());
        digest.update([0]);
        digest.update(text);
        digest.update([0]);
        if std::fs::read(path).ok().as_ref() != Some(text) {
            write_atomically(path, text)?;
        }
    }
    Ok(Rules {
        objectives,
        wrong,
        digest: format!("{:x}", digest.finalize()),
    })
}

/// Tells whoever starts the lab what is wrong in `slo/`.
pub(crate) fn warn(lab: &Lab) {
    let Ok(sources) = read_folder(&lab.paths.slo()) else {
        return;
    };
    for error in sources
        .into_iter()
        .filter_map(|source| source.objective.err())
    {
        lab.printer.warn(format_args!(
            "{error}\n  no new rules are made from it, those that were made before stay; `./lab slo check` looks again"
        ));
    }
}

/// Writes and loads the rules again whenever a file changes, and when told to look.
pub(crate) async fn keep(
    lab: &Lab,
    client: &reqwest::Client,
    again: &Notify,
    say: impl Fn(&str),
    notice: impl Fn(Option<String>),
) {
    let (changes, mut changed) = mpsc::unbounded_channel();
    let mut loaded = None;
    loop {
        // Anew each time: a folder may have been replaced by another of its name.
        let watcher = watch(&lab.paths, &changes);
        if let Err(error) = &watcher {
            say(&format!(
                "slo: changes are not noticed: {error}; `./lab up` looks again"
            ));
        }
        match write(&lab.paths) {
            Ok(rules) => {
                for error in &rules.wrong {
                    say(&format!("slo: {error}"));
                }
                // The first time Prometheus reads them by itself.
                if loaded
                    .as_ref()
                    .is_some_and(|loaded| *loaded != rules.digest)
                {
                    let result = reload(lab, client).await;
                    match &result {
                        Ok(()) => say(&format!(
                            "slo: prometheus loaded the rules of {} objectives",
                            rules.objectives
                        )),
                        Err(why) => say(&format!("slo: {why}")),
                    }
                    notice(result.err());
                }
                loaded = Some(rules.digest);
            }
            Err(error) => say(&format!("slo: {error:#}")),
        }
        tokio::select! {
            _ = changed.recv() => {}
            () = again.notified() => {}
        }
        tokio::time::sleep(SETTLE).await;
        while changed.try_recv().is_ok() {}
    }
}

fn watch(paths: &Paths, changes: &mpsc::UnboundedSender<()>) -> notify::Result<RecommendedWatcher> {
    let changes = changes.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is an event too, and we read.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ended = changes.send(());
        }
    })?;
    for folder in [paths.slo(), paths.infra("prometheus").join("rules")] {
        if folder.is_dir() {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
    }
    Ok(watcher)
}

async fn reload(lab: &Lab, client: &reqwest::Client) -> Result<(), String> {
    let url = lab.settings.http(Port::Prometheus) + "/-/reload";
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.post(&url).send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => {
                let body = response.text().await.unwrap_or_default();
                return Err(format!(
                    "prometheus goes on with its old rules: {}",
                    body.trim()
                ));
            }
            Err(error) if !error.is_connect() => return Err(format!("{url}: {error}")),
            // Then it reads them when it starts.
            Err(_) if Instant::now() >= deadline => return Ok(()),
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// The rule and target files of a folder, in order; none where there is no folder.
pub(crate) fn yaml_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = std::fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| format!("cannot read {}", directory.display()))?;
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yml" || extension == "yaml")
    });
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../../slo/users-availability.yaml");

    #[test]
    fn a_wrong_file_keeps_its_rules_and_leaves_the_others_alone() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths {
            root: directory.path().join("root"),
            state: directory.path().join("state"),
            cache: directory.path().join("cache"),
        };
        let rules = paths.infra("prometheus").join("rules");
        std::fs::create_dir_all(&rules).unwrap();
        std::fs::create_dir_all(paths.slo()).unwrap();
        std::fs::write(rules.join("services.yml"), "groups: []\n").unwrap();
        let file = paths.slo().join("users.yaml");
        std::fs::write(&file, GOOD).unwrap();
        let written = |name: &str| {
            std::fs::read_to_string(paths.config("prometheus").join("rules").join(name)).ok()
        };

        let first = write(&paths).unwrap();
        assert_eq!((first.objectives, first.wrong.len()), (1, 0));
        assert_eq!(written("services.yml").unwrap(), "groups: []\n");
        let good = written("slo-users.yaml").unwrap();
        assert!(good.contains("users-availability-increase"), "{good}");

        std::fs::write(&file, GOOD.replace("1w", "one week")).unwrap();
        std::fs::write(paths.slo().join("new.yaml"), "spec: 1\n").unwrap();
        let second = write(&paths).unwrap();
        assert_eq!((second.objectives, second.wrong.len()), (0, 2));
        assert_eq!(second.digest, first.digest);
        assert_eq!(written("slo-users.yaml").unwrap(), good);
        assert_eq!(written("slo-new.yaml"), None);

        std::fs::remove_file(&file).unwrap();
        std::fs::remove_file(rules.join("services.yml")).unwrap();
        let third = write(&paths).unwrap();
        assert_ne!(third.digest, first.digest);
        assert_eq!(written("slo-users.yaml"), None);
        assert_eq!(written("services.yml"), None);
    }
}
