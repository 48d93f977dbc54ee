//! Names, labels and help text as Prometheus takes them, by the rules of OpenTelemetry's Prometheus compatibility.
//!
//! What is scraped has the names that the Collector gives to what is pushed: it translates by the same rules.

use std::collections::BTreeMap;

pub(crate) type Labels = Vec<(String, String)>;

/// The name of a metric before its unit: letters, digits and colons, with one underscore for what is between them.
/// Empty when nothing of it can stay.
pub(crate) fn metric_name(name: &str) -> String {
    let parts: Vec<&str> = name
        .split(|c: char| !c.is_ascii_alphanumeric() && c != ':')
        .filter(|part| !part.is_empty())
        .collect();
    let name = parts.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}

/// The name of a label; `None` when nothing of the key can stay. It never begins with two underscores, which
/// Prometheus keeps for itself (`__name__`).
fn label_name(key: &str) -> Option<String> {
    let mut name = String::with_capacity(key.len());
    for c in key.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    match name.as_bytes() {
        [] | b"_" => None,
        // The bound of a histogram's bucket; renamed as Prometheus renames what a target may not set.
        b"le" => Some("exported_le".to_owned()),
        [b'0'..=b'9', ..] => Some(format!("key_{name}")),
        _ => Some(name),
    }
}

/// The labels of a series, sorted by the attributes' keys, so that one set of attributes is one series. Of one key twice
/// the last value counts, as in the SDK; the values of different keys that become one name are joined. A label without a
/// value is none, as in Prometheus.
pub(crate) fn labels<'a>(attributes: impl IntoIterator<Item = (&'a str, String)>) -> Labels {
    let attributes: BTreeMap<&str, String> = attributes.into_iter().collect();
    let mut labels = Labels::new();
    for (key, mut value) in attributes {
        let Some(name) = label_name(key).filter(|_| !value.is_empty()) else {
            continue;
        };
        if value.contains('\0') {
            // Prometheus takes it for the end of the page.
            value = value.replace('\0', "\u{fffd}");
        }
        match labels.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push(';');
                values.push_str(&value);
            }
            None => labels.push((name, value)),
        }
    }
    labels
}

/// A description on one line. The registry writes it as it is, unlike the values of labels.
pub(super) fn help(description: &str) -> String {
    description
        .replace('\\', r"\\")
        .replace('\n', r"\n")
        .replace('"', "\\\"")
        .replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(attributes: &[(&str, &str)]) -> String {
        let attributes = attributes
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()));
        labels(attributes)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    #[test]
    fn metrics_are_named_as_the_collector_names_them() {
        for (name, expected) in [
            (
                "http.server.request.duration",
                "http_server_request_duration",
            ),
            ("a..b__c", "a_b_c"),
            (".a-", "a"),
            ("größe", "gr_e"),
            ("2xx", "_2xx"),
            ("job:rate", "job:rate"),
            ("", ""),
            ("é_", ""),
        ] {
            assert_eq!(metric_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn labels_are_named_as_prometheus_takes_them() {
        for (key, expected) in [
            ("http.route", Some("http_route")),
            ("a..b__c", Some("a_b_c")),
            (".a-", Some("_a_")),
            ("größe", Some("gr_e")),
            ("2xx", Some("key_2xx")),
            ("job:rate", Some("job_rate")),
            ("__name__", Some("_name_")),
            ("le", Some("exported_le")),
            ("", None),
            ("é.", None),
            ("__", None),
        ] {
            assert_eq!(label_name(key).as_deref(), expected, "{key:?}");
        }
    }

    #[test]
    fn values_of_one_name_are_joined_in_the_order_of_their_keys() {
        assert_eq!(
            joined(&[("a_b", "3"), ("a.b", "2"), ("a-b", "1")]),
            "a_b=1;2;3"
        );
        assert_eq!(joined(&[("a", "1"), ("a", "2")]), "a=2");
        assert_eq!(
            joined(&[("le", "2"), ("exported.le", "1")]),
            "exported_le=1;2"
        );
        assert_eq!(joined(&[("", "1"), ("é", "2"), ("a", "")]), "");
        assert_eq!(joined(&[("b", "1"), ("a", "x\0y")]), "a=x\u{fffd}y,b=1");
    }
}
