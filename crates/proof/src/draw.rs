//! A trace as a tree of text.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;
use unicode_width::UnicodeWidthStr as _;

use crate::trace::{Log, Node, Status, View};

/// What a piece of text is, for whoever colours it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Title,
    Branch,
    Service,
    Name,
    Duration,
    Bar,
    Detail,
    Log,
    Warning,
    Error,
}

/// The attributes worth a place under the span, in this order.
const SHOWN: [&str; 8] = [
    "http.route",
    "http.response.status_code",
    "url.path",
    "service.peer.name",
    "server.address",
    "db.system.name",
    "error.type",
    "db.query.text",
];
/// Too narrow to draw in: lines get longer than this terminal then.
const MIN_WIDTH: usize = 50;
/// Wider bars say no more.
const MAX_BAR: usize = 40;
const DURATION: usize = 10;

/// Draws `view` in `width` columns; `paint` colours a piece of text without changing its width.
#[must_use]
pub fn draw(view: &View, width: usize, paint: &dyn Fn(Role, &str) -> String) -> String {
    let width = width.max(MIN_WIDTH);
    let bar = (width / 4).min(MAX_BAR);
    let mut canvas = Canvas {
        view,
        paint,
        width,
        bar,
        label: width - bar - DURATION - 1,
        text: String::new(),
    };
    canvas.header();
    for root in &view.roots {
        canvas.line(&[]);
        canvas.node(root, "", "");
    }
    if !view.unplaced.is_empty() {
        canvas.line(&[]);
        canvas.line(&[(
            Role::Title,
            "log lines of this trace without one of its spans",
        )]);
        for log in &view.unplaced {
            canvas.log(log, "", true);
        }
    }
    canvas.text
}

struct Canvas<'a> {
    view: &'a View,
    paint: &'a dyn Fn(Role, &str) -> String,
    width: usize,
    bar: usize,
    label: usize,
    text: String,
}

/// What stands under a span, by time.
enum Item<'a> {
    Span(&'a Node),
    Log(&'a Log),
}

impl Item<'_> {
    fn time_us(&self) -> u64 {
        match self {
            Self::Span(node) => node.span.start_us,
            Self::Log(log) => log.time_us,
        }
    }
}

