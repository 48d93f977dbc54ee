//! `GET /users?name=`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use service::{Problem, Query};

use crate::app::AppState;
use crate::faults::Live;
use crate::store::{Store, StoreError, User};
use crate::work::{burn, leak};

/// The longest name that is looked up, in characters.
const LONGEST_NAME: usize = 100;

pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/users", get(list))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    name: Option<String>,
}

async fn list(
    State(store): State<Store>,
    State(faults): State<Live>,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<User>>, Problem> {
    if filter
        .name
        .as_ref()
        .is_some_and(|name| name.chars().count() > LONGEST_NAME)
    {
        let detail = format!("The name is longer than {LONGEST_NAME} characters.");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let faults = faults.now();
    leak(faults.leak_bytes);
    let mut busy = faults.cpu_burn;
    if faults.strikes(faults.slow_share) {
        tracing::warn!(
            seconds = faults.slow.as_secs_f64(),
            "this request is slow on purpose"
        );
        busy += faults.slow;
    }
    if !busy.is_zero() {
        burn(busy).await;
    }
    if faults.strikes(faults.error_share) {
        tracing::error!("this request fails on purpose");
        return Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The users could not be listed.",
        ));
    }
    if !faults.lock.is_zero() {
        // Boxed: a fault that nobody asked for must not make every request's future larger.
        let held = Box::pin(store.hold_lock(faults.lock));
        held.await.map_err(unavailable)?;
    }
    let users = store
        .list(filter.name.as_deref(), faults.slow_query)
        .await
        .map_err(unavailable)?;
    tracing::info!(count = users.len(), "users listed");
    Ok(Json(users))
}

/// What went wrong in the database is logged here, once; the caller learns what to do about it.
fn unavailable(error: StoreError) -> Problem {
    let (status, detail) = match error {
        StoreError::Value(_) => (
            StatusCode::BAD_REQUEST,
            "The name has a character that no name can have.",
        ),
        StoreError::NotReady | StoreError::Unreachable(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The database cannot be reached at the moment; try again.",
        ),
        StoreError::Refused(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The users could not be listed.",
        ),
    };
    let error = error.to_string();
    if status.is_client_error() {
        tracing::info!(error, "the request cannot be answered");
    } else {
        tracing::error!(error, "the database did not answer");
    }
    Problem::new(status, detail)
}
