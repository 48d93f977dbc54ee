//! The one place where routes and middleware are put in order.

use std::sync::Arc;

use axum::{Router, middleware};
use service::Readiness;
use tower_http::catch_panic::CatchPanicLayer;

use crate::backends::Backends;
use crate::components::Watch;
use crate::desk::Desk;
use crate::guard;
use crate::routes;
use crate::routes::verify::Verification;
use crate::settings::Settings;

/// What the console needs to answer.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) backends: Backends,
    pub(crate) verification: Arc<Verification>,
    pub(crate) watch: Arc<Watch>,
    /// Where there is no command line.
    pub(crate) desk: Option<Arc<Desk>>,
}

impl App {
    /// Makes the client of the backends.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(settings: Settings) -> reqwest::Result<Self> {
        let watch = Arc::new(Watch::new(&settings)?);
        Ok(Self {
            backends: Backends::new(&settings)?,
            desk: Desk::of(&settings, &watch).map(Arc::new),
            watch,
            settings: Arc::new(settings),
            verification: Arc::default(),
        })
    }

    /// Heals what a run of the console's own has broken: nobody would after it.
    pub async fn close(&self) {
        let Some(desk) = &self.desk else { return };
        if let Err(error) = desk.heal().await {
            tracing::error!(error, "a scenario is not healed");
        }
    }

    /// Builds the router. It makes no spans and counts no requests: whoever watches the lab is not
    /// part of what is watched.
    pub fn router(self) -> Router {
        let hosts = guard::Hosts::new(&self.settings.hosts);
        let page = routes::page::router(&self.settings.web);
        Router::new()
            .merge(routes::lab::router())
            .merge(routes::verify::router())
            .merge(routes::profile::router())
            .merge(routes::dashboards::router())
            .merge(routes::scenarios::router())
            .merge(routes::proxy::router())
            .merge(service::health(Readiness::default()))
            .method_not_allowed_fallback(guard::method_not_allowed)
            .merge(page)
            .layer(CatchPanicLayer::custom(service::panicked))
            .layer(middleware::from_fn_with_state(hosts, guard::only_ours))
            .layer(middleware::from_fn(guard::headers))
            .with_state(self)
    }
}
