//! The lab in a browser.

use std::process::ExitCode;
use std::time::Duration;

use console::App;
use console::settings::{DEFAULT_PORT, Settings};
use service::{Limits, Readiness, Stop, bind, healthcheck, serve};

/// Nobody waits longer for an answer of a backend.
const DRAIN: Duration = Duration::from_secs(5);

/// The variable with the port.
const PORT: &str = "CONSOLE_PORT";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = healthcheck(PORT, DEFAULT_PORT) {
        return Ok(code);
    }
    let telemetry = telemetry::init("console", env!("CARGO_PKG_VERSION"))?;
    let outcome = run().await;
    if let Err(error) = &outcome {
        tracing::error!(error = format!("{error:#}"), "console stopped");
    }
    if let Err(error) = telemetry.shutdown().await {
        tracing::warn!("{error}");
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn run() -> anyhow::Result<()> {
    let limits = Limits::from_env(DRAIN)?;
    let app = App::new(Settings::from_env()?)?;
    let listener = bind(PORT, DEFAULT_PORT, &Readiness::default()).await?;
    tracing::info!(address = %listener.local_addr()?, "console listens");
    serve(listener, app.clone().router(), Stop::on_signals(), limits).await;
    app.close().await;
    Ok(())
}
