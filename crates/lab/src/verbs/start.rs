//! `lab start NAME`: what `lab stop` stopped.

use std::process::ExitCode;

use crate::Lab;
use crate::state::Act;
use crate::verbs::restart;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Components, as `lab status` names them
    #[arg(required = true)]
    names: Vec<String>,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    restart::ask(lab, Act::Start, args.names).await
}
