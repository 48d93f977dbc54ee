//! `GET /user/{name}`

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use service::Problem;

use crate::App;
use crate::upstream::Users;

/// The longest name that is asked for, in bytes. users has a limit of its own; this one keeps the
/// name, which may be three times as long when it is encoded, within what fits into a request line.
const LONGEST_NAME: usize = 1_000;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/user/{name}", get(user))
}

async fn user(
    State(Users(users)): State<Users>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    if name.len() > LONGEST_NAME {
        let detail = format!("The name is longer than {LONGEST_NAME} bytes.");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    users.get("/users", &[("name", &name)]).await
}
