//! What is wrong in a file is said with its line, its column and what was expected.

use slo::Objective;

const GOOD: &str = include_str!("golden/slo/users-latency.yaml");
const RATIO: &str = include_str!("golden/slo/users-availability.yaml");

#[track_caller]
fn says(text: &str, from: &str, to: &str, expected: &str) {
    let wrong = text.replacen(from, to, 1);
    assert_ne!(wrong, text, "{from} is not in the text");
    let error = Objective::parse(&wrong)
        .map(|_| ())
        .map_err(|error| error.to_string());
    assert_eq!(error, Err(expected.to_owned()));
}

#[test]
fn single_fields() {
    says(
        GOOD,
        "window: 1w",
        "window: a week",
        "8:11: spec.window: expected a length of time such as 12h, 1w or 1h30m (units y, w, d, h, m, s, ms, from long to short), found \"a week\"",
    );
    says(
        GOOD,
        "\"95\"",
        "95",
        "7:11: spec.target: invalid type: integer `95`, expected per cent in quotes, such as \"99.5\"",
    );
    says(
        GOOD,
        "\"95\"",
        "\"0.95\"",
        "7:11: spec.target: expected per cent from 1 to 100, such as \"99.5\", found \"0.95\"",
    );
    says(
        GOOD,
        "name: users-latency",
        "name: Users",
        "4:9: metadata.name: expected a name of lower-case letters, digits and dashes, such as users-availability, found \"Users\"",
    );
    says(
        GOOD,
        "v1alpha1",
        "v1",
        "1:13: apiVersion: expected pyrra.dev/v1alpha1, found \"pyrra.dev/v1\"",
    );
    says(
        GOOD,
        "  target: \"95\"\n",
        "",
        "7:3: spec: missing field `target`",
    );
    says(
        GOOD,
        "  window",
        "  windows",
        "8:3: spec: unknown field `windows`, expected one of `description`, `target`, `window`, `indicator`, `alerting`, `partial_response_strategy`",
    );
}

#[test]
fn metrics() {
    says(
        GOOD,
        ",le=\"1.0\"",
        "",
        "12:17: spec.indicator.latency.success.metric: expected the label le, which says how fast is fast enough, such as le=\"1.0\"",
    );
    says(
        GOOD,
        "le=\"1.0\"",
        "le=~\"1.*\"",
        "12:17: spec.indicator.latency.success.metric: expected le to be a number, such as le=\"1.0\", found le=~\"1.*\"",
    );
    says(
        GOOD,
        "le=\"1.0\"",
        "le=\"NaN\"",
        "12:17: spec.indicator.latency.success.metric: expected le to be a number, such as le=\"1.0\", found le=\"NaN\"",
    );
    says(
        RATIO,
        "metric: http",
        "metric: 5http",
        "12:17: spec.indicator.ratio.errors.metric: expected a metric's name at character 1 of the metric, found \"5http_server_request\"",
    );
}

#[test]
fn fields_that_must_go_together() {
    says(
        GOOD,
        "    latency:\n",
        "    other:\n",
        "10:5: spec.indicator: unknown field `other`, expected one of `ratio`, `latency`, `latencyNative`, `bool_gauge`",
    );
    says(
        RATIO,
        ",http_response_status_code=~\"5..\"",
        "",
        "11:7: spec.indicator.ratio: expected `errors` to be a part of `total`, found the same metric twice",
    );
    says(
        RATIO,
        "{job=\"users\",http_route!=\"/metrics\",http_response_status_code=~\"5..\"}",
        "{http_route!=\"/metrics\", job='users'}",
        "11:7: spec.indicator.ratio: expected `errors` to be a part of `total`, found the same metric twice",
    );
    let both = "    ratio:\n      errors: {metric: a}\n      total: {metric: b}\n    latency:\n";
    says(
        GOOD,
        "    latency:\n",
        both,
        "10:5: spec.indicator: expected `ratio` or `latency`, found both",
    );
    let empty = GOOD
        .split("    latency:")
        .next()
        .unwrap_or_default()
        .replace("indicator:", "indicator: {}");
    let error = Objective::parse(&empty)
        .map(|_| ())
        .map_err(|error| error.to_string());
    assert_eq!(
        error,
        Err("9:14: spec.indicator: expected `ratio` or `latency`, found neither".to_owned())
    );
}

