use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Notify;

/// What a service waits for before it can answer: each thing either ready, or the reason it is not.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Checks>);

#[derive(Debug, Default)]
struct Checks {
    /// Each check, and the reason it fails.
    reasons: Mutex<BTreeMap<&'static str, Option<String>>>,
    changed: Notify,
}

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
        self.reasons().insert(what, reason);
        self.0.changed.notify_waiters();
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.0
            .reasons
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once everything is ready.
    pub async fn wait(&self) {
        loop {
            // Listens before it looks: a change in between is not missed.
            let changed = self.0.changed.notified();
            if self.reasons().values().all(Option::is_none) {
                return;
            }
            changed.await;
        }
    }

    fn answer(&self) -> Response {
        let checks = self.reasons().clone();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_the_last_check_is_ready() {
        let readiness = Readiness::default();
        readiness.not_ready("database", "not reached yet");
        readiness.not_ready("cache", "cold");
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.wait().await }
        });
        readiness.ready("database");
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        readiness.ready("cache");
        waiting.await.unwrap();
    }
}
