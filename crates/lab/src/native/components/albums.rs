//! albums: the Go service without telemetry code.

use crate::native::component::{
    Component, GoModule, Launch, Probe, Recipe, Source, Spec, Stop, Tier,
};
use crate::settings::Port;

pub(super) const COMPONENT: Component = Component {
    name: "albums",
    core: true,
    tier: Tier::Service,
    ports: &[Port::Albums],
    address: |settings| Some(settings.http(Port::Albums)),
    recipe: |_| {
        Recipe::Sources(vec![Source::Go(GoModule {
            directory: "services/albums",
            package: ".",
        })])
    },
    configure: |lab, found| {
        let run = Spec::component(lab, &found.program);
        Ok(Launch::new(run.env("FLAGS_FILE", lab.paths.flags_file())))
    },
    probe: |settings| Probe::Http(settings.http(Port::Albums) + "/readyz"),
    stop: Stop::TERM,
};
