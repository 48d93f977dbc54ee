//! The compose engine: the lab in containers, by `docker compose` and the shipped file. What is
//! special here is little: which project, which ports, and which services have to be left out
//! because their image cannot be had on this machine.

pub(crate) mod bases;
pub(crate) mod docker;
pub(crate) mod engine;
pub(crate) mod image;
pub(crate) mod images;
pub(crate) mod left_out;
pub(crate) mod recipes;
pub(crate) mod stack;
pub(crate) mod up;

use crate::Lab;
use crate::cli::WrongRequest;
use crate::settings::Port;
use crate::state::State;

/// The compose lab that runs, if one does. A machine without Docker has none.
pub(crate) async fn running(lab: &Lab) -> anyhow::Result<Option<State>> {
    if !lab.paths.root.join(stack::FILE).exists() {
        return Ok(None);
    }
    match stack::Stack::find(lab).await {
        Ok(stack) => stack.look().await,
        Err(_no_engine) => Ok(None),
    }
}

/// What `docker compose up` started without `lab` reads other flags than `lab` writes: nothing would
/// break, and what `lab` starts there again would be of another lab than the rest.
pub(crate) async fn ours(lab: &Lab) -> anyhow::Result<()> {
    if lab.running()?.is_some() || !lab.paths.root.join(stack::FILE).exists() {
        return Ok(());
    }
    let Ok(stack) = stack::Stack::find(lab).await else {
        return Ok(());
    };
    let Some(elsewhere) = stack.flags_elsewhere().await? else {
        return Ok(());
    };
    Err(WrongRequest(format!(
        "{elsewhere} does not read the flags in {}: this lab was started by `docker compose up`, or with \
         another LAB_STATE_DIR; the console, {}, breaks and heals it, and `./lab up --engine compose` \
         makes it one of ours",
        lab.paths.flags_file().display(),
        lab.url(Port::Console, None)?,
    ))
    .into())
}
