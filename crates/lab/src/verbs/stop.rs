//! `lab stop NAME`: to see what the others do without it. It stays stopped until `lab start`, or
//! until `lab up` puts the lab right.

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
    restart::ask(lab, Act::Stop, args.names).await
}
