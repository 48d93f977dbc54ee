//! Runs against a lab that is not as it should be: each must fail, say why, and heal.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use proof::backend::SESSION;
use proof::scenario::{self, Broken, Engine, Event, PARTS, Place, Report};
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const SCENARIO: &str = r#"
title: t
summary: s
broken: {stop: [users]}
load: {people: 1, pause: 100ms, paths: {/users: 1}}
expect: [{name: a symptom, within: 3s, promql: symptom}]
alert: {labels: {alertname: A}, within: 3s}
heal: {text: t, resolved_within: 3s}
walk:
  - {text: t, promql: step}
  - {text: t, link: '${edge}/page', shows: admin, lacks: vasya}
"#;

/// What is wrong with the lab.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    /// A symptom is there at first, from something else.
    FadesFirst,
    /// At first Prometheus does not answer.
    SilentFirst,
    NoSymptom,
    NoAlert,
    /// It fires, and nobody hears of it.
    Untold,
    DeadStep,
    PageSaysTooMuch,
    PageSaysTooLittle,
    NoEnd,
    StaysBroken,
    CannotBreak,
    CannotHeal,
}

#[derive(Default)]
struct State {
    broken: Option<f64>,
    healed: Option<f64>,
    heals: u32,
}

#[derive(Clone)]
struct Lab {
    wrong: Wrong,
    state: Arc<Mutex<State>>,
    /// How often the symptom was asked for.
    asked: Arc<AtomicU32>,
}

fn now() -> f64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    time.as_secs_f64()
}

fn success(data: &Value) -> Value {
    json!({ "status": "success", "data": data })
}

fn samples(some: bool) -> Value {
    let samples = if some {
        json!([{ "metric": {}, "value": [0, "1"] }])
    } else {
        json!([])
    };
    success(&json!({ "resultType": "vector", "result": samples }))
}

impl Lab {
    fn answer(&self, request: &Request) -> ResponseTemplate {
        let state = self.state.lock().unwrap();
        let broken = state.broken.is_some() && state.healed.is_none();
        let json = |body: Value| ResponseTemplate::new(200).set_body_json(body);
        match request.url.path() {
            "/users" => {
                let bad = broken || (self.wrong == Wrong::StaysBroken && state.broken.is_some());
                ResponseTemplate::new(if bad { 500 } else { 200 })
            }
            "/page" => ResponseTemplate::new(200).set_body_string(match self.wrong {
                Wrong::PageSaysTooMuch => "admin and vasya",
                Wrong::PageSaysTooLittle => "nobody",
                _ => "admin",
            }),
            "/api/v1/query"
                if self.wrong == Wrong::SilentFirst
                    && self.asked.fetch_add(1, Ordering::Relaxed) < 2 =>
            {
                ResponseTemplate::new(503)
            }
            "/api/v1/query" => json(samples(match request.url.query() {
                Some("query=symptom") => match self.wrong {
                    Wrong::NoSymptom => false,
                    Wrong::FadesFirst => self.asked.fetch_add(1, Ordering::Relaxed) < 2 || broken,
                    _ => broken,
                },
                _ => broken && self.wrong != Wrong::DeadStep,
            })),
            "/api/v1/alerts" => {
                let fires = broken && self.wrong != Wrong::NoAlert;
                let alert = json!({
                    "labels": { "alertname": "A" }, "annotations": {}, "state": "firing",
                    "activeAt": "2026-01-01T00:00:00Z", "value": "1",
                });
                let alerts = if fires { vec![alert] } else { Vec::new() };
                json(success(&json!({ "alerts": alerts })))
            }
            path if path == format!("/api/session/{SESSION}/requests") => {
                json(self.notifications(&state))
            }
            path => panic!("nobody should ask for {path}"),
        }
    }

    /// The newest first.
    fn notifications(&self, state: &State) -> Value {
        if [Wrong::NoAlert, Wrong::Untold].contains(&self.wrong) {
            return json!([]);
        }
        let told = |at: f64, status: &str| {
            let body = json!({ "alerts": [{ "status": status, "labels": { "alertname": "A" } }] });
            json!({
                "captured_at_unix_milli": (at * 1000.0).ceil(),
                "request_payload_base64": BASE64_STANDARD.encode(body.to_string()),
            })
        };
        let end = state.healed.filter(|_| self.wrong != Wrong::NoEnd);
        let end = end.map(|at| told(at, "resolved"));
        let begin = state.broken.map(|at| told(at, "firing"));
        end.into_iter().chain(begin).collect()
    }
}

impl Engine for Lab {
    async fn trouble(&self) -> Result<Option<String>, String> {
        Ok(None)
    }

