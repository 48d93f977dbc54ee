//! One file: reading it, and saying where it is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use yaml_file::{Check, Checked, FromText, ParseError, Text};

use crate::windows::{Window, windows};
use crate::{Duration, Selector};

/// Labels and annotations with this prefix go on to the rules and alerts, without it.
pub(crate) const PASSED_ON: &str = "pyrra.dev/";
/// The label of every rule: the objective's name.
const SLO: &str = "slo";
/// Words of PromQL that `sum by` does not take for labels, in any case of letters.
const NO_GROUPING: [&str; 3] = ["inf", "nan", "without"];
/// Labels that burn-rate alerts get.
pub(crate) const OF_ALERTS: [&str; 4] = ["severity", "short", "long", "exhaustion"];

/// What is promised.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Its name, which every rule carries as the label `slo`.
    pub name: String,
    /// For a person.
    pub description: Option<String>,
    /// The share that must be good, between 0 and 1.
    pub target: f64,
    /// Over this time.
    pub window: Duration,
    /// What is good and what is bad.
    pub indicator: Indicator,
    /// Which alerts are made.
    pub alerting: Alerting,
    /// Labels for every rule.
    pub labels: BTreeMap<String, String>,
    /// Annotations for every alert.
    pub annotations: BTreeMap<String, String>,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indicator {
    /// Bad ones of all.
    Ratio {
        /// Counts the bad ones.
        errors: Selector,
        /// Counts all.
        total: Selector,
        /// One objective for each value of these labels.
        grouping: BTreeSet<String>,
    },
    /// Those that were fast enough of all.
    Latency {
        /// Counts the good ones: a bucket of a histogram.
        success: Selector,
        /// Counts all.
        total: Selector,
        /// One objective for each value of these labels.
        grouping: BTreeSet<String>,
    },
}

impl Indicator {
    /// Counts all.
    pub fn total(&self) -> &Selector {
        match self {
            Self::Ratio { total, .. } | Self::Latency { total, .. } => total,
        }
    }

    /// Counts the bad ones, or for a latency the good ones.
    pub fn part(&self) -> &Selector {
        match self {
            Self::Ratio { errors, .. } => errors,
            Self::Latency { success, .. } => success,
        }
    }

    /// Where the file has [`Self::total`].
    pub fn total_field(&self) -> [&'static str; 5] {
        match self {
            Self::Ratio { .. } => ["spec", "indicator", "ratio", "total", "metric"],
            Self::Latency { .. } => ["spec", "indicator", "latency", "total", "metric"],
        }
    }

    /// Where the file has [`Self::part`].
    pub fn part_field(&self) -> [&'static str; 5] {
        match self {
            Self::Ratio { .. } => ["spec", "indicator", "ratio", "errors", "metric"],
            Self::Latency { .. } => ["spec", "indicator", "latency", "success", "metric"],
        }
    }

    /// One objective for each value of these labels.
    pub fn grouping(&self) -> &BTreeSet<String> {
        match self {
            Self::Ratio { grouping, .. } | Self::Latency { grouping, .. } => grouping,
        }
    }
}

/// Which alerts are made, and how they are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerting {
    /// Alerts when the budget burns.
    pub burnrates: bool,
    /// An alert when the metric is not there.
    pub absent: bool,
    /// Name of the alerts when the budget burns.
    pub name: String,
    /// Name of the alert when the metric is not there.
    pub absent_name: String,
}

impl Objective {
    /// Reads the text of one file.
    ///
    /// # Errors
    /// It is no YAML, no such objective, or has what no rules are made for.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let document: Document = serde_norway::from_str(text)?;
        Ok(document.into())
    }

    /// Its burn-rate alerts, the most urgent first.
    pub fn windows(&self) -> [Window; 4] {
        windows(self.window)
    }
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "the fields apiVersion, kind, metadata and spec"
)]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: Text<ApiVersion>,
    #[serde(rename = "kind")]
    _kind: Text<Kind>,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the field name")]
