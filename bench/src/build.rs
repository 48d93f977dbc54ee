//! The services under test, built as they are shipped.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use tokio::process::Command;

use crate::chain::{Programs, Service};
use crate::child::{self, Child};
use crate::config::Chain;
use crate::lab::Paths;
use crate::printer::{self, Printer};

/// How the services are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Fat LTO, as in container images
    Dist,
    /// As `./lab up` builds
    Release,
}

impl Profile {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dist => "dist",
            Self::Release => "release",
        }
    }
}

/// Builds users and edge.
pub(crate) async fn rust(
    paths: &Paths,
    printer: &Printer,
    profile: Profile,
    programs: &mut Programs,
) -> anyhow::Result<()> {
    let mut cargo = child::inheriting("cargo");
    cargo.args([
        "build",
        "--locked",
        "--profile",
        profile.name(),
        "-p",
        "users",
        "-p",
        "edge",
    ]);
    if profile == Profile::Release {
        // As the launcher and `lab up` do: named alone, the services would get dependencies with
        // other features, compiled a second time.
        cargo.args(["-p", "lab"]);
    }
    cargo
        .args(["--bin", "users", "--bin", "edge"])
        .current_dir(&paths.root);
    let first = match profile {
        Profile::Dist => "fat LTO: several minutes the first time",
        Profile::Release => "a few minutes the first time",
    };
    let what = format!(
        "building users and edge, profile {} ({first})",
        profile.name()
    );
    let hint = "Rust is needed: https://rustup.rs";
    watched(cargo, paths, printer, "build-rust", &what, hint).await?;
    let program = |name: &str| Service::new(paths.target.join(profile.name()).join(name));
    programs
        .chains
        .insert(Chain::Rust, (program("edge"), program("users")));
    Ok(())
}

/// Runs a tool that takes long, and says every while that it goes on.
pub(crate) async fn watched(
    command: Command,
    paths: &Paths,
    printer: &Printer,
    log: &str,
    what: &str,
    hint: &str,
) -> anyhow::Result<()> {
    let log = paths.log(log);
    let began = Instant::now();
    let mut child = Child::start(command, &log).with_context(|| hint.to_owned())?;
    let every = if printer.is_live() {
        Duration::from_secs(1)
    } else {
        Duration::from_secs(20)
    };
    let mut ticks =
        tokio::time::interval_at(tokio::time::Instant::now() + Duration::from_secs(2), every);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = ticks.tick() => {
                let doing = last_line(&log).unwrap_or_default();
                printer.step(format_args!("{what}: {} so far; {doing}", printer::duration(began.elapsed())));
            }
        }
    };
    if !status.success() {
        // The log is about to be removed with the rest.
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n");
        bail!("{what} failed: {hint}\n{end}");
    }
    Ok(())
}

fn last_line(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(60).collect())
}

/// A directory in the cache whose name follows what is in some files.
pub(crate) fn cached(paths: &Paths, name: &str, directory: &Path) -> anyhow::Result<PathBuf> {
    use sha2::{Digest, Sha256};
    let mut files = Vec::new();
    collect(directory, &mut files)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        hash.update(
            file.strip_prefix(directory)
                .unwrap_or(file)
                .as_os_str()
                .as_encoded_bytes(),
        );
        hash.update([0]);
        hash.update(
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        );
        hash.update([0]);
    }
    let hash = format!("{:x}", hash.finalize());
    Ok(paths.cache.join(format!("{name}-{}", &hash[..16])))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?.path();
        if !entry.ends_with("__pycache__") {
            collect(&entry, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_the_cache_follows_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            root: dir.path().into(),
            work: dir.path().into(),
            cache: dir.path().join("cache"),
            target: dir.path().into(),
            lab: dir.path().into(),
        };
        let source = dir.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("go.mod"), "module x").unwrap();
        let first = cached(&paths, "go", &source).unwrap();
        assert_eq!(first, cached(&paths, "go", &source).unwrap());
        std::fs::write(source.join("go.mod"), "module y").unwrap();
        assert_ne!(first, cached(&paths, "go", &source).unwrap());
        assert!(cached(&paths, "go", &dir.path().join("absent")).is_err());
    }
}
