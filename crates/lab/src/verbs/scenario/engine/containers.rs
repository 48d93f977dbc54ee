//! What compose is asked for.

use crate::Lab;
use crate::compose::stack::Stack;
use crate::versions;

pub(super) async fn stop(lab: &Lab, names: Vec<String>) -> anyhow::Result<()> {
    run(lab, &["stop"], &names).await
}

/// Those they depend on are left as they are: they may be stopped on purpose.
pub(super) async fn start(lab: &Lab, names: Vec<String>) -> anyhow::Result<()> {
    run(lab, &START, &names).await
}

/// Containers are made anew, each as the version that is written down for it.
pub(super) async fn restart(lab: &Lab, names: Vec<String>) -> anyhow::Result<()> {
    let anew = [&START[..], &["--force-recreate"]].concat();
    run(lab, &anew, &names).await
}

const START: [&str; 6] = [
    "up",
    "--detach",
    "--no-deps",
    "--wait",
    "--no-build",
    "--pull=never",
];

async fn run(lab: &Lab, arguments: &[&str], names: &[String]) -> anyhow::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let stack = Stack::find(lab).await?;
    stack.set_versions(&versions::current(&lab.paths))?;
    stack.quietly(arguments, names).await
}
