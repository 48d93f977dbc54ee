//! `lab down`: stops everything; who sends telemetry stops before who receives it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::Lab;
use crate::compose;
use crate::native::client;
use crate::printer::duration;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove data, logs and flags too; built programs stay in the cache
    #[arg(long)]
    purge: bool,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let running = client::running(lab).await?;
    match running.and_then(|state| state.supervisor) {
        Some(supervisor) => {
            client::stop(lab, supervisor).await?;
            lab.printer.out(format_args!(
                "the lab is stopped ({})",
                duration(started.elapsed())
            ));
        }
        None => {
            client::end_leftovers(lab).await?;
            if !compose::up::down(lab, args.purge).await? {
                lab.printer.out("no lab is running");
            }
        }
    }
    if args.purge {
        purge(lab)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn purge(lab: &Lab) -> anyhow::Result<()> {
    let state = &lab.paths.state;
    if state.exists() {
        // A mistyped LAB_STATE_DIR must not cost somebody their files.
        ensure!(
            lab.paths.lock_file().exists()
                || lab.paths.state_file().exists()
                || lab.paths.flags_file().exists()
                || is_empty(state),
            "{} does not look like the state of a lab; nothing is removed",
            state.display()
        );
        std::fs::remove_dir_all(state)
            .with_context(|| format!("cannot remove {}", state.display()))?;
    }
    lab.printer.out(format_args!(
        "removed data and logs in {}; built programs stay in {}",
        state.display(),
        lab.paths.cache.display()
    ));
    Ok(())
}

fn is_empty(directory: &std::path::Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}
