//! Grafana's dashboards, as far as their queries go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Why dashboards cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is no dashboard of Grafana: {source}; `dashboards/generate` makes them anew")]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("there is no dashboard in {0}; `dashboards/generate` makes them")]
    None(PathBuf),
    #[error("{path}: {what}; `dashboards/generate` makes it anew")]
    Wrong { path: PathBuf, what: String },
}

/// One dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    pub uid: String,
    pub title: String,
    /// How far back it looks.
    pub(crate) range: Duration,
    pub(crate) variables: Vec<Variable>,
    pub(crate) panels: Vec<Panel>,
}

/// A choice at its top.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) series: String,
    /// Several at once: then all of them stand in one regular expression.
    pub(crate) all: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) questions: Vec<Question>,
}

/// What one query of a panel asks.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) legend: String,
    pub(crate) ask: Ask,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Prometheus {
        expr: String,
        instant: bool,
    },
    Loki {
        expr: String,
    },
    /// Traces of a service.
    Jaeger {
        service: String,
    },
    /// Tempo's service map, which Grafana makes from metrics.
    ServiceMap,
    TraceQl {
        query: String,
    },
}

impl Dashboard {
    /// Every dashboard of a folder, by name of its file.
    ///
    /// # Errors
    /// When the folder or a file cannot be read, when there is none, or when one of them is not what Grafana reads.
    pub fn load(folder: &Path) -> Result<Vec<Self>, LoadError> {
        let read = |path: &Path, source| LoadError::Read {
            path: path.to_owned(),
            source,
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| read(folder, error))? {
            let path = entry.map_err(|error| read(folder, error))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                paths.push(path);
            }
        }
        paths.sort();
        if paths.is_empty() {
            return Err(LoadError::None(folder.to_owned()));
        }
        paths
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path).map_err(|error| read(path, error))?;
                Self::parse(&text, path)
            })
            .collect()
    }

    fn parse(text: &str, path: &Path) -> Result<Self, LoadError> {
        let json: DashboardJson = serde_json::from_str(text).map_err(|source| LoadError::Json {
            path: path.to_owned(),
            source,
        })?;
        let wrong = |what| LoadError::Wrong {
            path: path.to_owned(),
            what,
        };
        let range = duration(&json.time.from)
            .ok_or_else(|| wrong(format!("its time begins at `{}`", json.time.from)))?;
        let variables = json.templating.list.into_iter().map(Variable::try_from);
        let mut panels = Vec::new();
        for panel in json.panels.into_iter().flat_map(PanelJson::flat) {
            panels.push(Panel::try_from(panel).map_err(wrong)?);
        }
        if panels.is_empty() {
            return Err(wrong("it has no panel".to_owned()));
        }
        Ok(Self {
            uid: json.uid,
            title: json.title,
            range,
            variables: variables.collect::<Result<_, _>>().map_err(wrong)?,
            panels,
        })
    }

    pub(crate) fn panel(&self, title: &str) -> Option<&Panel> {
        self.panels.iter().find(|panel| panel.title == title)
    }
}

