//! What a person sees of a run: a line that moves, a line for each event, a table at the end.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment};
use proof::scenario::{Event, Moment, Outcome, Phase, Report, Scenario};

use crate::Lab;
use crate::printer::{self, BAD, BOLD, DIM, GOOD, WARN, duration, styled};

/// How much of what came stands in a line.
const ROOM: usize = 100;

pub(super) fn list(lab: &Lab, scenarios: &[Scenario]) {
    let mut table = printer::table(["SCENARIO", "BREAKS", "TELLS"]);
    for scenario in scenarios {
        table.add_row([
            Cell::new(format!(
                "{}\n{}",
                styled(BOLD, &scenario.name),
                styled(DIM, &scenario.title)
            )),
            Cell::new(&scenario.broken),
            Cell::new(&scenario.alert),
        ]);
    }
    lab.printer.table(&table);
}

/// What of a report was shown already.
#[derive(Default)]
pub(super) struct Progress {
    events: usize,
    phase: Option<Phase>,
}

impl Progress {
    /// A line for each event that is new, and for the phase that begins.
    pub(super) fn new_events(&mut self, lab: &Lab, report: &Report) {
        for moment in report.timeline.iter().skip(self.events) {
            let (style, what, more) = words(&moment.event);
            let more = if more.is_empty() {
                more
            } else {
                format!(" {}", styled(DIM, cut(&more)))
            };
            lab.printer.note(format_args!(
                "  {:>8}  {}{more}",
                after(report, moment),
                styled(style, what)
            ));
        }
        self.events = report.timeline.len();
        if self.phase != Some(report.phase) && report.phase != Phase::Done {
            self.phase = Some(report.phase);
            lab.printer.note(styled(
                DIM,
                format_args!("            {}", report.phase.says()),
            ));
        }
    }
}

/// The line that moves. `how` a person ends a hold.
pub(super) fn waiting(report: &Report, how: &str) -> String {
    match report.waiting.iter().next() {
        Some((what, came)) if report.phase == Phase::Held => {
            format!("broken for you to look; {how}, {what} it is {came}")
        }
        None => report.phase.says().to_owned(),
        Some((what, came)) => cut(&format!("{}; {what}: {came}", report.phase.says())),
    }
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(ROOM).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Since it was broken.
fn after(report: &Report, moment: &Moment) -> String {
    let injected = report.at(|event| matches!(event, Event::Injected));
    match injected {
        Some(injected) if moment.at >= injected => seconds(moment.at - injected),
        _ => String::new(),
    }
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

fn words(event: &Event) -> (anstyle::Style, String, String) {
    let word = |style, text: &str| (style, text.to_owned(), String::new());
    match event {
        Event::Calm => word(GOOD, "the lab is healthy"),
        Event::Injected => word(BAD, "broken"),
        Event::Seen { name, answer } => (GOOD, format!("seen: {name}"), answer.clone()),
        Event::Missed { name, came } => (BAD, format!("not seen: {name}"), came.clone()),
        Event::Firing => word(WARN, "the alert fires"),
        Event::Notified => word(GOOD, "the alert was told"),
        Event::Untold { came } => (BAD, "the alert was not told".to_owned(), came.clone()),
        Event::Followed { step, answer } => (GOOD, format!("step {step}"), answer.clone()),
        Event::Lost { step, came } => (BAD, format!("step {step} leads nowhere"), came.clone()),
        Event::Held { .. } => word(WARN, "stays broken"),
        Event::Released { asked: true } => word(GOOD, "may heal"),
        Event::Released { asked: false } => word(WARN, "nobody said so in time"),
        Event::Healed => word(GOOD, "healed"),
        Event::Recovered => word(GOOD, "people get good answers again"),
        Event::Resolved => word(GOOD, "the end of the alert was told"),
        Event::Unresolved { came } => (BAD, "its end was not told".to_owned(), came.clone()),
    }
}

/// The end of one run.
pub(super) fn report(lab: &Lab, scenario: &Scenario, report: &Report) {
    for failure in &report.failures {
        lab.printer
            .out(format_args!("{} {failure}", styled(BAD, "failed:")));
    }
    let answers: Vec<String> = report
        .answers
        .iter()
        .map(|(status, count)| format!("{count} x {status}"))
        .collect();
    let verdict = if report.passed() {
        styled(GOOD, "passed")
    } else {
        styled(BAD, "failed")
    };
    lab.printer.out(format_args!(
        "{verdict} {}: seen after {}, told after {}, its end told {} after healing; answers: {}\n",
        scenario.name,
        time(report.detected()),
        time(report.notified()),
        time(report.resolved()),
        answers.join(", ")
    ));
}

/// All runs, one line each.
pub(super) fn summary(lab: &Lab, reports: &[Report]) {
    let mut table = printer::table([
        "SCENARIO", "RESULT", "SEEN", "FIRING", "TOLD", "HEALED", "END TOLD", "ALL",
    ]);
    for column in 2..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for report in reports {
        let result = match report.outcome {
            Some(Outcome::Passed) => styled(GOOD, "passed"),
            Some(Outcome::NotApplicable) => styled(WARN, "n/a"),
            _ => styled(BAD, "failed"),
        };
        let last = report
            .timeline
            .last()
            .map_or(report.started, |moment| moment.at);
        let cells = [
            report.detected(),
            report.fired(),
            report.notified(),
            report.healed(),
            report.resolved(),
            Some(last - report.started),
        ];
        let mut row = vec![Cell::new(&report.scenario), Cell::new(result)];
        row.extend(cells.into_iter().map(|each| Cell::new(time(each))));
        table.add_row(row);
    }
    lab.printer.table(&table);
    let count = |is_it: fn(&Report) -> bool| reports.iter().filter(|each| is_it(each)).count();
    let not_run = match count(Report::did_not_run) {
        0 => String::new(),
        some => format!(", {some} cannot run here"),
    };
    lab.printer.out(format_args!(
        "{} scenarios, {} failed{not_run}; times are from the fault, of END TOLD from healing",
        reports.len(),
        count(|report| !report.passed() && !report.did_not_run())
    ));
}

fn time(seconds: Option<f64>) -> String {
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or_else(|| "-".to_owned(), duration)
}
