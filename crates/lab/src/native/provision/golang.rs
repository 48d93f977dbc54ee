//! Programs built from pinned Go modules of the checkout, kept in the cache by content.

use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::{
    Kind, Lane, Look, Progress, Scratch, Work, cache_lock, counted, is_executable, on_path, system,
};
use crate::Lab;
use crate::native::child;
use crate::native::component::{Found, GoModule, Spec};

/// Older Go cannot fetch the toolchain that a module asks for.
const AT_LEAST: &[u32] = &[1, 21];
/// Flags that change what is built; part of the name in the cache.
const FLAGS: [&str; 5] = [
    "-trimpath",
    "-mod=readonly",
    // Debug information would be made first and stripped by the linker: an eighth of the build.
    "-gcflags=all=-dwarf=false",
    "-ldflags",
    "-s -w",
];
/// Builds of the same component that stay in the cache.
const KEEP: usize = 2;

/// How to get Go.
pub(crate) fn hint() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "curl -fsSL https://go.dev/dl/go1.26.8.linux-{architecture}.tar.gz | sudo tar -C /usr/local -xz \
         && export PATH=$PATH:/usr/local/go/bin"
    )
}

pub(super) async fn look(lab: &Lab, component: &str, module: &GoModule) -> Look {
    let program = match cached(lab, component, module.directory, module.package) {
        Ok(program) => program,
        Err(error) => {
            return Look::Missing {
                reason: format!("{error:#}"),
                hint: None,
            };
        }
    };
    if is_executable(&program) {
        return Look::Found(found(program));
    }
    let reason = match go() {
        None => "Go is needed to build it".to_owned(),
        Some(go) => match system::version(&go, &["version"]).await {
            Some(version) if version.as_slice() >= AT_LEAST => {
                return Look::Work(Work {
                    lane: Lane::Build,
                    what: "building with Go".to_owned(),
                    kind: Kind::Go {
                        directory: module.directory,
                        package: module.package,
                    },
                    check: false,
                });
            }
            _ => format!("{} is too old, Go 1.21 or newer is needed", go.display()),
        },
    };
    Look::Missing {
        reason,
        hint: Some(hint()),
    }
}

pub(super) async fn build(
    lab: &Lab,
    component: &str,
    directory: &str,
    package: &str,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<Found> {
    let program = cached(lab, component, directory, package)?;
    let bin = bin_directory(lab);
    let _lock = cache_lock(&bin.join(format!("{component}.lock")), report).await?;
    if is_executable(&program) {
        return Ok(found(program));
    }
    let scratch = Scratch::new(bin.join(format!(".{component}.tmp")))?;
    let unfinished = scratch.join("program");
    let go = go().context("Go is gone")?;
    let mut spec = Spec::new(go).arg("build").arg("-v");
    for flag in FLAGS {
        spec = spec.arg(flag);
    }
    spec = spec
        .arg("-o")
        .arg(&unfinished)
        .arg(package)
        // Some hundred MB that a killed build would leave elsewhere for ever.
        .env("GOTMPDIR", scratch.as_os_str())
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-buildvcs=false");
    spec.directory = Some(lab.paths.root.join(directory));
    spec.nice = super::BUILD_NICE;

    let building = child::run(&spec, log, &lab.paths.state, "", |id| {
        report(Progress::Process(Some(id)));
    });
    let tell = |packages: usize| {
        report(Progress::Doing(format!(
            "building with Go, {packages} packages so far"
        )));
    };
    // With -v go names each package on a line.
    let result = counted(building, log, "", &tell).await;
    report(Progress::Process(None));
    result.context("go build")?;
    std::fs::rename(&unfinished, &program)
        .with_context(|| format!("cannot write {}", program.display()))?;
    prune(&bin, component, &program);
    Ok(found(program))
}

fn found(program: PathBuf) -> Found {
    Found {
        program,
        source: "built with Go".to_owned(),
        prefix: None,
    }
}

pub(crate) fn go() -> Option<PathBuf> {
    on_path("go").or_else(|| {
        let usual = PathBuf::from("/usr/local/go/bin/go");
        is_executable(&usual).then_some(usual)
    })
}

fn bin_directory(lab: &Lab) -> PathBuf {
    lab.paths.cache.join("bin")
}

/// Where this very source's program is, or will be.
fn cached(lab: &Lab, component: &str, directory: &str, package: &str) -> anyhow::Result<PathBuf> {
    let hash = content_hash(&lab.paths.root.join(directory), package)?;
    Ok(bin_directory(lab).join(format!("{component}-{hash}")))
}

/// Of everything in the module that can end up in the program, and how it is built.
fn content_hash(directory: &Path, package: &str) -> anyhow::Result<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    collect(directory, &mut files)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    files.sort();
    anyhow::ensure!(
        files.iter().any(|file| file.ends_with("go.mod")),
        "there is no go.mod in {}",
        directory.display()
    );
    let mut hash = Sha256::new();
    hash.update(format!(
        "{package} {FLAGS:?} {} {}\n",
        std::env::consts::OS,
        std::env::consts::ARCH
    ));
    for file in files {
        let name = file.strip_prefix(directory).unwrap_or(&file);
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?,
        );
        hash.update([0]);
    }
    Ok(format!("{:x}", hash.finalize())[..16].to_owned())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Go may embed any file; these it never does.
        let is_other = name.ends_with("_test.go") || name.ends_with(".md") || name.starts_with('.');
        if !is_other {
            files.push(path);
        }
    }
    Ok(())
}

/// Keeps the newest builds of a component; others would pile up.
fn prune(bin: &Path, component: &str, current: &Path) {
    let mut builds: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(bin)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .and_then(|name| name.strip_prefix(component)?.strip_prefix('-'))
                .is_some_and(|hash| hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()))
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    builds.sort();
    let old = builds.len().saturating_sub(KEEP);
    for (_, path) in builds.iter().take(old).filter(|(_, path)| path != current) {
        let _absent = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_name_follows_the_content() {
        let dir = tempfile::tempdir().unwrap();
        assert!(content_hash(dir.path(), ".").is_err());
        std::fs::write(dir.path().join("go.mod"), "module x\n").unwrap();
        let first = content_hash(dir.path(), ".").unwrap();
        assert_eq!(first.len(), 16);
        assert_eq!(first, content_hash(dir.path(), ".").unwrap());
        assert_ne!(first, content_hash(dir.path(), "example.org/x").unwrap());
        std::fs::write(dir.path().join("main_test.go"), "package main\n").unwrap();
        std::fs::write(dir.path().join("README.md"), "text\n").unwrap();
        assert_eq!(first, content_hash(dir.path(), ".").unwrap());
        std::fs::write(dir.path().join("main.go"), "package main\n").unwrap();
        assert_ne!(first, content_hash(dir.path(), ".").unwrap());
    }

    #[test]
    fn old_builds_go_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path();
        let mut paths = Vec::new();
        for (age, name) in [
            "loki-0000000000000001",
            "loki-0000000000000002",
            "loki-0000000000000003",
            "loki-canary-000000000000",
            "jaeger-0000000000000001",
        ]
        .iter()
        .enumerate()
        {
            let path = bin.join(name);
            let file = std::fs::File::create(&path).unwrap();
            let time = std::time::UNIX_EPOCH + Duration::from_secs(1000 + age as u64);
            file.set_modified(time).unwrap();
            paths.push(path);
        }
        prune(bin, "loki", &paths[2]);
        let left: Vec<bool> = paths.iter().map(|path| path.exists()).collect();
        assert_eq!(left, [false, true, true, true, true]);
    }
}
