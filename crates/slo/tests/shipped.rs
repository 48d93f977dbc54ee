//! What the lab ships: every alert that can fire is tested, and the load has the same objectives.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::path::{Path, PathBuf};

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

#[test]
fn every_alert_that_can_fire_is_tested() {
    for objective in objectives() {
        let file = format!("slo/tests/{}.yaml", objective.name);
        let tests = read(&file);
        for window in objective.windows() {
            let fires = format!(
                "alertname=\"{}\", long=\"{}\", severity=\"{}\"",
                objective.alerting.name, window.long, window.severity
            );
            // Whole minutes, or a second that holds no two scrapes.
            if window.short.is_zero() {
                assert!(
                    tests.contains("cannot fire"),
                    "{file} says nothing of {fires}"
                );
            } else {
                assert!(tests.contains(&fires), "{file} has no {fires}");
            }
        }
        let absent = tests.contains(&objective.alerting.absent_name);
        assert_eq!(absent, objective.alerting.absent, "{file}");
    }
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
