//! edge: what the world calls.

use std::time::Duration;

use nix::sys::signal::Signal;

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
        let mut run = Spec::component(lab, &found.program)
            .env("USERS_URL", lab.settings.http(Port::Users))
            .env("ALBUMS_URL", lab.settings.http(Port::Albums));
        run.env.extend(environment::telemetry(lab, "edge", "otlp"));
        let mut launch = Launch::new(run.env("LISTEN_SHARED", "true"));
        launch.shared = Some(lab.settings.port(Port::Edge));
        Ok(launch)
    },
    probe: |settings| Probe::Http(settings.http(Port::Edge) + "/readyz"),
    // It answers what it was asked for 35 s, then sends its telemetry for up to 10.
    stop: Stop {
        signal: Signal::SIGTERM,
        deadline: Duration::from_secs(50),
    },
};
