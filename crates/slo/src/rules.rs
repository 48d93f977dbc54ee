//! From an objective to the rules that Prometheus loads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::selector::join;
use crate::windows::lengths;
use crate::{Duration, Indicator, Matcher, Objective, Operator, Selector, Severity};

type Labels = BTreeMap<String, String>;

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Evaluated each by itself.
    pub groups: Vec<Group>,
}

/// Rules that are evaluated one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Unique in its file.
    pub name: String,
    /// How often.
    pub interval: String,
    /// In this order.
    pub rules: Vec<Rule>,
}

/// A recording rule or an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The series that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The alert that fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// What is asked.
    pub expr: String,
    /// How long it must hold before the alert fires.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// On the series or the alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// For whoever is paged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Labels,
}

impl RuleFile {
    /// As YAML, for Prometheus.
    pub fn to_yaml(&self) -> String {
        // Text and mappings of text: there is nothing in it that YAML cannot hold.
        serde_norway::to_string(self).unwrap_or_default()
    }
}

impl Objective {
    /// The rules, as Pyrra 0.9.5 writes them with `--generic-rules`.
    pub fn rules(&self) -> RuleFile {
        let mut groups = vec![self.increases(), self.burn_rates()];
        // Generic series tell objectives apart by the label slo alone: a group cannot be told.
        if self.indicator.grouping().is_empty() {
            groups.push(self.generic());
        }
        RuleFile { groups }
    }

    /// How much there was in the whole window, for the budget; and whether there is anything.
    fn increases(&self) -> Group {
        let total = self.indicator.total();
        let part = self.indicator.part();
        let window = or_second(self.window);
        let grouping = self.increase_grouping();
        let by = sum_by(&grouping);
        let mut labels = self.rule_labels();
        labels.retain(|label, _| !grouping.contains(label));
        let mut part_labels = labels.clone();
        if let Some(le) = part.matchers.iter().find(|each| each.label == "le") {
            part_labels
                .entry("le".to_owned())
                .or_insert_with(|| le.value.clone());
        }

        let increase = |of: &Selector, labels: &Labels| {
            record(
                self.increase_name(of),
                format!("{by}(increase({of}[{window}]))"),
                labels,
            )
        };
        let absent = |of: &Selector, labels: &Labels| {
            let mut labels = labels.clone();
            labels.insert("severity".to_owned(), Severity::Critical.to_string());
            self.alerting.absent.then(|| Rule {
                record: None,
                alert: Some(self.alerting.absent_name.clone()),
                expr: format!("absent({of}) == 1"),
                wait: Some(self.absent_wait().to_string()),
                labels,
                annotations: self.annotations.clone(),
            })
        };
        let mut rules = vec![increase(total, &labels)];
        match &self.indicator {
            Indicator::Ratio { .. } => {
                rules.extend(absent(total, &labels));
                // With one name for both, all is recorded already, split by what tells them apart.
                if part.name != total.name {
                    rules.push(increase(part, &labels));
                    rules.extend(absent(part, &labels));
                }
            }
            Indicator::Latency { .. } => {
                rules.push(increase(part, &part_labels));
                rules.extend(absent(total, &labels));
                rules.extend(absent(part, &part_labels));
            }
        }
        Group {
            name: format!("{}-increase", self.name),
            interval: self.increase_interval().to_string(),
            rules,
        }
    }

