//! What the Collector acknowledged, read from its ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What one request leaves behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Left {
    pub(crate) edge_server: u32,
    pub(crate) edge_client: u32,
    pub(crate) users_server: u32,
    pub(crate) database: u32,
    pub(crate) edge_access: u32,
    pub(crate) users_access: u32,
    /// Log records of their handlers.
    pub(crate) edge_handler: u32,
    pub(crate) users_handler: u32,
}

impl Left {
    /// The whole way.
    pub(crate) const ALL: Self = Self {
        edge_server: 1,
        edge_client: 1,
        users_server: 1,
        database: 1,
        edge_access: 1,
        users_access: 1,
        // Only says why users gave no answer.
        edge_handler: 0,
        // How many users there are, or why nobody knows.
        users_handler: 1,
    };
    /// edge asked and got no answer.
    pub(crate) const EDGE: Self = Self {
        users_server: 0,
        database: 0,
        users_access: 0,
        users_handler: 0,
        edge_handler: 1,
        ..Self::ALL
    };
    /// users has just started and does not have its database yet.
    pub(crate) const EARLY: Self = Self {
        database: 0,
        ..Self::ALL
    };
}

/// One process of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Instance {
    pub(crate) service: String,
    pub(crate) id: String,
}

#[derive(Default)]
pub(crate) struct Ledger {
    directory: PathBuf,
    traces: Tail,
    logs: Tail,
    metrics: Tail,
    left: HashMap<String, Left>,
    /// Of spans and of log records, so that what came twice counts once.
    seen: HashSet<String>,
    /// What came more than once: an acknowledgement was lost on its way.
    pub(crate) repeated: usize,
    /// Spans and log records of each process.
    pub(crate) spans: BTreeMap<Instance, u64>,
    pub(crate) records: BTreeMap<Instance, u64>,
    /// Server spans of each process.
    pub(crate) servers: BTreeMap<Instance, u64>,
    /// The trace of each client span in which edge had an answer with status 200.
    answered: HashMap<String, String>,
    /// The spans of edge that have a server span of users below them.
    served: HashSet<String>,
    /// The last value of each pushed counter, and count of each pushed histogram.
    points: HashMap<(Instance, String, String), u64>,
}

impl Ledger {
    pub(crate) fn of(state: &Path) -> Self {
        Self {
            directory: state.join("data/ledger"),
            ..Self::default()
        }
    }

    /// Reads what came since it was read last.
    pub(crate) fn read(&mut self) {
        for request in self.traces.read::<Traces>(&self.directory, "traces.jsonl") {
            request
                .resources
                .into_iter()
                .for_each(|one| self.take_spans(one));
        }
        for request in self.logs.read::<Logs>(&self.directory, "logs.jsonl") {
            request
                .resources
                .into_iter()
                .for_each(|one| self.take_records(one));
        }
        for request in self
            .metrics
            .read::<Metrics>(&self.directory, "metrics.jsonl")
        {
            request
                .resources
                .into_iter()
                .for_each(|one| self.take_points(one));
        }
    }

    fn take_spans(&mut self, resource: ResourceSpans) {
        let instance = resource.resource.instance();
        for span in resource.scopes.into_iter().flat_map(|scope| scope.spans) {
            if !self.seen.insert(span.id.clone()) {
                self.repeated += 1;
                continue;
            }
            *self.spans.entry(instance.clone()).or_default() += 1;
            match (instance.service.as_str(), span.kind) {
                ("edge", CLIENT) if span.has("http.response.status_code", "200") => {
                    self.answered.insert(span.id, span.trace.clone());
                }
                ("users", SERVER) => {
                    self.served.insert(span.parent);
                }
                _ => {}
            }
            let left = self.left.entry(span.trace).or_default();
            let database = span
                .attributes
                .iter()
                .any(|one| one.key == "db.system.name");
            let count = match (instance.service.as_str(), span.kind) {
                ("edge", SERVER) => &mut left.edge_server,
                ("edge", CLIENT) => &mut left.edge_client,
                ("users", SERVER) => &mut left.users_server,
                ("users", CLIENT) if database => &mut left.database,
                other => panic!("a span nobody expects: {other:?}"),
            };
            *count += 1;
            if span.kind == SERVER {
                *self.servers.entry(instance.clone()).or_default() += 1;
            }
        }
    }

