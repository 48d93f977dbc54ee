//! `/api/scenarios`: the incidents that can be run here, and the run of now or the last one. Running
//! and healing is the command line's business: it is asked, as a person would. Where there is none,
//! the console's own desk does what it can.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Problem, Query};
use tokio::process::Command;

use crate::app::App;

/// A wrong request is refused within this time; what goes on longer has begun.
const REFUSAL: Duration = Duration::from_secs(3);
/// Listing reads files; healing may restart a service.
const LISTING: Duration = Duration::from_secs(20);
const HEALING: Duration = Duration::from_secs(180);

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/api/scenarios", get(look))
        .route("/api/scenarios/heal", post(heal))
        .route("/api/scenarios/release", post(release))
        .route("/api/scenarios/run/{name}", post(run))
}

#[derive(Debug, Serialize)]
struct View {
    /// As `lab scenario list --json` has them.
    scenarios: Value,
    /// The report of the run of now, or of the last one.
    report: Value,
    /// A run goes on.
    running: bool,
    /// A run ended without healing what it broke.
    broken: bool,
    /// Names of those that cannot be run from here, and why.
    cannot: BTreeMap<String, String>,
    /// Files that are no scenarios, and why.
    faults: Vec<String>,
}

async fn look(State(app): State<App>) -> Result<Json<View>, Problem> {
    if let Some(desk) = &app.desk {
        let view = desk.look().map_err(cannot_read)?;
        return Ok(Json(View {
            scenarios: view.scenarios,
            report: view.report,
            running: view.running,
            broken: view.broken,
            cannot: view.cannot,
            faults: view.faults,
        }));
    }
    let program = program(&app)?;
    let (scenarios, faults) = list(program).await?;
    let record = match &app.settings.scenario_file {
        Some(file) => record(file).await,
        None => Value::Null,
    };
    let running = is_alive(&record["process"]) && record["report"]["outcome"].is_null();
    Ok(Json(View {
        scenarios,
        running,
        broken: !running && record["healed"] == Value::Bool(false),
        report: record["report"].clone(),
        cannot: BTreeMap::new(),
        faults,
    }))
}

/// The scenarios, and what is wrong with files that are none: the listing fails, with the others in it.
async fn list(program: &Path) -> Result<(Value, Vec<String>), Problem> {
    let output = ended(program, &["scenario", "list", "--json"], LISTING).await?;
    let scenarios = serde_json::from_slice(&output.stdout).map_err(|error| {
        if !output.status.success() {
            return Problem::new(StatusCode::CONFLICT, message(&output.stderr));
        }
        tracing::error!(%error, "lab scenario list --json");
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "`lab scenario list --json` gave something else than JSON.",
        )
    })?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let faults = messages
        .lines()
        .filter_map(|line| line.strip_prefix("error: "));
    Ok((scenarios, faults.map(str::to_owned).collect()))
}

fn cannot_read(error: String) -> Problem {
    tracing::error!(error, "the scenarios cannot be read");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The scenarios cannot be read; CONSOLE_SCENARIOS names their directory.",
    )
}

fn refused(why: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, why)
}

/// Nothing, as long as nothing was run. A file is replaced as a whole: it is never half there.
async fn record(file: &Path) -> Value {
    match tokio::fs::read(file).await {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(_) => Value::Null,
    }
}

/// Whether this very process runs: its number may have become another's.
fn is_alive(process: &Value) -> bool {
    let (Some(pid), Some(start)) = (process["pid"].as_i64(), process["start"].as_u64()) else {
        return false;
    };
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name, in parentheses, may hold anything; what follows has fixed places.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ended = matches!(fields.first(), Some(&"Z" | &"X"));
    !ended && fields.get(19).and_then(|field| field.parse().ok()) == Some(start)
}

#[derive(Debug, Deserialize)]
struct Wanted {
    /// So long, at most, it stays broken after its walk.
    hold: Option<String>,
}

