//! Database client spans around sqlx, and the trace in the statement itself.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use opentelemetry::trace::{FutureExt, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, StringValue};
use opentelemetry_sdk::trace::SdkTracer;
use opentelemetry_semantic_conventions::attribute::{
    DB_COLLECTION_NAME, DB_NAMESPACE, DB_OPERATION_NAME, DB_QUERY_TEXT, DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME, ERROR_TYPE, SERVER_ADDRESS, SERVER_PORT, SERVICE_PEER_NAME,
};
use opentelemetry_semantic_conventions::metric::DB_CLIENT_OPERATION_DURATION;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{AssertSqlSafe, FromRow, Postgres, SqlSafeStr, SqlStr};

use crate::metrics::{BoundHistogram, Histogram, Metrics};
use crate::propagation::traceparent;

const SYSTEM: &str = "postgresql";

/// `error.type` of a statement that a database fails which is away, stops, or starts: none of it answers; by the
/// operator's command (`57P01`); not yet (`57P03`).
const KNOWN_ERRORS: [&str; 5] = ["connection", "pool_timeout", "cancelled", "57P01", "57P03"];

/// One statement of a service: written once, as a constant, so that its span name and its metric
/// labels are few. Values go into parameters (`$1`), never into the text.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// `SELECT`, `INSERT`, ...
    pub operation: &'static str,
    /// The table it is about.
    pub collection: &'static str,
    /// The SQL.
    pub text: &'static str,
}

/// A pool of connections to one PostgreSQL database: each statement run through it gets a client
/// span and is measured; up to `TELEMETRY_SQL_COMMENTS_PER_SECOND` of them carry their trace as a
/// comment that `pg_stat_activity` and the server's log show.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    instruments: Arc<Instruments>,
}

#[derive(Debug)]
struct Instruments {
    /// What all spans say alike: shared text, not copied.
    peer: StringValue,
    namespace: StringValue,
    address: StringValue,
    port: u16,
    tracer: Option<SdkTracer>,
    /// A comment makes a statement one that the server must parse again, in a round trip of its
    /// own: that is bounded.
    comments: Option<DefaultDirectRateLimiter>,
    lately: Lately,
    enabled: bool,
    histogram: Histogram,
    series: RwLock<HashMap<Outcome, BoundHistogram>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Outcome {
    operation: &'static str,
    collection: &'static str,
    error_type: Option<String>,
}

impl Database {
    pub(crate) fn new(
        pool: PgPool,
        peer: &str,
        tracer: Option<SdkTracer>,
        metrics: &Metrics,
        histogram: Histogram,
        comments_per_second: u32,
    ) -> Self {
        let options = pool.connect_options();
        let comments = NonZeroU32::new(comments_per_second)
            .map(|comments| RateLimiter::direct(Quota::per_second(comments)));
        let instruments = Instruments {
            peer: shared(peer),
            namespace: shared(options.get_database().unwrap_or_default()),
            address: shared(options.get_host()),
            port: options.get_port(),
            tracer,
            comments,
            lately: Lately::new(),
            enabled: metrics.enabled(),
            histogram,
            series: RwLock::default(),
        };
        Self {
            pool,
            instruments: Arc::new(instruments),
        }
    }

    pub(crate) fn histogram(metrics: &Metrics) -> Histogram {
        metrics.duration(
            DB_CLIENT_OPERATION_DURATION,
            "Duration of database client operations",
        )
    }

    /// Makes six series of each statement exist, at zero, before it is run: without an error, and with those of a database
    /// that is away, stops or starts. The first errors are then in every rate.
    #[must_use]
    pub fn with_known_statements<'a>(
        self,
        statements: impl IntoIterator<Item = &'a Statement>,
    ) -> Self {
        for statement in statements {
            for error_type in KNOWN_ERRORS.map(Some).into_iter().chain([None]) {
                let _ = self.instruments.series(statement, error_type);
            }
        }
        self
    }

