//! The trace in the text of the SQL statement.

use super::{Planned, answers, traces};
use crate::backend::{Postgres, PostgresError};
use crate::backends::Part;
use crate::report::Failure;
use crate::traceparent::Traceparent;
use crate::verify::Run;

const NAME: &str = "trace -> SQL comment";
const LOOK: &str = "the sqlcommenter part of crates/telemetry, `./lab logs users`";

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let url = run.backends.postgres.as_deref().unwrap_or_default();
    let asked = Postgres::asked(url);
    vec![Planned::new(
        NAME,
        &[Part::Edge, Part::Postgres],
        asked,
        follow(run, url),
    )]
}

async fn follow(run: &Run<'_>, url: &str) -> Result<String, Failure> {
    let away = |error: PostgresError| {
        Failure::new(
            "an answer of Postgres",
            error.to_string(),
            "`./lab status`, `./lab logs postgres`",
        )
    };
    answers::answer(&run.requests.users)?;
    // The connections of users show only their last statement: under load ours is soon overwritten, so each try
    // sends a request of its own.
    let (traceparent, statement) = run
        .until(NAME, || async {
            let traceparent = Traceparent::random();
            let mut postgres = Postgres::connect(url).await.map_err(away)?;
            let answer = run.edge()?.get("/users", &traceparent.to_string()).await;
            answer.map_err(|error| Failure::new("an answer to /users", error.to_string(), LOOK))?;
            let statements = postgres
                .statements(&traceparent.trace)
                .await
                .map_err(away)?;
            let statement = statements.into_iter().next().ok_or_else(|| {
                Failure::new(
                    format!(
                        "a statement with trace {} in pg_stat_activity",
                        traceparent.trace
                    ),
                    "none",
                    LOOK,
                )
            })?;
            Ok((traceparent, statement))
        })
        .await?;
    let shown = crate::http::quote(statement.as_bytes());
    let comment = comment(&statement).ok_or_else(|| {
        Failure::new(
            "a comment with traceparent='...' after the statement",
            shown,
            LOOK,
        )
    })?;
    if comment.trace != traceparent.trace {
        let expected = format!("trace {} in the comment", traceparent.trace);
        return Err(Failure::new(expected, comment.to_string(), LOOK));
    }
    if run.jaeger().is_err() {
        return Ok(format!("/*traceparent='{comment}'*/"));
    }
    // The comment must name the span of the statement itself.
    let span = run
        .until(NAME, || async {
            let trace = traces::fetch(run.jaeger()?, &traceparent.trace).await?;
            let path = trace.path(&traces::USERS_PATH).map_err(|why| {
                Failure::new(
                    "the statement's span in Jaeger",
                    why.to_string(),
                    "`./lab trace`",
                )
            })?;
            let last = path[path.len() - 1];
            if last.id != comment.span {
                return Err(Failure::new(
                    format!("{last} ({}) in the comment", last.id),
                    comment.to_string(),
                    LOOK,
                )
                .settled());
            }
            Ok(last.to_string())
        })
        .await?;
    Ok(format!("/*traceparent='{comment}'*/ names {span}"))
}

/// The `traceparent` in the comment that ends a statement.
fn comment(statement: &str) -> Option<Traceparent> {
    let text = statement
        .trim_end()
        .trim_end_matches(';')
        .trim_end()
        .strip_suffix("*/")?;
    let (_, comment) = text.rsplit_once("/*")?;
    comment.split(',').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        (key.trim() == "traceparent").then(|| Traceparent::parse(value))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_comment_is_read() {
        for statement in [
            format!("SELECT 1 /*traceparent='{HEADER}'*/"),
            format!("SELECT 1 /* route='%2Fusers', traceparent='{HEADER}' */;"),
            format!("SELECT /* a hint */ 1 /*traceparent='{HEADER}'*/ "),
        ] {
            assert_eq!(
                comment(&statement),
                Traceparent::parse(HEADER),
                "{statement}"
            );
        }
    }

    #[test]
    fn what_is_no_comment_is_none() {
        for statement in [
            "SELECT 1".to_owned(),
            format!("SELECT '{HEADER}'"),
            format!("/*traceparent='{HEADER}'*/ SELECT 1"),
            format!("SELECT 1 /*tracestate='{HEADER}'*/"),
            format!("SELECT 1 /*traceparent='{}'*/", &HEADER[..40]),
            format!("SELECT 1 /*traceparent={HEADER}*/"),
        ] {
            assert_eq!(comment(&statement), None, "{statement}");
        }
    }
}
