//! `lab supervise`: the process behind a running lab. `up` starts it.

use std::process::ExitCode;

use crate::Lab;
use crate::native::supervisor;

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(lab: Lab, _args: Args) -> anyhow::Result<ExitCode> {
    supervisor::run(lab).await?;
    Ok(ExitCode::SUCCESS)
}
