//! albums: the Go service without telemetry code.

use crate::native::component::{
    Component, GoModule, Launch, Probe, Recipe, Source, Spec, Stop, Tier,
};
use crate::native::environment;
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
        let mut run = Spec::component(lab, &found.program);
        run.env.extend(environment::service(lab));
        run.env.extend(environment::flags(lab));
        Ok(Launch::new(run))
    },
    probe: |settings| Probe::Http(settings.http(Port::Albums) + "/readyz"),
    stop: Stop::TERM,
};
