//! Asking one question once: what is there, or what came instead.

use std::time::SystemTime;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::model::{Link, ProfileQuestion, Question, TraceSearch};
use super::place::{Clients, Place};
use super::template::Values;
use crate::backend::{Labels, Profile, Sample, Search};
use crate::http::{self, AskError};
use crate::trace::Trace;

/// Fewer samples say nothing about shares.
const FEWEST_SAMPLES: u64 = 10;
/// How much of an answer is kept.
const KEPT: usize = 160;

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) answer: String,
    /// A trace that can be looked at next.
    pub(super) trace: Option<String>,
}

impl From<String> for Found {
    fn from(answer: String) -> Self {
        Self {
            answer,
            trace: None,
        }
    }
}

/// Asks about what happened since a time. The error says what came.
pub(super) async fn look(
    place: &Place,
    clients: &Clients,
    question: &Question,
    values: &Values,
    since: SystemTime,
) -> Result<Found, String> {
    match question {
        Question::Promql(query) => promql(clients, &query.fill(values)).await,
        Question::Traces(search) => traces(clients, search, since).await,
        Question::Logs(query) => logs(clients, &query.fill(values), since).await,
        Question::Profile(question) => profile(clients, question).await,
        Question::Link(link) => {
            let address = place.address(question, values)?;
            follow(clients, &address, link).await
        }
    }
}

/// What a query gives; what is not a number is none of it.
pub(super) async fn samples(clients: &Clients, query: &str) -> Result<Vec<Sample>, String> {
    let mut samples = clients.prometheus.query(query).await.map_err(text)?;
    samples.retain(|sample| !sample.value.is_nan());
    Ok(samples)
}

async fn promql(clients: &Clients, query: &str) -> Result<Found, String> {
    let samples = samples(clients, query).await?;
    let Some(first) = samples.first() else {
        return Err("no sample".to_owned());
    };
    let more = match samples.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let labels = labels(&first.labels);
    Ok(format!("{}{labels}{more}", number(first.value)).into())
}

fn labels(labels: &Labels) -> String {
    let told: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "__name__" && *name != "instance")
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    if told.is_empty() {
        String::new()
    } else {
        format!(" {{{}}}", told.join(", "))
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 100_000.0 {
        format!("{value:.3e}")
    } else if value.fract().abs() < f64::EPSILON {
        format!("{value}")
    } else {
        format!("{value:.3}")
    }
}

async fn traces(
    clients: &Clients,
    search: &TraceSearch,
    since: SystemTime,
) -> Result<Found, String> {
    let jaeger = clients.jaeger.as_ref().ok_or("no jaeger here")?;
    let mut found = jaeger
        .search(&Search {
            service: &search.service,
            operation: search.operation.as_deref(),
            tags: &search.tags,
            min_duration: search.min_duration,
            since: Some(since),
        })
        .await
        .map_err(text)?;
    // Jaeger looks for values only.
    if let Some(attribute) = &search.with {
        found.retain(|trace| {
            let mut spans = trace.spans.iter();
            spans.any(|span| span.attributes.contains_key(attribute))
        });
    }
    // The slowest tells most.
    let slowest = found
        .iter()
        .max_by_key(|trace| trace.end_us().saturating_sub(trace.start_us()));
    let Some(slowest) = slowest else {
        return Err("no trace".to_owned());
    };
    Ok(Found {
        answer: format!("{}, the slowest: {}", count(&found), slowest.summary()),
        trace: Some(slowest.id.clone()),
    })
}

fn count(traces: &[Trace]) -> String {
    match traces.len() {
        1 => "1 trace".to_owned(),
        count => format!("{count} traces"),
    }
}

