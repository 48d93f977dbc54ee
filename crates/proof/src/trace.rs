//! A trace: its spans, the tree they make, and the paths that must be in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::backend::LogLine;

/// What part a span plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Server,
    Client,
    Producer,
    Consumer,
    Internal,
}

impl Kind {
    pub(crate) fn from_name(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "server" => Self::Server,
            "client" => Self::Client,
            "producer" => Self::Producer,
            "consumer" => Self::Consumer,
            _ => Self::Internal,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Internal => "internal",
        })
    }
}

/// How a span ended, by its own account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "code", content = "description")]
pub enum Status {
    Unset,
    Ok,
    Error(String),
}

/// One span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    pub id: String,
    /// The span it hangs under, which need not be in the trace.
    pub parent: Option<String>,
    pub service: String,
    pub name: String,
    pub kind: Kind,
    /// Microseconds since 1970.
    pub start_us: u64,
    pub duration_us: u64,
    pub status: Status,
    pub attributes: BTreeMap<String, Value>,
}

impl Span {
    /// An attribute as text.
    #[must_use]
    pub fn text(&self, attribute: &str) -> Option<String> {
        let value = self.attributes.get(attribute)?;
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    }

    fn end_us(&self) -> u64 {
        self.start_us.saturating_add(self.duration_us)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} `{}`", self.service, self.kind, self.name)
    }
}

/// All spans of one trace, by start.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub id: String,
    pub spans: Vec<Span>,
}

/// A span of a path that must be in a trace.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    pub service: &'static str,
    pub kind: Kind,
    /// What tells this span from others of its service and kind: an attribute and its value.
    pub with: Option<(&'static str, &'static str)>,
}

impl Hop {
    #[must_use]
    pub const fn new(service: &'static str, kind: Kind) -> Self {
        Self {
            service,
            kind,
            with: None,
        }
    }

    #[must_use]
    pub const fn with(mut self, attribute: &'static str, value: &'static str) -> Self {
        self.with = Some((attribute, value));
        self
    }

    fn is(&self, span: &Span) -> bool {
        span.service == self.service
            && span.kind == self.kind
            && self
                .with
                .is_none_or(|(attribute, value)| span.text(attribute).as_deref() == Some(value))
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.kind)?;
        match self.with {
            Some((attribute, value)) => write!(f, " ({attribute}={value})"),
            None => Ok(()),
        }
    }
}

/// Why a path is not in a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    #[error("no {hop} span; the trace has {there}")]
    Missing { hop: String, there: String },
    #[error("{span} hangs under {parent}, not under {expected}")]
    WrongParent {
        span: String,
        parent: String,
        expected: String,
    },
}

impl Trace {
    #[must_use]
    pub fn new(id: String, mut spans: Vec<Span>) -> Self {
        spans.sort_by(|a, b| (a.start_us, &a.id).cmp(&(b.start_us, &b.id)));
        // A span that was sent twice is one span.
        let mut seen = BTreeSet::new();
        spans.retain(|span| seen.insert((span.id.clone(), span.kind)));
        Self { id, spans }
    }

    #[must_use]
    pub fn start_us(&self) -> u64 {
        self.spans
            .iter()
            .map(|span| span.start_us)
            .min()
            .unwrap_or_default()
    }

    #[must_use]
    pub fn end_us(&self) -> u64 {
        self.spans
            .iter()
            .map(Span::end_us)
            .max()
            .unwrap_or_default()
    }

    #[must_use]
    pub fn span(&self, id: &str) -> Option<&Span> {
        self.spans.iter().find(|span| span.id == id)
    }

