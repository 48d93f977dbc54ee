//! What the backends have, asked of their APIs, and what is counted on the pages that Prometheus scrapes.

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::common::{TestLab, get};
use crate::load::Request;

/// More than Loki gives in one answer by default, less than it refuses.
const LIMIT: usize = 5_000;

async fn json(client: &reqwest::Client, url: &str) -> Option<Value> {
    let answer = client.get(url).send().await.ok()?;
    serde_json::from_slice(&answer.bytes().await.ok()?).ok()
}

/// How many of these requests have not so many spans in Jaeger.
pub(crate) fn missing_in_jaeger(lab: &TestLab, requests: &[Request], spans: usize) -> usize {
    get(async |client| {
        let mut missing = 0;
        for request in requests {
            let url = lab.address(16686, &format!("/api/traces/{}", request.trace));
            let trace = json(&client, &url).await.unwrap_or_default();
            let all = trace["data"][0]["spans"].as_array();
            let ids: HashSet<_> = all
                .into_iter()
                .flatten()
                .filter_map(|span| span["spanID"].as_str())
                .collect();
            missing += usize::from(ids.len() != spans);
        }
        missing
    })
}

/// The log records of a request that users answered, by service and scope.
const RECORDS: [(&str, &str); 3] = [
    ("edge", "access"),
    ("users", "access"),
    ("users", "users::routes::users"),
];

/// How many of these requests have not exactly one line of each kind in Loki.
pub(crate) fn missing_in_loki(lab: &TestLab, requests: &[Request], since: SystemTime) -> usize {
    let mut lines: HashMap<String, [u32; RECORDS.len()]> = HashMap::new();
    for (kind, (service, scope)) in RECORDS.into_iter().enumerate() {
        for trace in records(lab, service, scope, since) {
            lines.entry(trace).or_default()[kind] += 1;
        }
    }
    let complete = |request: &&Request| lines.get(&request.trace) == Some(&[1; RECORDS.len()]);
    requests.len() - requests.iter().filter(complete).count()
}

/// The traces of a service's records of one scope, in order; a line that came twice counts once.
fn records(lab: &TestLab, service: &str, scope: &str, since: SystemTime) -> Vec<String> {
    get(async |client| {
        let mut traces = Vec::new();
        let mut seen = HashSet::new();
        let mut start = since.duration_since(UNIX_EPOCH).unwrap().as_nanos();
        loop {
            let query = format!("{{service_name=\"{service}\"}} | scope_name=`{scope}`");
            let mut url: reqwest::Url = lab
                .address(3100, "/loki/api/v1/query_range")
                .parse()
                .unwrap();
            url.query_pairs_mut()
                .append_pair("query", &query)
                .append_pair("start", &start.to_string())
                .append_pair("limit", &LIMIT.to_string())
                .append_pair("direction", "forward");
            let answer = json(&client, url.as_str()).await.unwrap_or_default();
            let mut count = 0;
            for stream in answer["data"]["result"].as_array().into_iter().flatten() {
                let label = |name: &str| stream["stream"][name].as_str().unwrap_or_default();
                for value in stream["values"].as_array().into_iter().flatten() {
                    count += 1;
                    let at: u128 = value[0].as_str().unwrap().parse().unwrap();
                    start = start.max(at);
                    if seen.insert(format!("{at} {}", label("span_id"))) {
                        traces.push(label("trace_id").to_owned());
                    }
                }
            }
            if count < LIMIT {
                return traces;
            }
        }
    })
}

/// What Prometheus has of a selector.
fn scraped(lab: &TestLab, selector: &str) -> Vec<Value> {
    let mut url: reqwest::Url = lab.address(9090, "/api/v1/query").parse().unwrap();
    url.query_pairs_mut().append_pair("query", selector);
    let answer = get(async |client| json(&client, url.as_str()).await).unwrap_or_default();
    let series = answer["data"]["result"].as_array().cloned();
    series.unwrap_or_default()
}

/// A counter's value, which is a whole number, in a sample.
fn value(sample: &Value) -> u64 {
    sample[1].as_str().unwrap().parse().unwrap()
}

/// The sum of a counter's series as they were scraped last; those that are gone do not count.
pub(crate) fn scraped_now(lab: &TestLab, selector: &str) -> u64 {
    let series = scraped(lab, selector);
    series.iter().map(|one| value(&one["value"])).sum()
}

/// What a counter that is scraped rose by in all its series, as Prometheus has it: restarts of the
/// counted process are seen, what was counted after its last scrape is not.
pub(crate) fn scraped_rise(lab: &TestLab, selector: &str) -> u64 {
    let mut rise = 0;
    for one in scraped(lab, &format!("{selector}[30m]")) {
        let mut last = 0;
        for sample in one["values"].as_array().into_iter().flatten() {
            let value = value(sample);
            rise += if value < last { value } else { value - last };
            last = value;
        }
    }
    rise
}

/// Items on their way from the Collector into a store.
#[derive(Debug, PartialEq)]
pub(crate) struct Delivered {
    /// As the Collector counts them: each once.
    pub(crate) acknowledged: u64,
    /// As the store counts them: again, when they were sent again.
    pub(crate) taken: u64,
}

/// Spans, into Jaeger.
pub(crate) fn spans(lab: &TestLab) -> Delivered {
    let sent = "otelcol_exporter_sent_spans_total";
    Delivered {
        acknowledged: counted(lab, 8888, sent, "exporter=\"otlp_http/jaeger\""),
        taken: counted(lab, 18888, sent, "exporter=\"jaeger_storage_exporter\""),
    }
}

/// Log records, into Loki.
pub(crate) fn log_records(lab: &TestLab) -> Delivered {
    let sent = "otelcol_exporter_sent_log_records_total";
    Delivered {
        acknowledged: counted(lab, 8888, sent, "exporter=\"otlp_http/loki\""),
        taken: counted(lab, 3100, "loki_distributor_lines_received_total", ""),
    }
}

/// The sum of a counter's series on users' page.
pub(crate) fn of_users(lab: &TestLab, name: &str) -> u64 {
    counted(lab, 8000, name, "")
}

/// The sum of a counter's series with a label, on the page at a port: 0 before it has counted.
fn counted(lab: &TestLab, port: u16, name: &str, label: &str) -> u64 {
    let url = lab.address(port, "/metrics");
    let page = get(async |client| client.get(&url).send().await.unwrap().text().await.unwrap());
    let values = page
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.split_once("} "))
        .filter(|(labels, _)| labels.contains(label))
        // Behind the value an exemplar may follow.
        .map(|(_, value)| value.split(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum::<f64>() as u64
}
