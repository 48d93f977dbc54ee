//! `lab up`, `down`, `stop`, `start`, `restart` and `logs` on the compose stack.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::Lab;
use crate::cli::Interrupted;
use crate::compose::docker;
use crate::compose::images;
use crate::compose::left_out::PROFILE;
use crate::compose::ours;
use crate::compose::stack::Stack;
use crate::native::{health, ports, rules};
use crate::printer::duration;
use crate::settings::Port;
use crate::state::{Act, Phase, State};
use crate::verbs::status;
use crate::verbs::up::Signals;

/// From the first container to the last healthy one; images are here by then.
const START_SECONDS: &str = "300";
/// Between edge being healthy and its first good answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// Pulls and builds what is missing, or, `offline`, leaves out what is not here.
pub(crate) async fn up(lab: &Lab, offline: bool, json: bool) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let stack = Stack::find(lab).await?;
    if lab.running()?.is_some() {
        bail!("a native lab runs here already; `./lab down` stops it");
    }
    let before = stack.look().await?;
    if before.is_none() {
        no_conflicts(lab)?;
    }
    rules::warn(lab).await;
    let services = stack.services().await?;
    let left_out = if offline {
        let missing = images::missing(lab, &stack, &services).await;
        ensure!(
            missing.len() < services.len(),
            "none of the images is on this machine; `./lab air-gap images make` makes those that can be made"
        );
        missing
    } else {
        let made = images::made(&stack, &services).await;
        if !made.is_empty() {
            lab.printer.warn(format_args!(
                "these were made on this machine and are not pulled: {}; `./lab air-gap images remove` removes them",
                made.join(", ")
            ));
        }
        BTreeMap::new()
    };
    // Where images may be pulled, upstream's is.
    let stand_in = if offline {
        images::stand_in(&stack, &services).await
    } else {
        None
    };
    stack.prepare(&left_out, stand_in.as_deref()).await?;
    if let Some(image) = &stand_in {
        lab.printer.warn(format_args!(
            "{image} takes the place of the webhook tester"
        ));
    }
    for (name, why) in &left_out {
        lab.printer.warn(format_args!("{name} is left out: {why}"));
    }
    if before.is_some() && !left_out.is_empty() {
        // Compose would let them run on, and never end them.
        let mut command = stack.compose();
        command.args(["--profile", PROFILE, "rm", "--stop", "--force"]);
        command.args(left_out.keys());
        docker::output(command).await.context("docker compose rm")?;
    }
    let mut command = stack.compose();
    command.args(["up", "--detach", "--remove-orphans", "--wait"]);
    command.args(["--wait-timeout", START_SECONDS]);
    if offline {
        command.args(["--pull", "never", "--no-build"]);
    }
    let started = attended(command).await;
    if let Err(error) = started {
        if !offline && !error.is::<Interrupted>() {
            lab.printer.note(
                "where no registry can be reached: `./lab air-gap images make`, then `./lab up --engine compose --offline`",
            );
        }
        if error.is::<Interrupted>() && before.is_none() {
            lab.printer
                .note("interrupted: stopping what this `up` started");
            down(lab, false).await?;
        }
        return Err(error);
    }
    let state = stack.look().await?.context("nothing was started")?;
    let answered = first_answer(lab).await;
    if json {
        lab.printer.json(&state)?;
    } else {
        status::show_compose(lab, &state).await;
    }
    let edge = lab.settings.http(Port::Edge);
    answered
        .with_context(|| format!("{edge}/users does not answer; `./lab logs edge` says more"))?;
    lab.printer.note(format_args!(
        "the lab answers after {}: curl {edge}/users",
        duration(began.elapsed())
    ));
    let broken: Vec<&str> = state
        .components
        .iter()
        .filter(|each| !matches!(each.phase, Phase::Healthy | Phase::Missing))
        .map(|each| each.name.as_str())
        .collect();
    ensure!(
        broken.is_empty(),
        "not healthy: {}; `./lab logs NAME` says more",
        broken.join(", ")
    );
    Ok(ExitCode::SUCCESS)
}

