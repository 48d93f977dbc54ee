//! Components that exist as container images only.

use anyhow::bail;

use crate::native::component::{Component, Probe, Recipe, Stop, Tier};

pub(super) const GRAFANA: Component = image("grafana");
pub(super) const TEMPO: Component = image("tempo");
pub(super) const PYROSCOPE: Component = image("pyroscope");
pub(super) const PYRRA: Component = image("pyrra");
pub(super) const KARMA: Component = image("karma");
pub(super) const BEYLA: Component = image("beyla");

const fn image(name: &'static str) -> Component {
    Component {
        name,
        core: false,
        tier: Tier::Backend,
        ports: &[],
        address: |_| None,
        recipe: |_| Recipe::ComposeOnly,
        configure: |_, _| bail!("it runs in the compose stack only"),
        probe: |_| Probe::Http(String::new()),
        stop: Stop::TERM,
    }
}
