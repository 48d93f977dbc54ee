//! `/api/profile`: takes a CPU profile of a service and gives it as a tree, ready to be drawn.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use proof::Http;
use proof::backend::{Profile, Stack, Users};
use serde::{Deserialize, Serialize};
use service::{Problem, Query};

use crate::app::App;

const LONGEST: u64 = 60;
const USUAL: u64 = 5;
/// Beyond the time that is profiled.
const PATIENCE: u64 = 10;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/api/profile", get(profile))
}

#[derive(Debug, Deserialize)]
struct Wanted {
    service: String,
    seconds: Option<u64>,
}

/// A profile: one tree for everything, and one for each kind of request.
#[derive(Debug, Serialize)]
struct Answer {
    service: String,
    seconds: u64,
    /// Names of spans, and how many samples were taken in each.
    spans: Vec<SpanSamples>,
    trees: BTreeMap<String, Frame>,
}

#[derive(Debug, Serialize)]
struct SpanSamples {
    name: String,
    samples: u64,
}

/// A function and what it called. Times are samples: one for each 10 ms of CPU.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Frame {
    id: u64,
    name: String,
    level: u64,
    start: u64,
    end: u64,
    total: u64,
    #[serde(rename = "self")]
    own: u64,
    children: Vec<Frame>,
}

/// The tree of every sample.
const ALL: &str = "";

async fn profile(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<impl Serialize>, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    let base = match wanted.service.as_str() {
        "edge" => &app.settings.edge,
        "users" => &app.settings.users,
        _ => {
            return Err(bad(
                "edge and users can be profiled; service names one of them.",
            ));
        }
    };
    let seconds = wanted.seconds.unwrap_or(USUAL);
    if !(1..=LONGEST).contains(&seconds) {
        return Err(bad("seconds must be a whole number from 1 to 60."));
    }
    let failed = |error: proof::AskError| Problem::new(StatusCode::BAD_GATEWAY, error.to_string());
    let http = Http::new(Duration::from_secs(seconds + PATIENCE)).map_err(failed)?;
    let service = Users::new(http, base.clone());
    let profile = service.profile(seconds).await.map_err(failed)?;
    Ok(Json(answer(wanted.service, seconds, &profile)))
}

fn answer(service: String, seconds: u64, profile: &Profile) -> Answer {
    let mut by_span: BTreeMap<&str, u64> = BTreeMap::new();
    for stack in &profile.stacks {
        if let Some(name) = span_name(stack) {
            *by_span.entry(name).or_default() += stack.samples;
        }
    }
    let mut trees = BTreeMap::from([(ALL.to_owned(), tree(profile.stacks.iter()))]);
    for name in by_span.keys() {
        let own = |stack: &&Stack| span_name(stack) == Some(name);
        trees.insert((*name).to_owned(), tree(profile.stacks.iter().filter(own)));
    }
    let mut spans: Vec<SpanSamples> = by_span
        .into_iter()
        .map(|(name, samples)| SpanSamples {
            name: name.to_owned(),
            samples,
        })
        .collect();
    spans.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.name.cmp(&b.name)));
    Answer {
        service,
        seconds,
        spans,
        trees,
    }
}

fn span_name(stack: &Stack) -> Option<&str> {
    stack.labels.get("span_name").map(String::as_str)
}

fn tree<'a>(stacks: impl Iterator<Item = &'a Stack>) -> Frame {
    let mut root = Frame {
        name: "total".to_owned(),
        ..Frame::default()
    };
    for stack in stacks {
        root.total += stack.samples;
        let mut frame = &mut root;
        // The outermost comes last.
        for function in stack.functions.iter().rev() {
            let known = frame
                .children
                .iter()
                .position(|child| child.name == *function);
            let index = known.unwrap_or_else(|| {
                frame.children.push(Frame {
                    name: function.clone(),
                    ..Frame::default()
                });
                frame.children.len() - 1
            });
            frame = &mut frame.children[index];
            frame.total += stack.samples;
        }
        frame.own += stack.samples;
    }
    let mut next = 1;
    place(&mut root, 0, 0, &mut next);
    root
}

/// Gives every frame its number and its place; the widest child comes first.
fn place(frame: &mut Frame, level: u64, start: u64, next: &mut u64) {
    frame.id = *next;
    *next += 1;
    frame.level = level;
    frame.start = start;
    frame.end = start + frame.total;
    frame
        .children
        .sort_by_key(|child| std::cmp::Reverse(child.total));
    let mut at = start;
    for child in &mut frame.children {
        place(child, level + 1, at, next);
        at = child.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(samples: u64, functions: &[&str], span: Option<&str>) -> Stack {
        Stack {
            samples,
            labels: span
                .map(|name| ("span_name".to_owned(), name.to_owned()))
                .into_iter()
                .collect(),
            functions: functions.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn stacks_become_a_tree() {
        let profile = Profile {
            stacks: vec![
                stack(1, &["b", "main"], Some("GET /users")),
                stack(3, &["c", "a", "main"], Some("GET /users")),
                stack(2, &["main"], None),
            ],
        };
        let answer = answer("users".to_owned(), 5, &profile);
        let all = &answer.trees[ALL];
        assert_eq!((all.total, all.own), (6, 0));
        let main = &all.children[0];
        assert_eq!((main.total, main.own, main.level), (6, 2, 1));
        let names: Vec<_> = main
            .children
            .iter()
            .map(|child| child.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((main.children[1].start, main.children[1].end), (3, 4));
        assert_eq!(answer.trees["GET /users"].total, 4);
        assert_eq!(answer.spans[0].samples, 4);
    }
}
