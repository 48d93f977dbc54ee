//! Prometheus' rules: those of `infra/prometheus/rules`, and those made from the objectives in
//! `slo/`. They are loaded without a restart whenever a file of either folder changes, as Pyrra
//! does in the compose stack: an edit of an objective takes effect when it is saved.
//!
//! One file that Prometheus refuses keeps it from starting, and from loading any other. So promtool
//! looks at each where it is at hand, and a faulty file is left out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use slo::read_folder;
use tokio::sync::{Notify, mpsc};

use crate::Lab;
use crate::native::components;
use crate::native::provision::{self, Look};
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
    objectives: usize,
    /// Each faulty file, which has no rules or those of an earlier state, and why.
    pub(crate) faults: Vec<String>,
    /// Changes with what Prometheus would load.
    digest: String,
}

impl Rules {
    /// What the status says of them.
    pub(crate) fn notice(&self) -> Option<String> {
        let first = self.faults.first()?;
        Some(match self.faults.len() - 1 {
            0 => first.clone(),
            more => format!("{first}; and {more} more, which `./lab slo check` names"),
        })
    }
}

/// A file that Prometheus is to load.
struct File {
    source: PathBuf,
    name: String,
    is_objective: bool,
    /// Its rules, or why it has none.
    rules: Result<Vec<u8>, String>,
}

/// Writes the rules of both folders. A file that is faulty leaves the others alone, and the rules
/// that were made from it before stay: better a page too many than a silent service.
pub(crate) fn write(paths: &Paths, promtool: Option<&Path>) -> anyhow::Result<Rules> {
    let to = paths.config("prometheus").join("rules");
    let mut content: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut objectives = 0;
    let mut faults = Vec::new();
    for file in read(paths, promtool)? {
        let target = to.join(&file.name);
        match file.rules {
            Ok(rules) => {
                objectives += usize::from(file.is_objective);
                content.push((target, rules));
            }
            Err(why) => {
                faults.push(why);
                // Another version of Prometheus may have taken them.
                let is_good = promtool.is_none_or(|tool| refused(tool, &[&target]).is_none());
                if is_good && let Ok(before) = std::fs::read(&target) {
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
        faults,
        digest: format!("{:x}", digest.finalize()),
    })
}

/// Each faulty file of both folders, and why.
pub(crate) fn faults(paths: &Paths, promtool: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let files = read(paths, promtool)?.into_iter();
    Ok(files.filter_map(|file| file.rules.err()).collect())
}

fn read(paths: &Paths, promtool: Option<&Path>) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for source in yaml_files(&paths.infra("prometheus").join("rules"))? {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        files.push(File {
            name: name.into_owned(),
            is_objective: false,
            rules: std::fs::read(&source)
                .map_err(|error| format!("{}: cannot be read: {error}", source.display())),
            source,
        });
    }
    let folder = paths.slo();
    let sources = if folder.is_dir() {
        read_folder(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    } else {
        Vec::new()
    };
    files.extend(sources.into_iter().map(|source| {
        let name = source.path.file_name().unwrap_or_default();
        File {
            name: format!("slo-{}", name.to_string_lossy()),
            is_objective: true,
            rules: match source.objective {
                Ok(objective) => Ok(objective.rules().to_yaml().into_bytes()),
                Err(error) => Err(error.to_string()),
            },
            source: source.path,
        }
    }));
    if let Some(promtool) = promtool {
        check(paths, promtool, &mut files)?;
    }
    Ok(files)
}

/// Has promtool look at all, and at each alone where it refuses one.
fn check(paths: &Paths, promtool: &Path, files: &mut [File]) -> anyhow::Result<()> {
    // `up` and the supervisor may look at the same time.
    let place = paths.config(&format!("rules-check-{}", std::process::id()));
    std::fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let mut copies = Vec::new();
    for file in files.iter_mut() {
        if let Ok(rules) = &file.rules {
            let copy = place.join(&file.name);
            std::fs::write(&copy, rules)
                .with_context(|| format!("cannot write {}", copy.display()))?;
            copies.push((copy, file));
        }
    }
    let all: Vec<&Path> = copies.iter().map(|(copy, _)| copy.as_path()).collect();
    if !all.is_empty() && refused(promtool, &all).is_some() {
        for (copy, file) in copies {
            if let Some(why) = refused(promtool, &[&copy]) {
                file.rules = Err(format!(
                    "{}: Prometheus would not load its rules: {why}",
                    file.source.display()
                ));
            }
        }
    }
    std::fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))
}

