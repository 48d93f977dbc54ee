//! The built page. Its parts have names that change with their content, so they may be kept; the
//! page itself is asked for again each time.

use std::path::Path;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use service::Problem;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;

/// The addresses of the page: each shows itself when it is opened or reloaded.
const ADDRESSES: [&str; 10] = [
    "/",
    "/traces",
    "/traces/{id}",
    "/logs",
    "/profiles",
    "/services/{name}",
    "/slos",
    "/dashboards",
    "/dashboards/{name}",
    "/incidents",
];

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

pub(crate) fn router(web: &Path) -> Router<App> {
    let assets = Router::new()
        .fallback_service(ServeDir::new(web.join("assets")).append_index_html_on_directories(false))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            |answer: &axum::http::Response<_>| answer.status().is_success().then_some(FOREVER),
        ));
    let mut router = Router::new().nest("/assets", assets);
    for address in ADDRESSES {
        router = router.route(address, get(page));
    }
    router.fallback(unknown)
}

async fn page(State(app): State<App>) -> Response {
    let index = app.settings.web.join("index.html");
    match tokio::fs::read_to_string(&index).await {
        Ok(text) => ([(header::CACHE_CONTROL, "no-cache")], Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, path = %index.display(), "the page is not built");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The page is not built: `npm ci && npm run build` in services/console/web makes \
                 it, CONSOLE_WEB names another directory.",
            )
            .into_response()
        }
    }
}

/// A person who mistyped gets the page, which says so; a program gets a problem.
async fn unknown(State(app): State<App>, request: axum::extract::Request) -> Response {
    let wants_page = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let path = request.uri().path();
    if !wants_page || path.starts_with("/api/") || path.starts_with("/proxy/") {
        return service::not_found().await.into_response();
    }
    let mut answer = page(State(app)).await;
    if answer.status().is_success() {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    }
    answer
}
