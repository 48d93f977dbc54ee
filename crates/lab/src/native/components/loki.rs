//! loki: one process, files on disk.

use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use crate::Lab;
use crate::native::component::{
    Component, Found, GoModule, Launch, Probe, Recipe, STORE_NICE, Source, Spec, Stop, System, Tier,
};
use crate::settings::Port;

pub(super) const COMPONENT: Component = Component {
    name: "loki",
    core: false,
    tier: Tier::Backend,
    ports: &[Port::Loki, Port::LokiGrpc],
    address: |settings| Some(settings.http(Port::Loki)),
    recipe: |_| {
        Recipe::Sources(vec![
            Source::System(System {
                program: "loki",
                directories: &[],
                version: &["-version"],
                at_least: &[3, 4],
            }),
            Source::Go(GoModule {
                directory: "infra/native/loki",
                package: "github.com/grafana/loki/v3/cmd/loki",
            }),
        ])
    },
    configure,
    probe: |settings| Probe::Http(settings.http(Port::Loki) + "/ready"),
    stop: Stop {
        signal: Signal::SIGTERM,
        deadline: Duration::from_secs(20),
    },
};

fn configure(lab: &Lab, found: &Found) -> anyhow::Result<Launch> {
    let data = lab.paths.data("loki");
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let config = lab.paths.infra("loki").join("loki.yaml");
    let mut run = Spec::component(lab, &found.program)
        .flag("-config.file=", &config)
        .arg("-config.expand-env=true");
    run = run
        .nice(STORE_NICE)
        .env("LOKI_DATA", &data)
        // Grafana shows them, and is in containers only.
        .env("LOKI_PATTERNS", "false")
        // Nearly all that it has is what passes through: Go collects a quarter as often as it would, but
        // for near the limit, which is far away at rest.
        .env("GOGC", "400")
        .env("GOMEMLIMIT", "400MiB");
    let mut launch = Launch::new(run);
    launch.inputs.push(config);
    Ok(launch)
}
