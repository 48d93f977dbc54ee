//! alertmanager: the webhook's address is the one value that is rendered.

use anyhow::Context;

use crate::Lab;
use crate::native::component::{
    Component, Found, GoModule, Launch, Probe, Recipe, Source, Spec, Stop, System, Tier,
};
use crate::settings::Port;
use crate::state::write_atomically;

/// The webhook's address in the committed file, which is that of the compose stack.
const COMPOSE_WEBHOOK: &str = "http://webhook:8080";

pub(super) const COMPONENT: Component = Component {
    name: "alertmanager",
    core: false,
    tier: Tier::Backend,
    ports: &[Port::Alertmanager],
    address: |settings| Some(settings.http(Port::Alertmanager)),
    recipe: |_| {
        Recipe::Sources(vec![
            Source::System(System {
                program: "alertmanager",
                directories: &[],
                version: &["--version"],
                at_least: &[0, 25],
            }),
            // Debian's own name for the program on PATH.
            Source::System(System {
                program: "prometheus-alertmanager",
                directories: &[],
                version: &["--version"],
                at_least: &[0, 25],
            }),
            // Debian's package reads a template by its absolute path: unpacked it does not start.
            Source::Go(GoModule {
                directory: "infra/native/alertmanager",
                package: "github.com/prometheus/alertmanager/cmd/alertmanager",
            }),
        ])
    },
    configure,
    probe: |settings| Probe::Http(settings.http(Port::Alertmanager) + "/-/ready"),
    stop: Stop::TERM,
};

fn configure(lab: &Lab, found: &Found) -> anyhow::Result<Launch> {
    let committed = lab.paths.infra("alertmanager").join("alertmanager.yml");
    let text = std::fs::read_to_string(&committed)
        .with_context(|| format!("cannot read {}", committed.display()))?;
    let directory = lab.paths.config("alertmanager");
    let data = lab.paths.data("alertmanager");
    for path in [&directory, &data] {
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    let config = directory.join("alertmanager.yml");
    let rendered = render(&text, &lab.settings.http(Port::Webhook))
        .with_context(|| format!("{} names no {COMPOSE_WEBHOOK}", committed.display()))?;
    write_atomically(&config, rendered.as_bytes())?;
    let run = Spec::component(lab, &found.program)
        .flag("--config.file=", &config)
        .flag("--storage.path=", &data)
        .flag("--web.listen-address=", lab.settings.address(Port::Alertmanager))
        .flag("--web.external-url=", lab.settings.http(Port::Alertmanager))
        // One instance: no gossip port.
        .arg("--cluster.listen-address=");
    let mut launch = Launch::new(run);
    launch.inputs.push(config);
    Ok(launch)
}

fn render(text: &str, webhook: &str) -> Option<String> {
    text.contains(COMPOSE_WEBHOOK)
        .then(|| text.replace(COMPOSE_WEBHOOK, webhook))
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn only_the_address_of_the_webhook_changes() {
        let text = "receivers: [{url: 'http://webhook:8080/0000'}]\n";
        assert_eq!(
            render(text, "http://127.0.0.1:8780").as_deref(),
            Some("receivers: [{url: 'http://127.0.0.1:8780/0000'}]\n")
        );
        assert_eq!(render("receivers: []\n", "http://127.0.0.1:1"), None);
    }
}
