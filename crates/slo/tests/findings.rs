//! What loads and is wrong all the same is a finding, with its place and what to write instead.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::path::Path;

use slo::{Level, Objective, read_folder};

fn ratio(errors: &str, total: &str) -> String {
    objective(&format!(
        "ratio:\n      errors: {{metric: '{errors}'}}\n      total: {{metric: '{total}'}}\n"
    ))
}

fn latency(success: &str, total: &str) -> String {
    objective(&format!(
        "latency:\n      success: {{metric: '{success}'}}\n      total: {{metric: '{total}'}}\n"
    ))
}

fn objective(indicator: &str) -> String {
    format!(
        "apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {{name: shop, labels: {{}}}}
spec:
  target: '99'
  window: 4w
  indicator:
    {indicator}"
    )
}

fn findings(text: &str) -> Vec<(Level, String)> {
    let objective = Objective::parse(text).unwrap();
    let findings = objective.findings().into_iter();
    findings
        .map(|finding| (finding.level, finding.to_string()))
        .collect()
}

#[track_caller]
fn says(text: &str, expected: &[(Level, &str)]) {
    let found = findings(text);
    let found: Vec<_> = found
        .iter()
        .map(|(level, text)| (*level, text.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn is_silent(text: &str) {
    says(text, &[]);
}

#[test]
fn what_the_lab_ships_is_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../slo");
    let mut warned = Vec::new();
    for source in read_folder(&folder).unwrap() {
        for (level, finding) in source.findings {
            assert_eq!(level, Level::Warning, "{finding}");
            warned.push(source.objective.as_ref().unwrap().name.clone());
        }
    }
    // Long work that was asked for is left out on purpose.
    assert_eq!(warned, ["users-latency-12h"]);
}

#[test]
fn a_finding_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = ratio("m{code=~\"5..\"}", "m{job!=\"test\"}");
    std::fs::write(folder.path().join("a.yaml"), text).unwrap();
    let sources = read_folder(folder.path()).unwrap();
    let findings = sources[0].findings.iter();
    let texts: Vec<_> = findings.map(|(_, error)| error.to_string()).collect();
    assert!(
        texts[0].contains("/a.yaml:10:23: spec.indicator.ratio.total.metric: job!=\"test\" counts"),
        "{texts:?}"
    );
    assert!(
        texts[1].contains("/a.yaml:9:24: spec.indicator.ratio.errors.metric: expected errors"),
        "{texts:?}"
    );
}

const TOTAL: &str = "spec.indicator.ratio.total.metric";
const ERRORS: &str = "spec.indicator.ratio.errors.metric";

#[test]
fn negative_conditions_of_the_total() {
    let counts = "counts everything else, series without the label route and values that come later included; expected a condition on what is to be counted";
    for (operator, value) in [("!=", "/metrics"), ("!~", "/m.*")] {
        let matcher = format!("route{operator}\"{value}\"");
        says(
            &ratio(
                &format!("m{{{matcher},code=~\"5..\"}}"),
                &format!("m{{{matcher}}}"),
            ),
            &[(Level::Warning, &format!("{TOTAL}: {matcher} {counts}"))],
        );
    }
    says(
        &ratio("m{code=~\"5..\",route!=\"\"}", "m{route!=\"\"}"),
        &[(
            Level::Error,
            &format!(
                "{TOTAL}: no burn-rate alert can fire, and there is no availability: both ask recorded series for route!=\"\", and these have no label route; expected route=~\".+\""
            ),
        )],
    );
    is_silent(
        &ratio("m{code=~\"5..\",route!=\"\"}", "m{route!=\"\"}")
            .replace("ratio:\n", "ratio:\n      grouping: [route]\n"),
    );
    is_silent(&ratio("m{code=~\"5..\",route=~\".+\"}", "m{route=~\".+\"}"));
    says(
        &ratio("m{code=~\"5..\",job=\"\"}", "m{job=\"\"}"),
        &[(
            Level::Warning,
            &format!("{TOTAL}: job=\"\" counts only series without the label job"),
        )],
    );
}

/// Pyrra records the increase of the total without the label that errors are told by.
#[test]
fn an_availability_that_never_changes() {
    for (errors, share) in [("code=~\"5..\"", "100 %"), ("code!~\"2..\"", "0 %")] {
        let found = findings(&ratio(&format!("m{{{errors}}}"), "m{code!=\"404\"}"));
        assert_eq!(
            found[1],
            (
                Level::Error,
                format!(
                    "{ERRORS}: availability is {share}, whatever happens: the rule asks the recorded increase for {errors}, and it has no label code; expected code!~\"404\" for code!=\"404\" in the total"
                )
            )
        );
    }
    // As it proposes: only that it is negative is left.
    let found = findings(&ratio("m{code=~\"5..\"}", "m{code!~\"404\"}"));
    assert!(matches!(&found[..], [(Level::Warning, _)]), "{found:?}");

    let found = findings(&latency(
        "m_bucket{code=~\"2..\",le=\"1.0\"}",
        "m_count{code!=\"404\"}",
    ));
    assert_eq!(found[1].0, Level::Error);
    assert!(found[1].1.contains("availability is 0 %"), "{found:?}");

    says(
        &ratio("slow_bucket{le=\"1.0\"}", "all_total"),
        &[(
            Level::Error,
            &format!(
                "{ERRORS}: availability is 100 %, whatever happens: the rule asks the recorded increase for le=\"1.0\", and it has no label le"
            ),
        )],
    );
    says(
        &ratio("m_count{code=\"500\"}", "m_total"),
        &[(
            Level::Error,
            &format!(
                "{ERRORS}: there is no availability: the increases of m_count and of m_total are both recorded as m:increase4w"
            ),
        )],
    );
}

#[test]
fn errors_that_are_no_part_of_the_total() {
    for (errors, total, found) in [
        ("", "job=\"shop\"", "no condition on job"),
        ("job=\"x\"", "job=\"shop\"", "job=\"x\""),
        ("job=~\"shop|x\"", "job=\"shop\"", "job=~\"shop|x\""),
        ("job!=\"x\"", "job=\"shop\"", "job!=\"x\""),
        ("job=\"x\"", "job=~\"shop|pay\"", "job=\"x\""),
        ("", "job=~\"sh.*\"", "no condition on job"),
        ("job!=\"x\"", "job=~\"shop|pay\"", "job!=\"x\""),
    ] {
        let message = format!(
            "{ERRORS}: expected errors to be a part of the total, which counts {total}, found {found}"
        );
        let errors = format!(
            "{{{errors}{}code=\"500\"}}",
            if errors.is_empty() { "" } else { "," }
        );
        says(
            &ratio(&format!("m{errors}"), &format!("m{{{total}}}")),
            &[(Level::Error, &message)],
        );
        // Two metrics can have different labels.
        says(
            &ratio(&format!("failed{errors}"), &format!("m{{{total}}}")),
            &[(Level::Warning, &message)],
        );
    }
    for (errors, total) in [
        ("job=\"shop\"", "job=\"shop\""),
        ("job=\"shop\"", "job=~\"shop|pay\""),
        ("job=~\"shop|pay\"", "job=~\"pay|shop|x\""),
        ("job=\"shop\"", "job=~\"sh.*\""),
        ("job=~\"sh.*\"", "job=~\"s.*\""),
        ("job=\"shop\",job!=\"x\"", "job=\"shop\""),
        ("", "job=~\".*\""),
    ] {
        is_silent(&ratio(
            &format!(
                "m{{{errors}{}code=\"500\"}}",
                if errors.is_empty() { "" } else { "," }
            ),
            &format!("m{{{total}}}"),
        ));
    }
    let found = findings(&ratio(
        "m{route=\"/a\",code=\"500\"}",
        "m{route!~\"/a|/b\"}",
    ));
    assert_eq!(found[1].0, Level::Error, "{found:?}");
    let found = findings(&ratio("m{code=\"500\"}", "m{route!=\"/a\"}"));
    assert_eq!(found[1].0, Level::Error, "{found:?}");

    says(
        &latency("m_bucket{le=\"1.0\"}", "m_count{job=\"shop\"}"),
        &[(
            Level::Error,
            "spec.indicator.latency.success.metric: expected success to be a part of the total, which counts job=\"shop\", found no condition on job",
        )],
    );
}

#[test]
fn buckets() {
    let total = "spec.indicator.latency.total.metric";
    let success = "spec.indicator.latency.success.metric";
    says(
        &latency("m_bucket{le=\"1.0\"}", "m_bucket{le=\"+Inf\"}"),
        &[(
            Level::Error,
            &format!(
                "{total}: there is no availability: with le=\"+Inf\" the increases of total and success are recorded as the same series; expected m_count without le"
            ),
        )],
    );
    says(
        &latency("m_bucket{le=\"1.0\"}", "n_count"),
        &[(
            Level::Warning,
            &format!("{total}: expected m_count, of the same histogram, found n_count"),
        )],
    );
    says(
        &latency("m_bucket{code=~\"2..\",le=\"+Inf\"}", "m_count"),
        &[(
            Level::Warning,
            &format!(
                "{success}: le=\"+Inf\" counts answers however slow; expected the bound of a bucket, or the indicator ratio"
            ),
        )],
    );
    for (bound, written) in [
        ("1", "1.0"),
        (".5", "0.5"),
        ("0.50", "0.5"),
        ("+2.5", "2.5"),
    ] {
        says(
            &latency(&format!("m_bucket{{le=\"{bound}\"}}"), "m_count"),
            &[(
                Level::Error,
                &format!(
                    "{success}: there is no bucket le=\"{bound}\": the label is text, and OpenMetrics writes this bound {written}; expected le=\"{written}\""
                ),
            )],
        );
    }
    let found = findings(&latency("m_bucket{le=\"inf\"}", "m_count"));
    assert!(found[1].1.ends_with("expected le=\"+Inf\""), "{found:?}");
    for bound in ["0.005", "1.0", "10.0", "1e+06", "1e-05"] {
        is_silent(&latency(&format!("m_bucket{{le=\"{bound}\"}}"), "m_count"));
    }
}

#[test]
fn labels_that_do_not_arrive() {
    let good = ratio("m{job=\"shop\",code=\"500\"}", "m{job=\"shop\"}");
    let with =
        |label: &str| good.replace("labels: {}", &format!("labels: {{pyrra.dev/{label}: x}}"));
    is_silent(&with("team"));
    for label in ["severity", "short", "long", "exhaustion", "alertname"] {
        says(
            &with(label),
            &[(
                Level::Warning,
                &format!(
                    "metadata.labels.pyrra.dev/{label}: the alerts have a label {label} of their own, which replaces this one"
                ),
            )],
        );
    }
    says(
        &with("job"),
        &[(
            Level::Warning,
            "metadata.labels.pyrra.dev/job: the label that comes from the total's job=\"shop\" replaces this one",
        )],
    );
    says(
        &with("team").replace("ratio:\n", "ratio:\n      grouping: [team]\n"),
        &[(
            Level::Error,
            "metadata.labels.pyrra.dev/team: burn-rate alerts of several groups cannot fire together: they are told apart by team (spec.indicator's grouping), which this makes the same for all",
        )],
    );
    let bucket = latency("m_bucket{le=\"1.0\"}", "m_count");
    let found = findings(&bucket.replace("labels: {}", "labels: {pyrra.dev/le: x}"));
    assert_eq!(found[0].0, Level::Error, "{found:?}");
}

#[test]
fn an_alert_on_absence_that_does_not_wait() {
    let good = ratio("m{code=\"500\"}", "m");
    let text = good.replace("window: 4w", "window: 1d");
    says(
        &text,
        &[(
            Level::Warning,
            "spec.window: over 1d and with this target SLOMetricAbsent waits 0s: it fires as soon as one evaluation finds no series, after a restart for example; expected spec.alerting.absent: false, or a longer window",
        )],
    );
    is_silent(&(text + "  alerting: {absent: false}\n"));
}
