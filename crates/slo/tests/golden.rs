//! Pyrra 0.9.5 wrote the files in `golden/` from the objectives beside them
//! (`pyrra generate --generic-rules`). Ours must say the same, rule by rule.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::path::{Path, PathBuf};

use slo::{Objective, RuleFile, read_folder};

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(folder)
}

fn pyrras(path: &Path) -> RuleFile {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_norway::from_str(&text).unwrap()
}

#[track_caller]
fn same(objective: &Objective, path: &Path) {
    let expected = pyrras(path);
    let ours: RuleFile = serde_norway::from_str(&objective.rules().to_yaml()).unwrap();
    for (ours, expected) in ours.groups.iter().zip(&expected.groups) {
        for (ours, expected) in ours.rules.iter().zip(&expected.rules) {
            assert_eq!(ours, expected, "{}", path.display());
        }
        assert_eq!(ours, expected, "{}", path.display());
    }
    assert_eq!(ours, expected, "{}", path.display());
}

/// Every objective of a folder against the file of the same name.
#[track_caller]
fn all_same(objectives: &Path, rules: &Path) -> usize {
    let sources = read_folder(objectives).unwrap();
    for source in &sources {
        let objective = source.objective.as_ref().unwrap();
        same(objective, &rules.join(source.path.file_name().unwrap()));
    }
    sources.len()
}

#[test]
fn ratio_and_latency() {
    assert_eq!(all_same(&golden("slo"), &golden("rules")), 6);
}

/// Grouping, names, labels and annotations of its own, alerts left out, metrics with other endings.
#[test]
fn every_option() {
    assert_eq!(all_same(&golden("options"), &golden("options-rules")), 4);
}

/// What the lab ships. After a change in `slo/`, Pyrra 0.9.5 writes `golden/lab` anew.
#[test]
fn the_labs_own() {
    let objectives = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../slo");
    assert_eq!(all_same(&objectives, &golden("lab")), 8);
}

#[test]
fn windows_of_every_length() {
    let text = std::fs::read_to_string(golden("slo/users-availability.yaml")).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(golden("windows")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let window = name.strip_prefix("w-").unwrap();
        let text = text
            .replace("name: users-availability", &format!("name: {name}"))
            .replace("target: \"95\"", "target: \"99\"")
            .replace("window: 1w", &format!("window: {window}"));
        same(&Objective::parse(&text).unwrap(), &path);
        seen += 1;
    }
    assert_eq!(seen, 19);
}
