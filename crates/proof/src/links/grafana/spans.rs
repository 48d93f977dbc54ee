//! From a span to its log lines, to the metrics of its operation, to its profile; and the map of all services.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::{Planned, answers, some, traces};
use super::{FILES, asking_loki};
use crate::backend::LogLine;
use crate::backends::Part;
use crate::grafana::provisioning::{
    Datasource, NamedQuery, Tag, TracesToLogs, TracesToMetrics, TracesToProfiles, milliseconds,
};
use crate::grafana::substitute::{Scope, Value, substitute};
use crate::report::Failure;
use crate::trace::{Kind, Span, Trace};
use crate::verify::{Run, asking_prometheus};

/// What Grafana makes a service map of.
const SERVICE_MAP: &str = "sum by (client, server) (rate(traces_service_graph_request_total[1m]))";
/// By this attribute a span leads to a profile.
const PROFILE_ID: &str = "pyroscope.profile.id";
/// How long an explored query looks back over, at five seconds a scrape.
const RATE_INTERVAL: &str = "20s";

/// The span of users' answer: what somebody would click on.
async fn clicked(run: &Run<'_>) -> Result<(Trace, Span), Failure> {
    let id = &run.requests.users.traceparent.trace;
    let trace = traces::fetch(run.jaeger()?, id).await?;
    let span = trace
        .spans
        .iter()
        .find(|span| span.service == "users" && span.kind == Kind::Server)
        .cloned();
    let span = span
        .ok_or_else(|| Failure::new(format!("users' span in trace {id}"), "none", traces::LOOK))?;
    Ok((trace, span))
}

/// What stands for a span in a link's query.
fn scope_of(trace: &Trace, span: &Span, tags: &[Tag]) -> Scope {
    let one = |name: &str, value: &str| (name.to_owned(), Value::One(value.to_owned()));
    let mut scope = Scope::from([
        one("__trace.traceId", &trace.id),
        one("__span.traceId", &trace.id),
        one("__span.spanId", &span.id),
        one("__span.name", &span.name),
        one("__tags", &matchers(span, tags)),
        one("__rate_interval", RATE_INTERVAL),
    ]);
    for name in span.attributes.keys() {
        if let Some(value) = span.text(name) {
            let _before = scope.insert(format!("__span.tags.{name}"), Value::One(value));
        }
    }
    scope
}

/// `service_name="users"`, of those tags that the span has.
fn matchers(span: &Span, tags: &[Tag]) -> String {
    let all: Vec<String> = tags
        .iter()
        .filter_map(|tag| {
            let value = match tag.key.as_str() {
                "service.name" => span.service.clone(),
                key => span.text(key)?,
            };
            let label = match tag.value.as_str() {
                "" => tag.key.replace('.', "_"),
                label => label.to_owned(),
            };
            Some(format!("{label}=\"{value}\""))
        })
        .collect();
    all.join(", ")
}

fn filled(query: &str, scope: &Scope) -> Result<String, Failure> {
    substitute(query, scope).map_err(|unknown| {
        Failure::new("a query that can be filled", unknown.to_string(), FILES).settled()
    })
}

pub(super) fn logs<'a>(run: &'a Run<'a>, source: &Datasource, to: &TracesToLogs) -> Planned<'a> {
    let name = format!("Grafana: span in {} -> its log lines", source.kind);
    let needs = [Part::GrafanaFiles, Part::Edge, Part::Jaeger, Part::Loki];
    let to = to.clone();
    Planned::new(name.clone(), &needs, to.query.clone(), async move {
        answers::answer(&run.requests.users)?;
        let wrong = |what: String| {
            Failure::new(
                "a link that can be followed",
                what,
                format!("tracesToLogsV2 in {FILES}"),
            )
            .settled()
        };
        if !to.custom_query {
            // What Grafana writes by itself looks for the id in the line.
            return Err(wrong(
                "no query of our own, which structured metadata need".to_owned(),
            ));
        }
        let shift =
            |text: &str| milliseconds(text).ok_or_else(|| wrong(format!("`{text}` is no time")));
        let (before, after) = (
            shift(&to.span_start_time_shift)?,
            shift(&to.span_end_time_shift)?,
        );
        run.until(&name, || async {
            let (trace, span) = clicked(run).await?;
            let query = filled(&to.query, &scope_of(&trace, &span, &to.tags))?;
            let from = at(span.start_us, before);
            let until = at(span.start_us.saturating_add(span.duration_us), after);
            let lines = run
                .loki()?
                .lines(&query, from, until)
                .await
                .map_err(asking_loki)?;
            let of = |line: &&LogLine| {
                line.service() == span.service && line.label("trace_id") == Some(&trace.id)
            };
            match (lines.iter().find(of), lines.iter().all(|line| of(&line))) {
                (Some(line), true) => Ok(format!(
                    "{} lines: `{}` for {query}",
                    lines.len(),
                    line.line
                )),
                (None, _) => Err(Failure::new(
                    format!("log lines of {span}"),
                    format!("none for {query}"),
                    format!("tracesToLogsV2 in {FILES}"),
                )),
                (Some(_), false) => {
                    let all: Vec<String> = lines.iter().map(|line| line.line.clone()).collect();
                    Err(Failure::new(
                        format!("log lines of {span} and no others"),
                        format!("{} for {query}", some(&all)),
                        format!("tracesToLogsV2 in {FILES}"),
                    )
                    .settled())
                }
            }
        })
        .await
    })
}