impl Canvas<'_> {
    fn line(&mut self, pieces: &[(Role, &str)]) {
        for (role, piece) in pieces {
            if piece.trim().is_empty() {
                self.text.push_str(piece);
            } else {
                self.text.push_str(&(self.paint)(*role, piece));
            }
        }
        let end = self.text.trim_end_matches(' ').len();
        self.text.truncate(end);
        self.text.push('\n');
    }

    fn header(&mut self) {
        let logs = count_logs(&self.view.roots) + self.view.unplaced.len();
        let began = i64::try_from(self.view.start_us)
            .ok()
            .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok())
            .map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
            .unwrap_or_default();
        self.line(&[(Role::Title, "trace "), (Role::Title, &self.view.trace_id)]);
        let summary = format!(
            "{began}, {}, {}, {}: {}",
            duration(self.view.duration_us),
            plural(self.view.spans, "span"),
            plural(logs, "log line"),
            self.view
                .services
                .iter()
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
        );
        let summary = cut(&summary, self.width);
        self.line(&[(Role::Detail, &summary)]);
    }

    /// A span with what is under it. `first` stands before the span itself, `rest` before everything below it.
    fn node(&mut self, node: &Node, first: &str, rest: &str) {
        let span = &node.span;
        let mut items: Vec<Item<'_>> = node.children.iter().map(Item::Span).collect();
        items.extend(node.logs.iter().map(Item::Log));
        items.sort_by_key(Item::time_us);
        let last_span = items.iter().rposition(|item| matches!(item, Item::Span(_)));

        let (mark, role) = match span.status {
            Status::Error(_) => (" ERROR", Role::Error),
            _ => ("", Role::Name),
        };
        let service = clean(&span.service);
        let used = first.width() + service.width() + 1 + mark.width();
        let name = cut(&span.name, self.label.saturating_sub(used).max(4));
        let pad = " ".repeat(self.label.saturating_sub(used + name.width()));
        let took = format!("{:>DURATION$} ", duration(span.duration_us));
        let bar = self.bar_text(span.start_us, span.duration_us);
        self.line(&[
            (Role::Branch, first),
            (Role::Service, &service),
            (Role::Name, " "),
            (role, &name),
            (Role::Error, mark),
            (Role::Name, &pad),
            (Role::Duration, &took),
            (Role::Bar, &bar),
        ]);

        let has_spans = last_span.is_some();
        let under = if has_spans {
            format!("{rest}│  ")
        } else {
            format!("{rest}   ")
        };
        if let Status::Error(description) = &span.status
            && !description.is_empty()
        {
            self.wrapped(&under, Role::Error, &[format!("error: {description}")]);
        }
        if node.orphan && !rest.is_empty() {
            self.wrapped(
                &under,
                Role::Warning,
                &["its parent is not in the trace".to_owned()],
            );
        }
        let details: Vec<String> = SHOWN
            .iter()
            .filter(|name| !redundant(node, name))
            .filter_map(|name| Some(format!("{name}={}", span.text(name)?)))
            .collect();
        self.wrapped(&under, Role::Detail, &details);

        for (index, item) in items.iter().enumerate() {
            let more = last_span.is_some_and(|last| index < last);
            match item {
                Item::Span(child) => {
                    let (branch, below) = if more {
                        ("├─ ", "│  ")
                    } else {
                        ("└─ ", "   ")
                    };
                    self.node(child, &format!("{rest}{branch}"), &format!("{rest}{below}"));
                }
                Item::Log(log) => {
                    let indent = if more { "│  " } else { "   " };
                    self.log(log, &format!("{rest}{indent}"), false);
                }
            }
        }
    }

    fn log(&mut self, log: &Log, indent: &str, with_service: bool) {
        let offset = i128::from(log.time_us) - i128::from(self.view.start_us);
        let sign = if offset < 0 { '-' } else { '+' };
        let offset = u64::try_from(offset.unsigned_abs()).unwrap_or(u64::MAX);
        let mut head = format!("{sign}{} ", duration(offset));
        if with_service {
            head = format!("{head}{} ", clean(&log.service));
        }
        let level = log.level.as_deref().map(clean).unwrap_or_default();
        let role = match level.as_str() {
            "ERROR" | "FATAL" | "CRITICAL" => Role::Error,
            "WARN" => Role::Warning,
            _ => Role::Log,
        };
        let level = if level.is_empty() {
            level
        } else {
            format!("{level} ")
        };
        let room = self
            .width
            .saturating_sub(indent.width() + head.width() + level.width());
        let line = cut(&log.line, room.max(10));
        self.line(&[
            (Role::Branch, indent),
            (Role::Detail, &head),
            (role, &level),
            (Role::Log, &line),
        ]);
    }

    /// Words after one another, as many as fit in a line.
    fn wrapped(&mut self, indent: &str, role: Role, words: &[String]) {
        let room = self.width.saturating_sub(indent.width()).max(10);
        let mut row = String::new();
        for word in words {
            let word = cut(word, room);
            if !row.is_empty() && row.width() + 1 + word.width() > room {
                self.line(&[(Role::Branch, indent), (role, &row)]);
                row.clear();
            }
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(&word);
        }
        if !row.is_empty() {
            self.line(&[(Role::Branch, indent), (role, &row)]);
        }
    }

    /// Where in the trace the span was at work.
    fn bar_text(&self, start_us: u64, duration_us: u64) -> String {
        let whole = u128::from(self.view.duration_us.max(1));
        let columns = self.bar as u128;
        let place =
            |micros: u64| usize::try_from(u128::from(micros) * columns / whole).unwrap_or(self.bar);
        let from = place(start_us.saturating_sub(self.view.start_us)).min(self.bar - 1);
        let length = place(duration_us).clamp(1, self.bar - from);
        format!("{}{}", " ".repeat(from), "█".repeat(length))
    }
}

