//! `GET /`

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::app::AppState;

pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/", get(root))
}

async fn root() -> Json<Value> {
    Json(
        json!({ "service": "users", "paths": ["/users", "/do_long_work", "/metrics", "/debug/pprof/profile"] }),
    )
}
