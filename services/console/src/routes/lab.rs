//! `/api/lab`: the components with what the supervisor knows of them, and who calls whom, how often,
//! how slowly, with how many errors.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use service::Problem;

use crate::app::App;
use crate::backends::{AskError, Sample};
use crate::components::Component;

/// Rates are taken over this time: twelve scrapes.
const WINDOW: &str = "1m";

pub(crate) fn router() -> Router<App> {
    Router::new().route("/api/lab", get(lab))
}

#[derive(Debug, Serialize)]
struct Lab {
    /// What is there to be shown besides what every lab has.
    pages: Vec<&'static str>,
    /// By the supervisor's account; in containers by their own.
    components: Vec<Component>,
    /// Why the components are not known.
    components_problem: Option<String>,
    window: &'static str,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// What goes to the backends.
    signals: Vec<Signal>,
    /// Why the graph is not known.
    graph_problem: Option<String>,
}

#[derive(Deserialize)]
struct StateFile {
    components: Vec<Component>,
}

/// Telemetry on its way.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Signal {
    from: &'static str,
    to: &'static str,
    what: &'static str,
    /// `None` where nobody counts it yet.
    per_second: Option<f64>,
}

/// Each with the query that counts it, by the Collector's own account and Prometheus'.
const SIGNALS: [(&str, &str, &str, &str); 7] = [
    (
        "services",
        "otel-collector",
        "spans",
        "sum(rate(otelcol_receiver_accepted_spans_total{job=\"otel-collector-internal\"}[1m]))",
    ),
    (
        "services",
        "otel-collector",
        "logs",
        "sum(rate(otelcol_receiver_accepted_log_records_total{job=\"otel-collector-internal\"}[1m]))",
    ),
    (
        "services",
        "otel-collector",
        "points",
        "sum(rate(otelcol_receiver_accepted_metric_points_total{job=\"otel-collector-internal\"}[1m]))",
    ),
    (
        "otel-collector",
        "jaeger",
        "spans",
        "sum(rate(otelcol_exporter_sent_spans_total{exporter=\"otlp_http/jaeger\"}[1m]))",
    ),
    (
        "otel-collector",
        "loki",
        "logs",
        "sum(rate(otelcol_exporter_sent_log_records_total{exporter=\"otlp_http/loki\"}[1m]))",
    ),
    (
        "otel-collector",
        "prometheus",
        "points",
        "sum(rate(otelcol_exporter_sent_metric_points_total{exporter=\"prometheus\"}[1m]))",
    ),
    (
        "alertmanager",
        "webhook",
        "notifications",
        "sum(rate(alertmanager_notifications_total{integration=\"webhook\"}[1m]))",
    ),
];

/// Somebody who is called, or calls.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Node {
    name: String,
    #[serde(flatten)]
    load: Load,
}

/// Calls from one to another.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Edge {
    client: String,
    server: String,
    /// `database`, `messaging_system`, `virtual_node`, or empty.
    kind: String,
    #[serde(flatten)]
    load: Load,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Load {
    /// A second.
    requests: f64,
    /// A second.
    errors: f64,
    /// Seconds; `None` when nothing was asked.
    p50: Option<f64>,
    p95: Option<f64>,
}

