//! `GET /do_long_work?sec=`

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use service::{Problem, Query};

use crate::app::AppState;
use crate::work::{LONGEST_WORK, LongWork};

pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/do_long_work", get(do_long_work))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    /// Seconds of CPU work.
    #[serde(default = "one")]
    sec: f64,
}

fn one() -> f64 {
    1.0
}

#[derive(Debug, Serialize)]
struct Done {
    worked_seconds: f64,
}

async fn do_long_work(
    State(work): State<LongWork>,
    Query(Amount { sec }): Query<Amount>,
) -> Result<Json<Done>, Problem> {
    let longest = LONGEST_WORK.as_secs_f64();
    if !(0.0..=longest).contains(&sec) {
        let detail = format!("sec must be a number of seconds from 0 to {longest}.");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    if !work.run(Duration::from_secs_f64(sec)).await {
        let detail = "Too much long work is under way already; try again later.";
        // Not a 5xx: callers cause it at will, and the service is well.
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
    }
    Ok(Json(Done {
        worked_seconds: sec,
    }))
}
