//! Grafana's datasources, from the files it is provisioned with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Why the datasources cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProvisioningError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is no provisioning of datasources: {source}")]
    Yaml {
        path: PathBuf,
        source: serde_norway::Error,
    },
    #[error("there is no datasource in {0}")]
    None(PathBuf),
}

/// Every datasource that is provisioned.
#[derive(Clone, Debug)]
pub struct Datasources(Vec<Datasource>);

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Datasource {
    pub(crate) name: String,
    pub(crate) uid: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(rename = "jsonData", default)]
    pub(crate) options: OptionsOfOne,
}

/// Of `jsonData`, what leads from one datasource to another.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OptionsOfOne {
    pub(crate) time_interval: Option<String>,
    pub(crate) exemplar_trace_id_destinations: Vec<ExemplarDestination>,
    pub(crate) derived_fields: Vec<DerivedField>,
    pub(crate) traces_to_logs_v2: Option<TracesToLogs>,
    pub(crate) traces_to_metrics: Option<TracesToMetrics>,
    pub(crate) traces_to_profiles: Option<TracesToProfiles>,
    pub(crate) service_map: Option<ServiceMap>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExemplarDestination {
    /// The exemplar's label that has the trace id.
    pub(crate) name: String,
    pub(crate) datasource_uid: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DerivedField {
    pub(crate) name: String,
    /// `label`: the expression names labels; otherwise it is looked for in the line.
    #[serde(default)]
    pub(crate) matcher_type: String,
    pub(crate) matcher_regex: String,
    pub(crate) datasource_uid: String,
    pub(crate) url: String,
}

/// An attribute of a span, and the label that it is elsewhere.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TracesToLogs {
    pub(crate) datasource_uid: String,
    #[serde(default)]
    pub(crate) span_start_time_shift: String,
    #[serde(default)]
    pub(crate) span_end_time_shift: String,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
    #[serde(default)]
    pub(crate) custom_query: bool,
    #[serde(default)]
    pub(crate) query: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TracesToMetrics {
    pub(crate) datasource_uid: String,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
    pub(crate) queries: Vec<NamedQuery>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NamedQuery {
    pub(crate) name: String,
    pub(crate) query: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TracesToProfiles {
    pub(crate) datasource_uid: String,
    pub(crate) profile_type_id: String,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceMap {
    pub(crate) datasource_uid: String,
}

#[derive(Deserialize)]
struct FileYaml {
    #[serde(default)]
    datasources: Vec<Datasource>,
}

impl Datasources {
    /// Reads every file of `datasources/` below `folder`, as Grafana does.
    ///
    /// # Errors
    /// When a file cannot be read or is no such file, and when there is no datasource at all.
    pub fn load(folder: &Path) -> Result<Self, ProvisioningError> {
        let folder = folder.join("datasources");
        let read = |path: &Path, source| ProvisioningError::Read {
            path: path.to_owned(),
            source,
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(|error| read(&folder, error))? {
            let path = entry.map_err(|error| read(&folder, error))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("yaml" | "yml")) {
                paths.push(path);
            }
        }
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(|error| read(&path, error))?;
            let environment = |name: &str| std::env::var(name).unwrap_or_default();
            let found = parse(&text, &environment);
            all.extend(found.map_err(|source| ProvisioningError::Yaml { path, source })?);
        }
        if all.is_empty() {
            return Err(ProvisioningError::None(folder));
        }
        Ok(Self(all))
    }

    /// How often Prometheus scrapes, as Grafana is told.
    #[must_use]
    pub fn scrape_interval(&self) -> Option<Duration> {
        let prometheus = self.0.iter().find(|one| one.kind == "prometheus")?;
        let shift = milliseconds(prometheus.options.time_interval.as_deref()?)?;
        u64::try_from(shift).ok().map(Duration::from_millis)
    }

    pub(crate) fn all(&self) -> &[Datasource] {
        &self.0
    }

    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Datasource> {
        self.0.iter().find(|one| one.uid == uid)
    }
}

fn parse(
    text: &str,
    environment: &dyn Fn(&str) -> String,
) -> Result<Vec<Datasource>, serde_norway::Error> {
    let mut value: Value = serde_norway::from_str(text)?;
    put_environment(&mut value, environment);
    let file: FileYaml =
        serde_json::from_value(value).map_err(<serde_norway::Error as serde::de::Error>::custom)?;
    Ok(file.datasources)
}

/// Grafana puts environment variables into every text of a provisioning file.
fn put_environment(value: &mut Value, environment: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = expand(text, environment),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| put_environment(item, environment)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| put_environment(field, environment)),
        _ => {}
    }
}

/// `$NAME` and `${NAME}` are variables, empty where they are not set; `$$` is a `$`.
fn expand(text: &str, environment: &dyn Fn(&str) -> String) -> String {
    let one = |part: &str| {
        let mut out = String::new();
        let mut rest = part;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, end) = match after.strip_prefix('{') {
                Some(braced) => match braced.find('}') {
                    Some(end) => (&braced[..end], end + 2),
                    None => ("", after.len()),
                },
                None => {
                    let end = after
                        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .unwrap_or(after.len());
                    (&after[..end], end)
                }
            };
            out.push_str(&environment(name));
            rest = &after[end..];
        }
        out.push_str(rest);
        out
    };
    text.split("$$").map(one).collect::<Vec<_>>().join("$")
}

