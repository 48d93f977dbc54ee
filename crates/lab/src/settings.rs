//! Settings: every name the lab reads from `.env` or the environment is in this file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A port the native engine listens on. The order is that of `.env`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    Edge,
    Users,
    Albums,
    Postgres,
    OtlpGrpc,
    OtlpHttp,
    OtelcolHealth,
    OtelcolMetrics,
    OtelcolPrometheus,
    OtelcolPprof,
    OtelcolZpages,
    Prometheus,
    Alertmanager,
    Jaeger,
    JaegerGrpc,
    JaegerOtlpGrpc,
    JaegerOtlpHttp,
    JaegerHealth,
    JaegerMetrics,
    Loki,
    LokiGrpc,
    Webhook,
    Console,
}

impl Port {
    pub(crate) const ALL: [Self; 23] = [
        Self::Edge,
        Self::Users,
        Self::Albums,
        Self::Postgres,
        Self::OtlpGrpc,
        Self::OtlpHttp,
        Self::OtelcolHealth,
        Self::OtelcolMetrics,
        Self::OtelcolPrometheus,
        Self::OtelcolPprof,
        Self::OtelcolZpages,
        Self::Prometheus,
        Self::Alertmanager,
        Self::Jaeger,
        Self::JaegerGrpc,
        Self::JaegerOtlpGrpc,
        Self::JaegerOtlpHttp,
        Self::JaegerHealth,
        Self::JaegerMetrics,
        Self::Loki,
        Self::LokiGrpc,
        Self::Webhook,
        Self::Console,
    ];

    /// The variable that moves this port.
    pub(crate) const fn var(self) -> &'static str {
        match self {
            Self::Edge => "EDGE_PORT",
            Self::Users => "USERS_PORT",
            Self::Albums => "ALBUMS_PORT",
            Self::Postgres => "POSTGRES_PORT",
            Self::OtlpGrpc => "OTLP_GRPC_PORT",
            Self::OtlpHttp => "OTLP_HTTP_PORT",
            Self::OtelcolHealth => "OTELCOL_HEALTH_PORT",
            Self::OtelcolMetrics => "OTELCOL_METRICS_PORT",
            Self::OtelcolPrometheus => "OTELCOL_PROMETHEUS_PORT",
            Self::OtelcolPprof => "OTELCOL_PPROF_PORT",
            Self::OtelcolZpages => "OTELCOL_ZPAGES_PORT",
            Self::Prometheus => "PROMETHEUS_PORT",
            Self::Alertmanager => "ALERTMANAGER_PORT",
            Self::Jaeger => "JAEGER_PORT",
            Self::JaegerGrpc => "JAEGER_GRPC_PORT",
            Self::JaegerOtlpGrpc => "JAEGER_OTLP_GRPC_PORT",
            Self::JaegerOtlpHttp => "JAEGER_OTLP_HTTP_PORT",
            Self::JaegerHealth => "JAEGER_HEALTH_PORT",
            Self::JaegerMetrics => "JAEGER_METRICS_PORT",
            Self::Loki => "LOKI_PORT",
            Self::LokiGrpc => "LOKI_GRPC_PORT",
            Self::Webhook => "WEBHOOK_PORT",
            Self::Console => "CONSOLE_PORT",
        }
    }
}

/// Added to every port, so that a second lab can run beside the first.
pub(crate) const PORT_OFFSET: &str = "LAB_PORT_OFFSET";
/// Where state, logs and data live.
pub(crate) const STATE_DIR: &str = "LAB_STATE_DIR";
/// Where binaries that were downloaded or built live.
pub(crate) const CACHE_DIR: &str = "LAB_CACHE_DIR";
/// The checkout; the launcher sets it.
pub(crate) const ROOT: &str = "LAB_ROOT";
/// Programs of the machine that are not to be used: names of components, or `all`.
pub(crate) const IGNORE_SYSTEM: &str = "LAB_IGNORE_SYSTEM";
/// Further configurations of the Collector: paths with commas between them, relative to the checkout.
pub(crate) const COLLECTOR_CONFIG: &str = "LAB_OTELCOL_CONFIG";
/// Where Jaeger keeps traces: `memory` or `badger` (on disk).
pub(crate) const JAEGER_STORE: &str = "LAB_JAEGER_STORE";
/// `caller`: the lab stays in the session of whoever starts it. Linux shares processors between sessions
/// before it shares them between processes: a measurement wants both sides in one.
pub(crate) const SESSION: &str = "LAB_SESSION";
/// The engine, when `--engine` is not given.
pub(crate) const ENGINE: &str = "LAB_ENGINE";

