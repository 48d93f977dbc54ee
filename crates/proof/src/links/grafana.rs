//! The links that Grafana offers, followed as Grafana would: read from the files it is provisioned with, filled with a real
//! span, log line or exemplar, and put to the real backends.
//!
//! Where Tempo is not, a trace that a link leads to is looked up in Jaeger, which has the same traces.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Planned, answers, some, traces};
use crate::backend::{Exemplar, Loki, Tempo};
use crate::backends::Part;
use crate::grafana::Datasources;
use crate::grafana::provisioning::{
    Datasource, DerivedField, ExemplarDestination, NamedQuery, Tag, TracesToLogs, TracesToMetrics,
    TracesToProfiles, milliseconds,
};
use crate::grafana::substitute::{Scope, Value, substitute};
use crate::report::Failure;
use crate::trace::{Kind, Span, Trace};
use crate::traceparent::TraceId;
use crate::verify::{Run, asking_prometheus};

const FILES: &str = "infra/grafana/provisioning/datasources";
/// A series whose exemplars users offers, and the service that answered.
const EXEMPLARS: &str = r#"http_server_request_duration_seconds_bucket{job="users"}"#;
/// What Grafana makes a service map of.
const SERVICE_MAP: &str = "sum by (client, server) (rate(traces_service_graph_request_total[1m]))";
/// By this attribute a span leads to a profile.
const PROFILE_ID: &str = "pyroscope.profile.id";
const MARGIN: Duration = Duration::from_secs(1);
/// How long an explored query looks back over, at five seconds a scrape.
const RATE_INTERVAL: &str = "20s";

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let name = "Grafana's datasources";
    let asked = FILES.to_owned();
    let sources = match run.backends.grafana.as_deref().map(Datasources::load) {
        None => return vec![nothing(name, asked, "no files are there")],
        Some(Err(error)) => return vec![nothing(name, asked, &error.to_string())],
        Some(Ok(sources)) => sources,
    };
    let mut links = vec![targets(name, &sources)];
    for source in sources.all() {
        let options = &source.options;
        for destination in &options.exemplar_trace_id_destinations {
            links.extend(exemplar(run, &sources, destination));
        }
        for field in &options.derived_fields {
            links.extend(derived(run, &sources, field));
        }
        if let Some(to) = &options.traces_to_logs_v2 {
            links.push(logs(run, source, to));
        }
        if let Some(to) = &options.traces_to_metrics {
            links.extend(
                to.queries
                    .iter()
                    .map(|query| metrics(run, source, to, query)),
            );
        }
        if let Some(to) = &options.traces_to_profiles {
            links.push(profiles(run, source, to));
        }
        if options.service_map.is_some() {
            links.push(service_map(run, source));
        }
    }
    links
}

fn nothing<'a>(name: &str, asked: String, came: &str) -> Planned<'a> {
    let failure = Failure::new("Grafana's datasources", came, FILES).settled();
    Planned::new(
        name,
        &[Part::GrafanaFiles],
        asked,
        async move { Err(failure) },
    )
}

/// Every link must lead to a datasource that there is, of a type that can take it.
fn targets<'a>(name: &str, sources: &Datasources) -> Planned<'a> {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources.all() {
        let options = &source.options;
        let mut check = |what: &str, uid: &str, kinds: &[&str]| {
            seen += 1;
            let from = &source.name;
            match sources.by_uid(uid) {
                None => wrong.push(format!(
                    "{what} of {from} leads to `{uid}`, which there is not"
                )),
                Some(to) if !kinds.contains(&to.kind.as_str()) => {
                    wrong.push(format!(
                        "{what} of {from} leads to {}, a {}",
                        to.name, to.kind
                    ));
                }
                Some(_) => {}
            }
        };
        for to in &options.exemplar_trace_id_destinations {
            check("an exemplar", &to.datasource_uid, &["tempo", "jaeger"]);
        }
        for to in &options.derived_fields {
            check(&to.name, &to.datasource_uid, &["tempo", "jaeger"]);
        }
        if let Some(to) = &options.traces_to_logs_v2 {
            check("tracesToLogsV2", &to.datasource_uid, &["loki"]);
        }
        if let Some(to) = &options.traces_to_metrics {
            check("tracesToMetrics", &to.datasource_uid, &["prometheus"]);
        }
        if let Some(to) = &options.traces_to_profiles {
            check(
                "tracesToProfiles",
                &to.datasource_uid,
                &["grafana-pyroscope-datasource"],
            );
        }
        if let Some(to) = &options.service_map {
            check("serviceMap", &to.datasource_uid, &["prometheus"]);
        }
    }
    let kinds: Vec<&str> = sources.all().iter().map(|one| one.kind.as_str()).collect();
    let told = format!("{seen} links lead to one of {}", kinds.join(", "));
    Planned::new(name, &[Part::GrafanaFiles], FILES, async move {
        if seen == 0 {
            wrong.push("no link at all".to_owned());
        }
        if wrong.is_empty() {
            Ok(told)
        } else {
            Err(Failure::new("links that lead to a datasource", wrong.join("; "), FILES).settled())
        }
    })
}

