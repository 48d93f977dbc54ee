//! console: the lab in a browser. It reads what the supervisor writes, and asks the backends.

use crate::Lab;
use crate::native::component::{
    Component, Found, Launch, Page, Probe, Recipe, Source, Spec, Stop, Tier,
};
use crate::native::provision::{npm, own_program};
use crate::settings::Port;

const NAME: &str = "console";

pub(crate) const PAGE: Page = Page {
    server: NAME,
    directory: "services/console/web",
};

pub(super) const COMPONENT: Component = Component {
    name: NAME,
    core: false,
    tier: Tier::Front,
    ports: &[Port::Console],
    address: |settings| Some(settings.http(Port::Console)),
    recipe: |_| Recipe::Sources(vec![Source::Page(PAGE)]),
    configure,
    probe: |settings| Probe::Http(settings.http(Port::Console) + "/healthz"),
    stop: Stop::TERM,
};

fn configure(lab: &Lab, found: &Found) -> anyhow::Result<Launch> {
    let mut run = Spec::component(lab, &found.program);
    for (name, port) in [
        ("EDGE_URL", Port::Edge),
        ("USERS_URL", Port::Users),
        ("ALBUMS_URL", Port::Albums),
        ("PROMETHEUS_URL", Port::Prometheus),
        ("LOKI_URL", Port::Loki),
        ("JAEGER_URL", Port::Jaeger),
        ("ALERTMANAGER_URL", Port::Alertmanager),
        ("WEBHOOK_URL", Port::Webhook),
        ("OTELCOL_HEALTH_URL", Port::OtelcolHealth),
    ] {
        run = run.env(name, lab.settings.http(port));
    }
    let dashboards = lab.paths.root.join("dashboards/console");
    if dashboards.is_dir() {
        run = run.env("CONSOLE_DASHBOARDS", dashboards);
    }
    if lab.paths.root.join("scenarios").is_dir() {
        run = run
            .env("LAB_PROGRAM", own_program()?)
            .env("LAB_SCENARIO_FILE", lab.paths.state.join("scenario.json"))
            // The ports above have the offset already.
            .env("LAB_PORT_OFFSET", "0")
            .env("LAB_ROOT", &lab.paths.root)
            .env("LAB_STATE_DIR", &lab.paths.state)
            .env("LAB_CACHE_DIR", &lab.paths.cache);
    }
    let run = run
        .env(
            "GRAFANA_PROVISIONING",
            lab.paths.root.join("infra/grafana/provisioning"),
        )
        .env("CONSOLE_WEB", npm::page(lab, NAME, &PAGE)?)
        .env("DATABASE_URL", lab.settings.database_url())
        .env("LAB_STATE_FILE", lab.paths.state_file())
        // Whoever watches the lab is not part of what is watched.
        .env("OTEL_SERVICE_NAME", NAME)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("OTEL_METRICS_EXPORTER", "none")
        .env("OTEL_LOGS_EXPORTER", "none");
    Ok(Launch::new(run))
}
