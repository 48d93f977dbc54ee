//! The console: a crate of the workspace and a page that npm and Vite build, kept in the cache by
//! content.

use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::node::{self, LookNode};
use super::{Kind, Lane, Look, Progress, Scratch, Work, cache_lock, cargo};
use crate::Lab;
use crate::native::child;
use crate::native::component::{Found, Page, Spec};

/// Pages of the same component that stay in the cache.
const KEEP: usize = 2;
/// What is in the page's directory without being its source.
const OTHER: [&str; 3] = ["node_modules", "dist", "tests"];

pub(super) async fn look(lab: &Lab, component: &str, page: &Page) -> Look {
    let server = cargo::look(lab, page.server);
    let directory = match built(lab, component, page) {
        Ok(directory) => directory,
        Err(error) => {
            return Look::Missing {
                reason: format!("{error:#}"),
                hint: None,
            };
        }
    };
    let is_built = directory.join("index.html").is_file();
    if !is_built && let LookNode::Missing(reason) = node::look(lab).await {
        return Look::Missing {
            reason,
            hint: Some(node::hint()),
        };
    }
    let work = |check, what: &str| {
        Look::Work(Work {
            lane: Lane::Build,
            what: what.to_owned(),
            kind: Kind::Page(*page),
            check,
        })
    };
    match server {
        Look::Work(server) if is_built => work(server.check, &server.what),
        Look::Work(_) | Look::Found(_) if !is_built => work(false, "building the page with npm"),
        other => other,
    }
}

pub(super) async fn build(
    lab: &Lab,
    component: &str,
    page: &Page,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<Found> {
    // First the page: when it fails, the server of an earlier build is still whole.
    build_page(lab, component, page, log, report).await?;
    cargo::build(lab, page.server, &[page.server], log, report).await
}

async fn build_page(
    lab: &Lab,
    component: &str,
    page: &Page,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<()> {
    let target = built(lab, component, page)?;
    let pages = pages_directory(lab);
    let _lock = cache_lock(&pages.join(format!("{component}.lock")), report).await?;
    if target.join("index.html").is_file() {
        return Ok(());
    }
    let node = node::get(lab, log, report).await?;
    // In a copy: the checkout stays as it is, and what somebody installed there plays no part.
    let scratch = Scratch::new(pages.join(format!(".{component}.tmp")))?;
    let source = lab.paths.root.join(page.directory);
    for file in files(&source)? {
        let to = scratch.join(file.strip_prefix(&source).unwrap_or(&file));
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::copy(&file, &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    for (what, args) in [
        (
            "installing what the page is built from with npm",
            // Scripts of packages are not needed, and not run.
            &["ci", "--ignore-scripts", "--no-audit", "--no-fund"][..],
        ),
        ("building the page with Vite", &["run", "build"][..]),
    ] {
        report(Progress::Doing(what.to_owned()));
        let mut spec = Spec::new(node.npm())
            .env("PATH", node.path())
            .env("NPM_CONFIG_UPDATE_NOTIFIER", "false");
        spec.args = args.iter().map(Into::into).collect();
        spec.directory = Some(scratch.to_path_buf());
        spec.nice = super::BUILD_NICE;
        child::run(&spec, log, &lab.paths.state, "", |id| {
            report(Progress::Process(Some(id)));
        })
        .await
        .with_context(|| format!("npm {}", args[..args.len().min(2)].join(" ")))?;
        report(Progress::Process(None));
    }
    std::fs::rename(scratch.join("dist"), &target)
        .with_context(|| format!("cannot write {}", target.display()))?;
    prune(&pages, component, &target);
    Ok(())
}

/// The page to serve: this source's, or the newest there is while the source has just been changed.
pub(crate) fn page(lab: &Lab, component: &str, page: &Page) -> anyhow::Result<PathBuf> {
    let wanted = built(lab, component, page)?;
    if wanted.is_dir() {
        return Ok(wanted);
    }
    let newest = pages_by_age(&pages_directory(lab), component).pop();
    Ok(newest.unwrap_or(wanted))
}

fn pages_directory(lab: &Lab) -> PathBuf {
    lab.paths.cache.join("web")
}

/// Where this very source's page is, or will be.
fn built(lab: &Lab, component: &str, page: &Page) -> anyhow::Result<PathBuf> {
    let source = lab.paths.root.join(page.directory);
    let hash = content_hash(&source)?;
    Ok(pages_directory(lab).join(format!("{component}-{hash}")))
}

fn content_hash(source: &Path) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for file in files(source)? {
        let name = file.strip_prefix(source).unwrap_or(&file);
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?,
        );
        hash.update([0]);
    }
    Ok(format!("{:x}", hash.finalize())[..16].to_owned())
}

/// Every file that the page is built from, in order.
fn files(source: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![source.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let entries = std::fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let is_other = directory == source && OTHER.iter().any(|name| path.ends_with(name));
            if path.is_dir() && !is_other {
                pending.push(path);
            } else if !is_other {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Keeps the newest pages of a component; others would pile up.
fn prune(pages: &Path, component: &str, newest: &Path) {
    let mut older = pages_by_age(pages, component);
    older.retain(|path| path != newest);
    let surplus = older.len().saturating_sub(KEEP - 1);
    for path in older.into_iter().take(surplus) {
        // Another lab may remove it at the same time.
        let _gone_either_way = std::fs::remove_dir_all(path);
    }
}

/// The oldest first.
fn pages_by_age(pages: &Path, component: &str) -> Vec<PathBuf> {
    let prefix = format!("{component}-");
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(pages)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_source_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        };
        for name in ["package.json", "src/main.ts", ".npmrc"] {
            write(name);
        }
        let before = content_hash(dir.path()).unwrap();
        for name in ["node_modules/a.js", "dist/index.html", "tests/a.mjs"] {
            write(name);
        }
        assert_eq!(content_hash(dir.path()).unwrap(), before);
        write("src/dist/b.ts");
        assert_ne!(content_hash(dir.path()).unwrap(), before);
    }

    #[test]
    fn old_pages_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["console-1", "console-2", "console-3", "other-1"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let newest = dir.path().join("console-3");
        prune(dir.path(), "console", &newest);
        assert!(newest.exists() && dir.path().join("other-1").exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