/// A setting that cannot be used. Each message names the variable, its value and what is expected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{file} cannot be read: {reason}")]
    EnvFile { file: String, reason: String },
    #[error("{var} is `{value}` ({source_name}): expected a port number from 1 to 65535")]
    NotAPort {
        var: String,
        value: String,
        source_name: &'static str,
    },
    #[error(
        "{var} is not set: expected a port number from 1 to 65535, in .env or in the environment"
    )]
    Unset { var: &'static str },
    #[error("{PORT_OFFSET} is `{value}` ({source_name}): expected a number from 0 to 60000")]
    NotAnOffset {
        value: String,
        source_name: &'static str,
    },
    #[error(
        "{var} is {port} and {PORT_OFFSET} is {offset}: their sum is above 65535, the highest port"
    )]
    TooHigh { var: String, port: u16, offset: u16 },
    #[error("{one} and {other} are both {port}: each needs a port of its own")]
    SamePort {
        one: &'static str,
        other: &'static str,
        port: u16,
    },
    #[error(
        "{IGNORE_SYSTEM} is `{value}`: expected `all` or names with commas between them ({known})"
    )]
    NotAProgram { value: String, known: String },
    #[error("{COLLECTOR_CONFIG} names {}, which is no file: expected paths, absolute or from the checkout, with commas between them", file.display())]
    NoConfig { file: PathBuf },
    #[error("{JAEGER_STORE} is `{value}` ({source_name}): expected `memory` or `badger`")]
    NotAStore {
        value: String,
        source_name: &'static str,
    },
    #[error("{var} is `{value}`: expected a directory with an absolute path")]
    NotADirectory { var: &'static str, value: String },
    #[error("there is no home directory to keep {what} in: set {var} to a directory")]
    NoHome {
        what: &'static str,
        var: &'static str,
    },
    #[error(
        "the lab's checkout was not found: run `./lab` in it, or set {ROOT} to it (it is `{value}`)"
    )]
    NoRoot { value: String },
}

/// What `.env` and the environment say.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    ports: [u16; Port::ALL.len()],
    /// Every `*_PORT` variable with the offset applied, for the environment of the children.
    port_variables: BTreeMap<String, u16>,
    pub(crate) port_offset: u16,
    ignore_system: Vec<String>,
    /// Further configurations of the Collector, merged in this order.
    pub(crate) collector_configs: Vec<PathBuf>,
    /// Jaeger keeps its traces on disk.
    pub(crate) jaeger_on_disk: bool,
}

impl Settings {
    /// Reads `<root>/.env`; the process environment wins over it.
    pub(crate) fn load(root: &Path) -> Result<Self, SettingsError> {
        let file = root.join(".env");
        let bad_file = |reason: String| SettingsError::EnvFile {
            file: file.display().to_string(),
            reason,
        };
        let mut from_file = BTreeMap::new();
        if file.exists() {
            let entries = dotenvy::from_path_iter(&file).map_err(|e| bad_file(e.to_string()))?;
            for entry in entries {
                let (name, value) = entry.map_err(|e| bad_file(e.to_string()))?;
                from_file.insert(name, value);
            }
        }
        let settings = Self::resolve(&from_file, |name| std::env::var(name).ok())?;
        if let Some(file) = settings
            .collector_configs
            .iter()
            .map(|file| root.join(file))
            .find(|file| !file.is_file())
        {
            return Err(SettingsError::NoConfig { file });
        }
        Ok(settings)
    }

    fn resolve(
        file: &BTreeMap<String, String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        // An empty variable counts as unset, as in compose.
        let lookup = |name: &str| -> Option<(String, &'static str)> {
            env(name)
                .filter(|value| !value.is_empty())
                .map(|value| (value, "from the environment"))
                .or_else(|| {
                    let value = file.get(name).filter(|value| !value.is_empty())?;
                    Some((value.clone(), "from .env"))
                })
        };

        let port_offset = match lookup(PORT_OFFSET) {
            None => 0,
            Some((value, source_name)) => value
                .trim()
                .parse::<u16>()
                .ok()
                .filter(|offset| *offset <= 60_000)
                .ok_or(SettingsError::NotAnOffset { value, source_name })?,
        };

        let read_port = |var: &str| -> Result<Option<u16>, SettingsError> {
            let Some((value, source_name)) = lookup(var) else {
                return Ok(None);
            };
            let port = value
                .trim()
                .parse::<u16>()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| SettingsError::NotAPort {
                    var: var.to_owned(),
                    value,
                    source_name,
                })?;
            port.checked_add(port_offset)
                .map(Some)
                .ok_or_else(|| SettingsError::TooHigh {
                    var: var.to_owned(),
                    port,
                    offset: port_offset,
                })
        };

