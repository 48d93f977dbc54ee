//! `GET /debug/pprof/profile?seconds=`

use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{PATH, Session, pprof};

/// How long a profile is when nobody says, and at most, in seconds.
const USUAL: u64 = 10;
const LONGEST: u64 = 60;

/// Profiles at once: each holds what was sampled in its time.
static PLACES: Semaphore = Semaphore::const_new(4);

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route(PATH, get(profile))
}

async fn profile(RawQuery(query): RawQuery) -> Response {
    let Some(seconds) = seconds(query.as_deref().unwrap_or_default()) else {
        let detail = format!("seconds must be a whole number from 1 to {LONGEST}.");
        return problem(StatusCode::BAD_REQUEST, &detail);
    };
    let Ok(_place) = PLACES.try_acquire() else {
        let detail = "Too many profiles are being taken already; try again later.";
        return problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    };
    // A caller who goes away drops this future, and the session with it.
    let session = match Session::start() {
        Ok(session) => session,
        Err(reason) => {
            let detail = format!("No CPU profile can be taken: {reason}.");
            return problem(StatusCode::NOT_IMPLEMENTED, &detail);
        }
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let profile = session.take();
    drop(session);
    let encoded = tokio::task::spawn_blocking(move || pprof::encode(&profile)).await;
    let Ok(body) = encoded else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "The profile was lost.");
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"profile.pb.gz\"",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body).into_response()
}

/// Other parameters mean nothing here, as with Go's endpoint of this path.
fn seconds(query: &str) -> Option<u64> {
    let given = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "seconds");
    let Some((_, text)) = given else {
        return Some(USUAL);
    };
    text.parse()
        .ok()
        .filter(|seconds| (1..=LONGEST).contains(seconds))
}

/// An error body as RFC 9457 has it.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_and_bounded() {
        for (query, expected) in [
            ("", Some(10)),
            ("debug=1", Some(10)),
            ("seconds=1", Some(1)),
            ("a=b&seconds=60", Some(60)),
            ("seconds=0", None),
            ("seconds=61", None),
            ("seconds=1.5", None),
            ("seconds=-1", None),
            ("seconds=", None),
            ("seconds=99999999999999999999", None),
        ] {
            assert_eq!(seconds(query), expected, "{query}");
        }
    }
}
