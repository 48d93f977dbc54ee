//! `GET /albums`

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use service::Problem;

use crate::App;
use crate::upstream::Albums;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/albums", get(albums))
}

async fn albums(State(Albums(albums)): State<Albums>) -> Result<Response, Problem> {
    albums.get("/albums", &[]).await
}
