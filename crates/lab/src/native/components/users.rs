//! users: the service with the database. It waits for Postgres by itself.

use crate::native::component::{Component, Launch, Probe, Recipe, Source, Spec, Stop, Tier};
use crate::native::environment;
use crate::settings::Port;

pub(super) const COMPONENT: Component = Component {
    name: "users",
    core: true,
    tier: Tier::Service,
    ports: &[Port::Users],
    address: |settings| Some(settings.http(Port::Users)),
    recipe: |_| Recipe::Sources(vec![Source::Cargo { package: "users" }]),
    configure: |lab, found| {
        let mut run = Spec::component(lab, &found.program);
        run.env.extend(environment::service(lab));
        // It is scraped; edge pushes. The lab shows both ways.
        run.env
            .extend(environment::telemetry(lab, "users", "prometheus"));
        Ok(Launch::new(run))
    },
    probe: |settings| Probe::Http(settings.http(Port::Users) + "/readyz"),
    stop: Stop::TERM,
};
