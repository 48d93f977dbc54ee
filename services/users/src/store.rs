//! The users in PostgreSQL.

use std::time::Duration;

use serde::Serialize;
use service::Readiness;
use sqlx::postgres::PgPoolOptions;
use telemetry::Telemetry;
use telemetry::database::{Database, Statement};

use crate::settings;

/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the database is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(2);

const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// The name of this check in `/readyz`.
const CHECK: &str = "database";

const LIST: Statement = Statement {
    operation: "SELECT",
    collection: "users",
    text: "SELECT id, name, age FROM users WHERE $1::text IS NULL OR name = $1 ORDER BY id LIMIT 1000",
};

/// The fault `users-slow-query-ms`: the same answer, later.
const LIST_SLOWLY: Statement = Statement {
    operation: "SELECT",
    collection: "users",
    text: "SELECT id, name, age FROM users CROSS JOIN pg_sleep($2) WHERE $1::text IS NULL OR name = $1 ORDER BY id LIMIT 1000",
};

/// The fault `users-lock-ms`: everybody wants the same row.
const LOCK: Statement = Statement {
    operation: "SELECT",
    collection: "users",
    text: "SELECT id FROM users ORDER BY id LIMIT 1 FOR UPDATE",
};

const HOLD: Statement = Statement {
    operation: "SELECT",
    collection: "users",
    text: "SELECT pg_sleep($1)",
};

/// One user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct User {
    /// Its number.
    pub id: i32,
    /// Its name, unique.
    pub name: String,
    /// Its age in years.
    pub age: i32,
}

/// Why the users could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database was not reached yet, or its tables are not made yet.
    #[error("the database is not ready yet")]
    NotReady,
    /// It was reached before, and is not now.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// It does not take a value that it was asked with, a text with a NUL say.
    #[error("the database does not take a value: {0}")]
    Value(#[source] sqlx::Error),
    /// It answered with an error.
    #[error("the database refused: {0}")]
    Refused(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        // The first two characters are a class: 08 is connections, 57 the operator's interventions
        // (shutting down), 22 the data of a statement.
        match (&error, code.as_deref().and_then(|code| code.get(..2))) {
            (_, Some("22")) => Self::Value(error),
            (_, Some("08" | "57"))
            | (
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed,
                _,
            ) => Self::Unreachable(error),
            _ => Self::Refused(error),
        }
    }
}

/// The users.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    migrated: tokio::sync::watch::Receiver<bool>,
}

impl Store {
    /// Returns at once; the database is waited for in the background, as `/readyz` tells.
    pub fn open(
        settings: &settings::Database,
        telemetry: &Telemetry,
        readiness: Readiness,
    ) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(settings.options.clone().application_name("users"));
        let database = telemetry
            .database(pool, "postgres")
            .with_known_statements(&[LIST]);
        let (done, migrated) = tokio::sync::watch::channel(false);
        readiness.not_ready(CHECK, "not reached yet");
        tokio::spawn(keep_ready(database.clone(), readiness, done));
        Self { database, migrated }
    }

    /// All users, or those of one name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list(
        &self,
        name: Option<&str>,
        slower: Duration,
    ) -> Result<Vec<User>, StoreError> {
        self.ready()?;
        let name = name.map(str::to_owned);
        let users = if slower.is_zero() {
            self.database
                .run(&LIST, async |list, connection| {
                    list.query_as().bind(name).fetch_all(connection).await
                })
                .await?
        } else {
            let seconds = slower.as_secs_f64();
            self.database
                .run(&LIST_SLOWLY, async |list, connection| {
                    let list = list.query_as().bind(name).bind(seconds);
                    list.fetch_all(connection).await
                })
                .await?
        };
        Ok(users)
    }

    /// Takes the lock that everybody needs and holds it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hold_lock(&self, time: Duration) -> Result<(), StoreError> {
        self.ready()?;
        let mut transaction = self.database.pool().begin().await?;
        self.database
            .run_on(&mut transaction, &LOCK, async |lock, connection| {
                lock.query().execute(connection).await
            })
            .await?;
        let seconds = time.as_secs_f64();
        self.database
            .run_on(&mut transaction, &HOLD, async |hold, connection| {
                hold.query().bind(seconds).execute(connection).await
            })
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    fn ready(&self) -> Result<(), StoreError> {
        if *self.migrated.borrow() {
            Ok(())
        } else {
            Err(StoreError::NotReady)
        }
    }
}

/// Makes the tables as soon as the database answers, then watches whether it still does.
async fn keep_ready(
    database: Database,
    readiness: Readiness,
    migrated: tokio::sync::watch::Sender<bool>,
) {
    let mut backoff = Duration::from_millis(50);
    while let Err(error) = sqlx::migrate!("./migrations").run(database.pool()).await {
        readiness.not_ready(CHECK, error.to_string());
        tracing::warn!(error = error.to_string(), retry_in = ?backoff, "the database is not ready");
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
    let _ = migrated.send(true);
    readiness.ready(CHECK);
    tracing::info!("the database is ready");
    let mut reachable = true;
    while !migrated.is_closed() {
        tokio::time::sleep(PING_EVERY).await;
        let answer = sqlx::query("SELECT 1").execute(database.pool()).await;
        match answer {
            Ok(_) => {
                readiness.ready(CHECK);
                if !std::mem::replace(&mut reachable, true) {
                    tracing::info!("the database is back");
                }
            }
            Err(error) => {
                readiness.not_ready(CHECK, error.to_string());
                if std::mem::replace(&mut reachable, false) {
                    tracing::warn!(error = error.to_string(), "the database is gone");
                }
            }
        }
    }
}
