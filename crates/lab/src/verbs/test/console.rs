//! The console's page: its types and style, and what it shows of a running lab in a real browser.

use anyhow::Context;

use super::OwnLab;
use crate::Lab;
use crate::native::component::Spec;
use crate::native::provision::{self, npm, on_path};
use crate::settings::Port;

const RUNNER: &str = "services/console/web/tests/run.mjs";

/// Types and style.
pub(super) fn check(lab: &Lab) -> anyhow::Result<Spec> {
    runner(lab, "check")
}

/// Every page, on the lab that is tested.
pub(super) fn browser(own: &OwnLab, lab: &Lab) -> anyhow::Result<Spec> {
    let settings = own.view(lab)?.settings;
    let mut spec = runner(lab, "browser")?
        .env("LAB_PROGRAM", provision::own_program()?)
        .env("CONSOLE_URL", settings.http(Port::Console))
        .env("EDGE_URL", settings.http(Port::Edge))
        .env("OTLP_HTTP_URL", settings.http(Port::OtlpHttp));
    own.environment(&mut spec);
    Ok(spec)
}

fn runner(lab: &Lab, part: &str) -> anyhow::Result<Spec> {
    let node = on_path("node")
        .with_context(|| format!("Node.js is not here; to get it: {}", npm::hint()))?;
    let mut spec = Spec::new(node).arg(RUNNER).arg(part);
    spec.directory = Some(lab.paths.root.clone());
    Ok(spec)
}
