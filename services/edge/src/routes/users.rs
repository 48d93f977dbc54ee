//! `GET /users`

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use service::Problem;

use crate::App;
use crate::upstream::Users;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/users", get(users))
}

async fn users(State(Users(users)): State<Users>) -> Result<Response, Problem> {
    users.get("/users", &[]).await
}