    /// How fast the budget burns, over every window, and the alerts on it.
    fn burn_rates(&self) -> Group {
        let grouping = self.indicator.grouping();
        let windows = self.windows();
        let mut labels = self.rule_labels();
        labels.retain(|label, _| !grouping.contains(label));
        let mut rules: Vec<Rule> = lengths(&windows)
            .into_iter()
            .map(|window| record(self.burn_rate_name(window), self.burn_rate(window), &labels))
            .collect();
        if self.alerting.burnrates {
            let series = self.alert_matchers();
            rules.extend(windows.iter().map(|window| {
                let over = |length: Duration| {
                    format!(
                        "{}{{{series}}} > ({} * (1-{}))",
                        self.burn_rate_name(length),
                        window.factor,
                        self.target
                    )
                };
                let mut labels = self.labels_of_all();
                for matcher in self.equal_matchers() {
                    if !grouping.contains(&matcher.label) {
                        labels.insert(matcher.label.clone(), matcher.value.clone());
                    }
                }
                labels.insert("short".to_owned(), window.short.to_string());
                labels.insert("long".to_owned(), window.long.to_string());
                labels.insert("severity".to_owned(), window.severity.to_string());
                labels.insert(
                    "exhaustion".to_owned(),
                    self.exhaustion(window.factor).to_string(),
                );
                Rule {
                    record: None,
                    alert: Some(self.alerting.name.clone()),
                    expr: format!("{} and {}", over(window.short), over(window.long)),
                    wait: Some(match self.indicator {
                        Indicator::Ratio { .. } => window.wait.go_text(),
                        Indicator::Latency { .. } => window.wait.to_string(),
                    }),
                    labels,
                    annotations: self.annotations.clone(),
                }
            }));
        }
        Group {
            name: self.name.clone(),
            interval: "30s".to_owned(),
            rules,
        }
    }

    /// The same series for every objective, for dashboards.
    fn generic(&self) -> Group {
        let total = self.indicator.total();
        let part = self.indicator.part();
        let labels = self.labels_of_all();
        let slo = Matcher::equal("slo", &self.name);
        let recorded = |of: &Selector, more: &[Matcher]| Selector {
            name: self.increase_name(of),
            matchers: of.matchers.iter().chain(more).cloned().collect(),
        };
        let some = recorded(part, std::slice::from_ref(&slo));
        let rate = |of: &Selector| format!("sum(rate({of}[5m]))");
        let (availability, errors) = match &self.indicator {
            Indicator::Ratio { .. } => {
                let all = recorded(total, &[slo]);
                (
                    format!("1 - sum({some} or vector(0)) / sum({all})"),
                    format!("{} or vector(0)", rate(part)),
                )
            }
            Indicator::Latency { .. } => {
                let all = recorded(total, &[Matcher::equal("le", ""), slo]);
                (
                    format!("sum({some} or vector(0)) / sum({all})"),
                    format!("{} - {}", rate(total), rate(part)),
                )
            }
        };
        let rules = [
            ("pyrra_objective", self.target.to_string()),
            ("pyrra_window", self.window.as_secs().to_string()),
            ("pyrra_availability", availability),
            ("pyrra_requests:rate5m", rate(total)),
            ("pyrra_errors:rate5m", errors),
        ];
        Group {
            name: format!("{}-generic", self.name),
            interval: "30s".to_owned(),
            rules: rules
                .into_iter()
                .map(|(name, expr)| record(name.to_owned(), expr, &labels))
                .collect(),
        }
    }

    fn burn_rate(&self, window: Duration) -> String {
        let by = sum_by(self.indicator.grouping());
        let window = or_second(window);
        let rate = |of: &Selector| format!("{by}(rate({of}[{window}]))");
        let total = rate(self.indicator.total());
        let part = rate(self.indicator.part());
        match self.indicator {
            Indicator::Ratio { .. } => format!("{part} / {total}"),
            Indicator::Latency { .. } => format!("({total} - {part}) / {total}"),
        }
    }

    fn burn_rate_name(&self, window: Duration) -> String {
        let name = &self.indicator.total().name;
        let name = name.strip_suffix("_total").unwrap_or(name);
        let name = name.strip_suffix("_count").unwrap_or(name);
        format!("{name}:burnrate{window}")
    }

    pub(crate) fn increase_name(&self, of: &Selector) -> String {
        let mut name = of.name.as_str();
        for suffix in ["_total", "_count", "_bucket"] {
            name = name.strip_suffix(suffix).unwrap_or(name);
        }
        format!("{name}:increase{}", self.window)
    }