/// `now-15m`
fn duration(from: &str) -> Option<Duration> {
    let back = from.strip_prefix("now-")?;
    let (number, unit) = back.split_at(back.len().checked_sub(1)?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[derive(Debug, Deserialize)]
struct DashboardJson {
    uid: String,
    title: String,
    time: TimeJson,
    #[serde(default)]
    templating: Templating,
    panels: Vec<PanelJson>,
}

#[derive(Debug, Deserialize)]
struct TimeJson {
    from: String,
}

#[derive(Debug, Default, Deserialize)]
struct Templating {
    #[serde(default)]
    list: Vec<VariableJson>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VariableJson {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    definition: String,
    #[serde(default)]
    include_all: bool,
    #[serde(default)]
    all_value: Option<String>,
}

impl TryFrom<VariableJson> for Variable {
    type Error = String;

    fn try_from(json: VariableJson) -> Result<Self, String> {
        let wrong = || {
            format!(
                "variable {} is `{}`, not label_values(SERIES, LABEL) of Prometheus",
                json.name, json.definition
            )
        };
        let inside = json
            .definition
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .filter(|_| json.kind == "query")
            .ok_or_else(wrong)?;
        let (series, label) = inside.rsplit_once(", ").ok_or_else(wrong)?;
        if json.include_all && json.all_value.is_none() {
            return Err(format!("variable {} has no value for all", json.name));
        }
        Ok(Self {
            label: label.to_owned(),
            series: series.to_owned(),
            all: json.all_value.filter(|_| json.include_all),
            name: json.name,
        })
    }
}

#[derive(Debug, Deserialize)]
struct PanelJson {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    datasource: Source,
    #[serde(default)]
    targets: Vec<TargetJson>,
    #[serde(default)]
    panels: Vec<PanelJson>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Source {
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetJson {
    #[serde(default)]
    ref_id: String,
    #[serde(default)]
    datasource: Option<Source>,
    #[serde(default)]
    expr: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    query_type: String,
    #[serde(default)]
    service: String,
    #[serde(default)]
    instant: bool,
    #[serde(default)]
    legend_format: String,
}

impl PanelJson {
    /// Without rows, whose panels may be inside them.
    fn flat(self) -> Vec<Self> {
        if self.kind == "row" {
            self.panels.into_iter().flat_map(Self::flat).collect()
        } else {
            vec![self]
        }
    }
}

impl TryFrom<PanelJson> for Panel {
    type Error = String;

    fn try_from(json: PanelJson) -> Result<Self, String> {
        let PanelJson {
            title,
            datasource,
            targets,
            ..
        } = json;
        if targets.is_empty() {
            return Err(format!("panel `{title}` asks nothing"));
        }
        let questions: Result<Vec<Question>, String> = targets
            .into_iter()
            .map(|target| {
                let kind = target.datasource.as_ref().unwrap_or(&datasource).kind.clone();
                let ask = match (kind.as_str(), target.query_type.as_str()) {
                    ("prometheus", _) => Ask::Prometheus {
                        expr: target.expr,
                        instant: target.instant,
                    },
                    ("loki", _) => Ask::Loki { expr: target.expr },
                    ("jaeger", "search") => Ask::Jaeger {
                        service: target.service,
                    },
                    ("tempo", "serviceMap") => Ask::ServiceMap,
                    ("tempo", "traceql") => Ask::TraceQl {
                        query: target.query,
                    },
                    (kind, query) => {
                        return Err(format!(
                            "query {} of panel `{title}` is `{query}` of `{kind}`, which is not understood",
                            target.ref_id
                        ));
                    }
                };
                Ok(Question {
                    legend: target.legend_format,
                    ask,
                })
            })
            .collect();
        Ok(Self {
            questions: questions?,
            title,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(json: &Value) -> Result<Dashboard, LoadError> {
        Dashboard::parse(&json.to_string(), Path::new("d.json"))
    }

    fn whole(panels: Value, variables: Value) -> Value {
        json!({"uid": "d", "title": "D", "time": {"from": "now-15m", "to": "now"},
            "templating": {"list": variables}, "panels": panels})
    }

    fn panel(target: Value) -> Value {
        json!({"type": "timeseries", "title": "P", "datasource": {"type": "prometheus"}, "targets": [target]})
    }

    #[test]
    fn panels_inside_rows_are_found() {
        let rows = json!([
            {"type": "row", "title": "closed", "panels": [panel(json!({"expr": "a"}))]},
            {"type": "row", "title": "open", "panels": []},
            panel(json!({"expr": "b", "instant": true})),
        ]);
        let dashboard = parse(&whole(rows, json!([]))).expect("a dashboard");
        assert_eq!(dashboard.range, Duration::from_secs(900));
        let asks: Vec<&Ask> = dashboard
            .panels
            .iter()
            .map(|p| &p.questions[0].ask)
            .collect();
        let ask = |expr: &str, instant| Ask::Prometheus {
            expr: expr.to_owned(),
            instant,
        };
        assert_eq!(asks, [&ask("a", false), &ask("b", true)]);
    }

    #[test]
    fn variables_are_read() {
        let list = json!([
            {"type": "query", "name": "service", "definition": "label_values(up, job)"},
            {"type": "query", "name": "route", "definition": "label_values(x{a=\"b\", c=\"d\"}, http_route)", "includeAll": true, "allValue": ".*"},
        ]);
        let dashboard =
            parse(&whole(json!([panel(json!({"expr": "a"}))]), list)).expect("a dashboard");
        let [service, route] = dashboard.variables.as_slice() else {
            panic!("two variables");
        };
        assert_eq!(
            (service.series.as_str(), service.label.as_str()),
            ("up", "job")
        );
        assert_eq!(route.series, r#"x{a="b", c="d"}"#);
        assert_eq!(
            (service.all.as_deref(), route.all.as_deref()),
            (None, Some(".*"))
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let wrong = |json: &Value| parse(json).expect_err("wrong").to_string();
        let fine = panel(json!({"expr": "a"}));
        let text = wrong(&whole(json!([]), json!([])));
        assert!(text.starts_with("d.json: it has no panel;"), "{text}");
        let text = wrong(&whole(
            json!([{"type": "stat", "title": "S", "targets": []}]),
            json!([]),
        ));
        assert!(text.contains("panel `S` asks nothing"), "{text}");
        let foreign = json!({"refId": "A", "datasource": {"type": "influx"}, "queryType": "q"});
        let text = wrong(&whole(json!([panel(foreign)]), json!([])));
        assert!(
            text.contains("query A of panel `P` is `q` of `influx`"),
            "{text}"
        );
        let list = json!([{"type": "query", "name": "v", "definition": "query_result(up)"}]);
        let text = wrong(&whole(json!([fine]), list));
        assert!(text.contains("variable v is `query_result(up)`"), "{text}");
        let text = wrong(&json!({"title": "no uid"}));
        assert!(text.contains("is no dashboard of Grafana"), "{text}");
    }

    #[test]
    fn a_folder_without_dashboards_says_what_to_do() {
        let folder = std::env::temp_dir().join(format!("no-dashboards-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let error = Dashboard::load(&folder)
            .expect_err("nothing there")
            .to_string();
        std::fs::remove_dir(&folder).expect("removed");
        assert!(error.contains("`dashboards/generate`"), "{error}");
    }

    #[test]
    fn the_shipped_ones_are_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/grafana/dashboards");
        let dashboards = Dashboard::load(&folder).expect("dashboards");
        assert!(dashboards.len() >= 9, "{}", dashboards.len());
    }
}
