//! The lab's front door.

use std::process::ExitCode;
use std::time::Duration;

use edge::{App, settings};
use service::{Limits, Readiness, Stop, bind, healthcheck, serve};

/// Longer than an upstream may take, so that a stop answers what was asked.
const DRAIN: Duration = Duration::from_secs(35);

/// The variable with the port.
const PORT: &str = "EDGE_PORT";
const DEFAULT_PORT: u16 = 8001;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = healthcheck(PORT, DEFAULT_PORT) {
        return Ok(code);
    }
    let telemetry = telemetry::init(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))?;
    let outcome = run(&telemetry).await;
    if let Err(error) = &outcome {
        tracing::error!(error = format!("{error:#}"), "edge stopped");
    }
    // What could not be flushed is lost, but what was asked was answered: no reason to fail.
    if let Err(error) = telemetry.shutdown().await {
        tracing::warn!("{error}");
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn run(telemetry: &telemetry::Telemetry) -> anyhow::Result<()> {
    let limits = Limits::from_env(DRAIN)?;
    let app = App::new(&settings::Upstreams::from_env()?, telemetry)?.router(telemetry);
    telemetry.push_metrics();
    let listener = bind(PORT, DEFAULT_PORT, &Readiness::default()).await?;
    tracing::info!(address = %listener.local_addr()?, "edge listens");
    serve(listener, app, Stop::on_signals(), limits).await;
    Ok(())
}
