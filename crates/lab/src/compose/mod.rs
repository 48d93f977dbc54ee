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
