//! `/api/verify`: GET tells of the last run and of one under way, POST starts one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use proof::{Event, Options, Part, Report};
use serde::Serialize;

use crate::app::App;
use crate::routes::lab;

/// How long all links together may take: as long as `./lab verify` gives them.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The last verification, and the one under way.
#[derive(Debug, Default)]
pub(crate) struct Verification(Mutex<View>);

#[derive(Debug, Clone, Default, Serialize)]
struct View {
    running: Option<Running>,
    last: Option<Last>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Running {
    /// Seconds since 1970.
    since: f64,
    links: usize,
    done: usize,
    /// A link that leads nowhere yet, and what came.
    waiting: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize)]
struct Last {
    /// Seconds since 1970.
    ended: f64,
    seconds: f64,
    /// `None` when it could not be made; then `problem` says why.
    report: Option<Report>,
    problem: Option<String>,
}

impl Verification {
    fn view(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, event: Event<'_>) {
        let mut view = self.view();
        let Some(running) = &mut view.running else {
            return;
        };
        match event {
            Event::Sending => {}
            Event::Started { .. } => running.links += 1,
            Event::Waiting { link, came } => {
                running.waiting.insert(link.to_owned(), came.to_owned());
            }
            Event::Done(link) => {
                running.done += 1;
                running.links = running.links.max(running.done);
                running.waiting.remove(&link.name);
            }
        }
    }
}

pub(crate) fn router() -> Router<App> {
    Router::new().route("/api/verify", get(look).post(run))
}

async fn look(State(app): State<App>) -> Json<impl Serialize> {
    Json(app.verification.view().clone())
}

/// One at a time: a second asker watches the first one's.
async fn run(State(app): State<App>) -> (StatusCode, Json<impl Serialize>) {
    let verification = Arc::clone(&app.verification);
    let mut view = verification.view();
    if view.running.is_none() {
        view.running = Some(Running {
            since: now(),
            ..Running::default()
        });
        tokio::spawn(verify(app));
    }
    (StatusCode::ACCEPTED, Json(view.clone()))
}

async fn verify(app: App) {
    let began = now();
    let backends = backends(&app).await;
    let verification = &app.verification;
    let tell = |event: Event<'_>| verification.hear(event);
    let options = Options { timeout: TIMEOUT };
    let (report, problem) = match proof::verify(&backends, &options, &tell).await {
        Ok(report) => (Some(report), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let ended = now();
    let mut view = verification.view();
    view.running = None;
    view.last = Some(Last {
        ended,
        seconds: ended - began,
        report,
        problem,
    });
}

/// Where everything is. What this machine cannot have is absent, with its reason.
async fn backends(app: &App) -> proof::Backends {
    let settings = &app.settings;
    let mut absent = BTreeMap::new();
    for component in lab::components(app).await.unwrap_or_default() {
        if let (Some(part), Some(why)) = (part(&component.name), component.why_absent()) {
            absent.insert(part, why);
        }
    }
    proof::Backends {
        edge: Some(settings.edge.clone()),
        users: Some(settings.users.clone()),
        albums: Some(settings.albums.clone()),
        jaeger: Some(settings.jaeger.clone()),
        loki: Some(settings.loki.clone()),
        prometheus: Some(settings.prometheus.clone()),
        alertmanager: Some(settings.alertmanager.clone()),
        collector: Some(settings.collector.clone()),
        console: settings.console.clone(),
        postgres: settings.database.clone(),
        tempo: settings.tempo.clone(),
        pyroscope: settings.pyroscope.clone(),
        grafana: settings.grafana.clone(),
        absent,
    }
}

fn part(component: &str) -> Option<Part> {
    Some(match component {
        "edge" => Part::Edge,
        "users" => Part::Users,
        "albums" => Part::Albums,
        "jaeger" => Part::Jaeger,
        "loki" => Part::Loki,
        "prometheus" => Part::Prometheus,
        "alertmanager" => Part::Alertmanager,
        "otel-collector" => Part::Collector,
        "console" => Part::Console,
        "postgres" => Part::Postgres,
        "tempo" => Part::Tempo,
        "pyroscope" => Part::Pyroscope,
        _ => return None,
    })
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
