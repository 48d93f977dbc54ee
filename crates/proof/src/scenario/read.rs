//! From YAML to a [`Scenario`], and a folder of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use yaml_file::{Check, Checked, FileError, FromText, ParseError, Text};

use super::model::{
    Alert, Broken, Expectation, Heal, Link, Load, ProfileQuestion, Question, Scenario, Step,
    TraceSearch,
};
use super::template::Template;

/// More people would measure the machine, not the incident.
const MOST_PEOPLE: usize = 50;
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PROFILE: u64 = 10;

/// One file, and the scenario in it or what is wrong with it.
#[derive(Debug)]
pub struct Source {
    /// The name of the file, without its ending.
    pub name: String,
    pub scenario: Result<Scenario, FileError>,
}

/// Reads every `.yaml` and `.yml` of a folder, in order of their names.
///
/// # Errors
/// The folder cannot be read. A file that is wrong is part of the result.
pub fn read_folder(folder: &Path) -> std::io::Result<Vec<Source>> {
    Ok(yaml_file::files(folder)?
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            let scenario = yaml_file::read(&path, |text| parse(&name, text));
            Source { name, scenario }
        })
        .collect())
}

/// Reads the text of one file.
///
/// # Errors
/// It is no YAML, or no scenario.
pub fn parse(name: &str, text: &str) -> Result<Scenario, ParseError> {
    let document: Document = serde_norway::from_str(text)?;
    Ok(Scenario {
        name: name.to_owned(),
        title: document.title.0.0,
        summary: document.summary.0.0,
        broken: document.broken.0,
        load: document.load.0,
        expect: document.expect.into_iter().map(|each| each.0).collect(),
        alert: document.alert.0,
        heal: Heal {
            text: document.heal.text.0.0,
            restart: names(document.heal.restart),
            resolved_within: document.heal.resolved_within.0.0,
        },
        walk: document.walk.0,
    })
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "the fields title, summary, broken, load, expect, alert, heal and walk"
)]
struct Document {
    title: Words,
    summary: Words,
    broken: Checked<RawBroken>,
    load: Checked<RawLoad>,
    expect: Vec<Checked<RawExpectation>>,
    alert: Checked<RawAlert>,
    heal: RawHeal,
    walk: Walk,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the fields flags, stop or deploy")]
struct RawBroken {
    #[serde(default)]
    flags: BTreeMap<String, Words>,
    #[serde(default)]
    stop: Vec<Words>,
    #[serde(default)]
    deploy: BTreeMap<String, Words>,
}

impl Check for RawBroken {
    type Into = Broken;

