//! What the lab ships: every alert that can fire is tested, and the load has the same objectives.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use slo::{Indicator, Objective, read_folder};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn objectives() -> Vec<Objective> {
    let sources = read_folder(&root().join("slo")).unwrap();
    sources
        .into_iter()
        .map(|source| {
            let objective = source.objective.unwrap();
            // Files are found by the name that a page carries.
            assert_eq!(source.path.file_stem().unwrap(), objective.name.as_str());
            objective
        })
        .collect()
}

/// What promtool is asked in one file.
#[derive(Deserialize)]
struct Tests {
    rule_files: Vec<String>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    promql_expr_test: Vec<Look>,
}

#[derive(Deserialize)]
struct Look {
    expr: String,
    exp_samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    #[serde(default)]
    labels: String,
}

impl Look {
    /// Whether it sees a firing alert with all of these.
    fn sees(&self, labels: &[String]) -> bool {
        let firing = |sample: &Sample| !sample.labels.contains("pending");
        let all = |sample: &Sample| labels.iter().all(|label| sample.labels.contains(label));
        let mut samples = self.exp_samples.iter();
        samples.any(|sample| firing(sample) && all(sample))
    }
}

impl Tests {
    fn read(file: &str) -> Self {
        serde_norway::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Of the tests in which it fires: it is silent before in one, and after in one.
    #[track_caller]
    fn silent_firing_resolved(&self, file: &str, labels: &[String]) {
        let (mut before, mut after) = (false, false);
        let mut fires = false;
        for test in &self.tests {
            let looks = test.promql_expr_test.iter();
            let looks: Vec<bool> = looks
                .filter(|look| look.expr.contains("ALERTS"))
                .map(|look| look.sees(labels))
                .collect();
            let Some(first) = looks.iter().position(|sees| *sees) else {
                continue;
            };
            fires = true;
            before |= first > 0;
            after |= looks[first..].contains(&false);
        }
        assert!(fires, "{file}: {labels:?} never fires");
        assert!(before, "{file}: {labels:?} is never silent before it fires");
        assert!(after, "{file}: {labels:?} never ends");
    }
}

fn label(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}=\"{value}\"")
}

#[test]
fn every_alert_that_can_fire_is_silent_fires_and_ends() {
    for objective in objectives() {
        let file = format!("slo/tests/{}.yaml", objective.name);
        let tests = Tests::read(&file);
        for window in objective.windows() {
            let labels = [
                label("alertname", &objective.alerting.name),
                label("long", window.long),
                label("severity", window.severity),
            ];
            // Whole minutes, or a second that holds no two scrapes.
            if window.short.is_zero() {
                let says = read(&file).contains("cannot fire");
                assert!(says, "{file} says nothing of {labels:?}");
            } else {
                tests.silent_firing_resolved(&file, &labels);
            }
        }
        if objective.alerting.absent {
            let absent = label("alertname", &objective.alerting.absent_name);
            tests.silent_firing_resolved(&file, &[absent]);
        }
    }
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[test]
fn so_is_every_alert_of_the_other_rules() {
    let mut alerts = 0;
    for entry in std::fs::read_dir(root().join("infra/prometheus/rules")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rules = std::fs::read_to_string(&path).unwrap();
        let rules: Rules = serde_norway::from_str(&rules).unwrap();
        let file = format!("slo/tests/{name}.yaml");
        let tests = Tests::read(&file);
        assert_eq!(tests.rule_files, [format!("../rules/{name}.yml")]);
        for rule in rules.groups.into_iter().flat_map(|group| group.rules) {
            let Some(alert) = rule.alert else { continue };
            let mut labels = vec![label("alertname", alert)];
            labels.extend(
                rule.labels
                    .get("severity")
                    .map(|each| label("severity", each)),
            );
            tests.silent_firing_resolved(&file, &labels);
            alerts += 1;
        }
    }
    assert!(alerts >= 5, "{alerts}");
}

#[test]
fn every_service_has_its_objectives() {
    let names: Vec<String> = objectives().into_iter().map(|each| each.name).collect();
    for service in ["edge", "users"] {
        for indicator in ["availability", "latency", "availability-12h", "latency-12h"] {
            let name = format!("{service}-{indicator}");
            assert!(names.contains(&name), "no {name} in {names:?}");
        }
    }
}

#[test]
fn the_thresholds_of_the_load_are_edges_objectives() {
    let script = read("k6-script.js");
    let objectives = objectives();
    let find = |name: &str| objectives.iter().find(|each| each.name == name).unwrap();

    let errors = 1.0 - find("edge-availability").target;
    let threshold = format!("http_req_failed: ['rate<{errors:.2}']");
    assert!(script.contains(&threshold), "no {threshold}");

    let latency = find("edge-latency");
    let threshold = format!("requests_within_1s: ['rate>={}']", latency.target);
    assert!(script.contains(&threshold), "no {threshold}");
    let Indicator::Latency { success, .. } = &latency.indicator else {
        panic!("{latency:?}");
    };
    assert!(success.to_string().contains("le=\"1.0\""), "{success}");
    assert!(script.contains("answer.timings.duration < 1000"));
}
