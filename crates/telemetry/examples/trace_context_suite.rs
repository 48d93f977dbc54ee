//! Runs W3C's validation suite for Trace Context against a service made of this crate's layers:
//!
//! ```sh
//! git clone https://github.com/w3c/trace-context
//! pip install aiohttp                          # what the suite needs
//! cargo run -p telemetry --example trace_context_suite -- trace-context
//! ```
//!
//! The exit status is the suite's. It runs at level 2 of the specification and of strictness; the suite's own
//! variables (`SPEC_LEVEL`, `STRICT_LEVEL`, `HARNESS_PORT`) win, as do `PYTHON` (`python3`) and
//! `OTEL_TRACES_SAMPLER`. Arguments after the path are names of test cases.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry_sdk::trace::InMemorySpanExporter;
use serde_json::Value;
use telemetry::http::Client;
use telemetry::{Builder, Settings};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let Some(checkout) = arguments.next().map(PathBuf::from) else {
        bail!(
            "expected the path of a checkout of https://github.com/w3c/trace-context, got no argument"
        );
    };
    let suite = checkout.join("test");

    let telemetry = Builder::new("trace-context-suite", "0", Settings::from_env())
        .with_span_exporter(InMemorySpanExporter::default())
        .build();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let app = Router::new()
        .route("/test", post(call_back))
        .with_state(telemetry.http_client(http, "harness"))
        .layer(telemetry.http_server());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let service = format!("http://{}/test", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });

    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = tokio::process::Command::new(&python);
    command.arg("test.py").arg(&service).args(arguments);
    for variable in ["SPEC_LEVEL", "STRICT_LEVEL"] {
        if env::var_os(variable).is_none() {
            command.env(variable, "2");
        }
    }
    let status = command
        .current_dir(&suite)
        .status()
        .await
        .with_context(|| format!("cannot run {python} in {}", suite.display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the suite asks of a service: posts each `arguments` to its `url`.
async fn call_back(
    State(client): State<Client>,
    Json(calls): Json<Vec<Value>>,
) -> Result<(), (StatusCode, String)> {
    for call in calls {
        let url = call["url"].as_str().unwrap_or_default();
        let request = client.http().post(url).json(&call["arguments"]).build();
        let sent = match request {
            Ok(request) => client.execute(request).await,
            Err(error) => Err(error),
        };
        sent.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    }
    Ok(())
}
