//! From a bucket of a histogram to the trace of a request in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::{Planned, answers, some, traces};
use crate::backends::Part;
use crate::report::Failure;
use crate::verify::{Run, asking_prometheus};

struct Source {
    name: &'static str,
    query: &'static str,
    /// The service whose span must be in the trace.
    service: &'static str,
    look: &'static str,
}

const SOURCES: [Source; 2] = [
    Source {
        name: "exemplar of users -> trace",
        query: r#"http_server_request_duration_seconds_bucket{job="users"}"#,
        service: "users",
        look: "users' /metrics as OpenMetrics, `--enable-feature=exemplar-storage` of Prometheus",
    },
    Source {
        name: "exemplar of edge's spans -> trace",
        query: r#"traces_span_metrics_duration_seconds_bucket{service_name="edge"}"#,
        service: "edge",
        look: "`exemplars` of the span_metrics connector, `enable_open_metrics` of the Collector's prometheus exporter",
    },
];

/// How many exemplars are followed in one try.
const FOLLOWED: usize = 5;
/// Tries before more requests are sent: longer than a scrape interval.
const PATIENCE: usize = 24;
/// As many as one exemplar needs.
const MORE: usize = 16;
const MARGIN: Duration = Duration::from_secs(1);

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    SOURCES
        .iter()
        .map(|source| {
            let asked = run
                .prometheus()
                .map(|prometheus| prometheus.asked("/api/v1/query_exemplars", source.query))
                .unwrap_or_default();
            Planned::new(
                source.name,
                &[Part::Edge, Part::Prometheus, Part::Jaeger],
                asked,
                follow(run, source),
            )
        })
        .collect()
}

async fn follow(run: &Run<'_>, source: &Source) -> Result<String, Failure> {
    answers::answer(&run.requests.users)?;
    let tries = AtomicUsize::new(0);
    run.until(source.name, || async {
        if tries.fetch_add(1, Ordering::Relaxed) % PATIENCE == PATIENCE - 1 {
            run.send_more(MORE).await?;
        }
        resolve(run, source).await
    })
    .await
}

async fn resolve(run: &Run<'_>, source: &Source) -> Result<String, Failure> {
    let exemplars = run
        .prometheus()?
        .exemplars(
            source.query,
            run.requests.since - MARGIN,
            SystemTime::now() + MARGIN,
        )
        .await
        .map_err(asking_prometheus)?;
    if exemplars.is_empty() {
        return Err(Failure::new(
            "an exemplar since the requests were sent",
            "none",
            source.look,
        ));
    }
    let mut nowhere = Vec::new();
    for exemplar in exemplars.iter().take(FOLLOWED) {
        let Some(id) = exemplar.trace() else {
            nowhere.push(format!(
                "an exemplar without a trace id: {:?}",
                exemplar.labels
            ));
            continue;
        };
        match run.jaeger()?.trace(&id).await {
            Ok(Some(trace))
                if trace
                    .spans
                    .iter()
                    .any(|span| span.service == source.service) =>
            {
                return Ok(format!(
                    "{} s in bucket le={} is trace {id} of {} spans",
                    exemplar.value,
                    exemplar.series.get("le").map_or("?", String::as_str),
                    trace.spans.len()
                ));
            }
            Ok(Some(_)) => nowhere.push(format!("{id} has no span of {}", source.service)),
            Ok(None) => nowhere.push(format!("{id} is not in Jaeger")),
            Err(error) => return Err(traces::asking_jaeger(error)),
        }
    }
    Err(Failure::new(
        format!(
            "an exemplar that leads to a trace with a span of {}",
            source.service
        ),
        some(&nowhere),
        "`./lab trace ID`, the traces pipeline in infra/otel-collector/config.yaml",
    ))
}
