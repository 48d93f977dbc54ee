//! What the supervisor is asked for.

use crate::Lab;
use crate::state::Act;
use crate::verbs::restart::carry_out;

pub(super) async fn stop(lab: &Lab, names: Vec<String>) -> anyhow::Result<()> {
    act(lab, Act::Stop, names).await
}

pub(super) async fn start(lab: &Lab, names: Vec<String>) -> anyhow::Result<()> {
    act(lab, Act::Start, names).await
}

/// Services run as the version that is written down for them, from now on.
pub(super) async fn restart(lab: &Lab, names: Vec<String>) -> anyhow::Result<()> {
    act(lab, Act::Restart, names).await
}

async fn act(lab: &Lab, act: Act, names: Vec<String>) -> anyhow::Result<()> {
    if !names.is_empty() {
        carry_out(lab, act, names).await?;
    }
    Ok(())
}
