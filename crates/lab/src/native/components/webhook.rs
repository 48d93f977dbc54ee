//! webhook: receives what Alertmanager sends and keeps it. A verb of this program.

use crate::native::component::{Component, Launch, Probe, Recipe, Spec, Stop, Tier};
use crate::settings::Port;

pub(super) const COMPONENT: Component = Component {
    name: "webhook",
    core: false,
    tier: Tier::Backend,
    ports: &[Port::Webhook],
    address: |settings| Some(settings.http(Port::Webhook)),
    recipe: |_| Recipe::Own,
    configure: |lab, found| {
        let mut run = Spec::component(lab, &found.program).arg("webhook");
        // The ports above have the offset already.
        run = run
            .env("LAB_PORT_OFFSET", "0")
            .env("LAB_ROOT", &lab.paths.root)
            .env("LAB_STATE_DIR", &lab.paths.state)
            .env("LAB_CACHE_DIR", &lab.paths.cache);
        Ok(Launch::new(run))
    },
    probe: |settings| Probe::Http(settings.http(Port::Webhook) + "/healthz"),
    stop: Stop::TERM,
};
