//! Getting a component's program: what exists is found, the rest is downloaded or built.

pub(crate) mod cargo;
pub(crate) mod debian;
pub(crate) mod golang;
pub(crate) mod node;
pub(crate) mod npm;
pub(crate) mod system;

use std::convert::Infallible;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::Lab;
use crate::native::component::{Component, Found, Page, Recipe, Source};
use crate::process::ProcessId;

/// A build takes what others leave.
pub(crate) const BUILD_NICE: i32 = 10;

/// What a first, quick look says.
pub(crate) enum Look {
    Found(Found),
    /// It can be had by this work.
    Work(Work),
    /// It cannot be had; why, and what would help.
    Missing {
        reason: String,
        hint: Option<String>,
    },
    ComposeOnly,
}

/// Something that takes time. Works of one lane run one after the other.
pub(crate) struct Work {
    pub(crate) lane: Lane,
    /// "building with Go", "downloading the Debian package prometheus"
    pub(crate) what: String,
    kind: Kind,
    check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Download,
    Build,
}

enum Kind {
    Debian {
        package: &'static str,
        program: &'static str,
    },
    Go {
        directory: &'static str,
        package: &'static str,
    },
    Cargo {
        package: &'static str,
    },
    Page(Page),
}

/// Looks at what exists; starts nothing that takes long.
pub(crate) async fn look(lab: &Lab, component: &Component) -> Look {
    let sources = match (component.recipe)(lab) {
        Recipe::ComposeOnly => return Look::ComposeOnly,
        Recipe::Own => {
            return match own_program() {
                Ok(program) => Look::Found(Found {
                    program,
                    source: "part of lab".to_owned(),
                    prefix: None,
                }),
                Err(error) => Look::Missing {
                    reason: format!("{error:#}"),
                    hint: None,
                },
            };
        }
        Recipe::Sources(sources) => sources,
    };
    let mut reasons = Vec::new();
    let mut hint = None;
    for source in sources {
        let look = match source {
            Source::System(_) if lab.settings.ignores_system(component.name) => continue,
            Source::System(system) => system::look(&system).await,
            Source::Debian(debian) => debian::look(lab, &debian),
            Source::Go(module) => golang::look(lab, component.name, &module).await,
            Source::Cargo { package } => cargo::look(lab, package),
            Source::Page(page) => npm::look(lab, component.name, &page).await,
        };
        match look {
            Look::Missing {
                reason,
                hint: other,
            } => {
                if !reason.is_empty() {
                    reasons.push(reason);
                }
                hint = other.or(hint);
            }
            found => return found,
        }
    }
    Look::Missing {
        reason: reasons.join("; "),
        hint,
    }
}

/// Does the work. `log` gets the output of the tools; `report` what is going on.
pub(crate) async fn work(
    lab: &Lab,
    component: &Component,
    work: &Work,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<Found> {
    match work.kind {
        Kind::Debian { package, program } => {
            debian::fetch(lab, package, program, log, report).await
        }
        Kind::Go { directory, package } => {
            golang::build(lab, component.name, directory, package, log, report).await
        }
        Kind::Cargo { package } => cargo::build(lab, package, &cargo::CORE, log, report).await,
        Kind::Page(page) => npm::build(lab, component.name, &page, log, report).await,
    }
}

impl Work {
    /// The program that a finished work of the same kind has made as well: one cargo command
    /// builds all services.
    pub(crate) fn made_by(&self, lab: &Lab, finished: &Work) -> Option<Found> {
        match (&self.kind, &finished.kind) {
            (Kind::Cargo { package }, Kind::Cargo { .. }) => cargo::found(lab, package).ok(),
            _ => None,
        }
    }

    /// Usually there is nothing to do.
    pub(crate) fn is_check(&self) -> bool {
        self.check
    }
}

/// What a work says about itself.
pub(crate) enum Progress {
    Doing(String),
    Process(Option<ProcessId>),
}

/// Runs a build and tells, every two seconds, how many lines of its log begin with a word.
async fn counted<T>(
    build: impl Future<Output = T>,
    log: &Path,
    word: &str,
    tell: &dyn Fn(usize),
) -> T {
    let telling = async || -> Infallible {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines = text
                .lines()
                .filter(|line| line.trim_start().starts_with(word))
                .count();
            if lines > 0 {
                tell(lines);
            }
        }
    };
    tokio::select! {
        result = build => result,
        never = telling() => match never {},
    }
}

/// The log of a component's preparation.
pub(crate) fn build_log(lab: &Lab, component: &str) -> PathBuf {
    lab.paths.log(&format!("build-{component}"))
}

/// This program. After a rebuild the kernel calls the running one "deleted": then the new one.
pub(crate) fn own_program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("cannot tell where lab itself is")?;
    Ok(
        match path
            .to_str()
            .and_then(|text| text.strip_suffix(" (deleted)"))
        {
            Some(replaced) => PathBuf::from(replaced),
            None => path,
        },
    )
}

/// A lock in the cache, which several labs may share. Waits for the other one.
pub(crate) async fn cache_lock(path: &Path, report: &dyn Fn(Progress)) -> anyhow::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                if !said {
                    said = true;
                    report(Progress::Doing(
                        "waiting for another lab that prepares it".to_owned(),
                    ));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// A directory for what is unfinished. Its place is fixed and its user holds a lock, so that the
/// next one clears what a killed one left.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(path: PathBuf) -> anyhow::Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl std::ops::Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _next_one_does = std::fs::remove_dir_all(&self.0);
    }
}

/// A program on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

/// A tool that comes with a program: beside it, or on PATH.
pub(crate) fn beside(found: &Found, tool: &str) -> Option<PathBuf> {
    let near = found.program.with_file_name(tool);
    if is_executable(&near) {
        Some(near)
    } else {
        on_path(tool)
    }
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// The paths a pattern with `*` components stands for, the highest version first.
pub(crate) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if text.contains('*') {
            let (before, after) = text.split_once('*').unwrap_or_default();
            paths = paths
                .iter()
                .flat_map(|path| matching(path, before, after))
                .collect();
        } else {
            for path in &mut paths {
                path.push(part);
            }
        }
    }
    paths.retain(|path| path.exists());
    paths
}

fn matching(directory: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        })
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(numbers(name)));
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// The numbers in a text, for comparing versions.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9", "15", "16", "other"] {
            std::fs::create_dir_all(dir.path().join(version).join("bin")).unwrap();
        }
        let found = expand(&dir.path().join("*/bin"));
        let names: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["16/bin", "15/bin", "9/bin", "other/bin"]);
        assert!(expand(&dir.path().join("*/lib")).is_empty());
    }

    #[tokio::test]
    async fn a_lock_of_the_cache_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/x.lock");
        let first = cache_lock(&path, &|_| ()).await.unwrap();
        let waiting = std::cell::Cell::new(false);
        let report = |_: Progress| waiting.set(true);
        let mut second = std::pin::pin!(cache_lock(&path, &report));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(early.is_err());
        drop(first);
        second.await.unwrap();
        assert!(waiting.get());
    }
}
