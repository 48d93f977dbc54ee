//! Text with `${name}` in it: the lab's addresses, and the trace that an earlier step found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use yaml_file::FromText;

/// What every lab has an address for, wherever it runs.
pub const PARTS: [&str; 9] = [
    "albums",
    "alertmanager",
    "edge",
    "jaeger",
    "loki",
    "otel-collector",
    "prometheus",
    "users",
    "webhook",
];

/// The id of the trace that the step before found.
pub(super) const TRACE: &str = "trace_id";

/// A text with places to fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Template(String);

/// Values for the places, by their names.
pub type Values = BTreeMap<String, String>;

impl Template {
    fn places(text: &str) -> impl Iterator<Item = &str> {
        text.split("${")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once('}')?.0))
    }

    /// The parts of the lab whose addresses are in it.
    pub(super) fn parts(&self) -> BTreeSet<&str> {
        Self::places(&self.0)
            .filter(|name| *name != TRACE)
            .collect()
    }

    /// Whether it speaks of the trace that an earlier step found.
    pub(super) fn names_trace(&self) -> bool {
        Self::places(&self.0).any(|name| name == TRACE)
    }

    /// The text with every place filled; one without a value stays as it is written.
    #[must_use]
    pub fn fill(&self, values: &Values) -> String {
        let mut text = self.0.clone();
        for (name, value) in values {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        text
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromText for Template {
    const EXPECTED: &'static str = "text";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("expected a text, found an empty one".to_owned());
        }
        for rest in text.split("${").skip(1) {
            let name = rest
                .split_once('}')
                .ok_or("expected `}` after `${`, found none")?
                .0;
            if name != TRACE && !PARTS.contains(&name) {
                return Err(format!(
                    "expected one of {}, {TRACE} between `${{` and `}}`, found `{name}`",
                    PARTS.join(", ")
                ));
            }
        }
        // Lines are folded in YAML for whoever reads it; a query is one line.
        Ok(Self(text.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_braces_of_queries_stay() {
        let text = "{service_name=~\".+\"} | trace_id=`${trace_id}` at ${loki}";
        let template = Template::from_text(text).unwrap();
        assert_eq!(template.parts(), BTreeSet::from(["loki"]));
        assert!(template.names_trace());
        let values = Values::from([("loki".to_owned(), "http://h:1".to_owned())]);
        assert_eq!(
            template.fill(&values),
            "{service_name=~\".+\"} | trace_id=`${trace_id}` at http://h:1"
        );
    }

    #[test]
    fn unknown_places_are_refused() {
        let wrong = |text| Template::from_text(text).unwrap_err();
        assert!(wrong("${kibana}/x").ends_with("found `kibana`"));
        assert!(wrong("${loki").contains("expected `}`"));
        assert!(wrong(" ").contains("empty"));
    }
}
