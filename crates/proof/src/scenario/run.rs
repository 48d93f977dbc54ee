//! A run: calm, load, break, watch, walk, heal, and the end of the alert.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::hold::Hold;
use super::load::Load;
use super::look::{Found, look, samples};
use super::model::{Broken, Expectation, Question, Scenario};
use super::place::{Clients, Place};
use super::report::{Event, Moment, Outcome, Phase, Report, now};
use super::template::{TRACE, Values};
use crate::backend::Notification;

/// Between two questions: nobody needs it sooner, and the lab is busy.
const INTERVAL: Duration = Duration::from_secs(1);
/// Alerts of an earlier incident are over within this time.
const CALM: Duration = Duration::from_secs(600);
/// A page whose end was not told by then never is: the lab was stopped in between.
const FORGOTTEN: Duration = Duration::from_secs(180);
/// People ask for so long before something breaks: a scrape sees them.
const LEAD: Duration = Duration::from_secs(6);
/// So long a lab may take for its first good answers.
const FIRST_ANSWERS: Duration = Duration::from_secs(30);
/// What an earlier incident left in the metrics has left their windows by then.
const FADED: Duration = Duration::from_secs(180);
/// So long a step of the walk may take; what it leads to may still be on its way.
const STEP: Duration = Duration::from_secs(30);

/// What breaks and heals: the one thing that depends on where the lab runs.
pub trait Engine {
    /// Why the lab is not whole: something does not run that should.
    fn trouble(&self) -> impl Future<Output = Result<Option<String>, String>>;

    /// Breaks all of it.
    fn inject(&self, broken: &Broken) -> impl Future<Output = Result<(), String>>;

    /// Undoes all of it, whether or not it was done, and restarts what must be.
    fn heal(&self, broken: &Broken, restart: &[String])
    -> impl Future<Output = Result<(), String>>;
}

struct Run<'a> {
    scenario: &'a Scenario,
    place: &'a Place,
    clients: Clients,
    hold: Option<&'a Hold>,
    tell: &'a dyn Fn(&Report),
    report: RefCell<Report>,
}

/// Runs a scenario to its end; it is healed whatever happens. Whoever drops this must heal.
///
/// With `hold` it stays broken after its walk, until that is released. `tell` hears of every change.
pub async fn run<E: Engine>(
    scenario: &Scenario,
    place: &Place,
    engine: &E,
    hold: Option<&Hold>,
    tell: &dyn Fn(&Report),
) -> Report {
    let mut report = Report::blank(scenario);
    let clients = match Clients::of(place) {
        Ok(clients) => clients,
        Err(why) => {
            report.failures.push(why);
            report.outcome = Some(Outcome::Failed);
            return report;
        }
    };
    let run = Run {
        scenario,
        place,
        clients,
        hold,
        tell,
        report: RefCell::new(report),
    };
    if let Err(why) = run.all(engine).await {
        run.fail(why);
    }
    run.change(|report| {
        report.phase = Phase::Done;
        report.waiting.clear();
        report.outcome = Some(if report.failures.is_empty() {
            Outcome::Passed
        } else {
            Outcome::Failed
        });
    });
    run.report.into_inner()
}

