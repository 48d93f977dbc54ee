//! The links that Grafana offers, followed as Grafana would: read from the files it is provisioned with, filled with a real
//! span, log line or exemplar, and put to the real backends.
//!
//! Where Tempo is not, a trace that a link leads to is looked up in Jaeger, which has the same traces.

mod spans;
mod to_traces;

use super::Planned;
use crate::backends::Part;
use crate::grafana::Datasources;
use crate::report::Failure;
use crate::verify::Run;

const FILES: &str = "infra/grafana/provisioning/datasources";

pub(in crate::links) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
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
            links.extend(to_traces::exemplar(run, &sources, destination));
        }
        for field in &options.derived_fields {
            links.extend(to_traces::derived(run, &sources, field));
        }
        if let Some(to) = &options.traces_to_logs_v2 {
            links.push(spans::logs(run, source, to));
        }
        if let Some(to) = &options.traces_to_metrics {
            links.extend(
                to.queries
                    .iter()
                    .map(|query| spans::metrics(run, source, to, query)),
            );
        }
        if let Some(to) = &options.traces_to_profiles {
            links.push(spans::profiles(run, source, to));
        }
        if options.service_map.is_some() {
            links.push(spans::service_map(run, source));
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

fn asking_loki(error: crate::http::AskError) -> Failure {
    let refused = matches!(&error, crate::http::AskError::Status { status: 400, .. });
    let failure = Failure::new("an answer of Loki", error.to_string(), FILES);
    if refused { failure.settled() } else { failure }
}
