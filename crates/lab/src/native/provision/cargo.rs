//! The services of this workspace.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Kind, Lane, Look, Progress, Work, counted, is_executable, on_path};
use crate::Lab;
use crate::native::child;
use crate::native::component::{Found, Spec};

/// How to get Rust.
pub(crate) const HINT: &str =
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y";

/// Built by one command, so that cargo can use all processors.
pub(super) const CORE: [&str; 2] = ["users", "edge"];

/// All are named whatever is built, so that they agree on the features of their dependencies, as in
/// the launcher: each is compiled once.
const ARGUMENTS: [&str; 11] = [
    "build",
    "--release",
    "--locked",
    "-p",
    "lab",
    "-p",
    "users",
    "-p",
    "edge",
    "-p",
    "lab-console",
];

/// What a build says that usually finds nothing to do.
pub(crate) const CHECKING: &str = "looking for changes with cargo";

pub(super) fn look(lab: &Lab, package: &'static str) -> Look {
    if cargo().is_some() {
        // cargo itself knows best, and quickly, whether there is anything to do.
        let check = is_executable(&built(lab, package));
        return Look::Work(Work {
            lane: Lane::Build,
            what: if check {
                CHECKING
            } else {
                "building with cargo"
            }
            .to_owned(),
            kind: Kind::Cargo { package },
            check,
        });
    }
    let program = built(lab, package);
    if is_executable(&program) {
        return Look::Found(Found {
            program,
            source: "built earlier (there is no cargo to look for changes)".to_owned(),
            prefix: None,
        });
    }
    Look::Missing {
        reason: "Rust (cargo) is needed to build it".to_owned(),
        hint: Some(HINT.to_owned()),
    }
}

pub(super) async fn build(
    lab: &Lab,
    package: &str,
    programs: &[&str],
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<Found> {
    let cargo = cargo().context("cargo is gone")?;
    let mut spec = Spec::new(cargo);
    spec.args = ARGUMENTS.map(OsString::from).to_vec();
    for program in programs {
        spec = spec.arg("--bin").arg(program);
    }
    spec.directory = Some(lab.paths.root.clone());
    spec.nice = super::BUILD_NICE;
    let building = child::run(&spec, log, &lab.paths.state, "", |id| {
        report(Progress::Process(Some(id)));
    });
    let tell = |crates: usize| {
        report(Progress::Doing(format!(
            "building with cargo, {crates} crates so far"
        )));
    };
    counted(building, log, "Compiling ", &tell)
        .await
        .context("cargo build")?;
    report(Progress::Process(None));
    found(lab, package)
}

pub(super) fn found(lab: &Lab, package: &str) -> anyhow::Result<Found> {
    let program = built(lab, package);
    anyhow::ensure!(
        is_executable(&program),
        "cargo build made no {}",
        program.display()
    );
    Ok(Found {
        program,
        source: "built with cargo".to_owned(),
        prefix: None,
    })
}

pub(crate) fn cargo() -> Option<PathBuf> {
    on_path("cargo").or_else(|| {
        let home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
        let cargo = home.join("bin/cargo");
        is_executable(&cargo).then_some(cargo)
    })
}

fn built(lab: &Lab, package: &str) -> PathBuf {
    target_directory(&lab.paths.root)
        .join("release")
        .join(package)
}

/// Where cargo builds.
pub(crate) fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .filter(|value| !value.is_empty())
        .map_or_else(|| root.join("target"), |given| root.join(given))
}
