//! From an exemplar and from a log line to the trace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::super::{Planned, answers, traces};
use super::{FILES, asking_loki, place};
use crate::backend::{Exemplar, Loki, Tempo};
use crate::backends::Part;
use crate::grafana::Datasources;
use crate::grafana::provisioning::{DerivedField, ExemplarDestination};
use crate::grafana::substitute::{Scope, Value, substitute};
use crate::report::Failure;
use crate::traceparent::TraceId;
use crate::verify::{Run, asking_prometheus};

/// A series whose exemplars users offers.
const EXEMPLARS: &str = r#"http_server_request_duration_seconds_bucket{job="users"}"#;
const MARGIN: Duration = Duration::from_secs(1);

pub(super) fn exemplar<'a>(
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
        let names: BTreeSet<&str> = names.map(String::as_str).collect();
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

pub(super) fn derived<'a>(
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
    fn value(&self, line: &str, labels: &BTreeMap<String, String>) -> Result<String, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
