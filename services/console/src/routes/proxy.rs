//! `/proxy/{backend}/...`: the backends' own APIs under the console's origin, what reads only.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use service::Problem;

use crate::app::App;
use crate::backends::Backend;

/// The longest query that is passed on.
const LONGEST_FORM: usize = 64 << 10;

/// A path of a backend; `*` stands for one segment. Some take a query as a form, too.
struct Allowed {
    path: &'static str,
    form: bool,
}

const fn read(path: &'static str) -> Allowed {
    Allowed { path, form: false }
}

/// Prometheus takes long queries as a form; it changes nothing.
const fn ask(path: &'static str) -> Allowed {
    Allowed { path, form: true }
}

const PROMETHEUS: &[Allowed] = &[
    ask("/api/v1/query"),
    ask("/api/v1/query_range"),
    ask("/api/v1/query_exemplars"),
    ask("/api/v1/series"),
    ask("/api/v1/labels"),
    read("/api/v1/label/*/values"),
    read("/api/v1/metadata"),
    read("/api/v1/rules"),
    read("/api/v1/alerts"),
    read("/api/v1/targets"),
    read("/api/v1/status/buildinfo"),
];

const LOKI: &[Allowed] = &[
    read("/loki/api/v1/query"),
    read("/loki/api/v1/query_range"),
    read("/loki/api/v1/labels"),
    read("/loki/api/v1/label/*/values"),
    read("/loki/api/v1/series"),
    read("/loki/api/v1/index/volume"),
    read("/loki/api/v1/index/volume_range"),
];

const JAEGER: &[Allowed] = &[
    read("/api/services"),
    read("/api/services/*/operations"),
    read("/api/operations"),
    read("/api/traces"),
    read("/api/traces/*"),
    read("/api/dependencies"),
];

const ALERTMANAGER: &[Allowed] = &[
    read("/api/v2/alerts"),
    read("/api/v2/alerts/groups"),
    read("/api/v2/silences"),
    read("/api/v2/status"),
];

/// One session: what Alertmanager was told to send to.
const WEBHOOK: &[Allowed] = &[read(
    "/api/session/00000000-0000-0000-0000-000000000000/requests",
)];

const fn allowed(backend: Backend) -> &'static [Allowed] {
    match backend {
        Backend::Prometheus => PROMETHEUS,
        Backend::Loki => LOKI,
        Backend::Jaeger => JAEGER,
        Backend::Alertmanager => ALERTMANAGER,
        Backend::Webhook => WEBHOOK,
    }
}

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/proxy/{backend}/{*path}", get(pass).post(pass_form))
        .layer(DefaultBodyLimit::max(LONGEST_FORM))
}

async fn pass(
    State(app): State<App>,
    Path((backend, _)): Path<(String, String)>,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (backend, path, _) = find(&backend, uri.path())?;
    let answer = app.backends.ask(backend, path, query.as_deref(), None);
    Ok(answer.await?.into_response())
}

async fn pass_form(
    State(app): State<App>,
    Path((backend, _)): Path<(String, String)>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let (backend, path, form) = find(&backend, uri.path())?;
    if !form {
        return Err(crate::guard::method_not_allowed().await);
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "A query is sent as application/x-www-form-urlencoded.",
        ));
    }
    let body = body.map_err(|rejection| {
        let detail = format!(
            "{}; a query may have {LONGEST_FORM} bytes.",
            rejection.body_text()
        );
        Problem::new(rejection.status(), detail)
    })?;
    let answer = app
        .backends
        .ask(backend, path, query.as_deref(), Some(body));
    Ok(answer.await?.into_response())
}

/// The backend, and the path as it was sent: an encoded slash stays one.
fn find<'a>(backend: &str, path: &'a str) -> Result<(Backend, &'a str, bool), Problem> {
    let nothing = |detail: String| Problem::new(StatusCode::NOT_FOUND, detail);
    let Some(known) = Backend::by_name(backend) else {
        return Err(nothing(
            "There is no such backend: prometheus, loki, jaeger, alertmanager and webhook are \
             read through the console."
                .to_owned(),
        ));
    };
    let prefix = "/proxy/".len() + known.name().len();
    let rest = path.get(prefix..).unwrap_or_default();
    match allowed(known).iter().find(|each| fits(each.path, rest)) {
        Some(found) => Ok((known, rest, found.form)),
        None => Err(nothing(format!(
            "The console does not pass this path on to {}; its own address does.",
            known.name()
        ))),
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    pattern.split('/').all(|expected| {
        segments.next().is_some_and(|segment| match expected {
            "*" => is_name(segment),
            _ => expected == segment,
        })
    }) && segments.next().is_none()
}

/// A name in a path, and not a way out of it.
fn is_name(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    !plain.is_empty() && plain != "." && plain != ".." && !plain.contains(['\\', ';'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_read_are_found() {
        for (backend, path) in [
            ("prometheus", "/proxy/prometheus/api/v1/query"),
            ("prometheus", "/proxy/prometheus/api/v1/label/job/values"),
            ("jaeger", "/proxy/jaeger/api/services/a%2Fb/operations"),
            ("jaeger", "/proxy/jaeger/api/traces/572cc1fb5914893d"),
        ] {
            assert!(find(backend, path).is_ok(), "{path}");
        }
        let (_, path, form) = find("loki", "/proxy/loki/loki/api/v1/labels").unwrap();
        assert_eq!((path, form), ("/loki/api/v1/labels", false));
    }

    #[test]
    fn other_paths_are_not() {
        for (backend, path) in [
            ("prometheus", "/proxy/prometheus/-/reload"),
            (
                "prometheus",
                "/proxy/prometheus/api/v1/admin/tsdb/delete_series",
            ),
            ("prometheus", "/proxy/prometheus/api/v1/label/../values"),
            ("prometheus", "/proxy/prometheus/api/v1/label/%2e%2E/values"),
            ("prometheus", "/proxy/prometheus/api/v1/query/"),
            ("prometheus", "/proxy/prometheus//api/v1/query"),
            ("loki", "/proxy/loki/loki/api/v1/push"),
            ("loki", "/proxy/loki/loki/api/v1/delete"),
            ("jaeger", "/proxy/jaeger/api/traces/"),
            (
                "webhook",
                "/proxy/webhook/api/session/11111111-0000-0000-0000-000000000000/requests",
            ),
            ("grafana", "/proxy/grafana/api/health"),
        ] {
            assert!(find(backend, path).is_err(), "{path}");
        }
    }
}