struct Metadata {
    name: Text<Name>,
    /// Kubernetes' business.
    #[serde(default, rename = "namespace")]
    _namespace: Option<Text<String>>,
    #[serde(default)]
    labels: BTreeMap<Text<Key>, Text<Plain>>,
    #[serde(default)]
    annotations: BTreeMap<Text<Key>, Text<Plain>>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "the fields target, window and indicator"
)]
struct Spec {
    #[serde(default)]
    description: Option<Text<String>>,
    target: Text<Target>,
    window: Text<Duration>,
    indicator: Checked<RawIndicator>,
    #[serde(default)]
    alerting: RawAlerting,
    #[serde(default, rename = "partial_response_strategy")]
    _partial_response_strategy: Option<Unsupported>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the field ratio or latency")]
struct RawIndicator {
    ratio: Option<Checked<RawRatio>>,
    latency: Option<RawLatency>,
    #[serde(rename = "latencyNative")]
    _latency_native: Option<Unsupported>,
    #[serde(rename = "bool_gauge")]
    _bool_gauge: Option<Unsupported>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the fields errors and total")]
struct RawRatio {
    errors: Query<Selector>,
    total: Query<Total>,
    #[serde(default)]
    grouping: Vec<Text<Grouping>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the fields success and total")]
struct RawLatency {
    success: Query<Bucket>,
    total: Query<Total>,
    #[serde(default)]
    grouping: Vec<Text<Grouping>>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    bound = "T: FromText",
    expecting = "the field metric"
)]
struct Query<T> {
    metric: Text<T>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RawAlerting {
    disabled: Option<bool>,
    burnrates: Option<bool>,
    absent: Option<bool>,
    name: Option<Text<String>>,
    absent_name: Option<Text<String>>,
}

impl From<Document> for Objective {
    fn from(document: Document) -> Self {
        let Document { metadata, spec, .. } = document;
        Self {
            name: metadata.name.0.0,
            description: spec.description.map(|text| text.0),
            target: spec.target.0.0,
            window: spec.window.0,
            indicator: spec.indicator.0,
            alerting: spec.alerting.into(),
            labels: passed_on(metadata.labels),
            annotations: passed_on(metadata.annotations),
        }
    }
}

impl From<RawAlerting> for Alerting {
    fn from(raw: RawAlerting) -> Self {
        let name = |text: Option<Text<String>>, default: &str| {
            text.map(|text| text.0)
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| default.to_owned())
        };
        Self {
            burnrates: raw.burnrates.unwrap_or(true) && !raw.disabled.unwrap_or(false),
            absent: raw.absent.unwrap_or(true),
            name: name(raw.name, "ErrorBudgetBurn"),
            absent_name: name(raw.absent_name, "SLOMetricAbsent"),
        }
    }
}

fn labels(names: Vec<Text<Grouping>>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.0.0).collect()
}

fn passed_on(pairs: BTreeMap<Text<Key>, Text<Plain>>) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key.0.0.strip_prefix(PASSED_ON)?.to_owned(), value.0.0)))
        .collect()
}

/// What is passed on becomes a label: Prometheus would not load rules with another name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key(String);

impl FromText for Key {
    const EXPECTED: &'static str = "a name";

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(label) = text.strip_prefix(PASSED_ON) {
            label_name(label)?;
            if label == SLO {
                return Err(set_by_the_objective(text));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// Text without placeholders: a wrong one would keep Prometheus from loading any rules.
struct Plain(String);

impl FromText for Plain {
    const EXPECTED: &'static str = String::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains("{{") {
            return Err(format!(
                "expected plain text, without {{{{ }}}}, found {text:?}"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

struct ApiVersion;

impl FromText for ApiVersion {
    const EXPECTED: &'static str = "pyrra.dev/v1alpha1";

    fn from_text(text: &str) -> Result<Self, String> {
        exactly(text, Self::EXPECTED).map(|()| Self)
    }
}

struct Kind;

impl FromText for Kind {
    const EXPECTED: &'static str = "ServiceLevelObjective";

    fn from_text(text: &str) -> Result<Self, String> {
        exactly(text, Self::EXPECTED).map(|()| Self)
    }
}

fn exactly(text: &str, expected: &str) -> Result<(), String> {
    if text == expected {
        Ok(())
    } else {
        Err(format!("expected {expected}, found {text:?}"))
    }
}

struct Name(String);

impl FromText for Name {
    const EXPECTED: &'static str = "a name such as users-availability";

    fn from_text(text: &str) -> Result<Self, String> {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = text.bytes().all(|c| inner(c) || c == b'-')
            && text.bytes().next().is_some_and(inner)
            && text.bytes().last().is_some_and(inner);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "expected a name of lower-case letters, digits and dashes, such as users-availability, found {text:?}"
            ))
        }
    }
}

/// Read as per cent, kept as a share.
struct Target(f64);

impl FromText for Target {
    const EXPECTED: &'static str = "per cent in quotes, such as \"99.5\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let percent = text.parse::<f64>().ok();
        match percent.filter(|percent| *percent >= 1.0 && *percent <= 100.0) {
            Some(percent) => Ok(Self(percent / 100.0)),
            None => Err(format!(
                "expected per cent from 1 to 100, such as \"99.5\", found {text:?}"
            )),
        }
    }
}

impl FromText for Duration {
    const EXPECTED: &'static str = "a length of time such as 12h, 1w or 1h30m";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|error| error.to_string())
    }
}

impl FromText for Selector {
    const EXPECTED: &'static str = "a metric such as http_requests_total{job=\"users\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        let selector = Self::from_str(text).map_err(|error| error.to_string())?;
        for matcher in &selector.matchers {
            if matcher.label == SLO {
                return Err(set_by_the_objective(matcher));
            }
            can_group(&matcher.label)?;
        }
        Ok(selector)
    }
}

