//! Nothing is lost between a service and its backends, by the account of those on the way.
//!
//! Losses are those since the requests were sent: an incident that is over is no failure of the lab. What was lost
//! before is told.

use super::{Planned, answers, some};
use crate::backend::{Labels, Sample, total};
use crate::backends::Part;
use crate::report::Failure;
use crate::verify::{Run, asking_prometheus, rise};

const NAME: &str = "nothing was lost on the way";
const SERVICES: &str = "the services dropped nothing";
const LOOK: &str = "`./lab logs otel-collector`, and the backend behind the exporter that is named";

/// Refused by receivers and processors, failed or dropped by exporters, not let into a queue; Jaeger is a Collector
/// too. What Loki took but did not keep.
const LOST: &str = r#"{job=~"otel-collector-internal|jaeger|loki",__name__=~"otelcol_(receiver|processor|exporter|connector)_.*(refused|failed|errored|dropped).*|loki_discarded_samples_total"}"#;
/// What came in and what went out.
const FLOW: &str = r#"{job="otel-collector-internal",__name__=~"otelcol_(receiver_accepted|exporter_sent)_(spans|log_records|metric_points).*"}"#;
const QUEUES: &str =
    r#"{job="otel-collector-internal",__name__=~"otelcol_exporter_queue_(size|capacity)"}"#;

/// What the services handed to their exporters, what those sent, and (with an `error_type`) what was dropped.
const SENT: &str = r#"{job=~"edge|users",__name__=~"otel_sdk_(processor|exporter)_(span|log)_(processed|exported)_total"}"#;

pub(super) const COUNTERS: [&str; 3] = [LOST, FLOW, SENT];

/// The shortest way of a request for users leaves this many spans and log lines.
const SPANS: usize = 4;
const LINES: usize = 2;

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let asked = |query: &str| {
        run.prometheus()
            .map(|prometheus| prometheus.asked("/api/v1/query", query))
            .unwrap_or_default()
    };
    vec![
        Planned::new(
            SERVICES,
            &[Part::Edge, Part::Prometheus],
            asked(SENT),
            services(run),
        ),
        Planned::new(
            NAME,
            &[Part::Edge, Part::Prometheus, Part::Collector],
            asked(LOST),
            follow(run),
        ),
    ]
}

async fn services(run: &Run<'_>) -> Result<String, Failure> {
    answers::answer(&run.requests.users)?;
    let requests = run.requests.users_answered();
    run.until(SERVICES, || async {
        let now = run
            .prometheus()?
            .query(SENT)
            .await
            .map_err(asking_prometheus)?;
        judge_services(run.before(SENT)?, &now, requests)
    })
    .await
}

/// Nothing was dropped, and each service sent what its part of the requests left: two spans and a line each.
fn judge_services(before: &[Sample], now: &[Sample], requests: usize) -> Result<String, Failure> {
    let look = "`./lab logs edge`, `./lab logs users`, OTEL_BSP_MAX_QUEUE_SIZE, `./lab logs otel-collector`";
    let (dropped_before, _) = split(before);
    let (dropped, sent) = split(now);
    let earlier = total(&dropped_before);
    let dropped = rises(&dropped_before, &dropped);
    if !dropped.is_empty() {
        return Err(Failure::new("nothing dropped", some(&dropped), look).settled());
    }
    let mut told = Vec::new();
    for job in ["edge", "users"] {
        for (what, least) in [("span", requests * 2), ("log", requests)] {
            let name = format!("otel_sdk_exporter_{what}_exported_total");
            let of =
                |sample: &&Sample| sample.label("__name__") == name && sample.label("job") == job;
            let rose: f64 = sent
                .iter()
                .filter(of)
                .map(|sample| rise(value_of(before, &sample.labels), sample.value))
                .fold(0.0, |sum, rise| sum + rise);
            if rose + 0.5 < least as f64 {
                return Err(Failure::new(
                    format!("{name} of {job} to rise by {least}"),
                    format!("a rise by {rose}"),
                    look,
                ));
            }
            told.push(format!("{job} sent {rose} {what}s"));
        }
    }
    let note = if earlier > 0.0 {
        format!("; {earlier} were lost earlier")
    } else {
        String::new()
    };
    Ok(format!("{}, dropped none{note}", told.join(", ")))
}

/// What was dropped, and what was not.
fn split(samples: &[Sample]) -> (Vec<Sample>, Vec<Sample>) {
    samples
        .iter()
        .cloned()
        .partition(|sample| !sample.label("error_type").is_empty())
}

