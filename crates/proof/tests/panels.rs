//! Panels on a Prometheus that is a mock: an empty one must fail, and so must one that does not show its fault.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proof::panels::{self, Dashboard, Fault, Options, Reactions};
use proof::{Backends, Link, Outcome, Report};
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Answers by what the query contains; `fault` is what `react` breaks.
struct Prometheus {
    broken: Arc<AtomicBool>,
}

impl Respond for Prometheus {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let success = |data: Value| {
            ResponseTemplate::new(200).set_body_json(json!({"status": "success", "data": data}))
        };
        if request.url.path().starts_with("/api/v1/label/") {
            let names = request.url.query().unwrap_or_default();
            let nobody = names.contains("nobody");
            return success(if nobody {
                json!([])
            } else {
                json!(["edge", "users"])
            });
        }
        let query = request.url.query_pairs().find(|(name, _)| name == "query");
        let query = query
            .map(|(_, query)| query.into_owned())
            .unwrap_or_default();
        if query.contains("mistake(") {
            return ResponseTemplate::new(400).set_body_string("parse error: unknown function");
        }
        let value = match () {
            () if query.contains("nan") => "NaN",
            () if query.contains("faulty") && self.broken.load(Ordering::Relaxed) => "0.5",
            () => "0",
        };
        let range = request.url.path().ends_with("_range");
        let one = if range {
            json!({"metric": {}, "values": [[1.0, "NaN"], [2.0, value]]})
        } else {
            json!({"metric": {}, "value": [2.0, value]})
        };
        let empty = query == "empty" || query.contains("empty_for=\"users\"");
        let result = if empty { json!([]) } else { json!([one]) };
        success(json!({"resultType": if range { "matrix" } else { "vector" }, "result": result}))
    }
}

fn panel(title: &str, expr: &str) -> Value {
    json!({"type": "timeseries", "title": title, "datasource": {"type": "prometheus"},
        "targets": [{"refId": "A", "expr": expr, "legendFormat": "one"}]})
}

/// A folder with one dashboard, and what it has to react to.
struct Place {
    folder: tempfile::TempDir,
    dashboards: Vec<Dashboard>,
    broken: Arc<AtomicBool>,
    _server: MockServer,
    backends: Backends,
}

impl Place {
    async fn new(panels: Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let variable = |name: &str, series: &str| {
            let definition = format!("label_values({series}, job)");
            json!({"type": "query", "name": name, "definition": definition})
        };
        let dashboard = json!({"uid": "d", "title": "D", "time": {"from": "now-15m"}, "panels": panels,
            "templating": {"list": [variable("service", "somebody")]}});
        let nobodys = json!({"uid": "n", "title": "N", "time": {"from": "now-15m"},
            "panels": [panel("P", "x")], "templating": {"list": [variable("who", "nobody")]}});
        for (name, json) in [("d.json", dashboard), ("n.json", nobodys)] {
            std::fs::write(folder.path().join(name), json.to_string()).expect("a file");
        }
        let broken = Arc::new(AtomicBool::new(false));
        let server = MockServer::start().await;
        let prometheus = Prometheus {
            broken: Arc::clone(&broken),
        };
        Mock::given(any())
            .respond_with(prometheus)
            .mount(&server)
            .await;
        Self {
            dashboards: Dashboard::load(folder.path()).expect("dashboards"),
            folder,
            broken,
            backends: Backends {
                prometheus: Url::parse(&server.uri()).ok(),
                ..Backends::default()
            },
            _server: server,
        }
    }

    async fn verify(&self) -> Report {
        panels::verify(&self.backends, &self.dashboards, &options(), &|_| {})
            .await
            .expect("clients")
    }

    /// Makes a fault that panels must show, with `breaks` saying whether it really is made.
    async fn react(&self, panel: &str, breaks: bool) -> Report {
        let path = self.folder.path().join("reactions");
        let reactions = json!([{"dashboard": "d", "panel": panel, "fault": {"flags": {"f": "on"}},
            "variables": {"service": "users"}, "above": 0.1, "slow": false}]);
        std::fs::write(&path, reactions.to_string()).expect("a file");
        let reactions = Reactions::load(&path).expect("reactions");
        let make = async |_: &Fault, broken: bool| {
            self.broken.store(broken && breaks, Ordering::Relaxed);
            Ok(())
        };
        panels::react(
            &self.backends,
            &self.dashboards,
            &reactions,
            &options(),
            make,
            &|_| {},
        )
        .await
        .expect("clients")
    }
}

