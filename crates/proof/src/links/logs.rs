//! From a trace to its log lines.

use std::time::{Duration, SystemTime};

use super::{Planned, answers, some};
use crate::backend::{LogLine, Loki};
use crate::backends::Part;
use crate::http::AskError;
use crate::report::Failure;
use crate::verify::Run;

const LOOK: &str =
    "`./lab logs otel-collector`, OTEL_LOGS_EXPORTER of the service, `./lab logs loki`";

/// Clocks of one machine; a line may be stamped a little before its request was noted.
const MARGIN: Duration = Duration::from_secs(2);

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let needs = [Part::Edge, Part::Loki];
    let asked = |query: &str| run.loki().map(|loki| loki.asked(query)).unwrap_or_default();
    let id = &run.requests.users.traceparent.trace;
    let mut links = Vec::new();
    for service in ["edge", "users"] {
        let query = Loki::trace_query(service, id);
        let name = format!("trace -> log lines of {service}");
        links.push(Planned::new(
            name.clone(),
            &needs,
            asked(&query),
            of_service(run, name, service, query),
        ));
    }
    // albums knows no trace: its line is told by path and time.
    let query = r#"{service_name="albums"} | path="/albums""#;
    links.push(Planned::new(
        "log lines of albums",
        &[Part::Edge, Part::Loki, Part::Albums, Part::AlbumsLogs],
        asked(query),
        of_albums(run, query),
    ));
    links
}

async fn of_service(
    run: &Run<'_>,
    link: String,
    service: &str,
    query: String,
) -> Result<String, Failure> {
    let sent = &run.requests.users;
    answers::answer(sent)?;
    run.until(&link, || async {
        let lines = lines(run, &query).await?;
        let first = lines.first().ok_or_else(|| {
            Failure::new(
                format!(
                    "a log line of {service} with trace_id {}",
                    sent.traceparent.trace
                ),
                "no line",
                LOOK,
            )
        })?;
        let place = match place(run, service, &lines).await? {
            Some(span) => format!(", in {span}"),
            None => String::new(),
        };
        Ok(format!("{}: {}{place}", count(lines.len()), text(first)))
    })
    .await
}

/// The span that a line was written in, by Jaeger. `None` where there is no Jaeger, or none that answers: other links
/// are about that.
async fn place(run: &Run<'_>, service: &str, lines: &[LogLine]) -> Result<Option<String>, Failure> {
    let Ok(jaeger) = run.jaeger() else {
        return Ok(None);
    };
    let id = &run.requests.users.traceparent.trace;
    let Ok(trace) = jaeger.trace(id).await else {
        return Ok(None);
    };
    let span_of = |line: &LogLine| {
        let span = trace.as_ref()?.span(line.label("span_id")?)?;
        (span.service == service).then(|| span.to_string())
    };
    if let Some(span) = lines.iter().find_map(span_of) {
        return Ok(Some(span));
    }
    let ids: Vec<String> = lines
        .iter()
        .map(|line| line.label("span_id").unwrap_or("no span_id").to_owned())
        .collect();
    let expected = format!("the span_id of a span of {service} in Jaeger's trace {id}");
    Err(Failure::new(expected, some(&ids), LOOK))
}

async fn of_albums(run: &Run<'_>, query: &str) -> Result<String, Failure> {
    answers::answer(&run.requests.albums)?;
    run.until("log lines of albums", || async {
        let lines = lines(run, query).await?;
        let first = lines.first().ok_or_else(|| {
            Failure::new(
                "a log line of albums about the request",
                "no line since it was sent",
                "`./lab logs albums`, the file_log receiver in infra/otel-collector/albums.yaml",
            )
        })?;
        Ok(format!("{}: {}", count(lines.len()), text(first)))
    })
    .await
}

async fn lines(run: &Run<'_>, query: &str) -> Result<Vec<LogLine>, Failure> {
    let since = run.requests.since - MARGIN;
    run.loki()?
        .lines(query, since, SystemTime::now() + MARGIN)
        .await
        .map_err(|error: AskError| {
            Failure::new(
                "an answer of Loki",
                error.to_string(),
                "`./lab status`, `./lab logs loki`",
            )
        })
}

fn count(lines: usize) -> String {
    if lines == 1 {
        "1 line".to_owned()
    } else {
        format!("{lines} lines")
    }
}

fn text(line: &LogLine) -> String {
    let level = line.level().unwrap_or_default();
    format!("{level} `{}`", crate::http::quote(line.line.as_bytes()))
        .trim_start()
        .to_owned()
}
