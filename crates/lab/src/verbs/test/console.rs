//! The console's page: its types and style, and what it shows of a running lab in a real browser.

use super::OwnLab;
use crate::Lab;
use crate::native::component::Spec;
use crate::native::provision::{self, node};
use crate::settings::Port;

const RUNNER: &str = "services/console/web/tests/run.mjs";

/// Types and style.
pub(super) async fn check(lab: &Lab) -> anyhow::Result<Spec> {
    runner(lab, "check").await
}

/// Every page, on the lab that is tested.
pub(super) async fn browser(own: &OwnLab, lab: &Lab) -> anyhow::Result<Spec> {
    let settings = own.view(lab)?.settings;
    let mut spec = runner(lab, "browser")
        .await?
        .env("LAB_PROGRAM", provision::own_program()?)
        .env("CONSOLE_URL", settings.http(Port::Console))
        .env("EDGE_URL", settings.http(Port::Edge))
        .env("OTLP_HTTP_URL", settings.http(Port::OtlpHttp));
    own.environment(&mut spec);
    Ok(spec)
}

async fn runner(lab: &Lab, part: &str) -> anyhow::Result<Spec> {
    let node = node::get(lab, &lab.paths.log("build-node"), &|_| ()).await?;
    let mut spec = Spec::new(node.node())
        .arg(RUNNER)
        .arg(part)
        .env("PATH", node.path());
    spec.directory = Some(lab.paths.root.clone());
    Ok(spec)
}