async fn follow(run: &Run<'_>) -> Result<String, Failure> {
    answers::answer(&run.requests.users)?;
    let requests = run.requests.users_answered();
    run.until(NAME, || async {
        let prometheus = run.prometheus()?;
        let lost_before = run.before(LOST)?;
        let lost_now = prometheus.query(LOST).await.map_err(asking_prometheus)?;
        let lost = rises(lost_before, &lost_now);
        if !lost.is_empty() {
            return Err(
                Failure::new("nothing refused, failed or dropped", some(&lost), LOOK).settled(),
            );
        }
        let queues = prometheus.query(QUEUES).await.map_err(asking_prometheus)?;
        let full = full(&queues);
        if !full.is_empty() {
            return Err(Failure::new("room in every queue", some(&full), LOOK));
        }
        // Only what has passed can be known not to be lost.
        let flow = prometheus.query(FLOW).await.map_err(asking_prometheus)?;
        let flow = flow_since(run.before(FLOW)?, &flow);
        let passed = passed(&flow, requests)?;
        let earlier = total(lost_before);
        let note = if earlier > 0.0 {
            format!("; {earlier} were lost earlier")
        } else {
            String::new()
        };
        Ok(format!(
            "{passed}; nothing refused, failed or dropped meanwhile{note}"
        ))
    })
    .await
}

/// The counters that rose, and by how much.
fn rises(before: &[Sample], now: &[Sample]) -> Vec<String> {
    now.iter()
        .filter_map(|sample| {
            let earlier = value_of(before, &sample.labels);
            let rose = rise(earlier, sample.value);
            (rose > 0.0).then(|| format!("{} by {rose}", series(&sample.labels)))
        })
        .collect()
}

fn value_of(samples: &[Sample], labels: &Labels) -> f64 {
    samples
        .iter()
        .find(|sample| sample.labels == *labels)
        .map_or(0.0, |sample| sample.value)
}

/// A series as people read it.
fn series(labels: &Labels) -> String {
    let text = |name: &str| labels.get(name).map_or("", String::as_str);
    let who = ["receiver", "processor", "exporter", "reason", "error_type"]
        .iter()
        .find_map(|kind| labels.get(*kind))
        .map(|name| format!(" {name}"))
        .unwrap_or_default();
    format!("{} of {}{who}", text("__name__"), text("job"))
}

/// Queues without room.
fn full(queues: &[Sample]) -> Vec<String> {
    let of = |name: &'static str| {
        queues
            .iter()
            .filter(move |sample| sample.label("__name__") == name)
    };
    of("otelcol_exporter_queue_size")
        .filter_map(|size| {
            let capacity = of("otelcol_exporter_queue_capacity").find(|capacity| {
                capacity.label("exporter") == size.label("exporter")
                    && capacity.label("data_type") == size.label("data_type")
            })?;
            (capacity.value > 0.0 && size.value >= capacity.value).then(|| {
                format!(
                    "{} of {} places of {} taken",
                    size.value,
                    capacity.value,
                    size.label("exporter")
                )
            })
        })
        .collect()
}

/// What passed one receiver or exporter.
#[derive(Debug, PartialEq)]
struct Flow {
    /// `spans`, `log_records`
    what: &'static str,
    into: bool,
    /// The exporter; receivers are taken together.
    name: String,
    count: f64,
}

fn flow_since(before: &[Sample], now: &[Sample]) -> Vec<Flow> {
    let mut flows: Vec<Flow> = Vec::new();
    for sample in now {
        let metric = sample.label("__name__");
        let Some(what) = ["spans", "log_records"]
            .into_iter()
            .find(|what| metric.contains(what))
        else {
            continue;
        };
        let into = metric.contains("receiver");
        let name = if into {
            "receivers".to_owned()
        } else {
            sample.label("exporter").to_owned()
        };
        let count = rise(value_of(before, &sample.labels), sample.value);
        match flows
            .iter_mut()
            .find(|flow| flow.what == what && flow.into == into && flow.name == name)
        {
            Some(flow) => flow.count += count,
            None => flows.push(Flow {
                what,
                into,
                name,
                count,
            }),
        }
    }
    flows
}

