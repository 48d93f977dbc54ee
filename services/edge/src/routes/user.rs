//! `GET /user/{name}`

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use service::Problem;

use crate::App;
use crate::upstream::Users;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/user/{name}", get(user))
}

async fn user(
    State(Users(users)): State<Users>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    users.get("/users", &[("name", &name)]).await
}
