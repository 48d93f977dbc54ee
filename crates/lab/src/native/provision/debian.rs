//! Debian packages, downloaded and unpacked into the cache. Nothing is installed, no daemon is
//! started, and nothing of this machine's package database is changed: any user can do it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::{
    Kind, Lane, Look, Progress, Scratch, Work, cache_lock, expand, is_executable, on_path, system,
};
use crate::Lab;
use crate::native::child;
use crate::native::component::{Debian, Found, Spec};

/// Options for lists and downloads of our own, beside those of the machine.
struct Apt {
    options: Vec<OsString>,
}

pub(super) fn look(lab: &Lab, debian: &Debian) -> Look {
    if let Some(found) = unpacked(lab, debian.package, debian.program) {
        return Look::Found(found);
    }
    if on_path("apt-get").is_some() && on_path("dpkg-deb").is_some() {
        return Look::Work(Work {
            lane: Lane::Download,
            what: format!(
                "downloading the Debian package {} (unpacked into the cache, not installed)",
                debian.package
            ),
            kind: Kind::Debian {
                package: debian.package,
                program: debian.program,
            },
            check: false,
        });
    }
    let hint = debian
        .elsewhere
        .iter()
        .find(|(manager, _)| on_path(manager).is_some())
        .map(|(manager, package)| install(manager, package));
    Look::Missing {
        reason: "there is no apt to download its Debian package with".to_owned(),
        hint,
    }
}

fn install(manager: &str, package: &str) -> String {
    match manager {
        "pacman" => format!("sudo pacman -S {package}"),
        "apk" => format!("sudo apk add {package}"),
        manager => format!("sudo {manager} install {package}"),
    }
}

/// What an earlier run unpacked. Names are `<package>-<version>`; a name exists only when complete.
fn unpacked(lab: &Lab, package: &str, program: &str) -> Option<Found> {
    let pattern = deb_directory(lab).join(format!("{package}-*"));
    expand(&pattern).into_iter().find_map(|prefix| {
        let program = expand(&prefix.join(program))
            .into_iter()
            .find(|path| is_executable(path))?;
        let name = prefix.file_name()?.to_str()?;
        let version = name.strip_prefix(package)?.strip_prefix('-')?;
        Some(Found {
            program,
            source: format!("Debian package {package} {version}"),
            prefix: Some(prefix),
        })
    })
}

fn deb_directory(lab: &Lab) -> PathBuf {
    lab.paths.cache.join("deb")
}

