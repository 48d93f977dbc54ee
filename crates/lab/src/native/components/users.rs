//! users: the service with the database. It waits for Postgres by itself.

use std::time::Duration;

use nix::sys::signal::Signal;

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
        let mut run = Spec::component(lab, &found.program)
            .env("FLAGS_FILE", lab.paths.flags_file())
            .env("DATABASE_URL", lab.settings.database_url());
        // It is scraped; edge pushes. The lab shows both ways.
        run.env
            .extend(environment::telemetry(lab, "users", "prometheus"));
        let mut launch = Launch::new(run.env("LISTEN_SHARED", "true"));
        launch.shared = Some(lab.settings.port(Port::Users));
        Ok(launch)
    },
    probe: |settings| Probe::Http(settings.http(Port::Users) + "/readyz"),
    // It answers what it was asked for 15 s, then sends its telemetry for up to 10.
    stop: Stop {
        signal: Signal::SIGTERM,
        deadline: Duration::from_secs(30),
    },
};