        let mut port_variables = BTreeMap::new();
        for var in file.keys().filter(|name| name.ends_with("_PORT")) {
            if let Some(port) = read_port(var)? {
                port_variables.insert(var.clone(), port);
            }
        }
        let mut ports = [0; Port::ALL.len()];
        for (index, port) in Port::ALL.into_iter().enumerate() {
            let var = port.var();
            let number = read_port(var)?.ok_or(SettingsError::Unset { var })?;
            if let Some(other) = ports[..index].iter().position(|taken| *taken == number) {
                return Err(SettingsError::SamePort {
                    one: Port::ALL[other].var(),
                    other: var,
                    port: number,
                });
            }
            ports[index] = number;
            port_variables.insert(var.to_owned(), number);
        }

        let ignore_system = lookup(IGNORE_SYSTEM)
            .map(|(value, _)| {
                value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty())
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default();

        let collector_configs = lookup(COLLECTOR_CONFIG)
            .map(|(value, _)| {
                let paths = value.split(',').map(str::trim);
                paths
                    .filter(|path| !path.is_empty())
                    .map(PathBuf::from)
                    .collect()
            })
            .unwrap_or_default();
        let jaeger_on_disk = match lookup(JAEGER_STORE) {
            None => false,
            Some((value, source_name)) => match value.trim() {
                "memory" => false,
                "badger" => true,
                _ => return Err(SettingsError::NotAStore { value, source_name }),
            },
        };

        Ok(Self {
            ports,
            port_variables,
            port_offset,
            ignore_system,
            collector_configs,
            jaeger_on_disk,
        })
    }

    /// The same settings with another offset.
    pub(crate) fn moved_to(&self, offset: u16) -> Result<Self, SettingsError> {
        let file: BTreeMap<String, String> = self
            .port_variables
            .iter()
            .map(|(name, port)| (name.clone(), (port - self.port_offset).to_string()))
            .collect();
        let moved = Self::resolve(&file, |name| {
            (name == PORT_OFFSET).then(|| offset.to_string())
        })?;
        Ok(Self {
            ignore_system: self.ignore_system.clone(),
            collector_configs: self.collector_configs.clone(),
            jaeger_on_disk: self.jaeger_on_disk,
            ..moved
        })
    }

    pub(crate) fn port(&self, port: Port) -> u16 {
        self.ports[port as usize]
    }

    /// `127.0.0.1:<port>`
    pub(crate) fn address(&self, port: Port) -> String {
        format!("127.0.0.1:{}", self.port(port))
    }

    /// `http://127.0.0.1:<port>`
    pub(crate) fn http(&self, port: Port) -> String {
        format!("http://127.0.0.1:{}", self.port(port))
    }

    pub(crate) fn database_url(&self) -> String {
        format!(
            "postgres://lab:lab@127.0.0.1:{}/lab",
            self.port(Port::Postgres)
        )
    }

    /// Every `*_PORT` variable, offset applied.
    pub(crate) fn port_variables(&self) -> &BTreeMap<String, u16> {
        &self.port_variables
    }

    /// What a running lab cannot take on, by the names of the variables.
    pub(crate) fn options(&self) -> BTreeMap<String, String> {
        let configs: Vec<String> = self
            .collector_configs
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let mut options = BTreeMap::new();
        if !configs.is_empty() {
            options.insert(COLLECTOR_CONFIG.to_owned(), configs.join(","));
        }
        if self.jaeger_on_disk {
            options.insert(JAEGER_STORE.to_owned(), "badger".to_owned());
        }
        options
    }

    /// Whether programs of the machine are to be left aside for this component.
    pub(crate) fn ignores_system(&self, component: &str) -> bool {
        self.ignore_system
            .iter()
            .any(|name| name == "all" || name == component)
    }

