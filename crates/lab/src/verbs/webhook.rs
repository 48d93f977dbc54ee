//! `lab webhook`: receives notifications and keeps them, one JSON line each. The path is a
//! session, as in the webhook tester of the compose stack: `POST /<uuid>` adds, `DELETE /<uuid>` forgets.
//! `GET /api/session/<uuid>/requests` shows what is there as the tester does, so that one question
//! goes for both; `GET /s/<uuid>`, where the tester has its page, and `GET /<uuid>` are for people.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use service::{Limits, Stop, serve};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::Lab;
use crate::settings::Port;
use crate::state::now;

/// The largest notification that is taken.
const MOST_BODY: usize = 1_000_000;
/// A session that grows beyond this forgets its older half.
const MOST_SESSION: u64 = 5_000_000;

/// Longer than a notification takes.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen, in place of the lab's port on loopback
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
}

struct Store {
    directory: PathBuf,
    /// One writer at a time.
    lock: Mutex<()>,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let address = args.listen.map_or_else(
        || lab.settings.address(Port::Webhook),
        |address| address.to_string(),
    );
    let listener = TcpListener::bind(&address).await.with_context(|| {
        format!(
            "cannot listen on {address}; {} moves it",
            Port::Webhook.var()
        )
    })?;
    let limits = Limits::from_env(DRAIN)?;
    let app = router(&lab.paths.webhook())?;
    lab.printer
        .note(format_args!("webhook listens on http://{address}"));
    serve(listener, app, Stop::on_signals(), limits).await;
    Ok(ExitCode::SUCCESS)
}

fn router(directory: &Path) -> anyhow::Result<Router> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let store = Arc::new(Store {
        directory: directory.to_path_buf(),
        lock: Mutex::new(()),
    });
    Ok(Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/{session}", get(read).post(keep).delete(forget))
        .route("/s/{session}", get(read))
        .route("/api/session/{session}/requests", get(requests))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .with_state(store))
}

/// Names of files come from the path: nothing but a UUID is one.
fn file(store: &Store, session: &str) -> Result<PathBuf, Refused> {
    let mut parts = session.split('-');
    let is_uuid = [8, 4, 4, 4, 12].into_iter().all(|length| {
        parts
            .next()
            .is_some_and(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit()))
    }) && parts.next().is_none();
    if is_uuid {
        Ok(store
            .directory
            .join(format!("{}.jsonl", session.to_ascii_lowercase())))
    } else {
        Err(Refused::NoSession)
    }
}

async fn keep(
    State(store): State<Arc<Store>>,
    UrlPath(session): UrlPath<String>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let path = file(&store, &session)?;
    let body: Value =
        serde_json::from_slice(&body).map_err(|error| Refused::NotJson(error.to_string()))?;
    let mut line = json!({ "received": now(), "body": body }).to_string();
    line.push('\n');
    let _one = store.lock.lock().await;
    append(&path, &line)?;
    Ok(StatusCode::OK)
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > MOST_SESSION) {
        let lines = lines(path)?;
        let newer: String = lines[lines.len() / 2..]
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(path, newer)?;
    }
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(line.as_bytes())
}

async fn read(
    State(store): State<Arc<Store>>,
    UrlPath(session): UrlPath<String>,
) -> Result<Json<Vec<Value>>, Refused> {
    Ok(Json(kept(&store, &session).await?))
}

/// Everything in a session, the oldest first.
async fn kept(store: &Store, session: &str) -> Result<Vec<Value>, Refused> {
    let path = file(store, session)?;
    let _one = store.lock.lock().await;
    let lines = lines(&path)?;
    let kept = lines.iter().map(|line| serde_json::from_str(line));
    Ok(kept.filter_map(Result::ok).collect())
}

/// What the webhook tester says about each, as far as it is kept: the newest first.
async fn requests(
    State(store): State<Arc<Store>>,
    UrlPath(session): UrlPath<String>,
) -> Result<Json<Vec<Value>>, Refused> {
    let mut kept = kept(&store, &session).await?;
    kept.reverse();
    let requests = kept.iter().map(|kept| {
        let received = kept["received"].as_f64().unwrap_or_default();
        json!({
            "method": "POST",
            "url": format!("/{session}"),
            "request_payload_base64": BASE64_STANDARD.encode(kept["body"].to_string()),
            "captured_at_unix_milli": (received * 1000.0).round(),
        })
    });
    Ok(Json(requests.collect()))
}

