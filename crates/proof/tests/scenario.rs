//! Scenarios as they are read: what is wrong is said with its line, its column and what was expected; what is shipped is right.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::path::{Path, PathBuf};

use proof::scenario::{Question, Scenario, parse, read_folder};
use serde_json::Value;

const GOOD: &str = r#"title: All is late
summary: Why it is worth seeing.
broken:
  flags: {users-slow-query-ms: extreme}
load: {people: 4, pause: 400ms, paths: {/users: 3, /albums: 1}}
expect:
  - name: answers are late
    within: 1m
    promql: x > 1
alert:
  labels: {alertname: ErrorBudgetBurn, slo: users-latency-12h}
  within: 90s
heal:
  text: Take it back.
  resolved_within: 2m
walk:
  - text: Look.
    traces: {service: users, min_duration: 1s, tags: {error: "true"}}
  - text: Read.
    logs: '{service_name="users"} | trace_id=`${trace_id}`'
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn says(from: &str, to: &str, expected: &str) {
    let wrong = GOOD.replacen(from, to, 1);
    assert_ne!(wrong, GOOD, "{from} is not in the text");
    let error = parse("x", &wrong).map_err(|error| error.to_string());
    assert_eq!(error.map(|_| ()), Err(expected.to_owned()));
}

#[test]
fn a_good_one_is_read() {
    let scenario = parse("slow", GOOD).unwrap();
    assert_eq!(scenario.name, "slow");
    assert_eq!(scenario.broken.to_string(), "users-slow-query-ms=extreme");
    assert_eq!(scenario.load.pause.as_millis(), 400);
    assert_eq!(scenario.heal.resolved_within.as_secs(), 120);
    assert_eq!(
        scenario.alert.to_string(),
        "ErrorBudgetBurn{slo=\"users-latency-12h\"}"
    );
    assert!(
        matches!(&scenario.walk[0].question, Question::Traces(search) if search.tags["error"] == "true")
    );
    let needs: Vec<&str> = scenario.needs().into_iter().collect();
    assert_eq!(
        needs,
        [
            "alertmanager",
            "edge",
            "jaeger",
            "loki",
            "prometheus",
            "webhook"
        ]
    );
}

#[test]
fn fields() {
    says(
        "pause: 400ms",
        "pauses: 400ms",
        "5:19: load: unknown field `pauses`, expected one of `people`, `pause`, `paths`",
    );
    says(
        "title:",
        "titel:",
        "1:1: unknown field `titel`, expected one of `title`, `summary`, `broken`, `load`, `expect`, `alert`, `heal`, `walk`",
    );
    says(
        "  text: Take it back.\n",
        "",
        "14:3: heal: missing field `text`",
    );
    says(
        "within: 1m",
        "within: soon",
        "8:13: expect[0].within: expected a time such as 500ms, 30s or 2m (an hour at most), found \"soon\"",
    );
    says(
        "within: 90s",
        "within: 90",
        "12:11: alert.within: invalid type: integer `90`, expected a time such as 500ms, 30s or 2m",
    );
    says(
        "title: All is late",
        "title: ''",
        "1:8: title: expected a text, found an empty one",
    );
}

#[test]
fn what_must_go_together() {
    says(
        "    promql: x > 1\n",
        "",
        "7:5: expect[0]: expected one of `promql`, `traces`, `logs`, `profile`, found none",
    );
    says(
        "    promql: x > 1\n",
        "    promql: x > 1\n    logs: '{}'\n",
        "7:5: expect[0]: expected one of `promql`, `traces`, `logs`, `profile`, found promql and logs",
    );
    says(
        "flags: {users-slow-query-ms: extreme}",
        "stop: []",
        "4:3: broken: expected `flags`, `stop` or `deploy`, found none",
    );
    says(
        "people: 4",
        "people: 4000",
        "5:7: load: expected 1 to 50 people, found 4000",
    );
    says(
        "alertname: ErrorBudgetBurn, ",
        "",
        "11:3: alert: expected the label `alertname`, found none",
    );
}

#[test]
fn addresses_and_traces_in_texts() {
    says(
        "promql: x > 1",
        "promql: '${kibana} > 1'",
        "9:13: expect[0].promql: expected one of albums, alertmanager, edge, jaeger, loki, otel-collector, prometheus, users, webhook, trace_id between `${` and `}`, found `kibana`",
    );
    says(
        "    traces: {service: users, min_duration: 1s, tags: {error: \"true\"}}\n",
        "    link: ${edge}/users\n",
        "17:3: walk: expected a step with `traces` before the first ${trace_id}, found none before step 2",
    );
}

fn shipped() -> Vec<Scenario> {
    let sources = read_folder(&root().join("scenarios")).unwrap();
    sources
        .into_iter()
        .map(|source| source.scenario.unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

#[test]
fn the_shipped_ones_break_what_there_is() {
    let text = std::fs::read_to_string(root().join("infra/flags/lab.flagd.json")).unwrap();
    let flags: Value = serde_json::from_str(&text).unwrap();
    let scenarios = shipped();
    assert!(scenarios.len() >= 10, "{}", scenarios.len());
    for scenario in scenarios {
        for (flag, variant) in &scenario.broken.flags {
            let variants = &flags["flags"][flag]["variants"];
            assert!(
                variants.get(variant).is_some(),
                "{}: {flag}={variant}",
                scenario.name
            );
        }
    }
}

/// An alert that nobody wrote would be waited for in vain.
#[test]
fn the_shipped_ones_wait_for_alerts_that_exist() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let rules = read("infra/prometheus/rules/services.yml")
        + &read("infra/prometheus/rules/saturation.yml");
    for scenario in shipped() {
        let labels = &scenario.alert.labels;
        match labels.get("slo") {
            Some(slo) => {
                assert!(
                    root().join(format!("slo/{slo}.yaml")).exists(),
                    "{}: {slo}",
                    scenario.name
                );
            }
            None => {
                let alert = format!("- alert: {}\n", labels["alertname"]);
                assert!(rules.contains(&alert), "{}: {alert}", scenario.name);
            }
        }
    }
}
