//! `/api/dashboards`: the dashboards of the checkout, as files in Perses' format.

use std::path::Path;

use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;
use service::Problem;

use crate::app::App;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/api/dashboards", get(list))
        .route("/api/dashboards/{name}", get(one))
}

#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    title: String,
    name: String,
    description: String,
}

async fn list(State(app): State<App>) -> Result<Json<impl Serialize>, Problem> {
    let mut items = Vec::new();
    let Some(directory) = &app.settings.dashboards else {
        return Ok(Json(items));
    };
    let failed = |error: std::io::Error| {
        tracing::error!(%error, directory = %directory.display(), "the dashboards cannot be read");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The dashboards cannot be read; CONSOLE_DASHBOARDS names their directory.",
        )
    };
    let mut entries = tokio::fs::read_dir(directory).await.map_err(failed)?;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let path = entry.path();
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".json"))
        else {
            continue;
        };
        // One that is being written, or is wrong, does not hide the others.
        match read(&path).await {
            Ok(dashboard) => items.push(item(name, &dashboard)),
            Err(error) => tracing::warn!(error, path = %path.display(), "not a dashboard"),
        }
    }
    items.sort();
    Ok(Json(items))
}

async fn one(
    State(app): State<App>,
    UrlPath(name): UrlPath<String>,
) -> Result<Json<Value>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "There is no such dashboard.");
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let directory = app.settings.dashboards.as_deref().filter(|_| is_name);
    let path = directory.ok_or_else(unknown)?.join(format!("{name}.json"));
    if !path.is_file() {
        return Err(unknown());
    }
    read(&path).await.map(Json).map_err(|error| {
        tracing::error!(error, path = %path.display(), "not a dashboard");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("The file of this dashboard cannot be used: {error}."),
        )
    })
}

async fn read(path: &Path) -> Result<Value, String> {
    let text = tokio::fs::read(path)
        .await
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn item(name: &str, dashboard: &Value) -> Item {
    let display = &dashboard["spec"]["display"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let title = Some(text(&display["name"])).filter(|title| !title.is_empty());
    Item {
        title: title.unwrap_or_else(|| name.to_owned()),
        name: name.to_owned(),
        description: text(&display["description"]),
    }
}
