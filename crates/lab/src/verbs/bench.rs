//! `lab bench`: builds the bench, which nobody needs who only runs the lab, and runs it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Lab;
use crate::cli::Interrupted;
use crate::native::child;
use crate::native::component::Spec;
use crate::native::provision::{self, cargo};
use crate::settings;
use crate::verbs::load::{Signals, attended, exit_code, start};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// `lab bench --help` tells them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    arguments: Vec<std::ffi::OsString>,
}

/// By itself: named together, it would change the features of the services' dependencies.
const ARGUMENTS: [&str; 5] = ["build", "--release", "--locked", "-p", "bench"];
const STEP: &str = "bench";
const TICK: Duration = Duration::from_millis(200);

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let built = tokio::select! {
        built = build(lab) => built,
        _ = signals.next() => Err(Interrupted.into()),
    };
    lab.printer.clear_steps();
    built?;
    let program = cargo::target_directory(&lab.paths.root).join("release/bench");
    let mut bench = tokio::process::Command::new(&program);
    bench
        .args(&args.arguments)
        .env(settings::ROOT, &lab.paths.root)
        .env(settings::CACHE_DIR, &lab.paths.cache)
        .env("LAB_PROGRAM", provision::own_program()?)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let mut child =
        start(&mut bench).with_context(|| format!("cannot start {}", program.display()))?;
    let status = attended(&mut child, &mut signals).await?;
    Ok(ExitCode::from(exit_code(status)))
}

async fn build(lab: &Lab) -> anyhow::Result<()> {
    let Some(cargo) = cargo::cargo() else {
        bail!("Rust (cargo) is needed to build the bench: {}", cargo::HINT);
    };
    let log = provision::build_log(lab, STEP);
    let mut spec = Spec::new(cargo);
    spec.args = ARGUMENTS.map(Into::into).to_vec();
    spec.directory = Some(lab.paths.root.clone());
    let began = Instant::now();
    // What an earlier build said is of no use below.
    let _absent = std::fs::remove_file(&log);
    let mut building = std::pin::pin!(child::run(&spec, &log, &lab.paths.state, "", |_| ()));
    let mut ticks = tokio::time::interval(TICK);
    let result = loop {
        tokio::select! {
            result = &mut building => break result,
            _ = ticks.tick() => lab.printer.step(STEP, "building the bench with cargo", began.elapsed()),
        }
    };
    result.with_context(|| {
        let said = child::last_line(&log).unwrap_or_default();
        format!("cargo build -p bench: {said} (see {})", log.display())
    })
}
