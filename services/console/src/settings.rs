//! The console's own variables; `OTEL_*` belongs to the telemetry crate.

use std::path::PathBuf;

use service::address;
use service::env::{self, EnvError};
use url::Url;

use crate::components::Listing;

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `CONSOLE_WEB`: the directory of the built page, default `services/console/web/dist`.
    pub web: PathBuf,
    /// `CONSOLE_DASHBOARDS`: a directory of dashboards in Perses' format; without it there are none.
    pub dashboards: Option<PathBuf>,
    /// `LAB_STATE_FILE`: what the supervisor knows of its components. Natively only.
    pub state_file: Option<PathBuf>,
    /// `LAB_PROGRAM`: the command line, which runs incidents and heals them. Natively only.
    pub lab_program: Option<PathBuf>,
    /// `LAB_SCENARIO_FILE`: what the command line tells of the incident that runs.
    pub scenario_file: Option<PathBuf>,
    /// `CONSOLE_SCENARIOS`: a directory of incidents. Where there is no command line, those that
    /// need flags only are run by the console itself.
    pub scenarios: Option<PathBuf>,
    /// `FLAGS_FILE`: the flags that the services read; written by such a run.
    pub flags_file: Option<PathBuf>,
    /// `CONSOLE_COMPONENTS`: what runs, where no supervisor tells. Compose only.
    pub components: Listing,
    /// `CONSOLE_LEFT_OUT`: names, with commas between them, of those that were not started.
    pub left_out: Vec<String>,
    /// `CONSOLE_PORT` on `LISTEN_HOST`, where the proof finds the console itself.
    pub console: Option<Url>,
    /// `CONSOLE_HOSTS`: names, with commas between them, by which a browser may ask besides those
    /// of loopback.
    pub hosts: Vec<String>,
    /// `EDGE_URL`, `USERS_URL`, `ALBUMS_URL`: default ports on loopback.
    pub edge: Url,
    /// See [`Settings::edge`].
    pub users: Url,
    /// See [`Settings::edge`].
    pub albums: Url,
    /// `PROMETHEUS_URL`, default `http://127.0.0.1:9090`.
    pub prometheus: Url,
    /// `LOKI_URL`, default `http://127.0.0.1:3100`.
    pub loki: Url,
    /// `JAEGER_URL`, default `http://127.0.0.1:16686`.
    pub jaeger: Url,
    /// `ALERTMANAGER_URL`, default `http://127.0.0.1:9093`.
    pub alertmanager: Url,
    /// `WEBHOOK_URL`, default `http://127.0.0.1:8080`.
    pub webhook: Url,
    /// `OTELCOL_HEALTH_URL`, default `http://127.0.0.1:13133`.
    pub collector: Url,
    /// `TEMPO_URL` and `PYROSCOPE_URL`, where they run: asked by the proof only.
    pub tempo: Option<Url>,
    /// See [`Settings::tempo`].
    pub pyroscope: Option<Url>,
    /// `GRAFANA_PROVISIONING`: the directory whose links the proof follows.
    pub grafana: Option<PathBuf>,
    /// `DATABASE_URL`: asked by the proof only.
    pub database: Option<String>,
}

impl Settings {
    /// Reads every variable.
    ///
    /// # Errors
    /// One is wrong; the error names it.
    pub fn from_env() -> Result<Self, EnvError> {
        let web = env::or(
            "CONSOLE_WEB",
            "a directory",
            PathBuf::from("services/console/web/dist"),
        )?;
        let itself = service::local_address("CONSOLE_PORT", DEFAULT_PORT)?;
        Ok(Self {
            web,
            dashboards: env::optional("CONSOLE_DASHBOARDS", "a directory")?,
            state_file: env::optional("LAB_STATE_FILE", "a file")?,
            lab_program: env::optional("LAB_PROGRAM", "a program")?,
            scenario_file: env::optional("LAB_SCENARIO_FILE", "a file")?,
            scenarios: env::optional("CONSOLE_SCENARIOS", "a directory")?,
            flags_file: env::optional("FLAGS_FILE", "a file")?,
            components: env::or(
                "CONSOLE_COMPONENTS",
                "lines of a name, an address to ask for its health, and one for a browser or -",
                Listing::default(),
            )?,
            left_out: names("CONSOLE_LEFT_OUT", "names of components")?,
            // A port of 0 is known when it is taken, and to nobody before.
            console: format!("http://{itself}")
                .parse()
                .ok()
                .filter(|_| itself.port() != 0),
            hosts: names("CONSOLE_HOSTS", "host names")?,
            edge: address::or_local("EDGE_URL", 8001)?,
            users: address::or_local("USERS_URL", 8000)?,
            albums: address::or_local("ALBUMS_URL", 8002)?,
            prometheus: address::or_local("PROMETHEUS_URL", 9090)?,
            loki: address::or_local("LOKI_URL", 3100)?,
            jaeger: address::or_local("JAEGER_URL", 16686)?,
            alertmanager: address::or_local("ALERTMANAGER_URL", 9093)?,
            webhook: address::or_local("WEBHOOK_URL", 8080)?,
            collector: address::or_local("OTELCOL_HEALTH_URL", 13133)?,
            tempo: address::optional("TEMPO_URL")?,
            pyroscope: address::optional("PYROSCOPE_URL")?,
            grafana: env::optional("GRAFANA_PROVISIONING", "a directory")?,
            database: env::optional("DATABASE_URL", "postgres://user:password@host:port/name")?,
        })
    }
}

/// The port, where `CONSOLE_PORT` names none.
pub const DEFAULT_PORT: u16 = 8088;

/// Names with commas between them.
fn names(name: &'static str, expected: &'static str) -> Result<Vec<String>, EnvError> {
    let text = env::or(name, expected, String::new())?;
    let names = text.split(',').map(|each| each.trim().to_ascii_lowercase());
    Ok(names.filter(|each| !each.is_empty()).collect())
}
