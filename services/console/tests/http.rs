//! The server as a browser meets it, with backends that say what a test wants.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by a panic"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use console::settings::Settings;
use console::{App, Listing};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use service::{Limits, Stop};
use tempfile::TempDir;
use tokio::sync::mpsc;
use wiremock::matchers::{body_string, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

struct Console {
    address: SocketAddr,
    http: Client,
    backend: MockServer,
    directory: TempDir,
}

impl Console {
    /// All backends are the same mock server.
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let backend = MockServer::start().await;
        let directory = tempfile::tempdir().unwrap();
        let web = directory.path().join("web");
        write(&web.join("index.html"), "<!doctype html><title>lab</title>");
        write(&web.join("assets/index-1.js"), "1");
        let url: url::Url = backend.uri().parse().unwrap();
        let mut settings = Settings {
            web,
            dashboards: Some(directory.path().join("dashboards")),
            state_file: Some(directory.path().join("state.json")),
            lab_program: None,
            scenario_file: Some(directory.path().join("scenario.json")),
            scenarios: None,
            flags_file: None,
            components: Listing::default(),
            left_out: Vec::new(),
            console: None,
            hosts: Vec::new(),
            edge: url.clone(),
            users: url.clone(),
            albums: url.clone(),
            prometheus: url.clone(),
            loki: url.clone(),
            jaeger: url.clone(),
            alertmanager: url.clone(),
            webhook: url.clone(),
            collector: url,
            tempo: None,
            pyroscope: None,
            grafana: None,
            database: None,
        };
        change(&mut settings);
        let app = App::new(settings).unwrap().router();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(service::serve(
            listener,
            app,
            Stop::on(mpsc::channel(1).1),
            Limits::from_env(Duration::from_secs(1)).unwrap(),
        ));
        let http = Client::builder()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Self {
            address,
            http,
            backend,
            directory,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    async fn answers(&self, at: &str, template: ResponseTemplate) {
        Mock::given(path(at))
            .respond_with(template)
            .mount(&self.backend)
            .await;
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

async fn problem(answer: reqwest::Response) -> (StatusCode, String) {
    assert_eq!(
        answer.headers()["content-type"],
        "application/problem+json",
        "{answer:?}"
    );
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    (status, body["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_question_is_passed_on_with_its_query() {
    let console = Console::start().await;
    let series = json!({"status": "success", "data": {"resultType": "vector", "result": []}});
    Mock::given(path("/api/v1/query"))
        .and(wiremock::matchers::query_param("query", "up{job=\"a b\"}"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&series))
        .mount(&console.backend)
        .await;
    let answer = console
        .get("/proxy/prometheus/api/v1/query?query=up%7Bjob%3D%22a%20b%22%7D")
        .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.json::<Value>().await.unwrap(), series);
}

#[tokio::test]
async fn a_long_question_is_passed_on_as_a_form() {
    let console = Console::start().await;
    Mock::given(method("POST"))
        .and(path("/api/v1/query_range"))
        .and(body_string("query=up"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
        .mount(&console.backend)
        .await;
    let ask = |kind: &'static str, body: String| {
        console
            .http
            .post(console.url("/proxy/prometheus/api/v1/query_range"))
            .header("content-type", kind)
            .body(body)
            .send()
    };
    let form = "application/x-www-form-urlencoded";
    assert_eq!(ask(form, "query=up".into()).await.unwrap().status(), 200);
    let (status, _) = problem(ask("text/plain", "query=up".into()).await.unwrap()).await;
    assert_eq!(status, 415);
    let long = format!("query={}", "a".repeat(70_000));
    let (status, detail) = problem(ask(form, long).await.unwrap()).await;
    assert_eq!(status, 413);
    assert!(detail.contains("65536 bytes"), "{detail}");
}

#[tokio::test]
async fn backends_are_read_and_not_changed() {
    let console = Console::start().await;
    for (verb, at) in [
        ("GET", "/proxy/prometheus/-/quit"),
        ("GET", "/proxy/prometheus/api/v1/label/..%2f..%2fx/valuesx"),
        ("GET", "/proxy/grafana/api/health"),
        ("GET", "/proxy/loki/loki/api/v1/push"),
        ("GET", "/proxy/nothing"),
        ("POST", "/proxy/prometheus/api/v1/admin/tsdb/delete_series"),
        ("POST", "/proxy/alertmanager/api/v2/silences"),
        ("POST", "/proxy/jaeger/api/traces"),
        (
            "DELETE",
            "/proxy/webhook/00000000-0000-0000-0000-000000000000",
        ),
        ("PUT", "/proxy/loki/loki/api/v1/query"),
    ] {
        let request = console
            .http
            .request(verb.parse().unwrap(), console.url(at))
            .send();
        let (status, _) = problem(request.await.unwrap()).await;
        assert!(
            status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED,
            "{verb} {at}: {status}"
        );
    }
    let asked = console.backend.received_requests().await.unwrap();
    assert!(asked.is_empty(), "{asked:?}");
}

#[tokio::test]
async fn an_error_of_a_backend_is_shown_as_it_is() {
    let console = Console::start().await;
    let error = json!({"status": "error", "errorType": "bad_data", "error": "1:3: parse error"});
    console
        .answers(
            "/api/v1/query",
            ResponseTemplate::new(400).set_body_json(&error),
        )
        .await;
    let answer = console
        .get("/proxy/prometheus/api/v1/query?query=up(")
        .await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.json::<Value>().await.unwrap(), error);
}

#[tokio::test]
async fn what_a_backend_says_is_never_a_page() {
    let console = Console::start().await;
    let page = ResponseTemplate::new(200).set_body_raw("<script>1</script>", "text/html");
    console.answers("/api/traces", page).await;
    let answer = console.get("/proxy/jaeger/api/traces?service=edge").await;
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused_and_says_so() {
    let console = Console::start().await;
    let long = ResponseTemplate::new(200).set_body_raw(vec![b'a'; 50 << 20], "application/json");
    console.answers("/loki/api/v1/query_range", long).await;
    let answer = console
        .get("/proxy/loki/loki/api/v1/query_range?query=x")
        .await;
    let (status, detail) = problem(answer).await;
    assert_eq!(status, 413);
    assert!(
        detail.starts_with("loki answered with more than 16 MiB"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_backend_that_is_away_is_named() {
    let console = Console::start_with(|settings| {
        settings.jaeger = "http://127.0.0.1:1".parse().unwrap();
    })
    .await;
    let (status, detail) = problem(console.get("/proxy/jaeger/api/services").await).await;
    assert_eq!(status, 502);
    assert!(
        detail.starts_with("jaeger cannot be reached (Connection refused"),
        "{detail}"
    );
}

#[tokio::test]
async fn other_sites_and_other_names_are_refused() {
    let console = Console::start().await;
    let with = |headers: &[(&'static str, &str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    };
    let get = console
        .http
        .get(console.url("/api/verify"))
        .headers(with(&[("host", "evil.example")]));
    let (status, _) = problem(get.send().await.unwrap()).await;
    assert_eq!(status, 421);
    for headers in [
        with(&[("sec-fetch-site", "cross-site")]),
        with(&[("origin", "http://evil.example")]),
        with(&[("origin", "null")]),
    ] {
        let post = console
            .http
            .post(console.url("/api/verify"))
            .headers(headers);
        let (status, _) = problem(post.send().await.unwrap()).await;
        assert_eq!(status, 403);
    }
    let verification: Value = console.get("/api/verify").await.json().await.unwrap();
    assert_eq!(verification, json!({"running": null, "last": null}));
}

#[tokio::test]
async fn the_page_answers_at_its_addresses() {
    let console = Console::start().await;
    for at in ["/", "/traces", "/traces/572cc1fb", "/logs?query=x", "/slos"] {
        let answer = console.get(at).await;
        assert_eq!(answer.status(), 200, "{at}");
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(answer.text().await.unwrap().contains("<title>lab"), "{at}");
    }
    let script = console.get("/assets/index-1.js").await;
    assert!(
        script.headers()["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let console = Console::start().await;
    for at in ["/nothing", "/api/nothing", "/assets/../index.html"] {
        let (status, _) = problem(console.get(at).await).await;
        assert_eq!(status, 404, "{at}");
    }
    let lost = console.get("/assets/old-0.js").await;
    assert_eq!(lost.status(), 404);
    assert!(lost.headers().get("cache-control").is_none());
    let person = console
        .http
        .get(console.url("/nothing"))
        .header("accept", "text/html")
        .send();
    let answer = person.await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("<title>lab"));
}

#[tokio::test]
async fn a_page_that_is_not_built_says_how() {
    let console = Console::start_with(|settings| settings.web = "/nonexistent".into()).await;
    let (status, detail) = problem(console.get("/").await).await;
    assert_eq!(status, 503);
    assert!(detail.contains("npm ci"), "{detail}");
}

#[tokio::test]
async fn the_lab_is_told_without_its_backends() {
    let console = Console::start_with(|settings| {
        settings.prometheus = "http://127.0.0.1:1".parse().unwrap();
    })
    .await;
    let lab: Value = console.get("/api/lab").await.json().await.unwrap();
    assert_eq!(lab["components"], json!([]));
    assert!(
        lab["components_problem"]
            .as_str()
            .unwrap()
            .contains("state.json")
    );
    assert!(
        lab["graph_problem"]
            .as_str()
            .unwrap()
            .starts_with("prometheus cannot be reached")
    );
    let state = json!({"schema": 1, "components": [{
        "name": "loki", "core": false, "phase": "preparing", "since": 1.5, "detail": "building with Go",
        "notice": null, "hint": null, "source": null, "address": "http://127.0.0.1:3100", "crashes": 0,
    }]});
    write(
        &console.directory.path().join("state.json"),
        &state.to_string(),
    );
    let lab: Value = console.get("/api/lab").await.json().await.unwrap();
    assert_eq!(lab["components"][0]["phase"], "preparing");
    assert_eq!(lab["components_problem"], Value::Null);
}

#[tokio::test]
async fn dashboards_are_listed_and_read() {
    let console = Console::start().await;
    let directory = console.directory.path().join("dashboards");
    let dashboard =
        json!({"kind": "Dashboard", "spec": {"display": {"name": "One", "description": "all"}}});
    write(&directory.join("one.json"), &dashboard.to_string());
    write(&directory.join("broken.json"), "{");
    let list: Value = console.get("/api/dashboards").await.json().await.unwrap();
    assert_eq!(
        list,
        json!([{"title": "One", "name": "one", "description": "all"}])
    );
    let one: Value = console
        .get("/api/dashboards/one")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(one, dashboard);
    for name in ["two", "..%2Fstate", "one.json"] {
        let (status, _) = problem(console.get(&format!("/api/dashboards/{name}")).await).await;
        assert_eq!(status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_wrong_profile_is_refused_before_anybody_is_asked() {
    let console = Console::start().await;
    for query in [
        "service=albums",
        "service=users&seconds=0",
        "service=users&seconds=61",
        "seconds=1",
    ] {
        let (status, _) = problem(console.get(&format!("/api/profile?{query}")).await).await;
        assert_eq!(status, 400, "{query}");
    }
    assert!(
        console
            .backend
            .received_requests()
            .await
            .unwrap()
            .is_empty()
    );
}

/// A command line that knows one incident, beside a file that is none.
const PROGRAM: &str = r#"#!/bin/sh
case "$*" in
  "scenario list --json")
    echo '[{"name": "slow-query"}]'
    echo 'error: /x/bad.yaml:1:1: missing field `title`' >&2
    exit 1 ;;
  "scenario run slow-query") sleep 5 ;;
  "scenario run slow-query --hold=15m") sleep 5 ;;
  "scenario release") echo released ;;
  "scenario heal") echo healed ;;
  *) echo "error: there is no scenario \`$3\`: expected one of slow-query" >&2; exit 2 ;;
esac
"#;

fn program(directory: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("lab");
    write(&path, PROGRAM);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn incidents_are_the_command_line_s() {
    let tools = tempfile::tempdir().unwrap();
    let lab = program(tools.path());
    let console = Console::start_with(|settings| settings.lab_program = Some(lab)).await;
    let view: Value = console.get("/api/scenarios").await.json().await.unwrap();
    assert_eq!(
        view,
        json!({"scenarios": [{"name": "slow-query"}], "report": null, "running": false,
            "broken": false, "cannot": {}, "faults": ["/x/bad.yaml:1:1: missing field `title`"]})
    );
    // A run whose process is gone, and which healed nothing.
    let record = json!({"process": {"pid": 1, "start": 1}, "healed": false,
        "report": {"scenario": "slow-query", "outcome": null}});
    write(
        &console.directory.path().join("scenario.json"),
        &record.to_string(),
    );
    let view: Value = console.get("/api/scenarios").await.json().await.unwrap();
    assert_eq!(
        (&view["running"], &view["broken"]),
        (&json!(false), &json!(true))
    );
    let post = |at: &str| console.http.post(console.url(at)).send();
    let begun = post("/api/scenarios/run/slow-query").await.unwrap();
    assert_eq!(begun.status(), 202);
    let held = post("/api/scenarios/run/slow-query?hold=15m");
    assert_eq!(held.await.unwrap().status(), 202);
    let held = post("/api/scenarios/run/slow-query?hold=soon");
    assert_eq!(problem(held.await.unwrap()).await.0, 409);
    let (status, detail) = problem(post("/api/scenarios/run/slow").await.unwrap()).await;
    assert_eq!(status, 409);
    assert!(detail.contains("expected one of slow-query"), "{detail}");
    let (status, _) = problem(post("/api/scenarios/run/--all").await.unwrap()).await;
    assert_eq!(status, 400);
    for verb in ["heal", "release"] {
        let answer = post(&format!("/api/scenarios/{verb}")).await.unwrap();
        assert_eq!(answer.status(), 200, "{verb}");
    }
}

fn shipped(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Without a command line, with the shipped incidents and flags that can be written.
async fn with_a_desk() -> (Console, std::path::PathBuf, TempDir) {
    let flags = tempfile::tempdir().unwrap();
    let file = flags.path().join("lab.flagd.json");
    std::fs::copy(shipped("infra/flags/lab.flagd.json"), &file).unwrap();
    let console = Console::start_with(|settings| {
        settings.state_file = None;
        settings.scenarios = Some(shipped("scenarios"));
        settings.flags_file = Some(file.clone());
        settings.components = format!("users {}healthz -\n", settings.users)
            .parse()
            .unwrap();
    })
    .await;
    let calm = json!({"status": "success", "data": {"alerts": []}});
    let nothing = json!({"status": "success", "data": {"resultType": "vector", "result": []}});
    for (at, body) in [
        ("/api/v1/alerts", calm),
        ("/api/v1/query", nothing),
        (
            "/api/session/00000000-0000-0000-0000-000000000000/requests",
            json!([]),
        ),
    ] {
        let answer = ResponseTemplate::new(200).set_body_json(body);
        console.answers(at, answer).await;
    }
    (console, file, flags)
}

fn variant(file: &Path, flag: &str) -> Value {
    let flags: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    flags["flags"][flag]["defaultVariant"].clone()
}

#[tokio::test]
async fn a_file_that_is_no_incident_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let good = shipped("scenarios/error-burst.yaml");
    std::fs::copy(good, folder.path().join("error-burst.yaml")).unwrap();
    write(&folder.path().join("bad.yaml"), "title: 5\n");
    let console = Console::start_with(|settings| {
        settings.state_file = None;
        settings.scenarios = Some(folder.path().to_owned());
        settings.flags_file = Some(shipped("infra/flags/lab.flagd.json"));
    })
    .await;
    let view: Value = console.get("/api/scenarios").await.json().await.unwrap();
    assert_eq!(view["scenarios"][0]["name"], "error-burst", "{view:#}");
    let faults = view["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].as_str().unwrap().contains("bad.yaml:1:8: title"),
        "{faults:?}"
    );
    let run = console.http.post(console.url("/api/scenarios/run/bad"));
    let (status, detail) = problem(run.send().await.unwrap()).await;
    assert_eq!(status, 409);
    assert!(detail.contains("bad.yaml:1:8: title"), "{detail}");
}

#[tokio::test]
async fn incidents_of_flags_need_no_command_line() {
    const FLAG: &str = "users-error-share";
    let (console, file, _flags) = with_a_desk().await;
    let post = async |at: &str| console.http.post(console.url(at)).send().await.unwrap();
    let view = async || -> Value { console.get("/api/scenarios").await.json().await.unwrap() };
    let why = &view().await["cannot"]["users-down"];
    assert!(
        why.as_str()
            .unwrap()
            .contains("./lab scenario run users-down"),
        "{why}"
    );
    let (status, _) = problem(post("/api/scenarios/run/users-down").await).await;
    assert_eq!(status, 409);
    // Nobody answers for users yet.
    let (status, detail) = problem(post("/api/scenarios/run/error-burst").await).await;
    assert_eq!(status, 409);
    assert!(detail.contains("users is unhealthy"), "{detail}");

    for at in ["/healthz", "/", "/users", "/user/admin", "/albums"] {
        console.answers(at, ResponseTemplate::new(200)).await;
    }
    let until = async |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
        loop {
            let seen = view().await;
            if is_so(&seen) {
                return seen;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what}: {seen:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while post("/api/scenarios/run/error-burst").await.status() != 202 {
        assert!(tokio::time::Instant::now() < deadline, "users is well now");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (status, detail) = problem(post("/api/scenarios/run/slow-query").await).await;
    assert_eq!(status, 409);
    assert!(detail.contains("error-burst runs already"), "{detail}");
    until("it is broken", &|_| variant(&file, FLAG) == "half").await;
    assert_eq!(post("/api/scenarios/heal").await.status(), 200);
    let seen = view().await;
    assert_eq!(variant(&file, FLAG), "off");
    assert_eq!(seen["report"]["outcome"], "interrupted");
    assert_eq!(
        (&seen["running"], &seen["broken"]),
        (&json!(false), &json!(false))
    );
    let record: Value =
        serde_json::from_slice(&std::fs::read(file.with_file_name("scenario.json")).unwrap())
            .unwrap();
    assert_eq!(record["healed"], true);
}

#[tokio::test]
async fn components_are_asked_where_nobody_tells() {
    let console = Console::start_with(|settings| {
        settings.state_file = None;
        settings.components = format!(
            "edge {0}readyz http://localhost:8001\nloki {0}ready -\ntempo {0}ready http://localhost:3200\n",
            settings.edge
        )
        .parse()
        .unwrap();
        settings.left_out = vec!["tempo".to_owned()];
    })
    .await;
    console.answers("/readyz", ResponseTemplate::new(200)).await;
    let away = ResponseTemplate::new(503).set_body_string("Ingester not ready");
    console.answers("/ready", away).await;
    let lab: Value = console.get("/api/lab").await.json().await.unwrap();
    let seen: Vec<(&str, &str, &Value)> = lab["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| {
            let text = |name: &str| each[name].as_str().unwrap();
            (text("name"), text("phase"), &each["address"])
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("edge", "healthy", &json!("http://localhost:8001")),
            ("loki", "unhealthy", &Value::Null),
            ("tempo", "missing", &Value::Null),
        ]
    );
    let why = lab["components"][1]["detail"].as_str().unwrap();
    assert!(
        why.contains("503") && why.contains("Ingester not ready"),
        "{why}"
    );
}

#[tokio::test]
async fn without_a_command_line_there_are_no_incidents() {
    let console = Console::start().await;
    let (status, _) = problem(console.get("/api/scenarios").await).await;
    assert_eq!(status, 501);
    let lab: Value = console.get("/api/lab").await.json().await.unwrap();
    assert_eq!(lab["pages"], json!(["dashboards"]));
}
