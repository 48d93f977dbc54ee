//! What is wrong with an objective although its rules load: figures that say nothing, and what is
//! counted unawares. Pyrra is silent about it too.

use std::collections::BTreeSet;
use std::fmt;

use crate::objective::{OF_ALERTS, PASSED_ON};
use crate::{Indicator, Matcher, Objective, Operator, Selector};

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Some of the rules cannot say what they are for.
    Error,
    /// It may be meant.
    Warning,
}

/// Something wrong with an objective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The field, from the outermost to its own.
    pub field: Vec<String>,
    /// What it does, and what to write.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field.join("."), self.message)
    }
}

impl Objective {
    /// What is wrong although the rules load.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Findings {
            objective: self,
            found: Vec::new(),
        };
        findings.total();
        findings.kept_labels();
        findings.part();
        findings.histogram();
        findings.labels();
        findings.absent();
        findings.found
    }
}

struct Findings<'a> {
    objective: &'a Objective,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn say(&mut self, level: Level, field: &[&str], message: String) {
        self.found.push(Finding {
            level,
            field: field.iter().map(|name| (*name).to_owned()).collect(),
            message,
        });
    }

    fn say_of_total(&mut self, level: Level, message: String) {
        let field = self.objective.indicator.total_field();
        self.say(level, &field, message);
    }

    fn say_of_part(&mut self, level: Level, message: String) {
        let field = self.objective.indicator.part_field();
        self.say(level, &field, message);
    }

    /// Conditions that count more, or less, than they seem to.
    fn total(&mut self) {
        for matcher in &self.objective.indicator.total().matchers {
            let Matcher { label, value, .. } = matcher;
            match matcher.operator {
                Operator::NotEqual if value.is_empty() => {
                    if !self.objective.indicator.grouping().contains(label) {
                        self.say_of_total(
                            Level::Error,
                            format!(
                                "no burn-rate alert can fire, and there is no availability: both ask recorded series for {matcher}, and these have no label {label}; expected {label}=~\".+\""
                            ),
                        );
                    }
                }
                Operator::NotEqual | Operator::NotMatch => self.say_of_total(
                    Level::Warning,
                    format!(
                        "{matcher} counts everything else, series without the label {label} and values that come later included; expected a condition on what is to be counted"
                    ),
                ),
                Operator::Equal if value.is_empty() => self.say_of_total(
                    Level::Warning,
                    format!("{matcher} counts only series without the label {label}"),
                ),
                Operator::Equal | Operator::Match => {}
            }
        }
    }

    /// The availability is asked of recorded increases, which keep some labels only.
    fn kept_labels(&mut self) {
        let objective = self.objective;
        let indicator = &objective.indicator;
        let (total, part) = (indicator.total(), indicator.part());
        // What a group's availability is, no rule tells.
        if !indicator.grouping().is_empty() {
            return;
        }
        let kept = objective.recorded_labels();
        let dropped = part
            .matchers
            .iter()
            .filter(|each| !kept.contains(&each.label));
        for matcher in dropped {
            let label = &matcher.label;
            let of_total = total.matchers.iter().find(|each| each.label == *label);
            let takes_all = takes_absent(matcher);
            let share = match indicator {
                // One recorded increase stands for both.
                Indicator::Ratio { .. } if takes_all && total.name == part.name => "0 %",
                Indicator::Latency { .. } if !takes_all => "0 %",
                Indicator::Ratio { .. } if !takes_all => "100 %",
                _ => continue,
            };
            if of_total == Some(matcher) {
                continue;
            }
            let hint = of_total.map_or_else(String::new, |each| {
                format!(
                    "; expected {label}!~{:?} for {each} in the total",
                    each.value
                )
            });
            self.say_of_part(
                Level::Error,
                format!(
                    "availability is {share}, whatever happens: the rule asks the recorded increase for {matcher}, and it has no label {label}{hint}"
                ),
            );
        }
    }

    /// Errors, or fast ones, that are counted although the total leaves them out.
    fn part(&mut self) {
        let indicator = &self.objective.indicator;
        let (total, part) = (indicator.total(), indicator.part());
        let (name, level) = match indicator {
            Indicator::Ratio { .. } if total.name == part.name => ("errors", Level::Error),
            // Another metric may have other labels.
            Indicator::Ratio { .. } => ("errors", Level::Warning),
            Indicator::Latency { .. } => ("success", Level::Error),
        };
        for outer in total.matchers.iter().filter(|each| each.label != "le") {
            let inner = || {
                part.matchers
                    .iter()
                    .filter(|each| each.label == outer.label)
            };
            if !may_imply(inner(), outer) {
                let found = if inner().next().is_none() {
                    format!("no condition on {}", outer.label)
                } else {
                    crate::selector::join(inner())
                };
                self.say_of_part(
                    level,
                    format!(
                        "expected {name} to be a part of the total, which counts {outer}, found {found}"
                    ),
                );
            }
        }
        if matches!(indicator, Indicator::Ratio { .. })
            && total.name != part.name
            && self.objective.increase_name(total) == self.objective.increase_name(part)
        {
            self.say_of_part(
                Level::Error,
                format!(
                    "there is no availability: the increases of {} and of {} are both recorded as {}",
                    part.name,
                    total.name,
                    self.objective.increase_name(part)
                ),
            );
        }
    }

    /// What a latency counts, and the bounds of buckets.
    fn histogram(&mut self) {
        let indicator = &self.objective.indicator;
        let (total, part) = (indicator.total(), indicator.part());
        if let Indicator::Latency { .. } = indicator {
            let histogram = part.name.strip_suffix("_bucket");
            let count =
                histogram.map_or_else(|| "a counter".to_owned(), |name| name.to_owned() + "_count");
            if let Some(le) = bound(total) {
                self.say_of_total(
                    Level::Error,
                    format!(
                        "there is no availability: with {le} the increases of total and success are recorded as the same series; expected {count} without le"
                    ),
                );
            } else if histogram.is_some() && total.name != count {
                self.say_of_total(
                    Level::Warning,
                    format!(
                        "expected {count}, of the same histogram, found {}",
                        total.name
                    ),
                );
            }
            if bound(part).is_some_and(|le| le.value.parse() == Ok(f64::INFINITY)) {
                self.say_of_part(
                    Level::Warning,
                    "le=\"+Inf\" counts answers however slow; expected the bound of a bucket, or the indicator ratio".to_owned(),
                );
            }
        }
        for (selector, field) in [
            (part, indicator.part_field()),
            (total, indicator.total_field()),
        ] {
            let Some(le) = bound(selector).filter(|le| le.operator == Operator::Equal) else {
                continue;
            };
            let Some(written) = le.value.parse().ok().and_then(as_open_metrics) else {
                continue;
            };
            // Large and small bounds are written in several ways.
            if written != le.value && !le.value.contains(['e', 'E']) {
                self.say(
                    Level::Error,
                    &field,
                    format!(
                        "there is no bucket {le}: the label is text, and OpenMetrics writes this bound {written}; expected le=\"{written}\""
                    ),
                );
            }
        }
    }

    /// Labels that do not arrive.
    fn labels(&mut self) {
        let objective = self.objective;
        let is_latency = matches!(objective.indicator, Indicator::Latency { .. });
        for label in objective.labels.keys() {
            let key = format!("{PASSED_ON}{label}");
            let field = ["metadata", "labels", &key];
            let mut equal = objective.equal_matchers();
            if objective.indicator.grouping().contains(label) && objective.alerting.burnrates {
                self.say(
                    Level::Error,
                    &field,
                    format!(
                        "burn-rate alerts of several groups cannot fire together: they are told apart by {label} (spec.indicator's grouping), which this makes the same for all"
                    ),
                );
            } else if label == "le" && is_latency {
                self.say(
                    Level::Error,
                    &field,
                    "there is no availability: the rules know the recorded increases of a latency by their le".to_owned(),
                );
            } else if OF_ALERTS.contains(&label.as_str()) || label == "alertname" {
                self.say(
                    Level::Warning,
                    &field,
                    format!(
                        "the alerts have a label {label} of their own, which replaces this one"
                    ),
                );
            } else if let Some(matcher) = equal.find(|each| each.label == *label) {
                self.say(
                    Level::Warning,
                    &field,
                    format!("the label that comes from the total's {matcher} replaces this one"),
                );
            }
        }
    }

    fn absent(&mut self) {
        let objective = self.objective;
        if objective.alerting.absent && objective.absent_wait().is_zero() {
            self.say(
                Level::Warning,
                &["spec", "window"],
                format!(
                    "over {} and with this target {} waits 0s: it fires as soon as one evaluation finds no series, after a restart for example; expected spec.alerting.absent: false, or a longer window",
                    objective.window, objective.alerting.absent_name
                ),
            );
        }
    }
}