    /// The wrapped pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs one statement on a connection of the pool. `execute` gets it ready to bind and to fetch;
    /// waiting for the connection is part of the span, since it is part of what the caller waits for.
    pub async fn run<T>(
        &self,
        statement: &Statement,
        execute: impl AsyncFnOnce(Prepared, &mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        self.measure(statement, async |prepared| {
            let mut connection = self.connection().await?;
            execute(prepared, &mut connection).await
        })
        .await
    }

    async fn connection(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        // One at hand is taken unasked while the database answers: asking it is the pool's way, and
        // costs a round trip.
        if self.instruments.lately.answered()
            && let Some(connection) = self.pool.try_acquire()
        {
            return Ok(connection);
        }
        // Opening a connection makes a future of many kilobytes, which every layer above would move.
        Box::pin(self.pool.acquire()).await
    }

    /// Runs one statement on a connection at hand, in a transaction say.
    pub async fn run_on<T>(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
        execute: impl AsyncFnOnce(Prepared, &mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        self.measure(statement, async |prepared| {
            execute(prepared, connection).await
        })
        .await
    }

    async fn measure<T>(
        &self,
        statement: &Statement,
        execute: impl AsyncFnOnce(Prepared) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let instruments = &*self.instruments;
        let context = instruments.start(statement);
        let mut operation = Operation {
            instruments,
            statement: *statement,
            context,
            started: Instant::now(),
            result: None,
        };
        let prepared = instruments.prepare(statement, &operation.context);
        let answer = execute(prepared)
            .with_context(operation.context.clone())
            .await;
        if answer.is_ok() {
            instruments.lately.now();
        }
        operation.result = Some(answer.as_ref().map(drop).map_err(Failure::of));
        answer
    }
}

impl Instruments {
    fn start(&self, statement: &Statement) -> Context {
        let parent = Context::current();
        let Some(tracer) = &self.tracer else {
            return parent;
        };
        let name = format!("{} {}", statement.operation, statement.collection);
        let mut builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client);
        builder.attributes = Some(vec![
            KeyValue::new(DB_SYSTEM_NAME, SYSTEM),
            KeyValue::new(DB_NAMESPACE, self.namespace.clone()),
            KeyValue::new(DB_OPERATION_NAME, statement.operation),
            KeyValue::new(DB_COLLECTION_NAME, statement.collection),
            KeyValue::new(DB_QUERY_TEXT, statement.text),
            KeyValue::new(SERVER_ADDRESS, self.address.clone()),
            KeyValue::new(SERVER_PORT, i64::from(self.port)),
            KeyValue::new(SERVICE_PEER_NAME, self.peer.clone()),
        ]);
        let span = tracer.build_with_context(builder, &parent);
        parent.with_span(span)
    }

    /// Appends the trace when the span is sampled, in the form sqlcommenter gave it:
    /// `/*traceparent='00-...'*/`. A text that differs each time must not fill the connection's
    /// cache of prepared statements, so that it is prepared for this once only.
    fn prepare(&self, statement: &Statement, context: &Context) -> Prepared {
        let commented = context.span().span_context().is_sampled()
            && self
                .comments
                .as_ref()
                .is_some_and(|comments| comments.check().is_ok());
        let Some(traceparent) = commented.then(|| traceparent(context)).flatten() else {
            return Prepared {
                sql: statement.text.into_sql_str(),
                persistent: true,
            };
        };
        let commented = format!("{} /*traceparent='{traceparent}'*/", statement.text);
        // The text is a constant, and what is appended is hexadecimal digits.
        Prepared {
            sql: AssertSqlSafe(commented).into_sql_str(),
            persistent: false,
        }
    }

    fn series(&self, statement: &Statement, error_type: Option<&str>) -> BoundHistogram {
        // Failures are rare, so that only they pay for an owned key.
        let key = Outcome {
            operation: statement.operation,
            collection: statement.collection,
            error_type: error_type.map(str::to_owned),
        };
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&key) {
            return series.clone();
        }
        drop(known);
        let mut attributes = vec![
            KeyValue::new(DB_SYSTEM_NAME, SYSTEM),
            KeyValue::new(DB_OPERATION_NAME, statement.operation),
            KeyValue::new(DB_COLLECTION_NAME, statement.collection),
        ];
        attributes.extend(error_type.map(|error| KeyValue::new(ERROR_TYPE, error.to_owned())));
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(key)
            .or_insert_with(|| self.histogram.bind(&attributes))
            .clone()
    }
}

/// When the database answered last.
#[derive(Debug)]
struct Lately {
    since: Instant,
    /// Milliseconds; 0 is never.
    last: AtomicU64,
}

impl Lately {
    /// For how long an answer tells that the connections work.
    const TRUSTED: u64 = 1_000;

    fn new() -> Self {
        Self {
            since: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn now(&self) {
        self.last.store(self.elapsed().max(1), Ordering::Relaxed);
    }

    fn answered(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last != 0 && self.elapsed().saturating_sub(last) < Self::TRUSTED
    }
}

/// Text that is counted, not copied, when it is cloned.
fn shared(text: &str) -> StringValue {
    Arc::<str>::from(text).into()
}

/// A statement ready to bind.
#[derive(Debug)]
pub struct Prepared {
    sql: SqlStr,
    persistent: bool,
}

impl Prepared {
    /// For statements whose rows are mapped to a type.
    pub fn query_as<T: for<'r> FromRow<'r, PgRow>>(
        self,
    ) -> QueryAs<'static, Postgres, T, PgArguments> {
        let persistent = self.persistent;
        sqlx::query_as(self.sql).persistent(persistent)
    }

    /// For statements whose rows are not wanted.
    pub fn query(self) -> Query<'static, Postgres, PgArguments> {
        let persistent = self.persistent;
        sqlx::query(self.sql).persistent(persistent)
    }
}

