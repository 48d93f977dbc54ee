//! `lab restart NAME`. edge and users are replaced: the new instance shares the port, and the old
//! one stops when the new one is ready. Everything else is stopped and started.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::Lab;
use crate::cli::WrongRequest;
use crate::compose;
use crate::native::{client, components};
use crate::printer::duration;
use crate::state::{Act, Phase, State};
use crate::verbs::up;

/// Whatever was started answers within this time or not at all.
const START_DEADLINE: Duration = Duration::from_secs(90);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Components, as `lab status` names them
    #[arg(required = true)]
    names: Vec<String>,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    ask(lab, Act::Restart, args.names).await
}

/// Asks the supervisor, waits until it is done, and says so.
pub(crate) async fn ask(lab: &Lab, act: Act, names: Vec<String>) -> anyhow::Result<ExitCode> {
    if lab.running()?.is_none()
        && let Some(state) = compose::running(lab).await?
    {
        return compose::up::act(lab, act, &names, &state).await;
    }
    let started = Instant::now();
    let names = carry_out(lab, act, names).await?;
    lab.printer.clear_steps();
    let what = match act {
        Act::Start => "started",
        Act::Stop => "stopped",
        Act::Restart => "restarted",
    };
    lab.printer.out(format_args!(
        "{} {what} ({})",
        names.join(", "),
        duration(started.elapsed())
    ));
    Ok(ExitCode::SUCCESS)
}

/// Asks the supervisor and waits until it is done.
pub(crate) async fn carry_out(
    lab: &Lab,
    act: Act,
    names: Vec<String>,
) -> anyhow::Result<Vec<String>> {
    let known = components::names();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(WrongRequest(format!(
            "there is no component `{unknown}`: expected one of {}",
            known.join(", ")
        ))
        .into());
    }
    // Two verbs at once would take each other's answers for their own.
    let turn = up::take_turn(lab).await?;
    let Some(state) = client::running(lab).await? else {
        bail!("no lab is running; `./lab up` starts it");
    };
    if state.program != client::program_identity()? {
        bail!("lab itself was rebuilt since the lab was started; `./lab up` restarts it");
    }
    can_be_asked(&state, &names)?;
    client::ask(lab, &state, act, &names).await?;
    drop(turn);
    if act != Act::Stop {
        until_healthy(lab, &names).await?;
    }
    Ok(names)
}

/// Only what has a program can be started and stopped.
fn can_be_asked(state: &State, names: &[String]) -> anyhow::Result<()> {
    for component in &state.components {
        if names.contains(&component.name) {
            match component.phase {
                Phase::Waiting | Phase::Preparing | Phase::Missing | Phase::ComposeOnly => bail!(
                    "{} is {}: there is nothing to start or stop; `./lab status` says more",
                    component.name,
                    component.phase.name()
                ),
                _ => {}
            }
        }
    }
    Ok(())
}

async fn until_healthy(lab: &Lab, names: &[String]) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let Some(state) = lab.running()? else {
            bail!(
                "the supervisor is gone; see {}",
                lab.paths.log("supervisor").display()
            );
        };
        let late: Vec<String> = state
            .components
            .iter()
            .filter(|each| names.contains(&each.name) && each.phase != Phase::Healthy)
            .map(|each| {
                let detail = each.detail.as_deref().unwrap_or_default();
                format!("{} is {} {detail}", each.name, each.phase.name())
            })
            .collect();
        if late.is_empty() {
            return Ok(());
        }
        if started.elapsed() > START_DEADLINE {
            bail!("{}; `./lab logs` says more", late.join(", "));
        }
        lab.printer
            .step("start", &late.join(", "), started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
