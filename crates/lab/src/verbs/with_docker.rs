//! `lab with-docker COMMAND`: runs it with a Docker engine that answers, which ends with it when
//! it had to be started. `lab test` uses it; so can who wants to look around.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use tokio::process::Command;

use crate::Lab;
use crate::cli::Interrupted;
use crate::compose::engine::Engine;
use crate::verbs::load;
use crate::verbs::up::Signals;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let engine = tokio::select! {
        engine = Engine::provide(lab) => engine?,
        () = signals.any() => return Err(Interrupted.into()),
    };
    lab.printer.note(format_args!("docker: {}", engine.what));
    let result = attended(&args.command, &engine).await;
    engine.stop().await;
    result
}

async fn attended(words: &[OsString], engine: &Engine) -> anyhow::Result<ExitCode> {
    let (program, args) = words.split_first().context("no command")?;
    let mut command = Command::new(program);
    command
        .args(args)
        .envs(engine.env.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true);
    let mut signals = load::Signals::listen()?;
    let mut child =
        load::start(&mut command).with_context(|| format!("cannot start {}", program.display()))?;
    let status = load::attended(&mut child, &mut signals).await?;
    Ok(ExitCode::from(load::exit_code(status)))
}