/// The engine would start some containers and then stop at the first port that is taken.
fn no_conflicts(lab: &Lab) -> anyhow::Result<()> {
    let published = [
        ("edge", Port::Edge),
        ("users", Port::Users),
        ("albums", Port::Albums),
        ("postgres", Port::Postgres),
        ("otel-collector", Port::OtlpGrpc),
        ("otel-collector", Port::OtlpHttp),
        ("otel-collector", Port::OtelcolHealth),
        ("otel-collector", Port::OtelcolMetrics),
        ("otel-collector", Port::OtelcolPrometheus),
        ("otel-collector", Port::OtelcolPprof),
        ("otel-collector", Port::OtelcolZpages),
        ("prometheus", Port::Prometheus),
        ("alertmanager", Port::Alertmanager),
        ("jaeger", Port::Jaeger),
        ("loki", Port::Loki),
        ("webhook", Port::Webhook),
        ("console", Port::Console),
    ];
    let conflicts = ports::conflicts(&lab.settings, published.into_iter());
    let lines: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    ensure!(
        lines.is_empty(),
        "nothing was started:\n  {}",
        lines.join("\n  ")
    );
    Ok(())
}

/// Runs it with our output. Ctrl-C reaches it too, who shares our terminal, and is waited for.
async fn attended(mut command: Command) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let mut child = command.spawn().context("cannot run docker compose")?;
    tokio::select! {
        status = child.wait() => {
            let status = status?;
            ensure!(
                status.success(),
                "docker compose: {status}; what it says is above, `./lab status` shows what runs"
            );
            Ok(())
        }
        () = signals.any() => {
            let _ended = child.wait().await;
            Err(Interrupted.into())
        }
    }
}

async fn first_answer(lab: &Lab) -> anyhow::Result<()> {
    let client = health::client()?;
    let url = lab.settings.http(Port::Edge) + "/users";
    let deadline = Instant::now() + ANSWER_DEADLINE;
    loop {
        let answer = client.get(&url).send().await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// False when there is nothing to stop.
pub(crate) async fn down(lab: &Lab, volumes: bool) -> anyhow::Result<bool> {
    let Ok(stack) = Stack::find(lab).await else {
        return Ok(false);
    };
    let data_is_left = volumes && stack.has_volumes().await?;
    if stack.look().await?.is_none() && !data_is_left {
        return Ok(false);
    }
    let mut command = stack.compose();
    // Those too that an earlier `up` had and a later one left out.
    command.args(["--profile", PROFILE, "down", "--remove-orphans"]);
    if volumes {
        command.arg("--volumes");
    }
    let status = command
        .status()
        .await
        .context("cannot run docker compose")?;
    ensure!(status.success(), "docker compose down: {status}");
    Ok(true)
}

/// `stop`, `start` and `restart` of services.
pub(crate) async fn act(
    lab: &Lab,
    act: Act,
    names: &[String],
    state: &State,
) -> anyhow::Result<ExitCode> {
    if !matches!(act, Act::Stop) {
        ours(lab).await?;
    }
    let stack = Stack::find(lab).await?;
    for name in names {
        match state.component(name) {
            None => bail!("{name} is no service of the compose stack; `./lab status` shows them"),
            Some(component) if component.phase == Phase::Missing => {
                let why = component.detail.as_deref().unwrap_or_default();
                bail!("{name} is left out: {why}")
            }
            Some(_) => {}
        }
    }
    let began = Instant::now();
    // Those they depend on may have been stopped on purpose: they are left as they are.
    let until_healthy: &[&str] = &["up", "--detach", "--no-deps", "--wait", "--no-build"];
    let steps: &[&[&str]] = match act {
        Act::Stop => &[&["stop"]],
        Act::Start => &[until_healthy],
        Act::Restart => &[&["restart", "--no-deps"], until_healthy],
    };
    for step in steps {
        let mut command = stack.compose();
        let status = command.args(*step).args(names).status().await;
        let status = status.context("cannot run docker compose")?;
        ensure!(status.success(), "docker compose {}: {status}", step[0]);
    }
    lab.printer.out(format_args!(
        "{} {}: done ({})",
        act.name(),
        names.join(", "),
        duration(began.elapsed())
    ));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn logs(
    lab: &Lab,
    name: &str,
    lines: usize,
    follow: bool,
) -> anyhow::Result<ExitCode> {
    let stack = Stack::find(lab).await?;
    let mut command = stack.compose();
    command.args(["logs", "--no-log-prefix", "--tail"]);
    command.arg(lines.to_string());
    if follow {
        command.arg("--follow");
    }
    let status = command.arg(name).status().await;
    let status = status.context("cannot run docker compose")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
