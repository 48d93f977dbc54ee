//! The walkthrough of an incident, in Markdown: from its YAML and from the report of a real run.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::model::{Broken, Load, Question, Scenario, Step};
use super::place::Place;
use super::report::{Event, Report};
use super::template::{TRACE, Values};
use super::view::{View, view};

/// What stands for the trace that a reader finds.
const ANY_TRACE: &str = "TRACE_ID";
/// How much of an answer a table has room for.
const ROOM: usize = 110;

/// The page of one incident.
///
/// # Errors
/// When a part that it asks has no address.
pub fn page(scenario: &Scenario, report: &Report, place: &Place) -> Result<String, String> {
    let mut page = format!(
        "<!-- Made by `./lab scenario docs` from scenarios/{0}.yaml and results/{0}.json: change those. -->\n\
         # {1}\n\n{2}\n\n```sh\n./lab scenario run {0}\n```\n\n",
        scenario.name,
        scenario.title,
        paragraphs(&scenario.summary)
    );
    page.push_str("## What is broken\n\n");
    for line in broken(&scenario.broken) {
        add(&mut page, format_args!("- {line}\n"));
    }
    add(&mut page, format_args!("\n{}\n\n", load(&scenario.load)));
    page.push_str("## What was seen\n\n| after | what | what came |\n|---:|---|---|\n");
    let injected = report.at(|event| matches!(event, Event::Injected));
    for moment in &report.timeline {
        if let Some((what, came)) = row(scenario, &moment.event) {
            let after = moment.at - injected.unwrap_or(report.started);
            let (what, came) = (cell(&what), cell(&came));
            add(
                &mut page,
                format_args!("| {after:.1} s | {what} | {came} |\n"),
            );
        }
    }
    let answers: Vec<String> = report
        .answers
        .iter()
        .map(|(status, count)| format!("{count} x {status}"))
        .collect();
    add(
        &mut page,
        format_args!(
            "\nFrom a run on {}. What people got meanwhile: {}.\n\n",
            day(report.started),
            answers.join(", ")
        ),
    );
    page.push_str("## From the alert to the cause\n\n");
    let mut values = place.values();
    values.insert(TRACE.to_owned(), ANY_TRACE.to_owned());
    // Of the traces that a step finds, the reader opens one in the next.
    let mut found = None;
    for (index, step) in scenario.walk.iter().enumerate() {
        let (what, view) = match (&step.question, &found) {
            (Question::Link(_), Some(traces)) if step.question.names_trace() => {
                ("One of them in", View::clone(traces))
            }
            (question, _) => ("In", view(question, place)?),
        };
        let link = format!("[{what} {}]({})", view.of, view.url);
        page.push_str(&walk(index + 1, step, report, place, &values, &link)?);
        if matches!(step.question, Question::Traces(_)) {
            found = Some(view);
        }
    }
    add(
        &mut page,
        format_args!(
            "\n## How it is healed\n\n{}\n\n`./lab scenario run` does so by itself; of a run that was killed, `./lab scenario heal` does.\n",
            paragraphs(&scenario.heal.text)
        ),
    );
    Ok(page)
}

/// The tables of all incidents: run natively, and in containers as far as they were.
#[must_use]
pub fn index(natively: &[(&Scenario, &Report)], contained: &[(&Scenario, &Report)]) -> String {
    let mut page = String::from(
        "<!-- Made by `./lab scenario docs` from scenarios/ and results/: change those. -->\n\
         # Incidents\n\n\
         Each of them is a file in [`scenarios/`](../../scenarios): what is broken, the load, what must be seen, which alert must\n\
         reach the webhook, and the way from the alert to the cause. A run breaks the lab, waits for all of it, follows every\n\
         step, heals, and waits for the end of the alert; it fails when something does not come in time. The lab that runs is\n\
         broken, natively or in containers. One difference: natively, users is replaced by its other version without a refused\n\
         request; compose stops the one container and then starts the next.\n\n\
         ```sh\n\
         ./lab scenario list              # what there is\n\
         ./lab scenario run error-burst   # one; Ctrl-C heals\n\
         ./lab scenario run --all         # all of them\n\
         ./lab scenario heal              # end a run, or heal what a killed one left\n\
         ./lab scenario run slow-query --hold 10m    # stays broken after its walk, so long at most (else 15 minutes)\n\
         ./lab scenario release           # heals what is held and goes on; Enter in its terminal does, too\n\
         ```\n\n\
         | incident | broken | alert | seen | in metrics | fires | told | end told |\n\
         |---|---|---|---:|---:|---:|---:|---:|\n",
    );
    for (scenario, report) in natively {
        add(
            &mut page,
            format_args!(
                "| [{}]({}.md) | {} | {} | {} |\n",
                cell(&scenario.title),
                scenario.name,
                cell(&scenario.broken.to_string()),
                cell(&code(&scenario.alert.to_string())),
                times(scenario, report)
            ),
        );
    }
    add(
        &mut page,
        format_args!(
            "\nSeconds from the fault: to the first symptom wherever it is, to the first in metrics, to the alert in Prometheus, to the\n\
             notification; and from the end of healing to the notification that says so. Of the runs in [`results/`](results), natively, the latest on {}. They vary with\n\
             what burnt the budgets before, and by the intervals at which rules are evaluated (5 s; of objectives 30 s) and\n\
             notifications collected.\n",
            latest(natively)
        ),
    );
    if contained.is_empty() {
        return page;
    }
    page.push_str(
        "\n## In containers\n\n\
         The same incidents, walks and questions on the stack of `./lab up --engine compose`:\n\n\
         | incident | seen | in metrics | fires | told | end told |\n\
         |---|---:|---:|---:|---:|---:|\n",
    );
    for (scenario, report) in contained {
        add(
            &mut page,
            format_args!(
                "| [{}]({}.md) | {} |\n",
                cell(&scenario.title),
                scenario.name,
                times(scenario, report)
            ),
        );
    }
    add(
        &mut page,
        format_args!(
            "\nOf the runs in [`results/compose/`](results/compose), the latest on {}.\n",
            latest(contained)
        ),
    );
    page
}