impl Run<'_> {
    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.borrow_mut());
        (self.tell)(&self.report.borrow());
    }

    fn phase(&self, phase: Phase) {
        self.change(|report| {
            report.phase = phase;
            report.waiting.clear();
        });
    }

    fn happened_at(&self, at: f64, event: Event) {
        self.change(|report| report.timeline.push(Moment { at, event }));
    }

    fn happened(&self, event: Event) {
        self.happened_at(now(), event);
    }

    fn fail(&self, why: String) {
        self.change(|report| report.failures.push(why));
    }

    async fn all<E: Engine>(&self, engine: &E) -> Result<(), String> {
        self.calm(engine).await?;
        self.happened(Event::Calm);
        self.phase(Phase::Loading);
        let load = Load::start(&self.scenario.load, &self.clients.edge);
        let result = self.incident(engine, &load).await;
        self.change(|report| report.answers = load.answers());
        result
    }

    async fn incident<E: Engine>(&self, engine: &E, load: &Load) -> Result<(), String> {
        self.first_answers(load).await?;
        self.nothing_to_see().await?;
        let broken = &self.scenario.broken;
        let restart = &self.scenario.heal.restart;
        self.phase(Phase::Breaking);
        let since = SystemTime::now();
        self.happened(Event::Injected);
        if let Err(why) = engine.inject(broken).await {
            let healed = engine.heal(broken, restart).await;
            let healed = healed
                .err()
                .map(|why| format!("; nor can it be healed: {why}"));
            return Err(format!(
                "it cannot be broken: {why}{}",
                healed.unwrap_or_default()
            ));
        }
        self.phase(Phase::Watching);
        let told = self.watch(since).await;
        if told {
            self.phase(Phase::Walking);
            self.walk(since).await;
        }
        if let Some(hold) = self.hold {
            self.stay(hold, || load.answers()).await;
        }
        self.phase(Phase::Healing);
        let healing = now();
        engine.heal(broken, restart).await.map_err(|why| {
            format!("it cannot be healed: {why}; `./lab scenario heal` tries again")
        })?;
        self.happened(Event::Healed);
        load.begin_again();
        self.phase(Phase::Resolving);
        // What was never told has no end to be told.
        let over = async {
            if told {
                self.resolve(healing).await;
            }
        };
        tokio::join!(self.recover(load), over);
        Ok(())
    }

    /// Waits until everything runs, nothing pages, and the alert is not there.
    async fn calm<E: Engine>(&self, engine: &E) -> Result<(), String> {
        let calm = async || match engine.trouble().await? {
            Some(why) => Err(why),
            None => self.is_calm().await,
        };
        self.until(Instant::now() + CALM, "a healthy lab", calm)
            .await
            .map_err(|came| {
                format!(
                    "the lab did not get healthy within {} minutes: {came}; `./lab status` and `./lab slo` say more",
                    CALM.as_secs() / 60
                )
            })
    }

    async fn is_calm(&self) -> Result<(), String> {
        let alert = &self.scenario.alert;
        let active = self.clients.prometheus.alerts().await;
        for active in active.map_err(|error| error.to_string())? {
            let pages = active.is_firing()
                && active
                    .labels
                    .get("severity")
                    .is_some_and(|severity| severity == "critical");
            if pages || alert.is(&active.labels) {
                return Err(format!(
                    "{} is {} from before",
                    active.title(),
                    active.state
                ));
            }
        }
        match self.newest().await? {
            Some(newest)
                if newest.is_firing() && now() - newest.received < FORGOTTEN.as_secs_f64() =>
            {
                Err(format!("the end of {alert} from before is not told yet"))
            }
            _ => Ok(()),
        }
    }

    /// The newest notification about the alert.
    async fn newest(&self) -> Result<Option<Notification>, String> {
        let told = self.clients.webhook.notifications().await;
        let told = told.map_err(|error| error.to_string())?;
        let ours = |each: &Notification| self.scenario.alert.is(&each.labels);
        Ok(told.into_iter().rfind(ours))
    }

    /// Lets people ask for a while, and sees that they are served.
    async fn first_answers(&self, load: &Load) -> Result<(), String> {
        let begin = Instant::now();
        let enough = 2 * self.scenario.load.people;
        self.until(begin + FIRST_ANSWERS, "good answers of edge", async || {
            self.change(|report| report.answers = load.answers());
            let lead = LEAD.saturating_sub(begin.elapsed());
            match load.good_in_a_row() {
                good if good < enough => Err(format!("{good} good answers in a row")),
                _ if lead.is_zero() => Ok(()),
                _ => Err(format!("{} s to go", lead.as_secs() + 1)),
            }
        })
        .await
        .map_err(|came| {
            format!(
                "edge does not serve before anything is broken: {came}; answers: {:?}",
                load.answers()
            )
        })
    }

    /// Waits until no symptom is there: what is seen later must come from what is broken. Traces and log lines are asked
    /// for by their time, and a profile is taken anew; metrics look back.
    async fn nothing_to_see(&self) -> Result<(), String> {
        let values = self.place.values();
        let deadline = Instant::now() + FADED;
        for symptom in self.scenario.expect.iter().filter(|each| !each.unchanged) {
            let Question::Promql(query) = &symptom.question else {
                continue;
            };
            let query = query.fill(&values);
            self.until(deadline, "no symptom from before", async || {
                let found = samples(&self.clients, &query).await?;
                match found.first() {
                    Some(sample) => Err(format!("{}: {}", symptom.name, sample.value)),
                    None => Ok(()),
                }
            })
            .await
            .map_err(|came| format!("seen before anything is broken: {came}"))?;
        }
        Ok(())
    }

    /// Waits for the symptoms and for the alert at once, then looks at what should be as it was.
    /// True when the alert was told.
    async fn watch(&self, since: SystemTime) -> bool {
        let begin = Instant::now();
        let (unchanged, symptoms): (Vec<_>, Vec<_>) =
            self.scenario.expect.iter().partition(|each| each.unchanged);
        let seen = symptoms
            .into_iter()
            .map(|each| self.expect(each, begin, since));
        let (_, told) = tokio::join!(join_all(seen), self.told(begin));
        let begin = Instant::now();
        let seen = unchanged
            .into_iter()
            .map(|each| self.expect(each, begin, since));
        join_all(seen).await;
        told
    }

    async fn expect(&self, expectation: &Expectation, begin: Instant, since: SystemTime) {
        let name = expectation.name.clone();
        let deadline = begin + expectation.within;
        let values = self.place.values();
        let seen = self
            .until(deadline, &name, || {
                self.look(&expectation.question, &values, since)
            })
            .await;
        match seen {
            Ok(Found { answer, .. }) => self.happened(Event::Seen { name, answer }),
            Err(came) => {
                self.fail(format!(
                    "not seen within {} s: {name}; came: {came}",
                    expectation.within.as_secs()
                ));
                self.happened(Event::Missed { name, came });
            }
        }
    }

    async fn look(
        &self,
        question: &Question,
        values: &Values,
        since: SystemTime,
    ) -> Result<Found, String> {
        look(self.place, &self.clients, question, values, since).await
    }

    async fn told(&self, begin: Instant) -> bool {
        let alert = &self.scenario.alert;
        let deadline = begin + alert.within;
        let injected = self.injected();
        let name = alert.to_string();
        let fires = self.until(deadline, &name, async || {
            let active = self.clients.prometheus.alerts().await;
            let active = active.map_err(|error| error.to_string())?;
            let ours: Vec<_> = active
                .iter()
                .filter(|active| alert.is(&active.labels))
                .collect();
            match ours.first() {
                Some(_) if ours.iter().any(|active| active.is_firing()) => Ok(()),
                Some(first) => Err(format!("it is {}", first.state)),
                None => Err("it is inactive".to_owned()),
            }
        });
        let fired = async {
            let fired = fires.await;
            if fired.is_ok() {
                self.happened(Event::Firing);
            }
            fired
        };
        let reaches = self.until(deadline, "the webhook", async || {
            match self.newest().await? {
                Some(newest) if newest.received >= injected && newest.is_firing() => {
                    Ok(newest.received)
                }
                _ => Err("nothing was told".to_owned()),
            }
        });
        let (fired, reached) = tokio::join!(fired, reaches);
        match (fired, reached) {
            (Ok(()), Ok(received)) => {
                self.happened_at(received, Event::Notified);
                true
            }
            (Err(came), _) | (_, Err(came)) => {
                self.fail(format!(
                    "not told within {} s: {alert}; came: {came}",
                    alert.within.as_secs()
                ));
                self.happened(Event::Untold { came });
                false
            }
        }
    }

    fn injected(&self) -> f64 {
        let report = self.report.borrow();
        let injected = report.at(|event| matches!(event, Event::Injected));
        injected.unwrap_or(report.started)
    }

    async fn walk(&self, since: SystemTime) {
        let mut values = self.place.values();
        for (index, step) in self.scenario.walk.iter().enumerate() {
            let step_number = index + 1;
            let name = format!("step {step_number} of {}", self.scenario.walk.len());
            let found = self
                .until(Instant::now() + STEP, &name, || {
                    self.look(&step.question, &values, since)
                })
                .await;
            match found {
                Ok(found) => {
                    if let Some(trace) = found.trace {
                        values.insert(TRACE.to_owned(), trace);
                    }
                    self.happened(Event::Followed {
                        step: step_number,
                        answer: found.answer,
                    });
                }
                Err(came) => {
                    self.fail(format!(
                        "step {step_number} of the walk leads nowhere: {came}"
                    ));
                    self.happened(Event::Lost {
                        step: step_number,
                        came,
                    });
                }
            }
        }
    }

    /// Stays broken until somebody lets it go, or the time is up.
    async fn stay(&self, hold: &Hold, answers: impl Fn() -> BTreeMap<String, u64>) {
        let most = hold.begin();
        self.phase(Phase::Held);
        self.happened(Event::Held {
            until: now() + most.as_secs_f64(),
        });
        let deadline = Instant::now() + most;
        let asked = self
            .until(deadline, "otherwise", async || {
                self.change(|report| report.answers = answers());
                if hold.is_released() {
                    return Ok(());
                }
                Err(format!("healed by itself in {}", left(deadline)))
            })
            .await;
        let asked = asked.is_ok();
        self.happened(Event::Released { asked });
    }

    async fn recover(&self, load: &Load) {
        let enough = 2 * self.scenario.load.people;
        let deadline = Instant::now() + self.scenario.heal.resolved_within;
        let good = self
            .until(deadline, "good answers only", async || {
                self.change(|report| report.answers = load.answers());
                match load.good_in_a_row() {
                    good if good >= enough => Ok(()),
                    good => Err(format!("{good} in a row")),
                }
            })
            .await;
        match good {
            Ok(()) => self.happened(Event::Recovered),
            Err(came) => self.fail(format!("healed, but people are not served: {came}")),
        }
    }

    async fn resolve(&self, healing: f64) {
        let alert = &self.scenario.alert;
        let within = self.scenario.heal.resolved_within;
        let over = self
            .until(
                Instant::now() + within,
                "its end at the webhook",
                async || match self.newest().await? {
                    Some(newest) if newest.is_firing() => Err("not told yet".to_owned()),
                    Some(newest) => Ok(newest.received.max(healing)),
                    None => Err("the webhook forgot the alert".to_owned()),
                },
            )
            .await;
        match over {
            Ok(received) => self.happened_at(received, Event::Resolved),
            Err(came) => {
                self.fail(format!(
                    "the end of {alert} was not told within {} s: {came}",
                    within.as_secs()
                ));
                self.happened(Event::Unresolved { came });
            }
        }
    }

    /// Asks until the answer is right or the time is up; the error says what came last.
    async fn until<T, F, Fut>(&self, deadline: Instant, name: &str, mut ask: F) -> Result<T, String>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, String>>,
    {
        let mut last: Option<String> = None;
        let result = loop {
            match tokio::time::timeout_at(deadline, ask()).await {
                Ok(Ok(answer)) => break Ok(answer),
                Ok(Err(came)) => {
                    if last.as_ref() != Some(&came) {
                        self.change(|report| {
                            report.waiting.insert(name.to_owned(), came.clone());
                        });
                    }
                    last = Some(came);
                }
                Err(_) => break Err(last.unwrap_or_else(|| "no answer in time".to_owned())),
            }
            if Instant::now() + INTERVAL >= deadline {
                break Err(last.unwrap_or_default());
            }
            tokio::time::sleep(INTERVAL).await;
        };
        self.change(|report| {
            report.waiting.remove(name);
        });
        result
    }
}