async fn lab(State(app): State<App>) -> Result<Json<impl Serialize>, Problem> {
    let (components, graph, signals) = tokio::join!(components(&app), graph(&app), signals(&app));
    let (components, components_problem) = match components {
        Ok(components) => (components, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let (edges, graph_problem) = match graph {
        Ok(edges) => (edges, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    // Both ask Prometheus: one explanation is enough.
    let signals = signals.unwrap_or_default();
    Ok(Json(Lab {
        pages: pages(&app),
        components,
        components_problem,
        window: WINDOW,
        nodes: nodes(&edges),
        edges,
        signals,
        graph_problem,
    }))
}

fn pages(app: &App) -> Vec<&'static str> {
    let mut pages = Vec::new();
    if app.settings.dashboards.is_some() {
        pages.push("dashboards");
    }
    if app.settings.lab_program.is_some() || app.desk.is_some() {
        pages.push("incidents");
    }
    pages
}

/// What the supervisor wrote, if there is one that writes; else what each says of itself.
pub(crate) async fn components(app: &App) -> Result<Vec<Component>, String> {
    let Some(path) = &app.settings.state_file else {
        return Ok(app.watch.look().await);
    };
    let text = tokio::fs::read(path)
        .await
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let state: StateFile = serde_json::from_slice(&text)
        .map_err(|error| format!("{} has another layout: {error}", path.display()))?;
    Ok(state.components)
}

/// The edges of the last minute. The caller's view of the time is taken: it includes the way.
async fn graph(app: &App) -> Result<Vec<Edge>, AskError> {
    const BY: &str = "client, server, connection_type";
    let rate = |metric: &str| format!("sum by ({BY}) (rate({metric}[{WINDOW}]))");
    let quantile = |q: &str| {
        format!(
            "histogram_quantile({q}, sum by ({BY}, le) (rate(traces_service_graph_request_client_seconds_bucket[{WINDOW}])))"
        )
    };
    let queries = [
        rate("traces_service_graph_request_total"),
        rate("traces_service_graph_request_failed_total"),
        quantile("0.5"),
        quantile("0.95"),
    ];
    let answers = try_join_all(queries.iter().map(|query| app.backends.query(query))).await?;
    Ok(edges(&answers))
}

async fn signals(app: &App) -> Result<Vec<Signal>, AskError> {
    let queries = SIGNALS.iter().map(|(.., query)| app.backends.query(query));
    let answers = try_join_all(queries).await?;
    let signals = SIGNALS.iter().zip(&answers);
    Ok(signals
        .map(|((from, to, what, _), samples)| Signal {
            from,
            to,
            what,
            per_second: samples.first().and_then(Sample::number),
        })
        .collect())
}

/// Puts the answers of rate, errors and quantiles together by edge.
fn edges(answers: &[Vec<Sample>]) -> Vec<Edge> {
    let mut edges: BTreeMap<(String, String, String), Load> = BTreeMap::new();
    for (index, samples) in answers.iter().enumerate() {
        for sample in samples {
            let label = |name| sample.label(name).to_owned();
            let key = (label("client"), label("server"), label("connection_type"));
            let load = edges.entry(key).or_default();
            let number = sample.number();
            match index {
                0 => load.requests = number.unwrap_or_default(),
                1 => load.errors = number.unwrap_or_default(),
                2 => load.p50 = number,
                _ => load.p95 = number,
            }
        }
    }
    edges
        .into_iter()
        .map(|((client, server, kind), load)| Edge {
            client,
            server,
            kind,
            load,
        })
        .collect()
}

/// Everybody on an edge, with what is asked of them. Of the times of several callers the slowest
/// is told: quantiles cannot be added.
fn nodes(edges: &[Edge]) -> Vec<Node> {
    let names: BTreeSet<&str> = edges
        .iter()
        .flat_map(|edge| [edge.client.as_str(), edge.server.as_str()])
        .collect();
    names
        .into_iter()
        .map(|name| {
            let mut load = Load::default();
            for edge in edges.iter().filter(|edge| edge.server == name) {
                load.requests += edge.load.requests;
                load.errors += edge.load.errors;
                load.p50 = slower(load.p50, edge.load.p50);
                load.p95 = slower(load.p95, edge.load.p95);
            }
            Node {
                name: name.to_owned(),
                load,
            }
        })
        .collect()
}

fn slower(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(text: &str) -> Vec<Sample> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn answers_are_put_together_by_edge() {
        let edge = r#"{"client":"edge","server":"users","connection_type":""}"#;
        let other = r#"{"client":"user","server":"users"}"#;
        let answers = [
            samples(&format!(
                r#"[{{"metric":{edge},"value":[1,"4"]}},{{"metric":{other},"value":[1,"2"]}}]"#
            )),
            samples(&format!(r#"[{{"metric":{edge},"value":[1,"1"]}}]"#)),
            samples(&format!(r#"[{{"metric":{edge},"value":[1,"0.1"]}}]"#)),
            samples(&format!(r#"[{{"metric":{other},"value":[1,"NaN"]}}]"#)),
        ];
        let edges = edges(&answers);
        assert_eq!(edges.len(), 2);
        let nodes = nodes(&edges);
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["edge", "user", "users"]);
        let users = &nodes[2].load;
        assert_eq!((users.requests, users.errors), (6.0, 1.0));
        assert_eq!((users.p50, users.p95), (Some(0.1), None));
    }
}