fn options() -> Options {
    Options {
        timeout: Duration::from_millis(2500),
        scrape_interval: Duration::from_secs(5),
    }
}

fn link<'r>(report: &'r Report, name: &str) -> &'r Link {
    let found = report.links.iter().find(|link| link.name.starts_with(name));
    found.unwrap_or_else(|| panic!("no {name} in {report:#?}"))
}

#[tokio::test]
async fn an_empty_panel_fails() {
    let place = Place::new(json!([
        panel("fine", r#"rate(x{job="$service"}[$__rate_interval])"#),
        panel("empty", "empty"),
        panel("not a number", "nan"),
        panel("for one", r#"x{empty_for="$service"}"#),
        panel("wrong", "mistake(x)"),
        panel("unknown", "x{a=\"$sevrice\"}"),
        {"type": "logs", "title": "lines", "datasource": {"type": "loki"}, "targets": [{"expr": "{a=\"b\"}"}]},
    ]))
    .await;
    let report = place.verify().await;
    assert!(!report.ok);
    let fine = link(&report, "D: fine");
    assert_eq!(fine.result, Outcome::Ok, "{fine:?}");
    assert_eq!(fine.answer, "1 query for each of edge, users: 2 series");
    assert!(
        fine.asked.ends_with(r#"rate(x{job="users"}[20s])"#),
        "{fine:?}"
    );
    for (name, came) in [
        ("D: empty", "came: nothing for edge"),
        ("D: for one", "came: nothing for users"),
        ("D: not a number", "1 series, and nothing but NaN in them"),
        ("D: wrong", "parse error: unknown function"),
        ("D: unknown", "there is no variable $sevrice"),
        ("N: P", "no series nobody has a label job"),
    ] {
        let link = link(&report, name);
        assert_eq!(link.result, Outcome::Fail, "{link:?}");
        assert!(link.answer.contains(came), "{link:?}");
    }
    let lines = link(&report, "D: lines");
    assert_eq!(
        (lines.result, lines.answer.as_str()),
        (Outcome::NotApplicable, "no loki here")
    );
    // What cannot become right is told at once.
    assert!(link(&report, "D: wrong").seconds < 1.0, "{report:#?}");
}

#[tokio::test]
async fn a_panel_shows_its_fault_and_calms_down() {
    let place = Place::new(json!([panel("P", "faulty"), panel("Q", "x")])).await;
    let report = place.react("P", true).await;
    assert!(report.ok, "{report:#?}");
    let shown = &link(&report, "D: P shows f=on").answer;
    assert!(shown.starts_with("0 before, 0.500 after"), "{shown}");
    assert!(shown.ends_with("0 when healed"), "{shown}");
    assert!(!place.broken.load(Ordering::Relaxed), "it is healed");
}

#[tokio::test]
async fn a_panel_that_shows_nothing_of_its_fault_fails() {
    let place = Place::new(json!([panel("P", "faulty"), panel("Q", "x")])).await;
    // Of another's fault.
    let report = place.react("Q", true).await;
    let shown = link(&report, "D: Q shows f=on");
    assert_eq!(shown.result, Outcome::Fail, "{shown:?}");
    assert!(
        shown.answer.contains("more than 0.100; came: 0"),
        "{shown:?}"
    );
    assert!(
        !place.broken.load(Ordering::Relaxed),
        "it is healed all the same"
    );
    // Of one that is not made.
    assert!(!place.react("P", false).await.ok);
    let none = place.react("R", true).await;
    assert!(
        link(&none, "d: R").answer.contains("d has no panel `R`"),
        "{none:#?}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_dashboard_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.json"), "{").expect("a file");
    let error = Dashboard::load(folder.path())
        .expect_err("no JSON")
        .to_string();
    assert!(
        error.contains("a.json is no dashboard of Grafana"),
        "{error}"
    );
    let error = Reactions::load(Path::new("/nowhere"))
        .expect_err("no file")
        .to_string();
    assert!(error.starts_with("cannot read /nowhere"), "{error}");
}