async fn logs(clients: &Clients, query: &str, since: SystemTime) -> Result<Found, String> {
    let loki = clients.loki.as_ref().ok_or("no loki here")?;
    let lines = loki
        .lines(query, since, SystemTime::now())
        .await
        .map_err(text)?;
    let Some(last) = lines.last() else {
        return Err("no line".to_owned());
    };
    let lines = match lines.len() {
        1 => "1 line".to_owned(),
        count => format!("{count} lines, the last"),
    };
    let answer = format!("{lines}: {}", http::quote(last.line.as_bytes()));
    Ok(answer.into())
}

async fn profile(clients: &Clients, question: &ProfileQuestion) -> Result<Found, String> {
    let users = clients.users.as_ref().ok_or("no users here")?;
    let profile = users.profile(question.seconds).await.map_err(text)?;
    let (inside, all) = share(&profile, &question.function);
    let told = format!("{inside} of {all} samples are in {}", question.function);
    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of samples are far below 2^52"
    )]
    let enough = all >= FEWEST_SAMPLES && inside as f64 >= question.share * all as f64;
    if enough { Ok(told.into()) } else { Err(told) }
}

fn share(profile: &Profile, function: &str) -> (u64, u64) {
    let mut inside = 0;
    let mut all = 0;
    for stack in &profile.stacks {
        all += stack.samples;
        if stack.functions.iter().any(|name| name.contains(function)) {
            inside += stack.samples;
        }
    }
    (inside, all)
}

async fn follow(clients: &Clients, address: &url::Url, link: &Link) -> Result<Found, String> {
    let raw = clients
        .http
        .raw(address, HeaderMap::new())
        .await
        .map_err(text)?;
    if raw.status != 200 {
        return Err(format!("status {}: {}", raw.status, http::quote(&raw.body)));
    }
    let body = String::from_utf8_lossy(&raw.body);
    if is_empty(&body) {
        return Err(format!("an empty answer: {}", http::quote(&raw.body)));
    }
    let came = || {
        let mut came = http::quote(&raw.body);
        came.truncate(came.floor_char_boundary(KEPT));
        came
    };
    let mut answer = format!("{} bytes", raw.body.len());
    if let Some(shows) = &link.shows {
        if !body.contains(shows.as_str()) {
            return Err(format!("no `{shows}` in the answer: {}", came()));
        }
        answer.push_str(&format!(", `{shows}` among them"));
    }
    if let Some(lacks) = &link.lacks {
        if body.contains(lacks.as_str()) {
            return Err(format!("`{lacks}` is in the answer: {}", came()));
        }
        answer.push_str(&format!(", no `{lacks}`"));
    }
    Ok(answer.into())
}

/// No text; or JSON that has nothing in the place where answers are.
fn is_empty(body: &str) -> bool {
    let nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if body.trim().is_empty() {
        return true;
    }
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        return false;
    };
    nothing(&value)
        || value
            .get("data")
            .is_some_and(|data| nothing(data) || data.get("result").is_some_and(nothing))
}

fn text(error: AskError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Stack;

    #[test]
    fn an_answer_without_content_is_empty() {
        for body in [
            "",
            " \n",
            "[]",
            "{}",
            "null",
            r#"{"data":[],"total":0}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
        ] {
            assert!(is_empty(body), "{body}");
        }
        for body in [
            "ok",
            "[1]",
            r#"{"data":[{}]}"#,
            r#"{"data":{"result":[1]}}"#,
        ] {
            assert!(!is_empty(body), "{body}");
        }
    }

    #[test]
    fn a_share_counts_samples_with_the_function_anywhere_in_their_stack() {
        let stack = |samples, functions: &[&str]| Stack {
            samples,
            functions: functions.iter().map(|name| (*name).to_owned()).collect(),
            ..Stack::default()
        };
        let profile = Profile {
            stacks: vec![
                stack(7, &["core::hint::black_box", "users::work::spin"]),
                stack(3, &["epoll_wait"]),
            ],
        };
        assert_eq!(share(&profile, "work::spin"), (7, 10));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(3.0), "3");
        assert_eq!(number(0.123_456), "0.123");
        assert_eq!(number(4.2e8), "4.200e8");
    }
}
