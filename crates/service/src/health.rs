use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

/// What a service waits for before it can answer: each thing either ready, or the reason it is not.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

#[derive(Serialize)]
struct Report {
    status: &'static str,
    checks: BTreeMap<&'static str, String>,
}

impl Readiness {
    /// `what` can be used.
    pub fn ready(&self, what: &'static str) {
        self.set(what, None);
    }

    /// `what` cannot be used, and why.
    pub fn not_ready(&self, what: &'static str, reason: impl Into<String>) {
        self.set(what, Some(reason.into()));
    }

    fn set(&self, what: &'static str, reason: Option<String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(what, reason);
    }

    fn answer(&self) -> Response {
        let checks = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let ready = checks.values().all(Option::is_none);
        let checks = checks
            .into_iter()
            .map(|(what, reason)| (what, reason.unwrap_or_else(|| "ok".to_owned())))
            .collect();
        let (code, status) = if ready {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        };
        (code, Json(Report { status, checks })).into_response()
    }
}

/// `/healthz`: the process answers. `/readyz`: it can do its work, else 503 with the reasons.
pub fn health<S: Clone + Send + Sync + 'static>(readiness: Readiness) -> Router<S> {
    let ready = move || {
        let readiness = readiness.clone();
        async move { readiness.answer() }
    };
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(serde_json::json!({ "status": "ok" })) }),
        )
        .route("/readyz", get(ready))
}
