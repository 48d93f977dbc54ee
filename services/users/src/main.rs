//! The users of the lab, kept in PostgreSQL.

use std::process::ExitCode;
use std::time::Duration;

use service::{Limits, Readiness, Stop, bind, healthcheck, serve};
use users::{App, faults, settings, store::Store};

/// Longer than the slowest fault, so that a stop answers what was asked.
const DRAIN: Duration = Duration::from_secs(15);

/// The variable with the port.
const PORT: &str = "USERS_PORT";
const DEFAULT_PORT: u16 = 8000;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = healthcheck(PORT, DEFAULT_PORT) {
        return Ok(code);
    }
    let telemetry = telemetry::init(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))?;
    let outcome = run(&telemetry).await;
    if let Err(error) = &outcome {
        tracing::error!(error = format!("{error:#}"), "users stopped");
    }
    // What could not be flushed is lost, but what was asked was answered: no reason to fail.
    if let Err(error) = telemetry.shutdown().await {
        tracing::warn!("{error}");
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn run(telemetry: &telemetry::Telemetry) -> anyhow::Result<()> {
    let limits = Limits::from_env(DRAIN)?;
    let database = settings::Database::from_env()?;
    let faults = faults::watch(settings::Flags::from_env()?.file).await;
    let readiness = Readiness::default();
    let store = Store::open(&database, telemetry, readiness.clone());
    let app = App {
        store,
        faults,
        readiness: readiness.clone(),
    }
    .router(telemetry);
    telemetry.push_metrics();
    let listener = bind(PORT, DEFAULT_PORT, &readiness).await?;
    tracing::info!(address = %listener.local_addr()?, "users listens");
    serve(listener, app, Stop::on_signals(), limits).await;
    Ok(())
}