    /// What is in the trace, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.spans.is_empty() {
            return "no spans".to_owned();
        }
        let spans: Vec<String> = self.spans.iter().take(12).map(Span::to_string).collect();
        let more = self.spans.len().saturating_sub(spans.len());
        let tail = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("{}{tail}", spans.join(", "))
    }

    /// The spans of a path, each the parent of the next.
    ///
    /// Internal spans of a service (people's own) may stand between two of its spans; between two services none may.
    ///
    /// # Errors
    /// With the first hop that is missing or hangs elsewhere.
    pub fn path(&self, hops: &[Hop]) -> Result<Vec<&Span>, NoPath> {
        let mut deepest: Option<(usize, NoPath)> = None;
        match self.follow(hops, 0, None, &mut deepest) {
            Some(mut spans) => {
                spans.reverse();
                Ok(spans)
            }
            None => Err(deepest.map_or_else(
                || NoPath::Missing {
                    hop: "named".to_owned(),
                    there: self.summary(),
                },
                |(_, why)| why,
            )),
        }
    }

    /// The rest of the path below `parent`, last span first; notes the deepest hop that could not be found.
    fn follow<'a>(
        &'a self,
        hops: &[Hop],
        depth: usize,
        parent: Option<&'a Span>,
        deepest: &mut Option<(usize, NoPath)>,
    ) -> Option<Vec<&'a Span>> {
        let Some(hop) = hops.get(depth) else {
            return Some(Vec::new());
        };
        let mut note = |why: NoPath| {
            if deepest.as_ref().is_none_or(|(known, _)| depth > *known) {
                *deepest = Some((depth, why));
            }
        };
        let mut candidates = Vec::new();
        let mut elsewhere = None;
        for span in self.spans.iter().filter(|span| hop.is(span)) {
            match parent {
                Some(parent) if self.ancestor(span).map(|above| &above.id) != Some(&parent.id) => {
                    elsewhere.get_or_insert((span, parent));
                }
                _ => candidates.push(span),
            }
        }
        if candidates.is_empty() {
            note(match elsewhere {
                Some((span, parent)) => NoPath::WrongParent {
                    span: span.to_string(),
                    parent: self.parent_text(span),
                    expected: parent.to_string(),
                },
                None => NoPath::Missing {
                    hop: hop.to_string(),
                    there: self.summary(),
                },
            });
            return None;
        }
        candidates.into_iter().find_map(|span| {
            let mut below = self.follow(hops, depth + 1, Some(span), deepest)?;
            below.push(span);
            Some(below)
        })
    }

    /// The nearest span above that is not an internal one of the same service.
    fn ancestor(&self, span: &Span) -> Option<&Span> {
        let mut above = self.span(span.parent.as_deref()?)?;
        // No trace is deeper than it has spans; parents in a circle end here.
        for _ in 0..self.spans.len() {
            if above.kind != Kind::Internal || above.service != span.service {
                break;
            }
            above = self.span(above.parent.as_deref()?)?;
        }
        Some(above)
    }

    fn parent_text(&self, span: &Span) -> String {
        match span.parent.as_deref() {
            None => "nothing".to_owned(),
            Some(id) => self.span(id).map_or_else(
                || format!("span {id}, which is not in the trace"),
                Span::to_string,
            ),
        }
    }
}

/// A span, and what happened under it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    #[serde(flatten)]
    pub span: Span,
    /// True when the span names a parent that is not in the trace: it was lost, has not arrived, or is the caller's.
    pub orphan: bool,
    pub logs: Vec<Log>,
    pub children: Vec<Node>,
}

/// A log line of a span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Log {
    /// Microseconds since 1970.
    pub time_us: u64,
    pub service: String,
    pub level: Option<String>,
    pub line: String,
}

/// A trace as a tree, with its log lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    pub trace_id: String,
    /// Microseconds since 1970.
    pub start_us: u64,
    pub duration_us: u64,
    pub spans: usize,
    pub services: BTreeSet<String>,
    pub roots: Vec<Node>,
    /// Lines that name the trace but no span of it.
    pub unplaced: Vec<Log>,
}