/// In minutes, and seconds at the end: a line that changes every second is hard to read.
fn left(deadline: Instant) -> String {
    match deadline.saturating_duration_since(Instant::now()).as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{PARTS, parse};

    const SCENARIO: &str = r#"{title: t, summary: s, broken: {stop: [users]}, load: {people: 1, pause: 1s, paths: {/users: 1}},
        expect: [{name: n, within: 1s, promql: up}], alert: {labels: {alertname: A}, within: 1s},
        heal: {text: t, resolved_within: 1s}, walk: [{text: t, promql: up}]}"#;

    /// Holds for ten minutes; `word` is said after so long. What was told meanwhile, and the end.
    async fn stay(word: Duration) -> (Report, Vec<String>, Duration) {
        let scenario = parse("x", SCENARIO).unwrap();
        let mut place = Place::default();
        for part in PARTS {
            let nobody = "http://127.0.0.1:1".parse().unwrap();
            place.addresses.insert(part.to_owned(), nobody);
        }
        let waits = RefCell::new(Vec::new());
        let tell = |report: &Report| waits.borrow_mut().extend(report.waiting.values().cloned());
        let hold = Hold::new(Duration::from_secs(600));
        // Said too early: it must not count.
        hold.release();
        let run = Run {
            scenario: &scenario,
            place: &place,
            clients: Clients::of(&place).unwrap(),
            hold: Some(&hold),
            tell: &tell,
            report: RefCell::new(Report::blank(&scenario)),
        };
        let began = Instant::now();
        let said = async {
            tokio::time::sleep(word).await;
            hold.release();
        };
        tokio::select! {
            () = run.stay(&hold, BTreeMap::new) => {}
            () = async { said.await; std::future::pending().await } => {}
        }
        let report = run.report.into_inner();
        (report, waits.into_inner(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_run_goes_on_when_somebody_says_so() {
        let (report, waits, took) = stay(Duration::from_secs(100)).await;
        assert!((100..103).contains(&took.as_secs()), "{took:?}");
        let events: Vec<&Event> = report.timeline.iter().map(|each| &each.event).collect();
        assert!(
            matches!(
                events[..],
                [Event::Held { .. }, Event::Released { asked: true }]
            ),
            "{events:?}"
        );
        assert_eq!(waits[0], "healed by itself in 10 min");
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_run_goes_on_when_nobody_comes() {
        let (report, waits, took) = stay(Duration::from_secs(3600)).await;
        assert!((598..=600).contains(&took.as_secs()), "{took:?}");
        assert_eq!(report.timeline[1].event, Event::Released { asked: false });
        assert!(waits.iter().any(|wait| wait == "healed by itself in 59 s"));
    }
}
