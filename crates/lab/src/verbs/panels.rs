//! `lab verify --panels`: do Grafana's dashboards show something, and with `--react` do they show what is broken?

use std::time::Duration;

use anyhow::{Context, ensure};
use proof::flags::OFF;
use proof::grafana::Datasources;
use proof::panels::{self, Dashboard, Fault, Options, Reactions};
use proof::{Backends, Report};

use crate::Lab;
use crate::cli::{Interrupted, WrongRequest};
use crate::compose;
use crate::flags;
use crate::state::{Act, Phase, State};
use crate::verbs::up::Signals;
use crate::verbs::{restart, verify};

/// Rates are over what Grafana takes for a scrape interval, right or wrong.
pub(crate) fn options(lab: &Lab, timeout: Duration) -> anyhow::Result<Options> {
    let folder = lab.paths.root.join("infra/grafana/provisioning");
    let sources = Datasources::load(&folder)?;
    let scrape_interval = sources.scrape_interval().with_context(|| {
        let folder = folder.display();
        format!("the datasource of Prometheus in {folder} has no timeInterval, such as `5s`")
    })?;
    Ok(Options {
        timeout,
        scrape_interval,
    })
}

fn dashboards(lab: &Lab) -> anyhow::Result<Vec<Dashboard>> {
    Ok(Dashboard::load(
        &lab.paths.root.join("infra/grafana/dashboards"),
    )?)
}

pub(crate) async fn verify(
    lab: &Lab,
    backends: &Backends,
    options: &Options,
) -> anyhow::Result<Report> {
    let dashboards = dashboards(lab)?;
    let doing = "running the queries of every panel";
    verify::watched(lab, "panels", doing, async |tell| {
        panels::verify(backends, &dashboards, options, tell).await
    })
    .await
}

pub(crate) async fn react(
    lab: &Lab,
    state: &State,
    backends: &Backends,
    options: &Options,
) -> anyhow::Result<Report> {
    let dashboards = dashboards(lab)?;
    let reactions = Reactions::load(&lab.paths.root.join("dashboards/reactions.json"))?;
    compose::ours(lab).await?;
    healthy(lab, state, &reactions)?;
    let mut signals = Signals::listen()?;
    let make = async |fault: &Fault, broken: bool| {
        let made = make(lab, fault, broken).await;
        made.map_err(|error| format!("{error:#}"))
    };
    let doing = "making faults, and looking for them in the panels";
    let report = tokio::select! {
        report = verify::watched(lab, "panels", doing, async |tell| {
            panels::react(backends, &dashboards, &reactions, options, &make, tell).await
        }) => Some(report),
        () = signals.any() => None,
    };
    let Some(report) = report else {
        lab.printer.clear_steps();
        lab.printer.note("interrupted: healing what was broken");
        for fault in reactions.faults() {
            make(fault, false).await.map_err(anyhow::Error::msg)?;
        }
        return Err(Interrupted.into());
    };
    report
}

/// Whoever breaks the lab already wants to keep it so, and would hide what is made here.
fn healthy(lab: &Lab, state: &State, reactions: &Reactions) -> anyhow::Result<()> {
    let on: Vec<String> = flags::current(&lab.paths)?
        .on()
        .into_iter()
        .map(|flag| flag.name)
        .collect();
    if !on.is_empty() {
        let on = on.join(", ");
        let text = format!(
            "{on} is on, and --react starts from a healthy lab: `./lab fault clear` heals it"
        );
        return Err(WrongRequest(text).into());
    }
    for fault in reactions.faults() {
        if let Fault::Stop { stop } = fault {
            let component = state.component(stop);
            ensure!(
                component.is_some_and(|component| component.phase == Phase::Healthy),
                "{stop} is not healthy, and --react stops and starts it: `./lab status` says more"
            );
        }
    }
    Ok(())
}

async fn make(lab: &Lab, fault: &Fault, broken: bool) -> anyhow::Result<()> {
    match fault {
        Fault::Flags { flags } => {
            flags::edit(&lab.paths, |live| {
                flags.iter().try_for_each(|(name, variant)| {
                    live.set(name, if broken { variant } else { OFF })
                })
            })?;
        }
        Fault::Stop { stop } => {
            let act = if broken { Act::Stop } else { Act::Start };
            if lab.running()?.is_some() {
                restart::carry_out(lab, act, vec![stop.clone()]).await?;
            } else {
                restart::ask(lab, act, vec![stop.clone()]).await?;
            }
        }
    }
    Ok(())
}