    /// Checks names that only the engine knows.
    pub(crate) fn check_programs(&self, known: &[&str]) -> Result<(), SettingsError> {
        for name in &self.ignore_system {
            if name != "all" && !known.contains(&name.as_str()) {
                return Err(SettingsError::NotAProgram {
                    value: name.clone(),
                    known: known.join(", "),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env_file() -> BTreeMap<String, String> {
        Port::ALL
            .into_iter()
            .enumerate()
            .map(|(index, port)| (port.var().to_owned(), (5000 + index).to_string()))
            .collect()
    }

    fn resolve(env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::resolve(&env_file(), |name| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn message(env: &[(&str, &str)]) -> String {
        resolve(env).expect_err("must be refused").to_string()
    }

    #[test]
    fn the_environment_wins_and_the_offset_applies_to_all() {
        let settings = resolve(&[("EDGE_PORT", "7001"), ("LAB_PORT_OFFSET", "100")]).unwrap();
        assert_eq!(settings.port(Port::Edge), 7101);
        assert_eq!(settings.port(Port::Users), 5101);
        assert_eq!(settings.port_variables()["WEBHOOK_PORT"], 5121);
        assert_eq!(settings.address(Port::Edge), "127.0.0.1:7101");
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let settings = resolve(&[("EDGE_PORT", ""), ("LAB_PORT_OFFSET", "")]).unwrap();
        assert_eq!(settings.port(Port::Edge), 5000);
    }

    #[test]
    fn other_ports_of_the_file_get_the_offset_too() {
        let mut file = env_file();
        file.insert("GRAFANA_PORT".into(), "3000".into());
        file.insert("GRAFANA_VERSION".into(), "13.1.0".into());
        let settings = Settings::resolve(&file, |name| {
            (name == "LAB_PORT_OFFSET").then(|| "7".to_owned())
        })
        .unwrap();
        assert_eq!(settings.port_variables()["GRAFANA_PORT"], 3007);
        assert!(!settings.port_variables().contains_key("GRAFANA_VERSION"));
    }

    #[test]
    fn errors_name_variable_value_and_expectation() {
        for value in ["80x1", "0", "65536", "-1"] {
            assert_eq!(
                message(&[("EDGE_PORT", value)]),
                format!(
                    "EDGE_PORT is `{value}` (from the environment): expected a port number from 1 to 65535"
                )
            );
        }
        assert_eq!(
            message(&[("LAB_PORT_OFFSET", "many")]),
            "LAB_PORT_OFFSET is `many` (from the environment): expected a number from 0 to 60000"
        );
        assert_eq!(
            message(&[("EDGE_PORT", "65000"), ("LAB_PORT_OFFSET", "700")]),
            "EDGE_PORT is 65000 and LAB_PORT_OFFSET is 700: their sum is above 65535, the highest port"
        );
        assert_eq!(
            message(&[("USERS_PORT", "5000")]),
            "EDGE_PORT and USERS_PORT are both 5000: each needs a port of its own"
        );
    }

    #[test]
    fn a_missing_variable_is_named() {
        let mut file = env_file();
        file.remove("LOKI_PORT");
        let error = Settings::resolve(&file, |_| None).expect_err("must be refused");
        assert!(error.to_string().starts_with("LOKI_PORT is not set"));
    }

    #[test]
    fn options_are_told_by_the_names_of_their_variables() {
        let none = resolve(&[
            ("LAB_OTELCOL_CONFIG", " , "),
            ("LAB_JAEGER_STORE", "memory"),
        ]);
        assert!(none.unwrap().options().is_empty());
        let set = [
            ("LAB_OTELCOL_CONFIG", "a.yaml, /b.yaml"),
            ("LAB_JAEGER_STORE", "badger"),
        ];
        let settings = resolve(&set).unwrap();
        assert_eq!(settings.options()["LAB_OTELCOL_CONFIG"], "a.yaml,/b.yaml");
        assert_eq!(settings.options()["LAB_JAEGER_STORE"], "badger");
        let moved = settings.moved_to(7).unwrap();
        assert_eq!(moved.options(), settings.options());
        assert_eq!(
            message(&[("LAB_JAEGER_STORE", "disk")]),
            "LAB_JAEGER_STORE is `disk` (from the environment): expected `memory` or `badger`"
        );
    }

    #[test]
    fn ignored_programs_must_be_known() {
        let settings = resolve(&[("LAB_IGNORE_SYSTEM", "postgres, loki")]).unwrap();
        assert!(settings.ignores_system("loki"));
        assert!(!settings.ignores_system("jaeger"));
        settings.check_programs(&["postgres", "loki"]).unwrap();
        let error = settings.check_programs(&["postgres"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "LAB_IGNORE_SYSTEM is `loki`: expected `all` or names with commas between them (postgres)"
        );
    }

    #[test]
    fn the_committed_file_resolves() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut file = BTreeMap::new();
        for entry in dotenvy::from_path_iter(root.join(".env")).unwrap() {
            let (name, value) = entry.unwrap();
            file.insert(name, value);
        }
        let settings = Settings::resolve(&file, |_| None).unwrap();
        assert_eq!(settings.port(Port::Edge), 8001);
        assert_eq!(settings.port(Port::Webhook), 8080);
    }
}