    async fn inject(&self, _: &Broken) -> Result<(), String> {
        if self.wrong == Wrong::CannotBreak {
            return Err("no".to_owned());
        }
        // Twice it was a symptom or not told: only the third answer says that there is none.
        let waits = [Wrong::FadesFirst, Wrong::SilentFirst].contains(&self.wrong);
        if waits && self.asked.load(Ordering::Relaxed) < 3 {
            return Err("too early".to_owned());
        }
        self.state.lock().unwrap().broken = Some(now());
        Ok(())
    }

    async fn heal(&self, _: &Broken, _: &[String]) -> Result<(), String> {
        let mut state = self.state.lock().unwrap();
        state.heals += 1;
        if self.wrong == Wrong::CannotHeal {
            return Err("no".to_owned());
        }
        state.healed = Some(now());
        Ok(())
    }
}

/// The report, and how often it was healed.
async fn run(wrong: Wrong) -> (Report, u32) {
    let lab = Lab {
        wrong,
        state: Arc::default(),
        asked: Arc::default(),
    };
    let server = MockServer::start().await;
    let answering = lab.clone();
    Mock::given(any())
        .respond_with(move |request: &Request| answering.answer(request))
        .mount(&server)
        .await;
    let mut place = Place::default();
    for part in PARTS {
        let address = server.uri().parse().unwrap();
        place.addresses.insert(part.to_owned(), address);
    }
    let scenario = scenario::parse("x", SCENARIO).unwrap();
    let report = scenario::run(&scenario, &place, &lab, None, &|_| ()).await;
    let heals = lab.state.lock().unwrap().heals;
    (report, heals)
}

#[tokio::test]
async fn what_does_not_come_fails_the_run_and_is_healed() {
    let cases = [
        (Wrong::Nothing, None),
        (Wrong::FadesFirst, None),
        (Wrong::SilentFirst, None),
        (
            Wrong::NoSymptom,
            Some("not seen within 3 s: a symptom; came: no sample"),
        ),
        (
            Wrong::NoAlert,
            Some("not told within 3 s: A{}; came: it is inactive"),
        ),
        (
            Wrong::Untold,
            Some("not told within 3 s: A{}; came: nothing was told"),
        ),
        (
            Wrong::DeadStep,
            Some("step 1 of the walk leads nowhere: no sample"),
        ),
        (
            Wrong::PageSaysTooMuch,
            Some("step 2 of the walk leads nowhere: `vasya` is in the answer: admin and vasya"),
        ),
        (
            Wrong::PageSaysTooLittle,
            Some("step 2 of the walk leads nowhere: no `admin` in the answer: nobody"),
        ),
        (
            Wrong::NoEnd,
            Some("the end of A{} was not told within 3 s: not told yet"),
        ),
        (
            Wrong::StaysBroken,
            Some("healed, but people are not served: 0 in a row"),
        ),
        (Wrong::CannotBreak, Some("it cannot be broken: no")),
        (
            Wrong::CannotHeal,
            Some("it cannot be healed: no; `./lab scenario heal` tries again"),
        ),
    ];
    let runs = cases.map(|(wrong, why)| async move { (wrong, why, run(wrong).await) });
    for (wrong, why, (report, heals)) in join_all(runs).await {
        let failures: Vec<&str> = report.failures.iter().map(String::as_str).collect();
        let expected: Vec<&str> = why.into_iter().collect();
        assert_eq!(failures, expected, "{wrong:?}: {report:#?}");
        assert_eq!(report.passed(), why.is_none(), "{wrong:?}");
        assert_eq!(heals, 1, "{wrong:?}");
        let unhealed = [Wrong::CannotBreak, Wrong::CannotHeal].contains(&wrong);
        assert_eq!(report.is_broken(), unhealed, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_run_that_passes_has_all_of_its_moments_in_order() {
    let (report, _) = run(Wrong::Nothing).await;
    let events = |is_it: fn(&Event) -> bool| report.at(is_it).unwrap();
    let times = [
        events(|event| matches!(event, Event::Calm)),
        events(|event| matches!(event, Event::Injected)),
        events(|event| matches!(event, Event::Seen { .. })),
        events(|event| matches!(event, Event::Followed { step: 2, .. })),
        events(|event| matches!(event, Event::Healed)),
        events(|event| matches!(event, Event::Resolved)),
    ];
    assert!(times.is_sorted(), "{report:#?}");
    assert!(report.fired().is_some() && report.notified().is_some());
    let in_metrics = report.seen_first_of(|name| name == "a symptom");
    assert_eq!(in_metrics, report.detected());
    assert_eq!(report.seen_first_of(|name| name == "another"), None);
}
