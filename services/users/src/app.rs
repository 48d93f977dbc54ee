//! The one place where routes and middleware are put in order.

use std::time::Instant;

use axum::Router;
use axum::extract::{FromRef, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use service::Readiness;
use telemetry::Telemetry;
use tower_http::catch_panic::CatchPanicLayer;

use crate::faults::Live;
use crate::routes;
use crate::store::Store;
use crate::work::LongWork;

/// What the service needs to answer.
#[derive(Debug, Clone)]
pub struct App {
    /// The users.
    pub store: Store,
    /// What is broken right now.
    pub faults: Live,
    /// What `/readyz` says.
    pub readiness: Readiness,
}

#[derive(Debug, Clone)]
pub(crate) struct AppState {
    store: Store,
    faults: Live,
    long_work: LongWork,
}

impl FromRef<AppState> for Store {
    fn from_ref(state: &AppState) -> Self {
        state.store.clone()
    }
}

impl FromRef<AppState> for Live {
    fn from_ref(state: &AppState) -> Self {
        state.faults.clone()
    }
}

impl FromRef<AppState> for LongWork {
    fn from_ref(state: &AppState) -> Self {
        state.long_work.clone()
    }
}

impl App {
    /// Builds the router, telemetry outermost.
    pub fn router(self, telemetry: &Telemetry) -> Router {
        let state = AppState {
            store: self.store,
            faults: self.faults,
            long_work: LongWork::default(),
        };
        Router::new()
            .merge(routes::root::router())
            .merge(routes::users::router())
            .merge(routes::do_long_work::router())
            .merge(service::health(self.readiness))
            .merge(telemetry.metrics_router())
            .merge(telemetry.pprof_router())
            .method_not_allowed_fallback(service::method_not_allowed)
            .fallback(service::not_found)
            .layer(CatchPanicLayer::custom(service::panicked))
            .layer(from_fn(process_time))
            .layer(
                telemetry
                    .http_server()
                    .with_known_routes(["/", "/users", "/do_long_work"]),
            )
            .with_state(state)
    }
}

/// Tells the caller how long the answer took, in seconds.
async fn process_time(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let mut response = next.run(request).await;
    let seconds = format!("{:.6}", started.elapsed().as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&seconds) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-process-time"), value);
    }
    response
}