    fn take_records(&mut self, resource: ResourceLogs) {
        let instance = resource.resource.instance();
        for scope in resource.scopes {
            for record in scope.records {
                let id = format!(
                    "{} {} {} {}",
                    instance.id, scope.scope.name, record.observed, record.span
                );
                if !self.seen.insert(id) {
                    self.repeated += 1;
                    continue;
                }
                *self.records.entry(instance.clone()).or_default() += 1;
                let left = self.left.entry(record.trace).or_default();
                match (instance.service.as_str(), scope.scope.name.as_str()) {
                    ("edge", "access") => left.edge_access += 1,
                    ("users", "access") => left.users_access += 1,
                    ("edge", "edge::upstream") => left.edge_handler += 1,
                    ("users", "users::routes::users") => left.users_handler += 1,
                    // Of no request, or of a library: that a connection took long to get.
                    _ => {}
                }
            }
        }
    }

    fn take_points(&mut self, resource: ResourceMetrics) {
        let instance = resource.resource.instance();
        for metric in resource.scopes.into_iter().flat_map(|scope| scope.metrics) {
            let points = [metric.histogram, metric.sum].into_iter().flatten();
            for point in points.flat_map(|data| data.points) {
                let value = point.count.or(point.value).unwrap_or_default();
                let value: u64 = value.parse().unwrap_or_default();
                let attributes = point.attributes.into_iter();
                let series: Vec<_> = attributes.map(|one| one.to_string()).collect();
                let key = (instance.clone(), metric.name.clone(), series.join(" "));
                let last = self.points.entry(key).or_default();
                *last = value.max(*last);
            }
        }
    }

    pub(crate) fn left(&self, trace: &str) -> Left {
        self.left.get(trace).copied().unwrap_or_default()
    }

    /// The traces in which edge had an answer of users, status 200, and users has no server span.
    pub(crate) fn untold(&self) -> BTreeSet<&str> {
        let untold = self
            .answered
            .iter()
            .filter(|(span, _)| !self.served.contains(*span));
        untold.map(|(_, trace)| trace.as_str()).collect()
    }

    /// The sum of a pushed metric's series whose attributes contain `part`, for one process.
    pub(crate) fn pushed(&self, instance: &Instance, metric: &str, part: &str) -> u64 {
        let of = |(key, _): &(&(Instance, String, String), &u64)| {
            key.0 == *instance && key.1 == metric && key.2.contains(part)
        };
        self.points.iter().filter(of).map(|(_, value)| value).sum()
    }

    /// Server spans of each process of a service, by its id.
    pub(crate) fn servers_of(&self, service: &str) -> BTreeMap<String, u64> {
        let servers = self.servers.iter();
        let of = servers.filter(|(one, _)| one.service == service);
        of.map(|(one, spans)| (one.id.clone(), *spans)).collect()
    }

    pub(crate) fn instances(&self, service: &str) -> Vec<Instance> {
        let of = |one: &&Instance| one.service == service;
        self.spans.keys().filter(of).cloned().collect()
    }
}

/// A file that grows, read from where it was left.
#[derive(Default)]
struct Tail {
    position: u64,
    rest: Vec<u8>,
}