/// `tempo` or `jaeger`; any other is told by [`targets`].
fn place(sources: &Datasources, uid: &str) -> Option<&'static str> {
    match sources.by_uid(uid)?.kind.as_str() {
        "tempo" => Some("tempo"),
        "jaeger" => Some("jaeger"),
        _ => None,
    }
}

fn exemplar<'a>(
    run: &'a Run<'a>,
    sources: &Datasources,
    destination: &ExemplarDestination,
) -> Option<Planned<'a>> {
    let place = place(sources, &destination.datasource_uid)?;
    let name = format!("Grafana: exemplar -> trace in {place}");
    let asked = run
        .prometheus()
        .map(|prometheus| prometheus.asked("/api/v1/query_exemplars", EXEMPLARS))
        .unwrap_or_default();
    let label = destination.name.clone();
    let needs = [
        Part::GrafanaFiles,
        Part::Edge,
        Part::Prometheus,
        Part::Jaeger,
    ];
    Some(Planned::new(name.clone(), &needs, asked, async move {
        answers::answer(&run.requests.users)?;
        run.until(&name, || async {
            let since = run.requests.since - MARGIN;
            let found = run
                .prometheus()?
                .exemplars(EXEMPLARS, since, SystemTime::now() + MARGIN)
                .await
                .map_err(asking_prometheus)?;
            let id = labelled(&found, &label)?;
            let told = trace_in(run, place, id).await?;
            Ok(format!("{label}={id}: {told}"))
        })
        .await
    }))
}

/// The value of the label that Grafana looks at, of the newest exemplar that has it.
fn labelled<'e>(exemplars: &'e [Exemplar], label: &str) -> Result<&'e str, Failure> {
    let value = exemplars.iter().find_map(|one| one.labels.get(label));
    value.map(String::as_str).ok_or_else(|| {
        let expected = format!("an exemplar since the requests were sent, with a label {label}");
        let names = exemplars.iter().flat_map(|one| one.labels.keys());
        let names: std::collections::BTreeSet<&str> = names.map(String::as_str).collect();
        let came = match exemplars.len() {
            0 => "none".to_owned(),
            count => format!("{count}, labelled {names:?}"),
        };
        Failure::new(
            expected,
            came,
            format!("exemplarTraceIdDestinations in {FILES}"),
        )
    })
}

/// Looks a trace up as the datasource would, by the text that a link has for its id.
async fn trace_in(run: &Run<'_>, place: &str, id: &str) -> Result<String, Failure> {
    let wrong = || {
        let look = format!("the link in {FILES}: a `$` that is not doubled is gone");
        Failure::new("a trace id", format!("`{id}`"), look).settled()
    };
    let id = TraceId::padded(id).ok_or_else(wrong)?;
    let tempo = run.backends.tempo.as_ref().filter(|_| place == "tempo");
    let tempo = tempo.filter(|_| run.backends.missing(Part::Tempo).is_none());
    if let Some(url) = tempo {
        let has = Tempo::new(run.http.clone(), url.clone()).has(&id).await;
        return match has {
            Ok(true) => Ok("a trace in Tempo".to_owned()),
            Ok(false) => Err(Failure::new(
                format!("trace {id}"),
                "Tempo has none",
                traces::LOOK,
            )),
            Err(error) => Err(Failure::new(
                "an answer of Tempo",
                error.to_string(),
                traces::LOOK,
            )),
        };
    }
    let trace = traces::fetch(run.jaeger()?, &id).await?;
    let note = match (place, run.backends.missing(Part::Tempo)) {
        ("tempo", Some(_)) => ", in Jaeger: no Tempo here",
        _ => "",
    };
    Ok(format!("{} spans{note}", trace.spans.len()))
}