/// From the fault to each of what follows it.
fn times(scenario: &Scenario, report: &Report) -> String {
    let times = [
        report.detected(),
        report.seen_first_of(|name| scenario.is_in_metrics(name)),
        report.fired(),
        report.notified(),
        report.resolved(),
    ];
    times
        .map(|time| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.0} s")))
        .join(" | ")
}

fn latest(incidents: &[(&Scenario, &Report)]) -> String {
    let days = incidents.iter().map(|(_, report)| report.started);
    day(days.fold(0.0, f64::max))
}

fn walk(
    number: usize,
    step: &Step,
    report: &Report,
    place: &Place,
    values: &Values,
    link: &str,
) -> Result<String, String> {
    let mut text = format!("{number}. {}\n", paragraphs(&step.text));
    let block = match &step.question {
        Question::Promql(query) => Some(("promql", query.fill(values))),
        Question::Logs(query) => Some(("logql", query.fill(values))),
        Question::Profile(_) => {
            let address = place.address(&step.question, values)?;
            Some(("sh", format!("go tool pprof -top '{address}'")))
        }
        Question::Traces(_) | Question::Link(_) => None,
    };
    if let Some((language, block)) = block {
        add(
            &mut text,
            format_args!(
                "\n   ```{language}\n   {}\n   ```\n",
                block.replace('\n', "\n   ")
            ),
        );
    }
    let came = report
        .timeline
        .iter()
        .find_map(|moment| match &moment.event {
            Event::Followed { step, answer } if *step == number => Some(answer),
            _ => None,
        });
    let came = came.map_or_else(String::new, |answer| {
        format!("; the run got {}", code(&cut(answer)))
    });
    add(&mut text, format_args!("\n   {link}{came}\n"));
    Ok(text)
}

fn broken(broken: &Broken) -> Vec<String> {
    let deploys = broken
        .deploy
        .iter()
        .map(|(service, version)| format!("{service} is replaced by its version `{version}`"));
    let flags = broken.flags.iter().map(|(flag, variant)| {
        format!("the flag `{flag}` is `{variant}`: `./lab fault set {flag} {variant}`")
    });
    let stops = broken
        .stop
        .iter()
        .map(|name| format!("{name} does not run: `./lab stop {name}`"));
    deploys.chain(flags).chain(stops).collect()
}

fn load(load: &Load) -> String {
    let all: usize = load.paths.values().sum();
    let paths: Vec<String> = load
        .paths
        .iter()
        .map(|(path, times)| match times * 100 / all {
            100 => format!("`{path}`"),
            share => format!("`{path}` ({share} %)"),
        })
        .collect();
    format!(
        "{} ask edge for {}, {} ms after each answer for the next.",
        if load.people == 1 {
            "One person".to_owned()
        } else {
            format!("{} people", load.people)
        },
        paths.join(" and "),
        load.pause.as_millis()
    )
}

fn row(scenario: &Scenario, event: &Event) -> Option<(String, String)> {
    let plain = |text: &str| Some((text.to_owned(), String::new()));
    match event {
        Event::Injected => plain("broken"),
        Event::Seen { name, answer } => Some((name.clone(), code(&cut(answer)))),
        Event::Missed { name, came } => Some((format!("not seen: {name}"), code(&cut(came)))),
        Event::Firing => Some((
            "the alert fires".to_owned(),
            code(&scenario.alert.to_string()),
        )),
        Event::Notified => plain("the alert reached the webhook"),
        Event::Healed => plain("healed"),
        Event::Recovered => plain("people get good answers again"),
        Event::Resolved => plain("the end of the alert reached the webhook"),
        Event::Untold { came } => Some(("the alert was not told".to_owned(), code(&cut(came)))),
        Event::Unresolved { came } => Some(("its end was not told".to_owned(), code(&cut(came)))),
        Event::Calm
        | Event::Followed { .. }
        | Event::Lost { .. }
        | Event::Held { .. }
        | Event::Released { .. } => None,
    }
}

/// Bars would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= ROOM {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(ROOM).collect();
    short.push('…');
    short
}

/// YAML's folded lines are one long line for each paragraph.
fn paragraphs(text: &str) -> String {
    text.trim().replace('\n', "\n\n")
}

fn day(time: f64) -> String {
    let time = Timestamp::from_duration(jiff::SignedDuration::from_secs_f64(time));
    let time = time.unwrap_or_default();
    time.strftime("%F").to_string()
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}