/// A span's time, moved. Grafana asks by the millisecond.
fn at(us: u64, shift_ms: i64) -> SystemTime {
    let ms = i64::try_from(us / 1000)
        .unwrap_or(i64::MAX)
        .saturating_add(shift_ms);
    UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

pub(super) fn metrics<'a>(
    run: &'a Run<'a>,
    source: &Datasource,
    to: &TracesToMetrics,
    query: &NamedQuery,
) -> Planned<'a> {
    let name = format!("Grafana: span in {} -> {}", source.kind, lower(&query.name));
    let needs = [
        Part::GrafanaFiles,
        Part::Edge,
        Part::Jaeger,
        Part::Prometheus,
    ];
    let (tags, query) = (to.tags.clone(), query.query.clone());
    Planned::new(name.clone(), &needs, query.clone(), async move {
        answers::answer(&run.requests.users)?;
        run.until(&name, || async {
            let (trace, span) = clicked(run).await?;
            let query = filled(&query, &scope_of(&trace, &span, &tags))?;
            let samples = run
                .prometheus()?
                .query(&query)
                .await
                .map_err(asking_prometheus)?;
            if let Some(found) = samples.iter().find(|sample| sample.value.is_finite()) {
                return Ok(format!("{} for {query}", found.value));
            }
            // On a lab that was just started all of our requests are in the first value of a series,
            // and a rate is known from the second on.
            run.send_more(1).await?;
            Err(Failure::new(
                "a value",
                format!("{} series, none with a value, for {query}", samples.len()),
                format!("tracesToMetrics in {FILES}"),
            ))
        })
        .await
    })
}

fn lower(name: &str) -> String {
    let mut chars = name.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

/// From a span to the profile of its service, in which the span finds its own samples by its id.
pub(super) fn profiles<'a>(
    run: &'a Run<'a>,
    source: &Datasource,
    to: &TracesToProfiles,
) -> Planned<'a> {
    let name = format!("Grafana: span in {} -> its profile", source.kind);
    let needs = [
        Part::GrafanaFiles,
        Part::Edge,
        Part::Jaeger,
        Part::Pyroscope,
    ];
    let to = to.clone();
    let asked = to.profile_type_id.clone();
    Planned::new(name.clone(), &needs, asked, async move {
        answers::answer(&run.requests.users)?;
        run.until(&name, || async {
            let (_, span) = clicked(run).await?;
            match span.text(PROFILE_ID) {
                Some(id) if id == span.id => {}
                other => {
                    return Err(Failure::new(
                        format!("{PROFILE_ID}={} at {span}", span.id),
                        other.unwrap_or_else(|| "none".to_owned()),
                        "TELEMETRY_PROFILING and PYROSCOPE_ENDPOINT of users",
                    )
                    .settled());
                }
            }
            let query = format!("{}{{{}}}", to.profile_type_id, matchers(&span, &to.tags));
            let samples = run.pyroscope()?.samples(&query).await.map_err(|error| {
                Failure::new("an answer of Pyroscope", error.to_string(), FILES)
            })?;
            if samples == 0 {
                let look = format!("tracesToProfiles in {FILES}, `./lab logs users`");
                return Err(Failure::new("samples", format!("none for {query}"), look));
            }
            Ok(format!("{samples} ns for {query}"))
        })
        .await
    })
}

pub(super) fn service_map<'a>(run: &'a Run<'a>, source: &Datasource) -> Planned<'a> {
    let name = format!("Grafana: service map of {}", source.kind);
    let needs = [Part::GrafanaFiles, Part::Edge, Part::Prometheus];
    let asked = run
        .prometheus()
        .map(|prometheus| prometheus.asked("/api/v1/query", SERVICE_MAP))
        .unwrap_or_default();
    Planned::new(name.clone(), &needs, asked, async move {
        answers::answer(&run.requests.users)?;
        run.until(&name, || async {
            let edges = run
                .prometheus()?
                .query(SERVICE_MAP)
                .await
                .map_err(asking_prometheus)?;
            let mut shown: Vec<String> = edges
                .iter()
                .map(|edge| format!("{} -> {}", edge.label("client"), edge.label("server")))
                .collect();
            shown.sort();
            for wanted in ["edge -> users", "users -> postgres"] {
                if !shown.iter().any(|edge| edge == wanted) {
                    let look = "service_graph in infra/otel-collector/config.yaml";
                    return Err(Failure::new(wanted, some(&shown), look));
                }
            }
            Ok(some(&shown))
        })
        .await
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::chain;

    fn tag(key: &str, value: &str) -> Tag {
        Tag {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn tags_become_matchers() {
        let span = &chain()[2];
        let tags = [tag("service.name", "service_name"), tag("k8s.pod.name", "")];
        assert_eq!(matchers(span, &tags), "service_name=\"users\"");
        assert_eq!(
            matchers(span, &[tag("service.name", "")]),
            "service_name=\"users\""
        );
        assert_eq!(matchers(span, &[]), "");
    }

    #[test]
    fn a_query_is_filled_as_grafana_does() {
        let span = chain()[2].clone();
        let trace = Trace::new("0af7651916cd43dd8448eb211c80319c".to_owned(), chain());
        let scope = scope_of(&trace, &span, &[tag("service.name", "service_name")]);
        assert_eq!(
            filled("{${__tags}} | trace_id=`${__trace.traceId}`", &scope),
            Ok("{service_name=\"users\"} | trace_id=`0af7651916cd43dd8448eb211c80319c`".to_owned())
        );
        assert!(filled("{${__tag}}", &scope).is_err());
    }

    #[test]
    fn a_span_near_the_epoch_is_asked_for_from_the_epoch_on() {
        assert_eq!(at(1_000, -500), UNIX_EPOCH);
        assert_eq!(at(1_500_000, 500), UNIX_EPOCH + Duration::from_millis(2000));
    }
}
