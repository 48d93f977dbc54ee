//! Running incidents, and what their reports must have.

use std::process::Stdio;

use serde_json::Value;

use crate::common::TestLab;

/// Runs them one after the other; each is seen, told and healed, and its end is told.
#[track_caller]
pub(crate) fn run(lab: &TestLab, names: &[&str]) {
    let mut args = vec!["scenario", "run", "--json"];
    args.extend(names);
    let output = lab
        .command(&args)
        // Past the capture of the test runner: it takes minutes.
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let reports: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{reports:#?}");
    assert_eq!(reports.len(), names.len());
    for report in &reports {
        let timeline = report["timeline"].as_array().unwrap();
        let at = |event: &str| {
            let moment = timeline.iter().find(|moment| moment["event"] == event);
            moment.unwrap_or_else(|| panic!("no {event} in {report:#}"))["at"]
                .as_f64()
                .unwrap()
        };
        let order = ["injected", "firing", "notified", "healed", "resolved"].map(at);
        assert!(order.is_sorted(), "{report:#}");
    }
}