/// `-500ms`, `5m`; nothing is 0.
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: i64 = text[..split].parse().ok()?;
    let unit = match &text[split..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &dyn Fn(&str) -> String = &|_| String::new();

    #[test]
    fn a_dollar_that_is_not_doubled_is_the_environments() {
        let set = |name: &str| if name == "HOST" { "tempo" } else { "" }.to_owned();
        assert_eq!(expand("http://$HOST:3200", &set), "http://tempo:3200");
        assert_eq!(expand("http://${HOST}:3200", &set), "http://tempo:3200");
        assert_eq!(expand("$${__value.raw}", &set), "${__value.raw}");
        assert_eq!(
            expand("{$$__tags}[$$__rate_interval]", &set),
            "{$__tags}[$__rate_interval]"
        );
        // What somebody forgot to double is gone, as it is in Grafana.
        assert_eq!(expand("{$__tags}", &set), "{}");
        assert_eq!(expand("${__value.raw}", &set), "");
        assert_eq!(expand("a ${open", &set), "a ");
    }

    #[test]
    fn shifts_are_read() {
        assert_eq!(milliseconds("-500ms"), Some(-500));
        assert_eq!(milliseconds("5m"), Some(300_000));
        assert_eq!(milliseconds(""), Some(0));
        for wrong in ["5", "m", "5 minutes", "5x", "--5s"] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn links_are_read() {
        let text = "
datasources:
  - name: Loki
    uid: loki
    type: loki
    jsonData:
      derivedFields:
        - {name: T, matcherType: label, matcherRegex: trace_id, datasourceUid: tempo, url: '$${__value.raw}'}
  - {name: P, uid: p, type: prometheus, jsonData: {timeInterval: 5s}}
";
        let sources = Datasources(parse(text, NOTHING).expect("datasources"));
        let field = &sources.by_uid("loki").expect("loki").options.derived_fields[0];
        assert_eq!(
            (field.url.as_str(), field.datasource_uid.as_str()),
            ("${__value.raw}", "tempo")
        );
        assert_eq!(sources.scrape_interval(), Some(Duration::from_secs(5)));
        assert!(sources.by_uid("tempo").is_none());
    }

    #[test]
    fn what_is_no_provisioning_says_so() {
        assert!(parse("datasources: [{name: x}]", NOTHING).is_err());
        assert!(parse("\t", NOTHING).is_err());
        let error = Datasources::load(Path::new("/nowhere")).expect_err("no folder");
        assert!(
            error
                .to_string()
                .starts_with("cannot read /nowhere/datasources"),
            "{error}"
        );
    }

    #[test]
    fn the_shipped_ones_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/grafana/provisioning");
        let sources = Datasources::load(&folder).expect("datasources");
        assert!(sources.all().len() >= 5, "{sources:?}");
        assert_eq!(sources.scrape_interval(), Some(Duration::from_secs(5)));
    }
}
