//! Services that are left out because their image cannot be had, and what the others do then: a
//! file that is merged over the shipped one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::compose::stack::STOOD_IN_FOR;

/// Gives a service a profile that nobody asks for: compose then acts as if it were not there.
pub(crate) const PROFILE: &str = "left-out";

/// What the others get in place of what a service that is left out would do.
pub(crate) struct InPlace {
    /// A directory with the rules that Pyrra would make.
    pub(crate) rules: PathBuf,
    /// A directory with Prometheus' targets that are there.
    pub(crate) targets: PathBuf,
    /// The image of the lab's own receiver of notifications.
    pub(crate) webhook: Option<String>,
}

/// The file, as JSON, which is YAML.
pub(crate) fn overlay(left_out: &BTreeMap<String, String>, in_place: &InPlace) -> Value {
    let is_out = |name: &str| left_out.contains_key(name);
    let mut services: Map<String, Value> = left_out
        .keys()
        .map(|name| (name.clone(), json!({ "profiles": [PROFILE] })))
        .collect();
    if is_out("tempo") && !is_out("otel-collector") {
        // Without the second store: what nobody takes would only fill its queue.
        services.insert(
            "otel-collector".to_owned(),
            json!({ "command": [
                "--config=/etc/otelcol/config.yaml",
                "--config=/etc/otelcol/albums.yaml",
            ] }),
        );
    }
    if is_out("pyroscope") {
        for name in ["edge", "users"].into_iter().filter(|name| !is_out(name)) {
            services.insert(
                name.to_owned(),
                json!({ "environment": { "PYROSCOPE_ENDPOINT": "" } }),
            );
        }
    }
    if !left_out.is_empty() && !is_out("console") {
        // Or it would tell that they are not healthy.
        let names: Vec<&str> = left_out.keys().map(String::as_str).collect();
        services.insert(
            "console".to_owned(),
            json!({ "environment": { "CONSOLE_LEFT_OUT": names.join(",") } }),
        );
    }
    if !left_out.is_empty() && !is_out("prometheus") {
        let mut volumes = vec![format!(
            "{}:/etc/prometheus/targets:ro,z",
            in_place.targets.display()
        )];
        if is_out("pyrra-filesystem") {
            let rules = in_place.rules.display();
            volumes.push(format!("{rules}:/etc/prometheus/rules:ro,z"));
        }
        services.insert("prometheus".to_owned(), json!({ "volumes": volumes }));
    }
    if let Some(image) = &in_place.webhook {
        services.insert(STOOD_IN_FOR.to_owned(), webhook(image));
    }
    json!({ "services": services })
}

/// `lab webhook`, which answers what is asked of the webhook tester.
fn webhook(image: &str) -> Value {
    json!({
        "image": image,
        "command": ["webhook", "--listen=0.0.0.0:8080"],
        "tmpfs": ["/var/lib/lab:uid=10001,gid=10001"],
        "volumes": ["probe:/probe:ro"],
        "healthcheck": { "test": ["CMD", "/probe/probe", "http://127.0.0.1:8080/healthz"] },
        "depends_on": { "probe": { "condition": "service_completed_successfully" } },
    })
}

/// A file of Prometheus' targets, without those that are left out: nobody is told that they are down.
pub(crate) fn targets(text: &str, left_out: &BTreeMap<String, String>) -> anyhow::Result<String> {
    #[derive(Serialize, Deserialize)]
    struct Group {
        targets: Vec<String>,
    }
    let mut groups: Vec<Group> = serde_norway::from_str(text)?;
    for group in &mut groups {
        group.targets.retain(|target| {
            let host = target.split(':').next().unwrap_or_default();
            !left_out.contains_key(host)
        });
    }
    Ok(serde_norway::to_string(&groups)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_depends_on_what_is_left_out_is_told() {
        let out = |names: &[&str]| {
            names
                .iter()
                .map(|name| ((*name).to_owned(), String::new()))
                .collect()
        };
        let in_place = InPlace {
            rules: "/state/rules".into(),
            targets: "/state/targets".into(),
            webhook: None,
        };
        let in_place = &in_place;
        assert_eq!(overlay(&out(&[]), in_place), json!({ "services": {} }));
        let all = overlay(&out(&["tempo", "pyroscope", "pyrra-filesystem"]), in_place);
        let services = &all["services"];
        assert_eq!(services["tempo"]["profiles"][0], "left-out");
        assert_eq!(services["users"]["environment"]["PYROSCOPE_ENDPOINT"], "");
        assert_eq!(
            services["prometheus"]["volumes"],
            json!([
                "/state/targets:/etc/prometheus/targets:ro,z",
                "/state/rules:/etc/prometheus/rules:ro,z",
            ])
        );
        assert_eq!(
            services["console"]["environment"]["CONSOLE_LEFT_OUT"],
            "pyroscope,pyrra-filesystem,tempo"
        );
        let command = services["otel-collector"]["command"].as_array().unwrap();
        assert_eq!(command.len(), 2);
        let one = overlay(&out(&["tempo", "otel-collector"]), in_place);
        assert!(one["services"]["otel-collector"].get("command").is_none());
        let ours = InPlace {
            rules: "/state/rules".into(),
            targets: "/state/targets".into(),
            webhook: Some("ours:1".to_owned()),
        };
        let webhook = &overlay(&out(&[]), &ours)["services"]["webhook"];
        assert_eq!(webhook["image"], "ours:1");
        assert_eq!(webhook["command"][0], "webhook");
    }

    #[test]
    fn targets_that_are_left_out_are_not_scraped() {
        let out = BTreeMap::from([("tempo".to_owned(), String::new())]);
        let text = targets("- targets: ['tempo:3200', 'loki:3100']\n", &out).unwrap();
        assert_eq!(text, "- targets:\n  - loki:3100\n");
        let text = targets("- targets: ['tempo:3200']\n", &out).unwrap();
        assert_eq!(text, "- targets: []\n");
    }
}