async fn forget(
    State(store): State<Arc<Store>>,
    UrlPath(session): UrlPath<String>,
) -> Result<StatusCode, Refused> {
    let path = file(&store, &session)?;
    let _one = store.lock.lock().await;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

fn lines(path: &Path) -> std::io::Result<Vec<String>> {
    match std::fs::File::open(path) {
        Ok(file) => BufReader::new(file).lines().collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

enum Refused {
    NoSession,
    NotJson(String),
    Io(std::io::Error),
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::NoSession => (
                StatusCode::NOT_FOUND,
                "the path must be a session: a UUID".to_owned(),
            ),
            Self::NotJson(reason) => (
                StatusCode::BAD_REQUEST,
                format!("the body must be JSON: {reason}"),
            ),
            Self::Io(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("it cannot be kept: {error}"),
            ),
        };
        (status, Json(json!({ "detail": detail }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "00000000-0000-0000-0000-00000000000a";

    async fn serve(directory: &Path) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(directory).unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }

    fn client() -> reqwest::Client {
        crate::native::health::client().unwrap()
    }

    #[tokio::test]
    async fn what_arrives_is_kept_and_shown_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let base = serve(dir.path()).await;
        let url = format!("{base}/{SESSION}");
        let client = client();
        for status in ["firing", "resolved"] {
            let response = client
                .post(&url)
                .json(&json!({ "status": status }))
                .send()
                .await;
            assert_eq!(response.unwrap().status(), 200);
        }
        let kept: Vec<Value> = client.get(&url).send().await.unwrap().json().await.unwrap();
        let statuses: Vec<_> = kept.iter().map(|each| &each["body"]["status"]).collect();
        assert_eq!(statuses, ["firing", "resolved"]);
        assert!(kept[0]["received"].as_f64().unwrap() > 1.0e9);

        // As the webhook tester tells it.
        let told = format!("{base}/api/session/{SESSION}/requests");
        let told: Vec<Value> = client
            .get(&told)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let payload = told[0]["request_payload_base64"].as_str().unwrap();
        assert_eq!(
            BASE64_STANDARD.decode(payload).unwrap(),
            br#"{"status":"resolved"}"#
        );
        let milliseconds = told[1]["captured_at_unix_milli"].as_f64().unwrap();
        let seconds = kept[0]["received"].as_f64().unwrap();
        assert!((milliseconds / 1000.0 - seconds).abs() < 0.001);

        // Another receiver on the same directory still has them.
        let other = serve(dir.path()).await;
        let url = format!("{other}/{SESSION}");
        let kept: Vec<Value> = client.get(&url).send().await.unwrap().json().await.unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(client.delete(&url).send().await.unwrap().status(), 204);
        let kept: Vec<Value> = client.get(&url).send().await.unwrap().json().await.unwrap();
        assert!(kept.is_empty());
    }

    #[tokio::test]
    async fn bad_requests_are_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let base = serve(dir.path()).await;
        let client = client();
        for path in ["nothing", "..%2f..%2fetc%2fpasswd", "0-0-0-0-0"] {
            let response = client.get(format!("{base}/{path}")).send().await.unwrap();
            assert_eq!(response.status(), 404, "{path}");
        }
        let url = format!("{base}/{SESSION}");
        let response = client.post(&url).body("{").send().await.unwrap();
        assert_eq!(response.status(), 400);
        let body: Value = response.json().await.unwrap();
        assert!(body["detail"].as_str().unwrap().contains("must be JSON"));
        let response = client
            .post(&url)
            .body(vec![b' '; MOST_BODY + 1])
            .send()
            .await;
        assert_eq!(response.unwrap().status(), 413);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_session_forgets_its_older_half() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        let line = format!("{}\n", "x".repeat(999_999));
        for _ in 0..7 {
            append(&path, &line).unwrap();
        }
        assert_eq!(lines(&path).unwrap().len(), 4);
    }
}