struct Failure {
    error_type: String,
    sqlstate: Option<String>,
    message: String,
}

impl Failure {
    fn of(error: &sqlx::Error) -> Self {
        let sqlstate = error
            .as_database_error()
            .and_then(|error| error.code())
            .map(std::borrow::Cow::into_owned);
        let error_type = match (error, &sqlstate) {
            (_, Some(code)) => code.clone(),
            (sqlx::Error::PoolTimedOut, _) => "pool_timeout".to_owned(),
            (sqlx::Error::PoolClosed, _) => "pool_closed".to_owned(),
            (sqlx::Error::Io(_) | sqlx::Error::Tls(_), _) => "connection".to_owned(),
            (sqlx::Error::RowNotFound, _) => "row_not_found".to_owned(),
            _ => "client".to_owned(),
        };
        Self {
            error_type,
            sqlstate,
            message: error.to_string(),
        }
    }
}

/// One statement on its way; ends its span when dropped, also when nobody waits any more.
struct Operation<'a> {
    instruments: &'a Instruments,
    statement: Statement,
    context: Context,
    started: Instant,
    result: Option<Result<(), Failure>>,
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let cancelled = || {
            let message = "the caller stopped waiting".to_owned();
            Err(Failure {
                error_type: "cancelled".to_owned(),
                sqlstate: None,
                message,
            })
        };
        let failure = self.result.take().unwrap_or_else(cancelled).err();
        let span = self.context.span();
        if self.instruments.enabled {
            let error_type = failure.as_ref().map(|failure| failure.error_type.as_str());
            let series = self.instruments.series(&self.statement, error_type);
            series.record(elapsed, Some(span.span_context()));
        }
        if self.instruments.tracer.is_none() {
            // The current span is the caller's, not ours to end.
            return;
        }
        if let Some(failure) = failure {
            span.set_attribute(KeyValue::new(ERROR_TYPE, failure.error_type));
            if let Some(sqlstate) = failure.sqlstate {
                span.set_attribute(KeyValue::new(DB_RESPONSE_STATUS_CODE, sqlstate));
            }
            span.set_status(Status::error(failure.message));
        }
        span.end();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    const ONE: Statement = Statement {
        operation: "SELECT",
        collection: "one",
        text: "SELECT 1",
    };

    fn commented(comments_per_second: u32, flags: TraceFlags) -> Vec<String> {
        let pool = PgPool::connect_lazy("postgres://nobody@localhost/nothing").unwrap();
        let metrics = Metrics::new(None, false, &[]);
        let histogram = Database::histogram(&metrics);
        let database = Database::new(
            pool,
            "postgres",
            None,
            &metrics,
            histogram,
            comments_per_second,
        );
        let ids = (TraceId::from(0xabc_u128), SpanId::from(0xdef_u64));
        let span = SpanContext::new(ids.0, ids.1, flags, true, TraceState::default());
        let context = Context::new().with_remote_span_context(span);
        let prepare = |_| {
            let prepared = database.instruments.prepare(&ONE, &context);
            // A text of its own must not stay in the connection's cache.
            assert_eq!(prepared.persistent, prepared.sql.as_str() == ONE.text);
            prepared.sql.as_str().to_owned()
        };
        (0..3).map(prepare).collect()
    }

    #[tokio::test]
    async fn so_many_statements_a_second_carry_their_trace() {
        let comment =
            "SELECT 1 /*traceparent='00-00000000000000000000000000000abc-0000000000000def-01'*/";
        assert_eq!(
            commented(2, TraceFlags::SAMPLED),
            [comment, comment, "SELECT 1"]
        );
        assert_eq!(commented(0, TraceFlags::SAMPLED), ["SELECT 1"; 3]);
    }

    #[test]
    fn what_answered_a_moment_ago_is_trusted() {
        let mut lately = Lately::new();
        assert!(!lately.answered());
        lately.now();
        assert!(lately.answered());
        lately.since -= Duration::from_millis(Lately::TRUSTED + 1);
        assert!(!lately.answered());
    }

    #[tokio::test]
    async fn a_span_that_is_not_sampled_is_not_named() {
        assert_eq!(commented(100, TraceFlags::default()), ["SELECT 1"; 3]);
    }
}