fn bound(selector: &Selector) -> Option<&Matcher> {
    selector.matchers.iter().find(|each| each.label == "le")
}

/// A bucket's bound, as the exposition format has it.
fn as_open_metrics(bound: f64) -> Option<String> {
    match bound {
        bound if bound.is_nan() => None,
        f64::INFINITY => Some("+Inf".to_owned()),
        f64::NEG_INFINITY => Some("-Inf".to_owned()),
        bound => Some(format!("{bound:?}")),
    }
}

/// Whether it takes a series that does not have the label.
fn takes_absent(matcher: &Matcher) -> bool {
    // What this crate does not read (`{name}`) has text in it.
    let empty = || {
        regex_syntax::parse(&matcher.value)
            .is_ok_and(|parsed| parsed.properties().minimum_len() == Some(0))
    };
    match matcher.operator {
        Operator::Equal => matcher.value.is_empty(),
        Operator::NotEqual => !matcher.value.is_empty(),
        Operator::Match => empty(),
        Operator::NotMatch => !empty(),
    }
}

/// Which values a matcher takes, where that can be told without running a regular expression.
enum Values<'a> {
    Only(BTreeSet<&'a str>),
    AllBut(BTreeSet<&'a str>),
    Unknown,
}

impl<'a> Values<'a> {
    fn of(matcher: &'a Matcher) -> Self {
        let mut values = BTreeSet::from([matcher.value.as_str()]);
        if matcher.operator.is_regex() {
            if matcher.value.contains(|c| ".+*?()[]{}^$\\".contains(c)) {
                return Self::Unknown;
            }
            values = matcher.value.split('|').collect();
        }
        match matcher.operator {
            Operator::Equal | Operator::Match => Self::Only(values),
            Operator::NotEqual | Operator::NotMatch => Self::AllBut(values),
        }
    }
}

/// Whether all that `inner` take may be taken by `outer` as well; they are about one label.
fn may_imply<'a>(mut inner: impl Iterator<Item = &'a Matcher>, outer: &Matcher) -> bool {
    let all = Values::of(outer);
    if outer.operator == Operator::Match && outer.value == ".*" {
        return true;
    }
    inner.any(|each| {
        each == outer
            || match (Values::of(each), &all) {
                (Values::Only(some), Values::Only(all)) => some.is_subset(all),
                (Values::Only(some), Values::AllBut(none)) => some.is_disjoint(none),
                (Values::AllBut(none), Values::AllBut(all)) => all.is_subset(&none),
                (Values::AllBut(_), Values::Only(_)) => false,
                (Values::Unknown, _) | (_, Values::Unknown) => true,
            }
    })
}