async fn run(
    State(app): State<App>,
    UrlPath(name): UrlPath<String>,
    Query(wanted): Query<Wanted>,
) -> Result<StatusCode, Problem> {
    if let Some(desk) = &app.desk {
        let hold = wanted.hold.as_deref().map(proof::scenario::time);
        let hold = hold
            .transpose()
            .map_err(|why| Problem::new(StatusCode::BAD_REQUEST, format!("hold: {why}")))?;
        return match desk.run(&name, hold).await {
            Ok(()) => Ok(StatusCode::ACCEPTED),
            Err(why) => Err(refused(why)),
        };
    }
    let program = program(&app)?;
    if name.is_empty() || name.starts_with('-') {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "That is no name of a scenario.",
        ));
    }
    let hold = wanted.hold.map(|time| format!("--hold={time}"));
    let mut args = vec!["scenario", "run", &name];
    args.extend(hold.as_deref());
    let mut command = command(program, &args);
    // It goes on when the console is replaced; a `lab scenario heal` ends it.
    let mut child = command
        .kill_on_drop(false)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(&error))?;
    let mut messages = child.stderr.take();
    let (told, refused) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut text = Vec::new();
        if let Some(messages) = &mut messages {
            // Read to its end, so that nobody waits for a full pipe.
            let _ended = tokio::io::AsyncReadExt::read_to_end(messages, &mut text).await;
        }
        let status = child.wait().await;
        let _nobody_waits_any_more = told.send((status, text));
    });
    match tokio::time::timeout(REFUSAL, refused).await {
        Ok(Ok((Ok(status), _))) if status.success() => Ok(StatusCode::ACCEPTED),
        Ok(Ok((_, text))) => Err(Problem::new(StatusCode::CONFLICT, message(&text))),
        Ok(Err(_)) | Err(_) => Ok(StatusCode::ACCEPTED),
    }
}

async fn heal(State(app): State<App>) -> Result<String, Problem> {
    if let Some(desk) = &app.desk {
        return desk.heal().await.map_err(refused);
    }
    output(program(&app)?, &["scenario", "heal"], HEALING).await
}

async fn release(State(app): State<App>) -> Result<String, Problem> {
    if let Some(desk) = &app.desk {
        return desk.release().map_err(refused);
    }
    output(program(&app)?, &["scenario", "release"], HEALING).await
}

fn program(app: &App) -> Result<&Path, Problem> {
    app.settings.lab_program.as_deref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "Incidents are run by the command line, which is not beside this console.",
        )
    })
}

fn command(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn cannot_start(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "the command line cannot be started");
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "The lab's command line cannot be started; LAB_PROGRAM names it.",
    )
}

async fn ended(program: &Path, args: &[&str], patience: Duration) -> Result<Output, Problem> {
    tokio::time::timeout(patience, command(program, args).output())
        .await
        .map_err(|_| {
            Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!("`lab {}` takes too long.", args.join(" ")),
            )
        })?
        .map_err(|error| cannot_start(&error))
}

async fn output(program: &Path, args: &[&str], patience: Duration) -> Result<String, Problem> {
    let output = ended(program, args, patience).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Problem::new(StatusCode::CONFLICT, message(&output.stderr)))
}

/// What the command line says of a refusal; its last lines, should it say much.
fn message(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(4)..];
    if last.is_empty() {
        return "The command line refused and said nothing.".to_owned();
    }
    last.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let pid = std::process::id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start: u64 = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .nth(19)
            .unwrap()
            .parse()
            .unwrap();
        assert!(is_alive(&json!({"pid": pid, "start": start})));
        assert!(!is_alive(&json!({"pid": pid, "start": start + 1})));
        assert!(!is_alive(&Value::Null));
    }

    #[test]
    fn a_refusal_is_told_by_its_last_lines() {
        assert_eq!(message(b"a\n\nb\nc\nd\ne\n"), "b\nc\nd\ne");
        assert!(message(b" \n").contains("said nothing"));
    }
}