pub(crate) async fn fetch(
    lab: &Lab,
    package: &str,
    program: &str,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<Found> {
    let directory = deb_directory(lab);
    let _lock = cache_lock(&directory.join(format!("{package}.lock")), report).await?;
    if let Some(found) = unpacked(lab, package, program) {
        return Ok(found);
    }
    let machine = Apt {
        options: quiet_options(),
    };
    // The machine's lists may be absent or older than what is still offered.
    if let Err(error) = unpack(lab, &machine, package, program, log, report).await {
        writeln_log(
            log,
            &format!("with this machine's package lists: {error:#}"),
        );
        let own = own_lists(lab, log, report).await?;
        unpack(lab, &own, package, program, log, report).await?;
    }
    unpacked(lab, package, program)
        .with_context(|| format!("the Debian package {package} has no {program}"))
}

/// A directory with these packages and all that they need, as on a machine that has nothing yet. No
/// script of a package is run.
pub(crate) async fn tree(
    lab: &Lab,
    name: &str,
    packages: &[&str],
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<PathBuf> {
    let directory = deb_directory(lab);
    let target = directory.join(format!("tree-{name}"));
    let _lock = cache_lock(&directory.join(format!("tree-{name}.lock")), report).await?;
    // Another list of packages makes it anew.
    let list = target.join(LIST);
    if std::fs::read_to_string(&list).is_ok_and(|text| text == packages.join(" ")) {
        return Ok(target);
    }
    let scratch = Scratch::new(directory.join(format!(".tree-{name}.tmp")))?;
    let machine = Apt {
        options: quiet_options(),
    };
    if let Err(error) = unpack_tree(lab, &machine, packages, &scratch, log, report).await {
        writeln_log(
            log,
            &format!("with this machine's package lists: {error:#}"),
        );
        let own = own_lists(lab, log, report).await?;
        unpack_tree(lab, &own, packages, &scratch, log, report).await?;
    }
    let tree = scratch.join("tree");
    std::fs::write(tree.join(LIST), packages.join(" "))?;
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    std::fs::rename(&tree, &target)
        .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(target)
}

/// In a tree: what was asked for.
pub(crate) const LIST: &str = ".packages";

async fn unpack_tree(
    lab: &Lab,
    apt: &Apt,
    packages: &[&str],
    scratch: &Path,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<()> {
    let downloads = scratch.join("downloads");
    let tree = scratch.join("tree");
    for path in [&downloads, &tree] {
        if path.exists() {
            std::fs::remove_dir_all(path)?;
        }
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    let mut ask = vec![
        "install",
        "--simulate",
        "--no-install-recommends",
        "-o",
        // Nothing is installed yet.
        "Dir::State::status=/dev/null",
    ];
    ask.extend(packages);
    let all = installations(&apt.ask("apt-get", &ask).await?);
    anyhow::ensure!(!all.is_empty(), "apt finds nothing to install");
    report(Progress::Doing(format!(
        "downloading {} Debian packages",
        all.len()
    )));
    apt.download(lab, &all, &downloads, log, report).await?;
    report(Progress::Doing(format!(
        "unpacking {} Debian packages",
        all.len()
    )));
    unpack_all(lab, &downloads, &tree, log).await
}

/// Resolves, downloads, unpacks, checks; the result gets its name last.
async fn unpack(
    lab: &Lab,
    apt: &Apt,
    package: &str,
    program: &str,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<()> {
    let directory = deb_directory(lab);
    let scratch = Scratch::new(directory.join(format!(".{package}.tmp")))?;
    let downloads = scratch.join("downloads");
    let tree = scratch.join("tree");
    for path in [&downloads, &tree] {
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    let real = apt.real_name(package).await?;
    report(Progress::Doing(format!(
        "downloading the Debian package {real}"
    )));
    let version = apt.candidate(&real).await?;
    apt.download(lab, std::slice::from_ref(&real), &downloads, log, report)
        .await?;
    unpack_all(lab, &downloads, &tree, log).await?;
    let missing = missing_libraries(&tree, program).await;
    if !missing.is_empty() {
        let libraries = apt.libraries(&real).await?;
        report(Progress::Doing(format!(
            "downloading {} shared libraries for {real}",
            libraries.len()
        )));
        let more = scratch.join("libraries");
        std::fs::create_dir_all(&more)?;
        apt.download(lab, &libraries, &more, log, report).await?;
        unpack_all(lab, &more, &tree, log).await?;
        let missing = missing_libraries(&tree, program).await;
        anyhow::ensure!(
            missing.is_empty(),
            "{real} needs shared libraries that were not found: {}",
            missing.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    // A version may hold characters that file names and search paths do not like.
    let version: String = version
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".+~-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let target = directory.join(format!("{package}-{version}"));
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    std::fs::rename(&tree, &target).with_context(|| format!("cannot write {}", target.display()))
}

impl Apt {
    async fn ask(&self, program: &str, args: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new(program);
        command
            .args(&self.options)
            .args(args)
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(60), command.output())
            .await
            .with_context(|| format!("{program} {} takes too long", args.join(" ")))??;
        anyhow::ensure!(
            output.status.success(),
            "{program} {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A meta package such as `postgresql` stands for the one of the same name with a version.
    async fn real_name(&self, package: &str) -> anyhow::Result<String> {
        let text = self
            .ask("apt-cache", &["depends", "--no-recommends", package])
            .await?;
        Ok(versioned_dependency(package, &text).unwrap_or_else(|| package.to_owned()))
    }

    async fn candidate(&self, package: &str) -> anyhow::Result<String> {
        let text = self.ask("apt-cache", &["policy", package]).await?;
        text.lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "))
            .filter(|version| *version != "(none)")
            .map(str::to_owned)
            .with_context(|| format!("no package source offers {package}"))
    }

    /// The libraries that an installation would bring, without those that are there already.
    async fn libraries(&self, package: &str) -> anyhow::Result<Vec<String>> {
        let text = self
            .ask(
                "apt-get",
                &["install", "--simulate", "--no-install-recommends", package],
            )
            .await?;
        Ok(new_libraries(&text))
    }

    async fn download(
        &self,
        lab: &Lab,
        packages: &[String],
        into: &Path,
        log: &Path,
        report: &dyn Fn(Progress),
    ) -> anyhow::Result<()> {
        let mut spec = Spec::new("apt-get");
        spec.args.clone_from(&self.options);
        spec = spec.arg("download");
        spec.args.extend(packages.iter().map(OsString::from));
        spec.directory = Some(into.to_path_buf());
        child::run(&spec, log, &lab.paths.state, "", |id| {
            report(Progress::Process(Some(id)));
        })
        .await
        .with_context(|| format!("apt-get download {}", packages.join(" ")))?;
        report(Progress::Process(None));
        Ok(())
    }
}

fn quiet_options() -> Vec<OsString> {
    let mut options = Vec::new();
    for option in [
        "Acquire::http::Timeout=20",
        "Acquire::https::Timeout=20",
        "Acquire::Retries=2",
        // As root, apt would switch to a user that cannot enter our directory.
        "APT::Sandbox::User=root",
        "Debug::NoLocking=1",
    ] {
        options.push("-o".into());
        options.push(option.into());
    }
    options
}

/// Package lists in the cache, from this machine's sources.
async fn own_lists(lab: &Lab, log: &Path, report: &dyn Fn(Progress)) -> anyhow::Result<Apt> {
    let apt = lab.paths.cache.join("apt");
    let mut options = quiet_options();
    for (name, path) in [("Dir::State=", "state"), ("Dir::Cache=", "cache")] {
        let directory = apt.join(path);
        for sub in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(directory.join(sub))
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut option = OsString::from(name);
        option.push(&directory);
        options.push("-o".into());
        options.push(option);
    }
    for option in [
        "Dir::State::status=/var/lib/dpkg/status",
        // These run after an update on some machines, for the machine's own lists.
        "APT::Update::Post-Invoke=",
        "APT::Update::Post-Invoke-Success=",
    ] {
        options.push("-o".into());
        options.push(option.into());
    }
    report(Progress::Doing(
        "fetching Debian's package lists".to_owned(),
    ));
    let mut spec = Spec::new("apt-get");
    spec.args.clone_from(&options);
    spec = spec.arg("update");
    // A third-party source that does not answer must not stop us: what is missing shows later.
    if let Err(error) = child::run(&spec, log, &lab.paths.state, "", |id| {
        report(Progress::Process(Some(id)));
    })
    .await
    {
        writeln_log(log, &format!("apt-get update: {error:#}"));
    }
    report(Progress::Process(None));
    Ok(Apt { options })
}

async fn unpack_all(lab: &Lab, from: &Path, tree: &Path, log: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        let spec = Spec::new("dpkg-deb").arg("-x").arg(&file).arg(tree);
        child::run(&spec, log, &lab.paths.state, "", |_| ())
            .await
            .with_context(|| format!("dpkg-deb -x {}", file.display()))?;
    }
    Ok(())
}

/// `  Depends: postgresql-15` of the meta package `postgresql`.
fn versioned_dependency(package: &str, text: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| {
            name.strip_prefix(package)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|version| {
                    !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.')
                })
        })
        .map(str::to_owned)
}

/// `Inst libpq5 (15.20 Debian:12 [amd64])` lines of a simulated installation.
fn new_libraries(text: &str) -> Vec<String> {
    let mut names = installations(text);
    // Postgres would only compile queries with LLVM, which the lab turns off: 100 MB less.
    names.retain(|name| name.starts_with("lib") && !name.starts_with("libllvm"));
    names
}

fn installations(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Inst "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Where unpacked shared libraries are.
pub(crate) fn library_directories(prefix: &Path) -> Vec<PathBuf> {
    ["usr/lib/*-linux-gnu", "lib/*-linux-gnu"]
        .iter()
        .flat_map(|pattern| expand(&prefix.join(pattern)))
        .collect()
}

/// Shared libraries that neither the machine nor the unpacked tree has.
async fn missing_libraries(tree: &Path, program: &str) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    let path = std::env::join_paths(library_directories(tree)).unwrap_or_default();
    for program in expand(&tree.join(program)) {
        // Its neighbours are used too: initdb beside postgres.
        let neighbours = program.parent().map(|parent| expand(&parent.join("*")));
        for binary in neighbours.unwrap_or_default() {
            let output = tokio::process::Command::new("ldd")
                .arg(&binary)
                .env("LD_LIBRARY_PATH", &path)
                .stdin(std::process::Stdio::null())
                .output()
                .await;
            let text = output.map(|output| output.stdout).unwrap_or_default();
            missing.extend(not_found(&String::from_utf8_lossy(&text)));
        }
    }
    missing
}

/// `libpq.so.5 => not found`
fn not_found(ldd: &str) -> Vec<String> {
    ldd.lines()
        .filter_map(|line| line.trim().strip_suffix(" => not found"))
        .map(str::to_owned)
        .collect()
}

fn writeln_log(log: &Path, line: &str) {
    use std::io::Write;
    if let Ok(mut file) = child::append(log) {
        let _best_effort = writeln!(file, "{line}");
    }
}

/// Whether apt can be used here, for `doctor`.
pub(crate) async fn apt_version() -> Option<String> {
    system::version_text(&on_path("apt-get")?, &["--version"]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_package_stands_for_its_version() {
        let text = "postgresql\n  Depends: postgresql-15\n  Suggests: postgresql-doc\n";
        assert_eq!(
            versioned_dependency("postgresql", text).as_deref(),
            Some("postgresql-15")
        );
        let text = "prometheus\n  Depends: adduser\n  Depends: prometheus-node-exporter\n";
        assert_eq!(versioned_dependency("prometheus", text), None);
    }

    #[test]
    fn only_libraries_come_along() {
        let text = "NOTE: This is only a simulation!\n\
                    Inst libpq5 (15.20-0+deb12u1 Debian-Security:12 [amd64])\n\
                    Inst ssl-cert (1.1.2 Debian:12 [all])\n\
                    Inst libllvm14 (1:14.0.6-12 Debian:12 [amd64])\n\
                    Conf libpq5 (15.20-0+deb12u1 Debian-Security:12 [amd64])\n";
        assert_eq!(new_libraries(text), ["libpq5"]);
    }

    #[test]
    fn missing_libraries_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibpq.so.5 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n";
        assert_eq!(not_found(text), ["libpq.so.5"]);
    }
}