impl View {
    /// Hangs spans under their parents and log lines under the spans they were written in.
    #[must_use]
    pub fn new(trace: &Trace, lines: &[LogLine]) -> Self {
        let mut logs: HashMap<&str, Vec<Log>> = HashMap::new();
        let mut unplaced = Vec::new();
        for line in lines {
            let log = Log {
                time_us: line.time_ns / 1000,
                service: line.service().to_owned(),
                level: line.level(),
                line: line.line.clone(),
            };
            match line.label("span_id").and_then(|id| trace.span(id)) {
                Some(span) => logs.entry(&span.id).or_default().push(log),
                None => unplaced.push(log),
            }
        }
        let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut roots = Vec::new();
        for (index, span) in trace.spans.iter().enumerate() {
            match span.parent.as_deref().filter(|id| trace.span(id).is_some()) {
                Some(parent) => children.entry(parent).or_default().push(index),
                None => roots.push(index),
            }
        }
        let mut growth = Growth {
            trace,
            children,
            logs,
            placed: vec![false; trace.spans.len()],
        };
        let mut roots: Vec<Node> = roots
            .into_iter()
            .filter_map(|index| growth.node(index))
            .collect();
        // Spans that are each other's ancestors hang under no root: broken, but not to be hidden.
        for index in 0..trace.spans.len() {
            roots.extend(growth.node(index));
        }
        Self {
            trace_id: trace.id.clone(),
            start_us: trace.start_us(),
            duration_us: trace.end_us() - trace.start_us(),
            spans: trace.spans.len(),
            services: trace
                .spans
                .iter()
                .map(|span| span.service.clone())
                .collect(),
            roots,
            unplaced,
        }
    }
}

/// A tree being built.
struct Growth<'a> {
    trace: &'a Trace,
    children: HashMap<&'a str, Vec<usize>>,
    logs: HashMap<&'a str, Vec<Log>>,
    placed: Vec<bool>,
}