    /// What an increase is split by: what was asked for, what tells the part from all, and what
    /// more than one value matches.
    fn increase_grouping(&self) -> BTreeSet<String> {
        let total = self.indicator.total();
        let mut grouping = self.indicator.grouping().clone();
        let told_apart = self.indicator.part().matchers.iter().filter(|matcher| {
            matcher.label != "le"
                && !total
                    .matchers
                    .iter()
                    .any(|each| each.label == matcher.label)
        });
        let many = total
            .matchers
            .iter()
            .filter(|each| each.operator.is_regex());
        grouping.extend(told_apart.chain(many).map(|matcher| matcher.label.clone()));
        grouping
    }

    /// The labels that tell recorded increases apart.
    pub(crate) fn recorded_labels(&self) -> BTreeSet<String> {
        let mut labels = self.increase_grouping();
        labels.extend(self.rule_labels().into_keys());
        if let Indicator::Latency { .. } = self.indicator {
            labels.insert("le".to_owned());
        }
        labels
    }

    fn labels_of_all(&self) -> Labels {
        let mut labels = Labels::from([("slo".to_owned(), self.name.clone())]);
        labels.extend(self.labels.clone());
        labels
    }

    pub(crate) fn equal_matchers(&self) -> impl Iterator<Item = &Matcher> {
        let matchers = &self.indicator.total().matchers;
        matchers
            .iter()
            .filter(|each| each.operator == Operator::Equal)
    }

    fn rule_labels(&self) -> Labels {
        let mut labels = self.labels_of_all();
        for matcher in self.equal_matchers() {
            labels.insert(matcher.label.clone(), matcher.value.clone());
        }
        labels
    }

    /// Which burn rates an alert looks at. What a regular expression matched is summed up in them.
    fn alert_matchers(&self) -> String {
        let grouping = self.indicator.grouping();
        let slo = Matcher::equal("slo", &self.name);
        let kept =
            self.indicator.total().matchers.iter().filter(|matcher| {
                grouping.contains(&matcher.label) || !matcher.operator.is_regex()
            });
        join(kept.chain([&slo]))
    }

    /// When the budget is gone, at this factor.
    fn exhaustion(&self, factor: u32) -> Duration {
        let seconds = self.window.as_millis() as f64 / 1_000.0 / f64::from(factor);
        Duration::from_secs(seconds as u64)
    }

    /// A metric that is absent counts as nothing but errors: the time until the most urgent
    /// alert would fire then.
    pub(crate) fn absent_wait(&self) -> Duration {
        let [urgent, ..] = self.windows();
        let threshold = f64::from(urgent.factor) * (1.0 - self.target);
        let exceeded = Duration::from_secs((threshold * urgent.long.as_secs() as f64) as u64);
        exceeded.plus(urgent.wait).to_minutes()
    }

    /// Long increases are costly to compute and change slowly.
    fn increase_interval(&self) -> Duration {
        let weeks = self.window.as_secs() / Duration::from_days(7).as_secs();
        Duration::from_secs(30 + 30 * weeks.min(7))
    }
}

fn record(name: String, expr: String, labels: &Labels) -> Rule {
    Rule {
        record: Some(name),
        alert: None,
        expr,
        wait: None,
        labels: labels.clone(),
        annotations: Labels::new(),
    }
}

fn sum_by(grouping: &BTreeSet<String>) -> String {
    let mut text = "sum".to_owned();
    if !grouping.is_empty() {
        let names: Vec<&str> = grouping.iter().map(String::as_str).collect();
        // Writing to a String cannot fail.
        let _ = write!(text, " by ({}) ", names.join(", "));
    }
    text
}

/// A range cannot be empty: what was rounded to nothing asks for a second, which has no data.
fn or_second(window: Duration) -> Duration {
    if window.is_zero() {
        Duration::from_secs(1)
    } else {
        window
    }
}
