//! `GET /`

use axum::Router;
use axum::routing::get;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/", get(|| async { "hello-world" }))
}