/// The path says nothing where the route says it; the address nothing where the peer's name does.
fn redundant(node: &Node, attribute: &str) -> bool {
    let text = |name: &str| node.span.text(name);
    match attribute {
        "url.path" => text("http.route") == text("url.path"),
        "server.address" => text("service.peer.name").is_some(),
        _ => false,
    }
}

fn count_logs(nodes: &[Node]) -> usize {
    nodes
        .iter()
        .map(|node| node.logs.len() + count_logs(&node.children))
        .sum()
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// Microseconds as people say them.
#[must_use]
pub fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
        _ => format!("{}.{:03} s", micros / 1_000_000, micros % 1_000_000 / 1_000),
    }
}

/// Text on one line that cannot steer the terminal: what is drawn was written by others.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '\n' | '\r' | '\t' => clean.push(' '),
            c if c.is_control() => {
                let _ = write!(clean, "{}", c.escape_default());
            }
            c => clean.push(c),
        }
    }
    clean
}

/// At most `width` columns of a text.
fn cut(text: &str, width: usize) -> String {
    let text = clean(text);
    if text.width() <= width {
        return text;
    }
    let mut short = String::new();
    let mut used = 1;
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if used + columns > width {
            break;
        }
        used += columns;
        short.push(c);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::backend::LogLine;
    use crate::trace::tests::{chain, span};
    use crate::trace::{Kind, Trace};

    fn plain(_: Role, text: &str) -> String {
        text.to_owned()
    }

    fn view() -> View {
        let mut spans = chain();
        spans[0].duration_us = 12_345;
        spans[1].duration_us = 11_000;
        spans[2].duration_us = 10_000;
        spans[3].start_us = 5_000;
        spans[3].duration_us = 300;
        spans[0]
            .attributes
            .insert("http.route".to_owned(), Value::from("/users"));
        spans[0]
            .attributes
            .insert("url.path".to_owned(), Value::from("/users"));
        spans[0]
            .attributes
            .insert("http.response.status_code".to_owned(), Value::from(500));
        spans[0].status = Status::Error(String::new());
        spans[3].attributes.insert(
            "db.query.text".to_owned(),
            Value::from(
                "SELECT id, name, age FROM users WHERE ($1::text IS NULL OR name = $1) ORDER BY id",
            ),
        );
        spans.push(span(
            "e",
            Some("a"),
            "edge",
            Kind::Internal,
            "encode",
            12_000,
        ));
        let log = |span: &str, time_us: u64, text: &str| LogLine {
            time_ns: time_us * 1000,
            line: text.to_owned(),
            labels: [
                ("service_name", "users"),
                ("span_id", span),
                ("severity_text", "WARN"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        };
        View::new(
            &Trace::new("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), spans),
            &[
                log("c", 4_000, "slow\x1b[2J query"),
                log("a", 11_500, "answered"),
                log("gone", 9, "early"),
            ],
        )
    }

    #[test]
    fn a_tree_of_80_columns() {
        let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736
1970-01-01 00:00:00 UTC, 12.99 ms, 5 spans, 3 log lines: edge, users

edge GET /users ERROR                              12.34 ms ███████████████████
│  http.route=/users http.response.status_code=500
├─ edge GET                                        11.00 ms ████████████████
│  └─ users GET /users                             10.00 ms ███████████████
│     │  +3.99 ms WARN slow\\u{1b}[2J query
│     └─ users SELECT users                          300 us        █
│           db.query.text=SELECT id, name, age FROM users WHERE ($1::text IS NU…
│  +11.49 ms WARN answered
└─ edge encode                                      1.00 ms                   █

log lines of this trace without one of its spans
-1 us users WARN early
";
        let drawn = draw(&view(), 80, &plain);
        assert_eq!(drawn, expected, "\n{drawn}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [50, 60, 80, 120, 200] {
            for line in draw(&view(), width, &plain).lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(cut("日本語日本語", 7), "日本語…");
        assert_eq!(cut("short", 7), "short");
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration(999), "999 us");
        assert_eq!(duration(1_250), "1.25 ms");
        assert_eq!(duration(10_042_000), "10.042 s");
    }
}
