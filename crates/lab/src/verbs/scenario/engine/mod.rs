//! Breaking and healing, wherever the lab runs: flags are the same file everywhere, and what is
//! stopped or runs as another version is so natively or in containers.

mod containers;
mod native;

use std::collections::BTreeMap;

use anyhow::Context;
use proof::backend::SESSION;
use proof::flags::OFF;
use proof::scenario::{Broken, Engine, Place};

use crate::Lab;
use crate::compose;
use crate::flags;
use crate::settings::Port;
use crate::state::{ComponentState, Phase, State};
use crate::verbs::verify::why_absent;
use crate::versions;

/// The parts that a scenario asks, and their ports.
const PARTS: [(&str, Port); 9] = [
    ("albums", Port::Albums),
    ("alertmanager", Port::Alertmanager),
    ("edge", Port::Edge),
    ("jaeger", Port::Jaeger),
    ("loki", Port::Loki),
    ("otel-collector", Port::OtelcolHealth),
    ("prometheus", Port::Prometheus),
    ("users", Port::Users),
    ("webhook", Port::Webhook),
];

/// Where everything is, and what this machine cannot have.
pub(super) fn place(lab: &Lab, state: &State) -> anyhow::Result<Place> {
    let mut place = Place::default();
    for (part, port) in PARTS {
        let url = lab.url(port, Some(state))?;
        place.addresses.insert(part.to_owned(), url);
        let component = state.component(part);
        if let Some(why) = component.and_then(|part| why_absent(part).or_else(|| away(part))) {
            place.absent.insert(part.to_owned(), why);
        }
    }
    Ok(place)
}

/// Why a part that this machine can have does not come by itself, if it does not.
fn away(component: &ComponentState) -> Option<String> {
    let name = &component.name;
    match component.phase {
        Phase::Stopped => Some(format!(
            "it is stopped; `./lab start {name}` brings it back"
        )),
        Phase::Failed => Some(format!(
            "it failed: {}",
            component.detail.as_deref().unwrap_or("no reason told")
        )),
        _ => None,
    }
}

/// Where everything is by default, for pages that are true on every machine.
pub(super) fn default_place(lab: &Lab) -> anyhow::Result<Place> {
    let file = lab.paths.root.join(".env");
    let ports: BTreeMap<String, String> = dotenvy::from_path_iter(&file)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let mut place = Place::default();
    let console = ("console", Port::Console);
    for (part, port) in PARTS.into_iter().chain([console]) {
        let number = ports
            .get(port.var())
            .with_context(|| format!("{} has no {}", file.display(), port.var()))?;
        let url = format!("http://localhost:{number}").parse()?;
        place.addresses.insert(part.to_owned(), url);
    }
    Ok(place)
}

/// Where notifications can be read.
pub(super) fn session(lab: &Lab, state: &State) -> anyhow::Result<String> {
    let webhook = lab.url(Port::Webhook, Some(state))?;
    Ok(format!("{webhook}s/{SESSION}"))
}

/// The lab that runs, natively or in containers.
pub(super) struct Running<'a> {
    pub(super) lab: &'a Lab,
}

impl Engine for Running<'_> {
    async fn trouble(&self) -> Result<Option<String>, String> {
        let state = self.lab.running_anywhere().await.map_err(text)?;
        let state = state.ok_or("the lab does not run any more")?;
        let matters =
            |name: &str| name == "postgres" || PARTS.iter().any(|(part, _)| *part == name);
        let ill = state.components.iter().find(|component| {
            matters(&component.name)
                && !matches!(
                    component.phase,
                    Phase::Healthy | Phase::Missing | Phase::ComposeOnly
                )
        });
        Ok(ill.map(|component| format!("{} is {}", component.name, component.phase.name())))
    }

    async fn inject(&self, broken: &Broken) -> Result<(), String> {
        inject(self.lab, broken).await.map_err(text)
    }

    async fn heal(&self, broken: &Broken, restart: &[String]) -> Result<(), String> {
        heal(self.lab, broken, restart).await.map_err(text)
    }
}

fn text(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// Where the lab runs now.
enum Where {
    Native,
    Containers,
    Nowhere,
}

async fn find(lab: &Lab) -> anyhow::Result<Where> {
    Ok(if lab.running()?.is_some() {
        Where::Native
    } else if compose::running(lab).await?.is_some() {
        Where::Containers
    } else {
        Where::Nowhere
    })
}

async fn inject(lab: &Lab, broken: &Broken) -> anyhow::Result<()> {
    let place = find(lab).await?;
    if !broken.deploy.is_empty() {
        let mut versions = versions::current(&lab.paths);
        versions.extend(broken.deploy.clone());
        versions::set(&lab.paths, &versions)?;
        let services: Vec<String> = broken.deploy.keys().cloned().collect();
        match place {
            Where::Native => native::restart(lab, services).await?,
            Where::Containers => containers::restart(lab, services).await?,
            Where::Nowhere => {}
        }
    }
    if !broken.flags.is_empty() {
        flags::edit(&lab.paths, |flags| {
            broken
                .flags
                .iter()
                .try_for_each(|(flag, variant)| flags.set(flag, variant))
        })?;
    }
    if !broken.stop.is_empty() {
        let names = broken.stop.clone();
        match place {
            Where::Native => native::stop(lab, names).await?,
            Where::Containers => containers::stop(lab, names).await?,
            Where::Nowhere => {}
        }
    }
    lab.printer.clear_steps();
    Ok(())
}

/// Undoes everything, also what was not done; the rest of a lab that does not run is undone too.
pub(super) async fn heal(lab: &Lab, broken: &Broken, restart: &[String]) -> anyhow::Result<()> {
    if !broken.flags.is_empty() {
        flags::edit(&lab.paths, |flags| {
            broken
                .flags
                .keys()
                .try_for_each(|flag| flags.set(flag, OFF))
        })?;
    }
    let mut versions = versions::current(&lab.paths);
    versions.retain(|service, _| !broken.deploy.contains_key(service));
    versions::set(&lab.paths, &versions)?;
    let stopped = broken.stop.clone();
    let mut again: Vec<String> = broken.deploy.keys().chain(restart).cloned().collect();
    again.sort_unstable();
    again.dedup();
    match find(lab).await? {
        Where::Native => {
            native::start(lab, stopped).await?;
            native::restart(lab, again).await?;
        }
        Where::Containers => {
            containers::start(lab, stopped).await?;
            containers::restart(lab, again).await?;
        }
        Where::Nowhere => {}
    }
    lab.printer.clear_steps();
    Ok(())
}
