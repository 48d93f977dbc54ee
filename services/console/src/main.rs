//! The lab in a browser.

use std::time::Duration;

use console::{App, settings::Settings};
use service::{Readiness, bind, serve, shutdown_signal};

/// Nobody waits longer for an answer of a backend.
const DRAIN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let telemetry = telemetry::init("console", env!("CARGO_PKG_VERSION"))?;
    let outcome = run().await;
    if let Err(error) = &outcome {
        tracing::error!(error = format!("{error:#}"), "console stopped");
    }
    if let Err(error) = telemetry.shutdown().await {
        tracing::warn!("{error}");
    }
    outcome
}

async fn run() -> anyhow::Result<()> {
    let app = App::new(Settings::from_env()?)?.router();
    let listener = bind("CONSOLE_PORT", 8088, &Readiness::default()).await?;
    tracing::info!(address = %listener.local_addr()?, "console listens");
    serve(listener, app, shutdown_signal(), DRAIN).await;
    Ok(())
}
