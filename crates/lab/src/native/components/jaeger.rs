//! jaeger: version 2, which is a Collector with storage and a query service.

use anyhow::Context;

use crate::Lab;
use crate::native::component::{
    Component, Found, GoModule, Launch, Probe, Recipe, STORE_NICE, Source, Spec, Stop, System, Tier,
};
use crate::settings::Port;

pub(super) const COMPONENT: Component = Component {
    name: "jaeger",
    core: false,
    tier: Tier::Backend,
    ports: &[
        Port::Jaeger,
        Port::JaegerGrpc,
        Port::JaegerOtlpGrpc,
        Port::JaegerOtlpHttp,
        Port::JaegerHealth,
        Port::JaegerMetrics,
    ],
    address: |settings| Some(settings.http(Port::Jaeger)),
    recipe: |_| {
        Recipe::Sources(vec![
            Source::System(System {
                program: "jaeger",
                directories: &[],
                version: &["version"],
                at_least: &[2, 0],
            }),
            Source::Go(GoModule {
                directory: "infra/native/jaeger",
                package: "github.com/jaegertracing/jaeger/cmd/jaeger",
            }),
        ])
    },
    configure,
    probe: |settings| Probe::Http(settings.http(Port::JaegerHealth) + "/status"),
    stop: Stop::TERM,
};

fn configure(lab: &Lab, found: &Found) -> anyhow::Result<Launch> {
    let infra = lab.paths.infra("jaeger");
    let data = lab.paths.data("jaeger");
    let mut files = vec!["config.yaml"];
    if lab.settings.jaeger_on_disk {
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make {}", data.display()))?;
        files.push("badger.yaml");
    }
    let mut run = Spec::component(lab, &found.program);
    let mut inputs = vec![infra.join("ui.json")];
    for file in files {
        let path = infra.join(file);
        run = run.flag("--config=", &path);
        inputs.push(path);
    }
    run = run
        .nice(STORE_NICE)
        .env("JAEGER_DATA", &data)
        .env("JAEGER_UI_CONFIG", infra.join("ui.json"))
        // Go collects half as often as it would, but for near the limit, which is far away at rest.
        .env("GOGC", "200")
        .env("GOMEMLIMIT", "300MiB");
    let mut launch = Launch::new(run);
    launch.inputs = inputs;
    Ok(launch)
}