/// A selector that counts all. What its labels are equal to becomes labels of the alerts.
struct Total(Selector);

impl FromText for Total {
    const EXPECTED: &'static str = Selector::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        let selector = Selector::from_text(text)?;
        for matcher in &selector.matchers {
            if matcher.operator == crate::Operator::Equal {
                Plain::from_text(&matcher.value)?;
            }
        }
        Ok(Self(selector))
    }
}

/// A selector that counts what was fast enough.
struct Bucket(Selector);

impl FromText for Bucket {
    const EXPECTED: &'static str = "a histogram's bucket such as http_seconds_bucket{le=\"1.0\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        let selector = Selector::from_text(text)?;
        let bound = selector.matchers.iter().find(|each| each.label == "le");
        match bound {
            Some(le)
                if le.operator == crate::Operator::Equal
                    && le.value.parse().is_ok_and(|bound: f64| !bound.is_nan()) =>
            {
                Ok(Self(selector))
            }
            Some(le) => Err(format!(
                "expected le to be a number, such as le=\"1.0\", found {le}"
            )),
            None => Err(
                "expected the label le, which says how fast is fast enough, such as le=\"1.0\""
                    .to_owned(),
            ),
        }
    }
}

/// A label that alerts are told apart by.
struct Grouping(String);

impl FromText for Grouping {
    const EXPECTED: &'static str = "a label's name";

    fn from_text(text: &str) -> Result<Self, String> {
        label_name(text)?;
        can_group(text)?;
        if text == SLO || text == "alertname" || OF_ALERTS.contains(&text) {
            return Err(format!(
                "expected a label that the rules do not set themselves, found {text:?}"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

fn label_name(text: &str) -> Result<(), String> {
    let good = text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
        && text.bytes().next().is_some_and(|c| !c.is_ascii_digit())
        && text != "__name__";
    if good {
        Ok(())
    } else {
        Err(format!("expected a label's name, found {text:?}"))
    }
}

fn can_group(label: &str) -> Result<(), String> {
    if NO_GROUPING.contains(&label.to_ascii_lowercase().as_str()) {
        return Err(format!(
            "expected another label than {label}, which rules cannot group by: it is a word of PromQL"
        ));
    }
    Ok(())
}

fn set_by_the_objective(what: impl fmt::Display) -> String {
    format!(
        "expected another label than `slo`, which the rules set to the objective's name, found {what}"
    )
}

/// A field that Pyrra knows and no rules are made for here.
struct Unsupported;

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Refusing;

        impl Visitor<'_> for Refusing {
            type Value = Unsupported;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "this field not to be there: Pyrra knows it, but no rules are made for it here",
                )
            }
        }

        deserializer.deserialize_any(Refusing)
    }
}

impl Check for RawIndicator {
    type Into = Indicator;

    fn check(self) -> Result<Indicator, String> {
        match (self.ratio, self.latency) {
            (Some(Checked(ratio)), None) => Ok(ratio),
            (None, Some(latency)) => Ok(Indicator::Latency {
                success: latency.success.metric.0.0,
                total: latency.total.metric.0.0,
                grouping: labels(latency.grouping),
            }),
            (None, None) => Err("expected `ratio` or `latency`, found neither".to_owned()),
            (Some(_), Some(_)) => Err("expected `ratio` or `latency`, found both".to_owned()),
        }
    }
}

impl Check for RawRatio {
    type Into = Indicator;

    fn check(self) -> Result<Indicator, String> {
        let (errors, total) = (self.errors.metric.0, self.total.metric.0.0);
        // In whatever order their labels are written.
        if errors.to_string() == total.to_string() {
            return Err(
                "expected `errors` to be a part of `total`, found the same metric twice".to_owned(),
            );
        }
        Ok(Indicator::Ratio {
            errors,
            total,
            grouping: labels(self.grouping),
        })
    }
}