impl Growth<'_> {
    fn node(&mut self, index: usize) -> Option<Node> {
        if std::mem::replace(&mut self.placed[index], true) {
            return None;
        }
        let span = &self.trace.spans[index];
        let below = self.children.remove(span.id.as_str()).unwrap_or_default();
        Some(Node {
            orphan: span
                .parent
                .as_deref()
                .is_some_and(|id| self.trace.span(id).is_none()),
            logs: self.logs.remove(span.id.as_str()).unwrap_or_default(),
            children: below
                .into_iter()
                .filter_map(|child| self.node(child))
                .collect(),
            span: span.clone(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn span(
        id: &str,
        parent: Option<&str>,
        service: &str,
        kind: Kind,
        name: &str,
        start_us: u64,
    ) -> Span {
        Span {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            service: service.to_owned(),
            name: name.to_owned(),
            kind,
            start_us,
            duration_us: 1000,
            status: Status::Unset,
            attributes: BTreeMap::new(),
        }
    }

    pub(crate) fn chain() -> Vec<Span> {
        vec![
            span("a", Some("caller"), "edge", Kind::Server, "GET /users", 10),
            span("b", Some("a"), "edge", Kind::Client, "GET", 20),
            span("c", Some("b"), "users", Kind::Server, "GET /users", 30),
            span("d", Some("c"), "users", Kind::Client, "SELECT users", 40),
        ]
    }

    const HOPS: [Hop; 4] = [
        Hop::new("edge", Kind::Server),
        Hop::new("edge", Kind::Client),
        Hop::new("users", Kind::Server),
        Hop::new("users", Kind::Client),
    ];

    fn path(spans: Vec<Span>) -> Result<Vec<String>, NoPath> {
        let trace = Trace::new("t".to_owned(), spans);
        let path = trace.path(&HOPS)?;
        Ok(path.into_iter().map(|span| span.id.clone()).collect())
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let mut spans = chain();
        spans.reverse();
        assert_eq!(
            path(spans),
            Ok(["a", "b", "c", "d"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn a_missing_span_is_named() {
        let mut spans = chain();
        spans.remove(2);
        let why = path(spans).expect_err("no users server span").to_string();
        assert_eq!(
            why,
            "no users server span; the trace has edge server `GET /users`, edge client `GET`, users client `SELECT users`"
        );
    }

    #[test]
    fn a_wrong_parent_is_named() {
        let mut spans = chain();
        spans[2].parent = Some("a".to_owned());
        assert_eq!(
            path(spans).expect_err("wrong parent").to_string(),
            "users server `GET /users` hangs under edge server `GET /users`, not under edge client `GET`"
        );
    }

    #[test]
    fn an_orphan_is_no_child() {
        let mut spans = chain();
        spans[2].parent = Some("lost".to_owned());
        let why = path(spans).expect_err("orphan").to_string();
        assert!(
            why.contains("under span lost, which is not in the trace"),
            "{why}"
        );
        let mut spans = chain();
        spans[2].parent = None;
        let why = path(spans).expect_err("second root").to_string();
        assert!(why.contains("hangs under nothing"), "{why}");
    }

    #[test]
    fn a_wrong_service_is_missing() {
        let mut spans = chain();
        spans[2].service = "unknown_service".to_owned();
        let why = path(spans).expect_err("unknown service").to_string();
        assert!(why.starts_with("no users server span"), "{why}");
    }

    #[test]
    fn an_empty_trace_has_no_path() {
        let why = path(Vec::new()).expect_err("empty").to_string();
        assert_eq!(why, "no edge server span; the trace has no spans");
    }

    #[test]
    fn own_spans_may_stand_between_within_a_service_only() {
        let mut spans = chain();
        spans.push(span(
            "i",
            Some("c"),
            "users",
            Kind::Internal,
            "find users",
            35,
        ));
        spans[3].parent = Some("i".to_owned());
        assert!(path(spans.clone()).is_ok());
        spans.push(span("x", Some("b"), "proxy", Kind::Internal, "between", 25));
        spans[2].parent = Some("x".to_owned());
        assert!(path(spans).is_err());
    }

    #[test]
    fn another_branch_is_tried() {
        let mut spans = chain();
        // A first client call that leads nowhere must not hide the one that leads on.
        spans.push(span("0", Some("a"), "edge", Kind::Client, "GET", 15));
        assert!(path(spans).is_ok());
    }

    #[test]
    fn an_attribute_tells_two_clients_apart() {
        let mut spans = chain();
        let mut albums = span("e", Some("a"), "edge", Kind::Client, "GET", 15);
        albums
            .attributes
            .insert("service.peer.name".to_owned(), Value::from("albums"));
        spans.push(albums);
        let trace = Trace::new("t".to_owned(), spans);
        let hops = [HOPS[0], HOPS[1].with("service.peer.name", "albums")];
        assert_eq!(trace.path(&hops).expect("path")[1].id, "e");
        let hops = [HOPS[0], HOPS[1].with("service.peer.name", "nobody")];
        let why = trace.path(&hops).expect_err("nobody").to_string();
        assert!(
            why.starts_with("no edge client (service.peer.name=nobody) span"),
            "{why}"
        );
    }

    #[test]
    fn the_tree_has_every_span_once() {
        let mut spans = chain();
        spans.push(span(
            "o",
            Some("lost"),
            "users",
            Kind::Internal,
            "orphan",
            50,
        ));
        spans.push(span("x", Some("y"), "users", Kind::Internal, "circle", 60));
        spans.push(span("y", Some("x"), "users", Kind::Internal, "circle", 61));
        spans.push(span(
            "z",
            Some("z"),
            "users",
            Kind::Internal,
            "own parent",
            70,
        ));
        spans.push(spans[0].clone());
        let view = View::new(&Trace::new("t".to_owned(), spans), &[]);
        let roots: Vec<(&str, bool)> = view
            .roots
            .iter()
            .map(|node| (node.span.id.as_str(), node.orphan))
            .collect();
        assert_eq!(
            roots,
            [("a", true), ("o", true), ("x", false), ("z", false)]
        );
        assert_eq!(view.spans, 8);
        assert_eq!(
            view.roots[0].children[0].children[0].children[0].span.id,
            "d"
        );
    }

    #[test]
    fn lines_hang_under_their_span() {
        let line = |span: &str, text: &str| LogLine {
            time_ns: 35_000,
            line: text.to_owned(),
            labels: [
                ("service_name", "users"),
                ("span_id", span),
                ("severity_text", "INFO"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        };
        let view = View::new(
            &Trace::new("t".to_owned(), chain()),
            &[line("c", "answered"), line("lost", "elsewhere")],
        );
        let users = &view.roots[0].children[0].children[0];
        assert_eq!(users.logs[0].line, "answered");
        assert_eq!(users.logs[0].level.as_deref(), Some("INFO"));
        assert_eq!(view.unplaced[0].line, "elsewhere");
    }
}
