//! The trace of a request in Jaeger: the right spans, under the right parents, with the names of today's conventions.

use super::{Planned, answers};
use crate::backend::{Answer, Jaeger};
use crate::backends::Part;
use crate::http::AskError;
use crate::report::Failure;
use crate::trace::{Hop, Kind, Span, Trace};
use crate::traceparent::TraceId;
use crate::verify::{Run, Sent};

pub(super) const LOOK: &str =
    "`./lab trace`, `./lab logs otel-collector`, OTEL_TRACES_EXPORTER of edge and users";

/// What one request for users leaves behind.
pub(super) const USERS_PATH: [Hop; 4] = [
    Hop::new("edge", Kind::Server),
    Hop::new("edge", Kind::Client).with("service.peer.name", "users"),
    Hop::new("users", Kind::Server),
    Hop::new("users", Kind::Client).with("service.peer.name", "postgres"),
];

/// albums has no telemetry code: it is the far end of edge's client span.
const ALBUMS_PATH: [Hop; 2] = [
    Hop::new("edge", Kind::Server),
    Hop::new("edge", Kind::Client).with("service.peer.name", "albums"),
];

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let needs = [Part::Edge, Part::Jaeger];
    let asked = |sent: &Sent| {
        run.jaeger()
            .map(|jaeger| jaeger.asked(&sent.traceparent.trace))
            .unwrap_or_default()
    };
    let (users, albums) = (&run.requests.users, &run.requests.albums);
    let (whole, names, call) = (
        "trace: edge, users, database",
        "trace: semantic conventions",
        "trace: the call to albums",
    );
    vec![
        Planned::new(whole, &needs, asked(users), async move {
            let answer = answers::answer(users)?;
            run.until(whole, || async {
                let trace = fetch(run.jaeger()?, &users.traceparent.trace).await?;
                let spans = path(&trace, &USERS_PATH)?;
                joined(spans[0], users, answer)?;
                let way: Vec<String> = spans.iter().map(|span| span.to_string()).collect();
                Ok(way.join(" -> "))
            })
            .await
        }),
        Planned::new(names, &needs, asked(users), async move {
            answers::answer(users)?;
            run.until(names, || async {
                let trace = fetch(run.jaeger()?, &users.traceparent.trace).await?;
                let spans = path(&trace, &USERS_PATH)?;
                let wrong = unconventional(&spans);
                if wrong.is_empty() {
                    return Ok("names and attributes of 4 spans".to_owned());
                }
                let failure = Failure::new(
                    "names of today's semantic conventions",
                    wrong.join("; "),
                    "crates/telemetry",
                );
                Err(failure.settled())
            })
            .await
        }),
        Planned::new(call, &needs, asked(albums), async move {
            let answer = answers::answer(albums)?;
            run.until(call, || async {
                let trace = fetch(run.jaeger()?, &albums.traceparent.trace).await?;
                let spans = path(&trace, &ALBUMS_PATH)?;
                joined(spans[0], albums, answer)?;
                let status = spans[1]
                    .text("http.response.status_code")
                    .unwrap_or_default();
                Ok(format!("{} -> {}, status {status}", spans[0], spans[1]))
            })
            .await
        }),
    ]
}

/// The trace, or a failure that may pass.
pub(super) async fn fetch(jaeger: &Jaeger, id: &TraceId) -> Result<Trace, Failure> {
    match jaeger.trace(id).await {
        Ok(Some(trace)) => Ok(trace),
        Ok(None) => Err(Failure::new(
            format!("trace {id} in Jaeger"),
            "Jaeger has no such trace",
            LOOK,
        )),
        Err(error) => Err(asking_jaeger(error)),
    }
}

pub(super) fn asking_jaeger(error: AskError) -> Failure {
    Failure::new(
        "an answer of Jaeger",
        error.to_string(),
        "`./lab status`, `./lab logs jaeger`",
    )
}

pub(super) fn path<'t>(trace: &'t Trace, hops: &[Hop]) -> Result<Vec<&'t Span>, Failure> {
    let way: Vec<String> = hops.iter().map(Hop::to_string).collect();
    trace
        .path(hops)
        .map_err(|why| Failure::new(way.join(" -> "), why.to_string(), LOOK))
}

