//! The service's own variables; `OTEL_*` belongs to the telemetry crate.

use std::path::PathBuf;

use service::env::{self, EnvError};
use sqlx::postgres::PgConnectOptions;

/// Where the users are kept.
#[derive(Debug, Clone)]
pub struct Database {
    /// `DATABASE_URL`, `postgres://user:password@host:port/database`.
    pub options: PgConnectOptions,
    /// `DATABASE_MAX_CONNECTIONS`, default 10.
    pub max_connections: u32,
}

impl Database {
    /// Reads `DATABASE_URL` and `DATABASE_MAX_CONNECTIONS`.
    pub fn from_env() -> Result<Self, EnvError> {
        const URL: &str = "an address such as postgres://lab:lab@localhost:5432/lab";
        let url: String = env::required("DATABASE_URL", URL)?;
        // The URL holds a password: the error tells what is wrong with it, not what it is.
        let invalid = |reason: String| EnvError::Invalid {
            name: "DATABASE_URL",
            value: "(not shown)".to_owned(),
            reason,
            expected: URL,
        };
        let options = options(&url).map_err(invalid)?;
        let max_connections = env::or(
            "DATABASE_MAX_CONNECTIONS",
            "a number of connections from 1",
            10u32,
        )?
        .max(1);
        Ok(Self {
            options,
            max_connections,
        })
    }
}

fn options(url: &str) -> Result<PgConnectOptions, String> {
    // sqlx takes any scheme for PostgreSQL's.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err("not a PostgreSQL address".to_owned());
    }
    let options: PgConnectOptions = url
        .parse()
        .map_err(|error: sqlx::Error| error.to_string())?;
    // sqlx looks an address of IPv6 up by what it is called in a URL, with brackets: no such host.
    let host = options.get_host().trim_matches(['[', ']']).to_owned();
    Ok(options.host(&host))
}

/// Where the faults come from.
#[derive(Debug, Clone)]
pub struct Flags {
    /// `FLAGS_FILE`: flags in flagd's JSON format. Without it the service is healthy.
    pub file: Option<PathBuf>,
}

impl Flags {
    /// Reads `FLAGS_FILE`.
    pub fn from_env() -> Result<Self, EnvError> {
        Ok(Self {
            file: env::optional("FLAGS_FILE", "a path")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_database_is_of_either_family() {
        for (url, host) in [
            ("postgres://lab:lab@127.0.0.1:5432/lab", "127.0.0.1"),
            ("postgresql://lab@[2001:db8::7]:5432/lab", "2001:db8::7"),
            ("postgres://lab@[::1]/lab", "::1"),
            ("postgres://lab@localhost/lab", "localhost"),
        ] {
            assert_eq!(options(url).unwrap().get_host(), host, "{url}");
        }
        assert_eq!(
            options("mysql://localhost").unwrap_err(),
            "not a PostgreSQL address"
        );
    }
}
