//! The peers: the same chain in Python and in Go, pinned, prepared once into the cache.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::build;
use crate::chain::{Programs, Service};
use crate::child;
use crate::config::Chain;
use crate::lab::Paths;
use crate::printer::Printer;

/// Says that a directory in the cache is whole.
const WHOLE: &str = ".whole";

/// Prepares one chain.
pub(crate) async fn prepare(
    paths: &Paths,
    printer: &Printer,
    chain: Chain,
    programs: &mut Programs,
) -> anyhow::Result<()> {
    match chain {
        Chain::Rust => Ok(()),
        Chain::Python => python(paths, printer, programs).await,
        Chain::Go => go(paths, printer, programs).await,
    }
}

async fn python(paths: &Paths, printer: &Printer, programs: &mut Programs) -> anyhow::Result<()> {
    let source = paths.root.join("bench/peers/python");
    let requirements = source.join("requirements.txt");
    let home = build::cached(paths, "python", &requirements)?;
    if !home.join(WHOLE).exists() {
        start_over(&home)?;
        let mut venv = child::inheriting("python3");
        venv.args(["-m", "venv"]).arg(&home);
        let hint = "Python 3.11 or newer with venv is needed (apt-get install python3-venv); --chains rust,go leaves it out";
        build::watched(
            venv,
            paths,
            printer,
            "python-venv",
            "making Python's virtual environment",
            hint,
        )
        .await?;
        let mut pip = child::inheriting(home.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--require-hashes",
            "--only-binary=:all:",
            "-r",
        ])
        .arg(&requirements);
        let hint = "pip could not get what bench/peers/python/requirements.txt pins; --chains rust,go leaves Python out";
        build::watched(
            pip,
            paths,
            printer,
            "python-pip",
            "downloading Python's packages",
            hint,
        )
        .await?;
        std::fs::write(home.join(WHOLE), "").context("cannot write into the cache")?;
    }
    let service = |name: &str| {
        let mut service = Service::new(home.join("bin/python"));
        service.args = vec![source.join("serve.py").into(), name.into()];
        service.directory = Some(source.clone());
        // Nothing is written into the checkout.
        service.env = vec![("PYTHONDONTWRITEBYTECODE".to_owned(), "1".into())];
        service
    };
    programs
        .chains
        .insert(Chain::Python, (service("edge"), service("users")));
    Ok(())
}

async fn go(paths: &Paths, printer: &Printer, programs: &mut Programs) -> anyhow::Result<()> {
    let source = paths.root.join("bench/peers/go");
    let home = build::cached(paths, "go", &source)?;
    if !home.join(WHOLE).exists() {
        start_over(&home)?;
        let mut build = child::inheriting(go_program());
        build
            .args([
                "build",
                "-trimpath",
                "-mod=readonly",
                "-ldflags=-s -w",
                "-o",
            ])
            .arg(home.join(""))
            .arg("./...")
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env("GOFLAGS", "-buildvcs=false")
            .current_dir(&source);
        let hint =
            "Go 1.21 or newer is needed: https://go.dev/dl; --chains rust,python leaves it out";
        build::watched(
            build,
            paths,
            printer,
            "build-go",
            "building Go's services",
            hint,
        )
        .await?;
        std::fs::write(home.join(WHOLE), "").context("cannot write into the cache")?;
    }
    let service = |name: &str| Service::new(home.join(name));
    programs
        .chains
        .insert(Chain::Go, (service("edge"), service("users")));
    Ok(())
}

fn go_program() -> PathBuf {
    let usual = Path::new("/usr/local/go/bin/go");
    if usual.is_file() {
        usual.to_path_buf()
    } else {
        "go".into()
    }
}

/// What a killed run left half done is of no use.
fn start_over(home: &Path) -> anyhow::Result<()> {
    if home.exists() {
        std::fs::remove_dir_all(home)
            .with_context(|| format!("cannot remove {}", home.display()))?;
    }
    std::fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))
}
