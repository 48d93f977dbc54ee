//! Incidents on the compose stack: the same files, the same questions, another engine. It needs a Docker
//! engine: `lab test` brings one, `lab with-docker cargo test ...` does by hand.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;
#[path = "common/incident.rs"]
mod incident;

use std::process::Command;

use common::TestLab;

/// What containers do otherwise: one is made anew as another version, one is stopped.
const TWO: [&str; 2] = ["bad-deploy", "users-down"];

#[test]
#[ignore = "needs a Docker engine and programs in the cache: `lab test` runs it"]
fn a_bad_deploy_and_an_outage_are_seen_told_healed_and_their_end_is_told() {
    let lab = TestLab::new();
    lab.lab(&["air-gap", "images", "make"]);
    lab.lab(&["up", "--engine", "compose", "--offline"]);
    incident::run(&lab, &TWO);
    // Healed: the container is one without another version, and nothing of it is kept.
    let overlay = lab.state_dir().join("config/compose/versions.yaml");
    assert!(!overlay.exists());
    assert_eq!(versions_of_users(&lab), [""; 0]);
    lab.lab(&["down", "--purge"]);
}

fn versions_of_users(lab: &TestLab) -> Vec<String> {
    let project = format!(
        "label=com.docker.compose.project=observability-lab-{}",
        lab.offset
    );
    let docker = |args: &[&str]| {
        let output = Command::new("docker").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let service = "label=com.docker.compose.service=users";
    let container = docker(&["ps", "--quiet", "--filter", &project, "--filter", service]);
    let environment = docker(&[
        "inspect",
        "--format",
        "{{join .Config.Env \"\\n\"}}",
        &container,
    ]);
    assert!(environment.contains("OTEL_SERVICE_NAME=users"));
    environment
        .lines()
        .filter(|line| line.contains("service.version"))
        .map(str::to_owned)
        .collect()
}
