//! edge: what the world calls.

use crate::native::component::{Component, Launch, Probe, Recipe, Source, Spec, Stop, Tier};
use crate::native::environment;
use crate::settings::Port;

pub(super) const COMPONENT: Component = Component {
    name: "edge",
    core: true,
    tier: Tier::Front,
    ports: &[Port::Edge],
    address: |settings| Some(settings.http(Port::Edge)),
    recipe: |_| Recipe::Sources(vec![Source::Cargo { package: "edge" }]),
    configure: |lab, found| {
        let mut run = Spec::component(lab, &found.program);
        run.env.extend(environment::service(lab));
        run.env.extend(environment::telemetry(lab, "edge", "otlp"));
        Ok(Launch::new(run))
    },
    probe: |settings| Probe::Http(settings.http(Port::Edge) + "/readyz"),
    stop: Stop::TERM,
};