impl Tail {
    fn read<T: DeserializeOwned>(&mut self, directory: &Path, name: &str) -> Vec<T> {
        let Ok(mut file) = File::open(directory.join(name)) else {
            return Vec::new();
        };
        file.seek(SeekFrom::Start(self.position)).unwrap();
        self.position += file.read_to_end(&mut self.rest).unwrap() as u64;
        // A Collector that was killed may have written a request without its line's end, or a part
        // of one that it then did not acknowledge: each begins in the same way.
        let text = std::mem::take(&mut self.rest);
        let mut starts: Vec<usize> = find_starts(&text);
        starts.push(text.len());
        let mut requests = Vec::new();
        for part in starts.windows(2) {
            match serde_json::from_slice(&text[part[0]..part[1]]) {
                Ok(request) => requests.push(request),
                // Being written, if it is the last.
                Err(_) if part[1] == text.len() => self.rest = text[part[0]..].to_vec(),
                Err(_) => {}
            }
        }
        requests
    }
}

/// `{"resourceSpans"` begins a request wherever it is; `{"resource":` is inside of one.
fn find_starts(text: &[u8]) -> Vec<usize> {
    let begins = |place: &usize| {
        let here = &text[*place..];
        here.starts_with(b"{\"resource") && !here.starts_with(b"{\"resource\"")
    };
    let places = text.iter().enumerate().filter(|(_, byte)| **byte == b'{');
    places.map(|(place, _)| place).filter(begins).collect()
}

const SERVER: u8 = 2;
const CLIENT: u8 = 3;

#[derive(Deserialize)]
struct Traces {
    #[serde(rename = "resourceSpans")]
    resources: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
struct ResourceSpans {
    resource: Resource,
    #[serde(rename = "scopeSpans", default)]
    scopes: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    #[serde(default)]
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Span {
    #[serde(rename = "traceId")]
    trace: String,
    #[serde(rename = "spanId")]
    id: String,
    #[serde(rename = "parentSpanId", default)]
    parent: String,
    kind: u8,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

impl Span {
    fn has(&self, key: &str, value: &str) -> bool {
        let is = |one: &&Attribute| one.key == key;
        let attribute = self.attributes.iter().find(is);
        attribute.is_some_and(|one| one.value["intValue"] == value)
    }
}

#[derive(Deserialize)]
struct Logs {
    #[serde(rename = "resourceLogs")]
    resources: Vec<ResourceLogs>,
}

#[derive(Deserialize)]
struct ResourceLogs {
    resource: Resource,
    #[serde(rename = "scopeLogs", default)]
    scopes: Vec<ScopeLogs>,
}

#[derive(Deserialize)]
struct ScopeLogs {
    scope: Scope,
    #[serde(rename = "logRecords", default)]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Scope {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "traceId", default)]
    trace: String,
    #[serde(rename = "spanId", default)]
    span: String,
    #[serde(rename = "observedTimeUnixNano", default)]
    observed: String,
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(rename = "resourceMetrics")]
    resources: Vec<ResourceMetrics>,
}

#[derive(Deserialize)]
struct ResourceMetrics {
    resource: Resource,
    #[serde(rename = "scopeMetrics", default)]
    scopes: Vec<ScopeMetrics>,
}

#[derive(Deserialize)]
struct ScopeMetrics {
    #[serde(default)]
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    histogram: Option<Data>,
    sum: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "dataPoints", default)]
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    #[serde(default)]
    attributes: Vec<Attribute>,
    count: Option<String>,
    #[serde(rename = "asInt")]
    value: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    attributes: Vec<Attribute>,
}

impl Resource {
    fn instance(&self) -> Instance {
        let text = |key: &str| {
            let attribute = self.attributes.iter().find(|one| one.key == key);
            let value = attribute.and_then(|one| one.value["stringValue"].as_str());
            value.unwrap_or_default().to_owned()
        };
        Instance {
            service: text("service.name"),
            id: text("service.instance.id"),
        }
    }
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    #[serde(default)]
    value: serde_json::Value,
}

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self
            .value
            .as_object()
            .and_then(|value| value.values().next());
        write!(f, "{}={}", self.key, value.unwrap_or_default())
    }
}
