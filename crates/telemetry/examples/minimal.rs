//! A service with traces, metrics and logs, and nothing to receive them:
//!
//! ```sh
//! export OTEL_TRACES_EXPORTER=console OTEL_LOGS_EXPORTER=console OTEL_METRICS_EXPORTER=prometheus
//! cargo run -p telemetry --example minimal
//! curl -i http://127.0.0.1:3000/hello/you     # spans and log records appear where it runs
//! curl http://127.0.0.1:3000/metrics          # what Prometheus would scrape
//! go tool pprof -top http://127.0.0.1:3000/debug/pprof/profile?seconds=5
//! ```
//!
//! Without these variables it sends OTLP to http://localhost:4318.

use axum::{Router, extract::Path, routing::get};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let telemetry = telemetry::init("minimal", env!("CARGO_PKG_VERSION"))?;
    let app = Router::new()
        .route("/hello/{name}", get(hello))
        .merge(telemetry.metrics_router())
        .merge(telemetry.pprof_router())
        .layer(telemetry.http_server().with_known_routes(["/hello/{name}"]));
    telemetry.push_metrics();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped())
        .await?;
    telemetry.shutdown().await?;
    Ok(())
}

async fn hello(Path(name): Path<String>) -> String {
    tracing::info!(name, "saying hello");
    greeting(&name).await
}

#[tracing::instrument]
async fn greeting(name: &str) -> String {
    tracing::debug!("with RUST_LOG=debug this line is seen, inside the span `greeting`");
    format!("hello {name}\n")
}

async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