/// What promtool says against files of rules. One that does not run says nothing.
fn refused(promtool: &Path, files: &[&Path]) -> Option<String> {
    let output = Command::new(promtool)
        .args(["check", "rules"])
        .args(files)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if output.status.code() != Some(1) {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let said = text.lines().find(|line| {
        let line = line.trim();
        !line.is_empty() && line != "FAILED:"
    });
    let said = said.unwrap_or("promtool does not say why").trim();
    let path = files.first()?.display().to_string();
    let said = said.strip_prefix(&path).unwrap_or(said);
    Some(said.trim_start_matches([':', ' ']).to_owned())
}

/// promtool, where it is at hand: beside Prometheus.
pub(crate) async fn promtool(lab: &Lab) -> Option<PathBuf> {
    match provision::look(lab, components::by_name("prometheus")?).await {
        Look::Found(found) => provision::beside(&found, "promtool"),
        _ => provision::on_path("promtool"),
    }
}

/// Tells at a start which files of rules are faulty.
pub(crate) async fn warn(lab: &Lab) {
    let promtool = promtool(lab).await;
    match faults(&lab.paths, promtool.as_deref()) {
        Ok(faults) => {
            for fault in faults {
                lab.printer.warn(format_args!(
                    "{fault}\n  no new rules are made from it, those that were made before stay; `./lab slo check` looks again"
                ));
            }
        }
        Err(error) => lab.printer.warn(format_args!("{error:#}")),
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
    let mut noticed = false;
    loop {
        // Anew each time: a folder may have been replaced by another of its name.
        let watcher = watch(&lab.paths, &changes);
        if let Err(error) = &watcher {
            say(&format!(
                "slo: changes are not noticed: {error}; `./lab up` looks again"
            ));
        }
        let promtool = promtool(lab).await;
        match write(&lab.paths, promtool.as_deref()) {
            Ok(rules) => {
                for fault in &rules.faults {
                    say(&format!("slo: {fault}"));
                }
                let mut problem = rules.notice();
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
                    problem = result.err().or(problem);
                }
                // What others have to say of Prometheus stays.
                if problem.is_some() || noticed {
                    noticed = problem.is_some();
                    notice(problem);
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
    yaml_file::files(directory).with_context(|| format!("cannot read {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../../slo/users-availability.yaml");

    /// A checkout with one file of rules and one objective.
    fn checkout(directory: &Path) -> Paths {
        let paths = Paths {
            root: directory.join("root"),
            state: directory.join("state"),
            cache: directory.join("cache"),
        };
        let rules = paths.infra("prometheus").join("rules");
        std::fs::create_dir_all(&rules).unwrap();
        std::fs::create_dir_all(paths.slo()).unwrap();
        std::fs::write(rules.join("services.yml"), "groups: []\n").unwrap();
        std::fs::write(paths.slo().join("users.yaml"), GOOD).unwrap();
        paths
    }

    fn written(paths: &Paths, name: &str) -> Option<String> {
        let rules = paths.config("prometheus").join("rules");
        std::fs::read_to_string(rules.join(name)).ok()
    }

    #[test]
    fn a_wrong_file_keeps_its_rules_and_leaves_the_others_alone() {
        let directory = tempfile::tempdir().unwrap();
        let paths = checkout(directory.path());
        let file = paths.slo().join("users.yaml");
        // Neither is a file: an editor's lock, and a folder of that name.
        std::os::unix::fs::symlink("nowhere", paths.slo().join(".#users.yaml")).unwrap();
        let rules = paths.infra("prometheus").join("rules");
        std::fs::create_dir(rules.join("old.yml")).unwrap();

        let first = write(&paths, None).unwrap();
        assert_eq!((first.objectives, &first.faults[..]), (1, &[][..]));
        assert_eq!(written(&paths, "services.yml").unwrap(), "groups: []\n");
        let good = written(&paths, "slo-users.yaml").unwrap();
        assert!(good.contains("users-availability-increase"), "{good}");

        std::fs::write(&file, GOOD.replace("1w", "one week")).unwrap();
        std::fs::write(paths.slo().join("new.yaml"), "spec: 1\n").unwrap();
        std::fs::write(paths.slo().join("no.yaml"), "spec: [\n").unwrap();
        let second = write(&paths, None).unwrap();
        assert_eq!((second.objectives, second.faults.len()), (0, 3));
        assert_eq!(second.digest, first.digest);
        assert_eq!(written(&paths, "slo-users.yaml").unwrap(), good);
        assert_eq!(written(&paths, "slo-new.yaml"), None);

        std::fs::remove_file(&file).unwrap();
        std::fs::remove_file(rules.join("services.yml")).unwrap();
        let third = write(&paths, None).unwrap();
        assert_ne!(third.digest, first.digest);
        assert_eq!(written(&paths, "slo-users.yaml"), None);
        assert_eq!(written(&paths, "services.yml"), None);
    }

    #[test]
    fn two_files_that_differ_in_their_ending_have_rules_each() {
        let directory = tempfile::tempdir().unwrap();
        let paths = checkout(directory.path());
        let other = GOOD.replace("name: users-availability", "name: other");
        std::fs::write(paths.slo().join("users.yml"), other).unwrap();
        assert_eq!(write(&paths, None).unwrap().objectives, 2);
        assert!(
            written(&paths, "slo-users.yaml")
                .unwrap()
                .contains("slo: users")
        );
        assert!(
            written(&paths, "slo-users.yml")
                .unwrap()
                .contains("slo: other")
        );
    }

    /// A promtool that refuses files with a word in them, and says so as the real one does.
    fn strict_promtool(directory: &Path, word: &str) -> PathBuf {
        let path = directory.join("promtool");
        let script = format!(
            "#!/bin/sh\nshift 2\ncode=0\nfor file; do\n  if grep -q '{word}' \"$file\"; then\n    printf '  FAILED:\\n%s: 5:11: no {word}\\n' \"$file\" >&2\n    code=1\n  fi\ndone\nexit $code\n"
        );
        // By another process: what this one still writes to, a thread beside could not run.
        let text = directory.join("promtool.sh");
        std::fs::write(&text, script).unwrap();
        let mut install = Command::new("install");
        let installed = install.args(["-m", "755"]).args([&text, &path]).status();
        assert!(installed.unwrap().success());
        path
    }

    #[test]
    fn what_promtool_refuses_is_left_out_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let paths = checkout(directory.path());
        write(&paths, None).unwrap();
        let good = written(&paths, "slo-users.yaml").unwrap();
        let promtool = strict_promtool(directory.path(), "offensive");

        let other = GOOD.replace("name: users-availability", "name: offensive");
        std::fs::write(paths.slo().join("other.yaml"), &other).unwrap();
        let third = GOOD.replace("name: users-availability", "name: third");
        std::fs::write(paths.slo().join("third.yaml"), third).unwrap();
        let services = paths.infra("prometheus").join("rules/services.yml");
        std::fs::write(&services, "groups: [] # offensive\n").unwrap();
        let rules = write(&paths, Some(&promtool)).unwrap();
        assert_eq!(rules.objectives, 2);
        let why = "Prometheus would not load its rules: 5:11: no offensive";
        let other = paths.slo().join("other.yaml");
        assert_eq!(
            rules.faults,
            [
                format!("{}: {why}", services.display()),
                format!("{}: {why}", other.display())
            ]
        );
        assert_eq!(written(&paths, "services.yml").unwrap(), "groups: []\n");
        assert_eq!(written(&paths, "slo-users.yaml").unwrap(), good);
        assert_eq!(written(&paths, "slo-other.yaml"), None);
        assert!(written(&paths, "slo-third.yaml").is_some());
        assert!(
            rules
                .notice()
                .unwrap()
                .ends_with("and 1 more, which `./lab slo check` names")
        );
        // No copies stay.
        let configs = std::fs::read_dir(paths.config("prometheus").parent().unwrap()).unwrap();
        assert_eq!(configs.count(), 1);

        // What an earlier version wrote may be what Prometheus refuses.
        let promtool = strict_promtool(directory.path(), "users-availability");
        std::fs::write(paths.slo().join("users.yaml"), "spec: 1\n").unwrap();
        let rules = write(&paths, Some(&promtool)).unwrap();
        assert_eq!(written(&paths, "slo-users.yaml"), None);
        assert_eq!(rules.objectives, 2);
    }

    #[test]
    fn a_promtool_that_does_not_run_refuses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let paths = checkout(directory.path());
        for tool in ["/nowhere/promtool", "/bin/true"] {
            let rules = write(&paths, Some(Path::new(tool))).unwrap();
            assert_eq!((rules.objectives, &rules.faults[..]), (1, &[][..]));
        }
    }
}