/// The first span is the one that the answer named, under the one that the caller sent.
fn joined(first: &Span, sent: &Sent, answer: &Answer) -> Result<(), Failure> {
    if first.parent.as_deref() != Some(sent.traceparent.span.as_str()) {
        let came = first.parent.as_deref().unwrap_or("no parent");
        return Err(Failure::new(
            format!("{first} under the caller's span {}", sent.traceparent.span),
            came,
            "the propagator of edge",
        )
        .settled());
    }
    match answer.named() {
        Some(named) if named.span == first.id => Ok(()),
        named => Err(Failure::new(
            format!("{first} ({}) named by the answer's traceparent", first.id),
            named.map_or_else(|| "no traceparent".to_owned(), |named| named.span),
            "crates/telemetry",
        )
        .settled()),
    }
}

/// Names that the conventions have replaced.
const DEPRECATED: [&str; 13] = [
    "http.method",
    "http.status_code",
    "http.url",
    "http.target",
    "http.scheme",
    "net.peer.name",
    "net.host.name",
    "peer.service",
    "db.system",
    "db.statement",
    "db.name",
    "db.operation",
    "db.sql.table",
];

/// An attribute, and its value if only one is right.
type Rule = (&'static str, Option<&'static str>);

const SERVER: [Rule; 5] = [
    ("http.request.method", Some("GET")),
    ("http.route", Some("/users")),
    ("http.response.status_code", Some("200")),
    ("url.path", Some("/users")),
    ("url.scheme", Some("http")),
];
const CLIENT: [Rule; 6] = [
    ("http.request.method", Some("GET")),
    ("http.response.status_code", Some("200")),
    ("server.address", None),
    ("server.port", None),
    ("url.full", None),
    ("service.peer.name", Some("users")),
];
const DATABASE: [Rule; 6] = [
    ("db.system.name", Some("postgresql")),
    ("db.namespace", None),
    ("db.operation.name", Some("SELECT")),
    ("db.collection.name", Some("users")),
    ("db.query.text", None),
    ("service.peer.name", Some("postgres")),
];

/// What is wrong with the four spans of [`USERS_PATH`].
fn unconventional(spans: &[&Span]) -> Vec<String> {
    let rules: [(&str, &[Rule]); 4] = [
        ("GET /users", &SERVER),
        ("GET", &CLIENT),
        ("GET /users", &SERVER),
        ("SELECT users", &DATABASE),
    ];
    let mut wrong = Vec::new();
    for (span, (name, rules)) in spans.iter().zip(rules) {
        if span.name != name {
            wrong.push(format!("{span} is not named `{name}`"));
        }
        for (attribute, expected) in rules {
            match (span.text(attribute), expected) {
                (None, _) => wrong.push(format!("{span} has no {attribute}")),
                (Some(value), Some(expected)) if !value.eq_ignore_ascii_case(expected) => {
                    wrong.push(format!("{span} has {attribute}={value}, not {expected}"));
                }
                (Some(value), None) if value.is_empty() => {
                    wrong.push(format!("{span} has an empty {attribute}"));
                }
                _ => {}
            }
        }
        for old in DEPRECATED {
            if span.attributes.contains_key(old) {
                wrong.push(format!(
                    "{span} has {old}, which the conventions have replaced"
                ));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::trace::tests::chain;

    fn good() -> Vec<Span> {
        let mut spans = chain();
        for (span, rules) in spans
            .iter_mut()
            .zip([&SERVER[..], &CLIENT, &SERVER, &DATABASE])
        {
            for (attribute, value) in rules {
                span.attributes.insert(
                    (*attribute).to_owned(),
                    Value::from(value.unwrap_or("something")),
                );
            }
        }
        spans
    }

    fn complaints(spans: &[Span]) -> Vec<String> {
        unconventional(&spans.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_good_trace_passes() {
        assert_eq!(complaints(&good()), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_mistake_is_named() {
        let mut spans = good();
        spans[0].name = "/users/admin".to_owned();
        spans[1].attributes.remove("service.peer.name");
        spans[2]
            .attributes
            .insert("http.route".to_owned(), Value::from("/users?name=x"));
        spans[3]
            .attributes
            .insert("db.statement".to_owned(), Value::from("x"));
        spans[3]
            .attributes
            .insert("db.query.text".to_owned(), Value::from(""));
        assert_eq!(
            complaints(&spans),
            [
                "edge server `/users/admin` is not named `GET /users`",
                "edge client `GET` has no service.peer.name",
                "users server `GET /users` has http.route=/users?name=x, not /users",
                "users client `SELECT users` has an empty db.query.text",
                "users client `SELECT users` has db.statement, which the conventions have replaced",
            ]
        );
    }
}
