//! Postgres' list of connections, where the text of each one's last statement stands.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::traceparent::TraceId;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Our own statement must not find itself: the id is a parameter, and our own connection is left out.
const STATEMENTS: &str =
    "SELECT query FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()";

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("the address of the database is not valid: {0}")]
    Address(sqlx::Error),
    #[error("{asked}: {cause}")]
    Ask { asked: String, cause: sqlx::Error },
    #[error("{asked}: no answer within {} s", TIMEOUT.as_secs())]
    Timeout { asked: String },
}

/// One connection to the database.
#[derive(Debug)]
pub struct Postgres {
    connection: PgConnection,
    asked: String,
}

impl Postgres {
    /// How a database is shown: without its password.
    #[must_use]
    pub fn asked(url: &str) -> String {
        PgConnectOptions::from_str(url).map_or_else(
            |_| "pg_stat_activity".to_owned(),
            |options| {
                format!(
                    "pg_stat_activity of {}:{}/{}",
                    options.get_host(),
                    options.get_port(),
                    options.get_database().unwrap_or_default()
                )
            },
        )
    }

    /// # Errors
    /// When the address is not valid or the database does not answer.
    pub async fn connect(url: &str) -> Result<Self, PostgresError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(PostgresError::Address)?
            .application_name("lab-verify");
        // sqlx looks an address of IPv6 up by what it is called in a URL, with brackets: no such host.
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        let options = options.host(&host);
        let asked = Self::asked(url);
        match tokio::time::timeout(TIMEOUT, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => Ok(Self { connection, asked }),
            Ok(Err(cause)) => Err(PostgresError::Ask { asked, cause }),
            Err(_) => Err(PostgresError::Timeout { asked }),
        }
    }

    /// The last statements of other connections that name the trace.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn statements(&mut self, id: &TraceId) -> Result<Vec<String>, PostgresError> {
        let ask = sqlx::query_scalar::<_, String>(STATEMENTS)
            .bind(format!("%{id}%"))
            .fetch_all(&mut self.connection);
        let asked = || self.asked.clone();
        match tokio::time::timeout(TIMEOUT, ask).await {
            Ok(Ok(statements)) => Ok(statements),
            Ok(Err(cause)) => Err(PostgresError::Ask {
                asked: asked(),
                cause,
            }),
            Err(_) => Err(PostgresError::Timeout { asked: asked() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        assert_eq!(
            Postgres::asked("postgres://lab:secret@127.0.0.1:5433/lab"),
            "pg_stat_activity of 127.0.0.1:5433/lab"
        );
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_named() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        for host in ["127.0.0.1", "[::1]"] {
            let error = Postgres::connect(&format!("postgres://lab:secret@{host}:{port}/lab"))
                .await
                .expect_err("nobody there");
            let text = error.to_string();
            assert!(text.contains(&format!("{host}:{port}/lab")), "{text}");
            assert!(!text.contains("secret"), "{text}");
            assert!(!text.contains("lookup"), "{text}");
        }
    }
}