    fn check(self) -> Result<Broken, String> {
        let broken = Broken {
            flags: texts(self.flags),
            stop: names(self.stop),
            deploy: texts(self.deploy),
        };
        if broken == Broken::default() {
            return Err("expected `flags`, `stop` or `deploy`, found none".to_owned());
        }
        Ok(broken)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the fields people, pause and paths")]
struct RawLoad {
    people: usize,
    pause: Time,
    paths: BTreeMap<String, usize>,
}

impl Check for RawLoad {
    type Into = Load;

    fn check(self) -> Result<Load, String> {
        if !(1..=MOST_PEOPLE).contains(&self.people) {
            return Err(format!(
                "expected 1 to {MOST_PEOPLE} people, found {}",
                self.people
            ));
        }
        if self.pause.0.0 < SHORTEST_PAUSE {
            return Err(format!(
                "expected a pause of {} ms or more, found {} ms",
                SHORTEST_PAUSE.as_millis(),
                self.pause.0.0.as_millis()
            ));
        }
        if let Some(path) = self.paths.keys().find(|path| !path.starts_with('/')) {
            return Err(format!("expected paths that begin with /, found `{path}`"));
        }
        if self.paths.values().sum::<usize>() == 0 {
            return Err("expected a path with a number above 0, found none".to_owned());
        }
        Ok(Load {
            people: self.people,
            pause: self.pause.0.0,
            paths: self.paths,
        })
    }
}

/// One of its fields, whatever else there is.
#[derive(Default)]
struct RawQuestion {
    promql: Option<Text<Template>>,
    traces: Option<RawTraces>,
    logs: Option<Text<Template>>,
    profile: Option<Checked<RawProfile>>,
    link: Option<Text<Template>>,
    shows: Option<Words>,
    lacks: Option<Words>,
}

impl RawQuestion {
    fn one(self, expected: &str) -> Result<Question, String> {
        let mut found = Vec::new();
        let mut question = None;
        let mut add = |name: &'static str, each: Option<Question>| {
            if each.is_some() {
                found.push(name);
                question = each;
            }
        };
        add("promql", self.promql.map(|text| Question::Promql(text.0)));
        add(
            "traces",
            self.traces.map(|traces| Question::Traces(traces.into())),
        );
        add("logs", self.logs.map(|text| Question::Logs(text.0)));
        add(
            "profile",
            self.profile.map(|profile| Question::Profile(profile.0)),
        );
        let [shows, lacks] = [self.shows, self.lacks].map(|text| Some(text?.0.0));
        if self.link.is_none() {
            for (name, given) in [("shows", &shows), ("lacks", &lacks)] {
                if given.is_some() {
                    return Err(format!("expected `link` beside `{name}`, found none"));
                }
            }
        }
        let link = self.link.map(|url| {
            Question::Link(Link {
                url: url.0,
                shows,
                lacks,
            })
        });
        add("link", link);
        match question {
            Some(question) if found.len() == 1 => Ok(question),
            None => Err(format!("expected one of {expected}, found none")),
            Some(_) => Err(format!(
                "expected one of {expected}, found {}",
                found.join(" and ")
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "the fields name, within and one of promql, traces, logs, profile"
)]
struct RawExpectation {
    name: Words,
    within: Time,
    #[serde(default)]
    unchanged: bool,
    promql: Option<Text<Template>>,
    traces: Option<RawTraces>,
    logs: Option<Text<Template>>,
    profile: Option<Checked<RawProfile>>,
}

impl Check for RawExpectation {
    type Into = Expectation;

    fn check(self) -> Result<Expectation, String> {
        let question = RawQuestion {
            promql: self.promql,
            traces: self.traces,
            logs: self.logs,
            profile: self.profile,
            ..RawQuestion::default()
        };
        let question = question.one("`promql`, `traces`, `logs`, `profile`")?;
        if question.names_trace() {
            return Err("expected no ${trace_id} here: only a step of the walk has one".to_owned());
        }
        Ok(Expectation {
            name: self.name.0.0,
            within: self.within.0.0,
            unchanged: self.unchanged,
            question,
        })
    }
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "the fields service, operation, tags, min_duration and with"
)]
struct RawTraces {
    service: Words,
    operation: Option<Words>,
    #[serde(default)]
    tags: BTreeMap<String, Words>,
    min_duration: Option<Time>,
    with: Option<Words>,
}

impl From<RawTraces> for TraceSearch {
    fn from(raw: RawTraces) -> Self {
        Self {
            service: raw.service.0.0,
            operation: raw.operation.map(|text| text.0.0),
            tags: texts(raw.tags),
            min_duration: raw.min_duration.map(|text| text.0.0),
            with: raw.with.map(|text| text.0.0),
        }
    }
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "the fields function, seconds and share"
)]
struct RawProfile {
    function: Words,
    seconds: u64,
    share: f64,
}

impl Check for RawProfile {
    type Into = ProfileQuestion;

    fn check(self) -> Result<ProfileQuestion, String> {
        if !(1..=LONGEST_PROFILE).contains(&self.seconds) {
            return Err(format!(
                "expected 1 to {LONGEST_PROFILE} seconds, found {}",
                self.seconds
            ));
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(format!(
                "expected a share above 0 and up to 1, found {}",
                self.share
            ));
        }
        Ok(ProfileQuestion {
            function: self.function.0.0,
            seconds: self.seconds,
            share: self.share,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the fields labels and within")]
struct RawAlert {
    labels: BTreeMap<String, Words>,
    within: Time,
}

impl Check for RawAlert {
    type Into = Alert;

    fn check(self) -> Result<Alert, String> {
        if !self.labels.contains_key("alertname") {
            return Err("expected the label `alertname`, found none".to_owned());
        }
        Ok(Alert {
            labels: texts(self.labels),
            within: self.within.0.0,
        })
    }
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "the fields text, restart and resolved_within"
)]
struct RawHeal {
    text: Words,
    #[serde(default)]
    restart: Vec<Words>,
    resolved_within: Time,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "the fields text and one of promql, traces, logs, profile, link"
)]
struct RawStep {
    text: Words,
    promql: Option<Text<Template>>,
    traces: Option<RawTraces>,
    logs: Option<Text<Template>>,
    profile: Option<Checked<RawProfile>>,
    link: Option<Text<Template>>,
    shows: Option<Words>,
    lacks: Option<Words>,
}

impl Check for RawStep {
    type Into = Step;

    fn check(self) -> Result<Step, String> {
        let question = RawQuestion {
            promql: self.promql,
            traces: self.traces,
            logs: self.logs,
            profile: self.profile,
            link: self.link,
            shows: self.shows,
            lacks: self.lacks,
        };
        Ok(Step {
            text: self.text.0.0,
            question: question.one("`promql`, `traces`, `logs`, `profile`, `link`")?,
        })
    }
}

/// The steps, in an order in which each has what it speaks of.
struct Walk(Vec<Step>);

impl<'de> Deserialize<'de> for Walk {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Steps;

        impl<'de> serde::de::Visitor<'de> for Steps {
            type Value = Walk;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of steps")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Walk, A::Error> {
                use serde::de::Error as _;
                let mut steps: Vec<Step> = Vec::new();
                let mut has_trace = false;
                while let Some(Checked(step)) = list.next_element::<Checked<RawStep>>()? {
                    if step.question.names_trace() && !has_trace {
                        return Err(A::Error::custom(format!(
                            "expected a step with `traces` before the first ${{trace_id}}, found none before step {}",
                            steps.len() + 1
                        )));
                    }
                    has_trace |= matches!(step.question, Question::Traces(_));
                    steps.push(step);
                }
                if steps.is_empty() {
                    return Err(A::Error::custom("expected at least one step, found none"));
                }
                Ok(Walk(steps))
            }
        }

        deserializer.deserialize_seq(Steps)
    }
}

fn texts(map: BTreeMap<String, Words>) -> BTreeMap<String, String> {
    map.into_iter().map(|(key, text)| (key, text.0.0)).collect()
}

fn names(list: Vec<Words>) -> Vec<String> {
    list.into_iter().map(|text| text.0.0).collect()
}

/// A text that says something.
type Words = Text<NotEmpty>;

struct NotEmpty(String);

impl FromText for NotEmpty {
    const EXPECTED: &'static str = String::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("expected a text, found an empty one".to_owned()),
            text => Ok(Self(text.to_owned())),
        }
    }
}

/// A time as the files write it: `90s`, `15m`.
///
/// # Errors
/// It is none, or longer than an hour; the error says what was expected.
pub fn time(text: &str) -> Result<Duration, String> {
    Wait::from_text(text).map(|wait| wait.0)
}

/// A time that somebody waits.
type Time = Text<Wait>;

struct Wait(Duration);

impl FromText for Wait {
    const EXPECTED: &'static str = "a time such as 500ms, 30s or 2m";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|time| Duration::try_from(time).ok())
            .filter(|time| !time.is_zero() && *time <= Duration::from_secs(3600))
            .map(Self)
            .ok_or_else(|| {
                format!(
                    "expected {} (an hour at most), found {text:?}",
                    Self::EXPECTED
                )
            })
    }
}
