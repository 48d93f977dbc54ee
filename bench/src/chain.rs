//! Two services under test, on ports of their own against the bench's lab.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::child::{self, Child};
use crate::config::{Chain, Config};
use crate::lab::{self, Lab};
use crate::process::{Memory, Table};
use crate::processors::Split;

/// What every chain answers to `GET /users`.
const ANSWER: &str = r#"[{"id":1,"name":"admin","age":10},{"id":2,"name":"vasya","age":20}]"#;

/// How one service is started.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) env: Vec<(String, OsString)>,
}

/// The programs of the chains that can be had, with what they are.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    pub(crate) chains: BTreeMap<Chain, (Service, Service)>,
    /// Program: version.
    pub(crate) versions: BTreeMap<String, String>,
}

impl Service {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            directory: None,
            env: Vec::new(),
        }
    }
}

/// The command that is put in front of a service, by its name.
pub(crate) type Wrap<'a> = &'a dyn Fn(&str) -> Vec<OsString>;

/// The ports of the two services, the same for every configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) edge: u16,
    pub(crate) users: u16,
}

impl Ports {
    pub(crate) fn free() -> anyhow::Result<Self> {
        Ok(Self {
            edge: lab::free_port()?,
            users: lab::free_port()?,
        })
    }
}

/// A chain that runs.
pub(crate) struct Running {
    edge: Child,
    users: Child,
    pub(crate) ports: Ports,
    _split: Option<Split>,
}

/// Starts both services of a configuration, whose telemetry goes to the port `otlp`, and checks that they answer what all chains answer.
/// `wrap` may put a command in front of each, `extra` is set on top of everything.
pub(crate) async fn start(
    lab: &Lab,
    programs: &Programs,
    config: &Config,
    otlp: u16,
    ports: Ports,
    wrap: Option<Wrap<'_>>,
    extra: &[(&str, &str)],
) -> anyhow::Result<Running> {
    let (edge, users) = programs
        .chains
        .get(&config.chain)
        .with_context(|| format!("the programs of {} were not prepared", config.name))?;
    let common = common(lab, otlp, ports)?;
    let split = match config.split {
        true => Some(Split::begin(lab.backend("postgres")?)?),
        false => None,
    };
    let start = |name: &str, service: &Service, own: &[(&str, &str)]| {
        let mut command = launch(service, wrap.map(|wrap| wrap(name)));
        command.envs(common.clone());
        command.env("OTEL_SERVICE_NAME", name);
        command.envs(service.env.iter().cloned());
        command.envs(config.env.iter().chain(own).chain(extra).copied());
        Child::start(command, &lab.paths.log(name))
    };
    let mut users = start("users", users, config.users)?;
    let url = |port, path: &str| format!("http://127.0.0.1:{port}{path}");
    lab::ready(&lab.http, &mut users, "users", &url(ports.users, "/readyz")).await?;
    let mut edge = start("edge", edge, config.edge)?;
    lab::ready(&lab.http, &mut edge, "edge", &url(ports.edge, "/readyz")).await?;
    if let Some(split) = &split {
        split.started()?;
    }
    let running = Running {
        edge,
        users,
        ports,
        _split: split,
    };
    running
        .check_answer(lab)
        .await
        .with_context(|| format!("the configuration {}", config.name))?;
    Ok(running)
}

fn launch(service: &Service, wrap: Option<Vec<OsString>>) -> Command {
    let mut command = match wrap.as_deref() {
        Some([program, args @ ..]) => {
            let mut command = child::command(program);
            command.args(args).arg(&service.program);
            command
        }
        _ => child::command(&service.program),
    };
    command.args(&service.args);
    if let Some(directory) = &service.directory {
        command.current_dir(directory);
    }
    command
}

/// As the lab sets them, but for the ports.
fn common(lab: &Lab, otlp: u16, ports: Ports) -> anyhow::Result<Vec<(String, OsString)>> {
    let address = |port| format!("http://127.0.0.1:{port}");
    let database = format!(
        "postgres://lab:lab@127.0.0.1:{}/lab",
        lab.port("POSTGRES_PORT")?
    );
    let vars = [
        ("LISTEN_HOST", "127.0.0.1".to_owned()),
        ("EDGE_PORT", ports.edge.to_string()),
        ("USERS_PORT", ports.users.to_string()),
        ("USERS_URL", address(ports.users)),
        ("ALBUMS_URL", address(lab.port("ALBUMS_PORT")?)),
        ("DATABASE_URL", database),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address(otlp)),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "1000".to_owned()),
    ];
    let mut vars: Vec<(String, OsString)> = vars
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    vars.push(("FLAGS_FILE".to_owned(), lab.flags().into()));
    Ok(vars)
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/users", self.ports.edge)
    }

    async fn check_answer(&self, lab: &Lab) -> anyhow::Result<()> {
        let answer = lab
            .http
            .get(self.url())
            .send()
            .await
            .context("edge does not answer /users")?;
        let status = answer.status();
        let text = answer.text().await.context("edge broke off")?;
        let right = serde_json::from_str::<serde_json::Value>(&text)
            .is_ok_and(|answer| Some(answer) == serde_json::from_str(ANSWER).ok());
        ensure!(
            status.is_success() && right,
            "edge answers {status} with {text:?} in place of {ANSWER}; its log: {}; users' log: {}",
            self.edge.last_lines(),
            self.users.last_lines()
        );
        Ok(())
    }

    /// The processes of the two services, by name.
    pub(crate) fn processes(&self) -> [(String, i32); 2] {
        [
            ("edge".to_owned(), self.edge.pid),
            ("users".to_owned(), self.users.pid),
        ]
    }

    pub(crate) fn memory(&self) -> BTreeMap<String, Memory> {
        let table = Table::look();
        self.processes()
            .into_iter()
            .map(|(name, pid)| (name, table.memory(pid)))
            .collect()
    }

    /// An error when one of them is gone.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.edge.check("edge")?;
        self.users.check("users")
    }

    /// Stops edge, then users: each drains and flushes.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.edge.stop("edge").await?;
        self.users.stop("users").await
    }
}