fn derived<'a>(
    run: &'a Run<'a>,
    sources: &Datasources,
    field: &DerivedField,
) -> Option<Planned<'a>> {
    let place = place(sources, &field.datasource_uid)?;
    let name = format!("Grafana: log line -> trace in {place}");
    let field = field.clone();
    let query = Loki::trace_query("users", &run.requests.users.traceparent.trace);
    let asked = run
        .loki()
        .map(|loki| loki.asked(&query))
        .unwrap_or_default();
    let needs = [Part::GrafanaFiles, Part::Edge, Part::Loki, Part::Jaeger];
    Some(Planned::new(name.clone(), &needs, asked, async move {
        answers::answer(&run.requests.users)?;
        run.until(&name, || async {
            let since = run.requests.since - MARGIN;
            let lines = run
                .loki()?
                .lines(&query, since, SystemTime::now() + MARGIN)
                .await;
            let lines = lines.map_err(asking_loki)?;
            let line = lines
                .first()
                .ok_or_else(|| Failure::new("a log line of the request", "none", traces::LOOK))?;
            let wrong = |what: String| {
                Failure::new(
                    "a value for the link",
                    what,
                    format!("derivedFields in {FILES}"),
                )
                .settled()
            };
            let value = field.value(&line.line, &line.labels).map_err(wrong)?;
            let scope = Scope::from([("__value.raw".to_owned(), Value::One(value))]);
            let id =
                substitute(&field.url, &scope).map_err(|unknown| wrong(unknown.to_string()))?;
            let told = trace_in(run, place, &id).await?;
            Ok(format!("{}: {id}: {told}", field.name))
        })
        .await
    }))
}

impl DerivedField {
    /// What the field finds in a line, or in the names of its labels.
    fn value(
        &self,
        line: &str,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Result<String, String> {
        let regex = regex::Regex::new(&self.matcher_regex).map_err(|error| error.to_string())?;
        if self.matcher_type == "label" {
            let found = labels.iter().find(|(name, _)| regex.is_match(name));
            return match found {
                Some((_, value)) => Ok(value.clone()),
                None => Err(format!(
                    "no label of the line is called `{}`",
                    self.matcher_regex
                )),
            };
        }
        let found = regex.captures(line).and_then(|found| found.get(1));
        found
            .map(|found| found.as_str().to_owned())
            .ok_or_else(|| format!("`{}` is not in the line `{line}`", self.matcher_regex))
    }
}

fn asking_loki(error: crate::http::AskError) -> Failure {
    let refused = matches!(&error, crate::http::AskError::Status { status: 400, .. });
    let failure = Failure::new("an answer of Loki", error.to_string(), FILES);
    if refused { failure.settled() } else { failure }
}

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

fn logs<'a>(run: &'a Run<'a>, source: &Datasource, to: &TracesToLogs) -> Planned<'a> {
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
            let of = |line: &&crate::backend::LogLine| {
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

fn metrics<'a>(
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
fn profiles<'a>(run: &'a Run<'a>, source: &Datasource, to: &TracesToProfiles) -> Planned<'a> {
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

fn service_map<'a>(run: &'a Run<'a>, source: &Datasource) -> Planned<'a> {
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
    use std::collections::BTreeMap;

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
    fn a_field_is_found_by_label_or_in_the_line() {
        let labels = BTreeMap::from([("trace_id".to_owned(), "abc".to_owned())]);
        let field = |kind: &str, regex: &str| DerivedField {
            name: "T".to_owned(),
            matcher_type: kind.to_owned(),
            matcher_regex: regex.to_owned(),
            datasource_uid: "tempo".to_owned(),
            url: String::new(),
        };
        let line = "trace=def done";
        assert_eq!(
            field("label", "trace_id").value(line, &labels),
            Ok("abc".to_owned())
        );
        assert_eq!(
            field("regex", r"trace=(\w+)").value(line, &labels),
            Ok("def".to_owned())
        );
        assert!(field("label", "traceID").value(line, &labels).is_err());
        assert!(
            field("regex", r"traceID=(\w+)")
                .value(line, &labels)
                .is_err()
        );
        assert!(field("label", "(").value(line, &labels).is_err());
    }

    #[test]
    fn a_span_near_the_epoch_is_asked_for_from_the_epoch_on() {
        assert_eq!(at(1_000, -500), UNIX_EPOCH);
        assert_eq!(at(1_500_000, 500), UNIX_EPOCH + Duration::from_millis(2000));
    }
}