/// Everything that the requests left must have come in and gone out by every exporter.
fn passed(flows: &[Flow], requests: usize) -> Result<String, Failure> {
    let mut told = Vec::new();
    for (what, least) in [
        ("spans", requests * SPANS),
        ("log_records", requests * LINES),
    ] {
        for into in [true, false] {
            let these: Vec<&Flow> = flows
                .iter()
                .filter(|flow| flow.what == what && flow.into == into)
                .collect();
            let verb = if into { "received" } else { "sent" };
            let short = these.iter().find(|flow| flow.count + 0.5 < least as f64);
            if these.is_empty() || short.is_some() {
                let came = short.map_or_else(
                    || "none".to_owned(),
                    |flow| format!("{} by {}", flow.count, flow.name),
                );
                return Err(Failure::new(
                    format!("at least {least} {what} {verb}"),
                    came,
                    LOOK,
                ));
            }
            if !into {
                let who: Vec<String> = these
                    .iter()
                    .filter(|flow| flow.name != "debug")
                    .map(|flow| format!("{} {what} to {}", flow.count, flow.name))
                    .collect();
                told.push(who.join(", "));
            }
        }
    }
    Ok(told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> Sample {
        let mut labels: Labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        labels.insert("__name__".to_owned(), name.to_owned());
        labels.insert("job".to_owned(), "c".to_owned());
        Sample { labels, value }
    }

    #[test]
    fn a_loss_is_named() {
        let failed = |value| {
            sample(
                "otelcol_exporter_send_failed_spans",
                &[("exporter", "otlp_http/jaeger")],
                value,
            )
        };
        let refused = sample(
            "otelcol_receiver_refused_log_records",
            &[("receiver", "otlp")],
            3.0,
        );
        assert!(rises(&[failed(2.0)], &[failed(2.0)]).is_empty());
        assert_eq!(
            rises(&[failed(2.0)], &[failed(5.0), refused]),
            [
                "otelcol_exporter_send_failed_spans of c otlp_http/jaeger by 3",
                "otelcol_receiver_refused_log_records of c otlp by 3"
            ]
        );
    }

    #[test]
    fn a_service_that_drops_is_named() {
        let exported = |job: &str, what: &str, value| {
            let mut sample = sample(
                &format!("otel_sdk_exporter_{what}_exported_total"),
                &[],
                value,
            );
            sample.labels.insert("job".to_owned(), job.to_owned());
            sample
        };
        let mut all = vec![
            exported("edge", "span", 20.0),
            exported("edge", "log", 10.0),
            exported("users", "span", 20.0),
            exported("users", "log", 10.0),
        ];
        assert!(judge_services(&[], &all, 10).is_ok());
        assert_eq!(
            judge_services(&[], &all, 11).expect_err("too few").came,
            "a rise by 20"
        );
        assert_eq!(
            judge_services(&all, &all, 1).expect_err("none").came,
            "a rise by 0"
        );
        let error = ("error_type", "queue_full");
        all.push(sample(
            "otel_sdk_processor_span_processed_total",
            &[error],
            3.0,
        ));
        let failure = judge_services(&[], &all, 10).expect_err("dropped");
        assert_eq!(
            failure.came,
            "otel_sdk_processor_span_processed_total of c queue_full by 3"
        );
        // An incident that is over is told, and is no failure.
        let later: Vec<Sample> = all
            .iter()
            .map(|sample| Sample {
                labels: sample.labels.clone(),
                value: if sample.value > 3.0 {
                    sample.value * 2.0
                } else {
                    sample.value
                },
            })
            .collect();
        let told = judge_services(&all, &later, 5).expect("nothing dropped since");
        assert!(
            told.ends_with("dropped none; 3 were lost earlier"),
            "{told}"
        );
    }

    #[test]
    fn a_full_queue_is_named() {
        let queue = |name: &str, value| {
            sample(
                name,
                &[("exporter", "otlp_http/loki"), ("data_type", "logs")],
                value,
            )
        };
        let capacity = queue("otelcol_exporter_queue_capacity", 1000.0);
        assert!(full(&[queue("otelcol_exporter_queue_size", 10.0), capacity.clone()]).is_empty());
        assert_eq!(
            full(&[queue("otelcol_exporter_queue_size", 1000.0), capacity]),
            ["1000 of 1000 places of otlp_http/loki taken"]
        );
    }

    fn flow(spans_in: f64, spans_out: f64) -> Vec<Flow> {
        let now = [
            sample(
                "otelcol_receiver_accepted_spans",
                &[("receiver", "otlp"), ("transport", "grpc")],
                spans_in,
            ),
            sample(
                "otelcol_receiver_accepted_spans",
                &[("receiver", "otlp"), ("transport", "http")],
                0.0,
            ),
            sample(
                "otelcol_exporter_sent_spans",
                &[("exporter", "otlp_http/jaeger")],
                spans_out,
            ),
            sample(
                "otelcol_receiver_accepted_log_records",
                &[("receiver", "otlp")],
                20.0,
            ),
            sample(
                "otelcol_exporter_sent_log_records",
                &[("exporter", "otlp_http/loki")],
                20.0,
            ),
        ];
        flow_since(&[], &now)
    }

    #[test]
    fn what_came_in_must_go_out() {
        assert_eq!(
            passed(&flow(40.0, 40.0), 10).expect("all"),
            "40 spans to otlp_http/jaeger, 20 log_records to otlp_http/loki"
        );
        let failure = passed(&flow(40.0, 39.0), 10).expect_err("one is missing");
        assert_eq!(failure.expected, "at least 40 spans sent");
        assert_eq!(failure.came, "39 by otlp_http/jaeger");
        let failure = passed(&flow(10.0, 40.0), 10).expect_err("not received");
        assert_eq!(failure.came, "10 by receivers");
        assert_eq!(passed(&[], 1).expect_err("nothing").came, "none");
    }
}