#[test]
fn what_pyrra_knows_and_no_rules_are_made_for() {
    let refused =
        "expected this field not to be there: Pyrra knows it, but no rules are made for it here";
    says(
        GOOD,
        "    latency:\n",
        "    bool_gauge: {metric: up}\n    latency:\n",
        &format!("10:17: spec.indicator.bool_gauge: invalid type: map, {refused}"),
    );
    says(
        GOOD,
        "    latency:\n",
        "    latencyNative: {latency: 1s}\n    latency:\n",
        &format!("10:20: spec.indicator.latencyNative: invalid type: map, {refused}"),
    );
    says(
        GOOD,
        "  window: 1w\n",
        "  window: 1w\n  partial_response_strategy: warn\n",
        &format!("9:30: spec.partial_response_strategy: invalid type: string \"warn\", {refused}"),
    );
}

#[test]
fn what_prometheus_would_not_load() {
    says(
        GOOD,
        "  namespace: monitoring\n",
        "  annotations: {pyrra.dev/summary: \"{{ $value\"}\n",
        "5:36: metadata.annotations.pyrra.dev/summary: expected plain text, without {{ }}, found \"{{ $value\"",
    );
    says(
        GOOD,
        "  namespace: monitoring\n",
        "  labels: {pyrra.dev/my-team: x}\n",
        "5:12: metadata.labels: expected a label's name, found \"my-team\"",
    );
    says(
        GOOD,
        "  namespace: monitoring\n",
        "  labels: {pyrra.dev/__name__: x}\n",
        "5:12: metadata.labels: expected a label's name, found \"__name__\"",
    );
    says(
        GOOD,
        "    latency:\n",
        "    latency:\n      grouping: [__name__]\n",
        "11:18: spec.indicator.latency.grouping[0]: expected a label's name, found \"__name__\"",
    );
    says(
        RATIO,
        "http_response_status_code=~",
        "Inf=~",
        "12:17: spec.indicator.ratio.errors.metric: expected another label than Inf, which rules cannot group by: it is a word of PromQL",
    );
    says(
        GOOD,
        "    latency:\n",
        "    latency:\n      grouping: [without]\n",
        "11:18: spec.indicator.latency.grouping[0]: expected another label than without, which rules cannot group by: it is a word of PromQL",
    );
    // It becomes a label of the alerts.
    says(
        RATIO,
        "seconds_count{job=\"users\",http_route!=\"/metrics\"}",
        "seconds_count{job=\"{{users\"}",
        "14:17: spec.indicator.ratio.total.metric: expected plain text, without {{ }}, found \"{{users\"",
    );
    says(
        RATIO,
        "=~\"5..\"",
        "=~'(?x)5..'",
        "12:17: spec.indicator.ratio.errors.metric: expected a regular expression of RE2 (`(?x` expected a group or one of the flags i, m, s, U) at character 106 of the metric, found \"'(?x)5..'}\"",
    );
}

#[test]
fn labels_that_the_rules_set_themselves() {
    let other = "expected another label than `slo`, which the rules set to the objective's name";
    says(
        RATIO,
        "metric: http_server_request_duration_seconds_count{job=\"users\"",
        "metric: http_server_request_duration_seconds_count{slo=~\"u.*\"",
        &format!("12:17: spec.indicator.ratio.errors.metric: {other}, found slo=~\"u.*\""),
    );
    says(
        RATIO,
        "  namespace: monitoring\n",
        "  labels: {pyrra.dev/slo: x}\n",
        &format!("5:12: metadata.labels: {other}, found pyrra.dev/slo"),
    );
    for label in [
        "slo",
        "severity",
        "short",
        "long",
        "exhaustion",
        "alertname",
    ] {
        says(
            RATIO,
            "    ratio:\n",
            &format!("    ratio:\n      grouping: [{label}]\n"),
            &format!(
                "11:18: spec.indicator.ratio.grouping[0]: expected a label that the rules do not set themselves, found \"{label}\""
            ),
        );
    }
}

#[test]
fn no_yaml_at_all() {
    for (text, expected) in [
        ("", "1:1: missing field `apiVersion`"),
        (
            "kind: \"x",
            "1:9: found unexpected end of stream at line 1 column 9, while scanning a quoted scalar at line 1 column 7",
        ),
        (
            "- a\n",
            "1:1: invalid type: sequence, expected the fields apiVersion, kind, metadata and spec",
        ),
    ] {
        let error = Objective::parse(text)
            .map(|_| ())
            .map_err(|error| error.to_string());
        assert_eq!(error, Err(expected.to_owned()));
    }
}
