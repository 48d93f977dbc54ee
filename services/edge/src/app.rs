//! The one place where routes and middleware are put in order.

use axum::Router;
use axum::extract::FromRef;
use service::Readiness;
use telemetry::Telemetry;
use tower_http::catch_panic::CatchPanicLayer;

use crate::routes;
use crate::settings::Upstreams;
use crate::upstream::{Albums, Upstream, Users};

/// What the service needs to answer.
#[derive(Debug, Clone)]
pub struct App {
    users: Users,
    albums: Albums,
}

impl FromRef<App> for Users {
    fn from_ref(app: &App) -> Self {
        app.users.clone()
    }
}

impl FromRef<App> for Albums {
    fn from_ref(app: &App) -> Self {
        app.albums.clone()
    }
}

impl App {
    /// Makes the client of the two upstreams.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(upstreams: &Upstreams, telemetry: &Telemetry) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(upstreams.timeout)
            // An upstream that stops closes what has not been used for a little longer than this.
            .pool_idle_timeout(service::IDLE_CONNECTION)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let users = telemetry
            .http_client(http.clone(), "users")
            .with_known_upstream(&upstreams.users);
        let albums = telemetry
            .http_client(http, "albums")
            .with_known_upstream(&upstreams.albums);
        Ok(Self {
            users: Users(Upstream::new("users", upstreams.users.clone(), users)),
            albums: Albums(Upstream::new("albums", upstreams.albums.clone(), albums)),
        })
    }

    /// Builds the router, telemetry outermost.
    pub fn router(self, telemetry: &Telemetry) -> Router {
        Router::new()
            .merge(routes::root::router())
            .merge(routes::users::router())
            .merge(routes::user::router())
            .merge(routes::albums::router())
            // Ready as soon as it listens: an upstream that is away is answered with 502, which
            // says more than a front door that is closed.
            .merge(service::health(Readiness::default()))
            .merge(telemetry.metrics_router())
            .merge(telemetry.pprof_router())
            .method_not_allowed_fallback(service::method_not_allowed)
            .fallback(service::not_found)
            .layer(CatchPanicLayer::custom(service::panicked))
            .layer(
                telemetry.http_server().with_known_routes(["/", "/users", "/user/{name}", "/albums"]),
            )
            .with_state(self)
    }
}
