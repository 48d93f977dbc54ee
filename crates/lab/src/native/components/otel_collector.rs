//! otel-collector: the committed configuration, a second file that reads albums' log, and whatever
//! `LAB_OTELCOL_CONFIG` names.

use anyhow::Context;

use crate::Lab;
use crate::native::component::{
    Component, Found, GoModule, Launch, Probe, Recipe, Source, Spec, Stop, System, Tier,
};
use crate::settings::Port;

pub(super) const COMPONENT: Component = Component {
    name: "otel-collector",
    core: false,
    tier: Tier::Collector,
    ports: &[
        Port::OtlpGrpc,
        Port::OtlpHttp,
        Port::OtelcolHealth,
        Port::OtelcolMetrics,
        Port::OtelcolPrometheus,
        Port::OtelcolPprof,
        Port::OtelcolZpages,
    ],
    address: |settings| Some(settings.http(Port::OtlpGrpc)),
    recipe: |_| {
        Recipe::Sources(vec![
            Source::System(System {
                program: "otelcol-contrib",
                directories: &[],
                version: &["--version"],
                at_least: &[0, 159],
            }),
            Source::Go(GoModule {
                directory: "infra/native/otel-collector",
                package: ".",
            }),
        ])
    },
    configure,
    probe: |settings| Probe::Http(settings.http(Port::OtelcolHealth) + "/"),
    stop: Stop::TERM,
};

fn configure(lab: &Lab, found: &Found) -> anyhow::Result<Launch> {
    let data = lab.paths.data("otel-collector");
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let infra = lab.paths.infra("otel-collector");
    let mut run = Spec::component(lab, &found.program);
    let mut inputs = Vec::new();
    for file in ["config.yaml", "albums.yaml"] {
        let path = infra.join(file);
        run = run.flag("--config=", &path);
        inputs.push(path);
    }
    for file in &lab.settings.collector_configs {
        let path = lab.paths.root.join(file);
        run = run.flag("--config=", &path);
        inputs.push(path);
    }
    run = run
        .env("OTELCOL_DATA", &data)
        .env("OTELCOL_LEDGER", lab.paths.data("ledger"))
        .env("ALBUMS_LOG", lab.paths.log("albums"))
        // Nearly all that it has is what passes through: Go collects a quarter as often as it would.
        .env("GOGC", "400")
        // Below the limit of memory_limiter: Go collects before the Collector refuses.
        .env("GOMEMLIMIT", "320MiB");
    let mut launch = Launch::new(run);
    launch.inputs = inputs;
    Ok(launch)
}
