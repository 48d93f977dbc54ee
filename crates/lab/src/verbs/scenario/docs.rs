//! `docs/incidents`: pages made from the scenarios and from the reports of real runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use proof::scenario::{Event, Place, Report, Scenario, index, page};

use super::{choose, engine};
use crate::Lab;

const FOLDER: &str = "docs/incidents";

/// Where an incident was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    Natively,
    InContainers,
}

/// Keeps the report of a run.
pub(super) fn keep(lab: &Lab, report: &Report, ran: Ran) -> anyhow::Result<()> {
    let path = result(lab, &report.scenario, ran);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn result(lab: &Lab, name: &str, ran: Ran) -> PathBuf {
    let folder = lab.paths.root.join(FOLDER).join("results");
    let folder = match ran {
        Ran::Natively => folder,
        Ran::InContainers => folder.join("compose"),
    };
    folder.join(format!("{name}.json"))
}

/// Writes the pages that are not as they should be, or only names them.
pub(super) fn run(lab: &Lab, check: bool) -> anyhow::Result<ExitCode> {
    let scenarios = choose(lab, None)?;
    let place = engine::default_place(lab)?;
    let mut stale = Vec::new();
    let mut run = Vec::new();
    let mut contained = Vec::new();
    let mut wanted = Vec::new();
    for scenario in &scenarios {
        match kept(lab, scenario, Ran::Natively) {
            Ok(report) => run.push((scenario, report)),
            Err(why) => stale.push(why),
        }
        // Containers take an engine: their table has what was run.
        if !result(lab, &scenario.name, Ran::InContainers).exists() {
            continue;
        }
        match kept(lab, scenario, Ran::InContainers) {
            Ok(report) => contained.push((scenario, report)),
            Err(why) => stale.push(why),
        }
    }
    let folder = lab.paths.root.join(FOLDER);
    for (scenario, report) in &run {
        let text = written(scenario, report, &place)?;
        wanted.push((folder.join(format!("{}.md", scenario.name)), text));
    }
    let pairs: Vec<(&Scenario, &Report)> = run.iter().map(|(a, b)| (*a, b)).collect();
    let in_containers: Vec<(&Scenario, &Report)> = contained.iter().map(|(a, b)| (*a, b)).collect();
    wanted.push((folder.join("README.md"), index(&pairs, &in_containers)));
    for (path, text) in &wanted {
        if std::fs::read_to_string(path).ok().as_ref() == Some(text) {
            continue;
        }
        if check {
            stale.push(format!(
                "{} is not what the scenarios and results make; `./lab scenario docs` writes it",
                path.display()
            ));
        } else {
            write(path, text)?;
            lab.printer.out(format_args!("wrote {}", path.display()));
        }
    }
    stale.extend(left_over(&folder, &wanted)?);
    for line in &stale {
        lab.printer.error(line);
    }
    Ok(if stale.is_empty() {
        lab.printer
            .out(format_args!("{} pages are as they should be", wanted.len()));
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The report of a run of this very scenario.
fn kept(lab: &Lab, scenario: &Scenario, ran: Ran) -> Result<Report, String> {
    let path = result(lab, &scenario.name, ran);
    let lab_in = match ran {
        Ran::Natively => "",
        Ran::InContainers => " on a lab of `./lab up --engine compose`",
    };
    let again = format!(
        "`./lab scenario run {} --record`{lab_in} makes it",
        scenario.name
    );
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; {again}", path.display()))?;
    let report: Report = serde_json::from_str(&text)
        .map_err(|error| format!("{}: {error}; {again}", path.display()))?;
    if !report.passed() {
        return Err(format!("{}: that run failed; {again}", path.display()));
    }
    if report.ran != scenario.essence() {
        return Err(format!(
            "{}: the scenario was changed since that run; {again} anew",
            path.display()
        ));
    }
    for moment in &report.timeline {
        if let Event::Seen { name, .. } = &moment.event
            && !scenario.expect.iter().any(|each| each.name == *name)
        {
            return Err(format!(
                "{}: the scenario has no \"{name}\" any more; {again} anew",
                path.display()
            ));
        }
    }
    Ok(report)
}

fn written(scenario: &Scenario, report: &Report, place: &Place) -> anyhow::Result<String> {
    page(scenario, report, place)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("no page of {}", scenario.name))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Pages of scenarios that are gone.
fn left_over(folder: &Path, wanted: &[(PathBuf, String)]) -> anyhow::Result<Vec<String>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut left = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_page = path.extension().is_some_and(|ending| ending == "md");
        if is_page && !wanted.iter().any(|(each, _)| *each == path) {
            left.push(format!("{}: there is no such scenario", path.display()));
        }
    }
    Ok(left)
}
