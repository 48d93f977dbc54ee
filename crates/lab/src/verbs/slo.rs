//! `lab slo`: the objectives, how much of their budgets is left, and what their alerts are tested for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Subcommand;
use comfy_table::Cell;
use futures_util::{StreamExt, stream};
use proof::Http;
use proof::backend::Prometheus;
use serde::Serialize;
use slo::{Level, Objective, Selector, Source, Window, read_folder};
use tokio::process::Command;

use crate::Lab;
use crate::cli::{Interrupted, WrongRequest};
use crate::native::components;
use crate::native::provision::{self, Look};
use crate::native::rules::{self, yaml_files};
use crate::printer::{self, BAD, DIM, GOOD, WARN, duration, styled};
use crate::settings::Port;
use crate::verbs::test::beside;
use crate::verbs::up::Signals;

/// Prometheus' scrape interval in the shipped configuration: a rate needs two scrapes.
const SCRAPE: slo::Duration = slo::Duration::from_secs(5);
/// For one query.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show every objective, its availability and what is left of its budget
    List {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong in slo/, which alerts cannot fire, and which selectors find no series
    Check,
    /// Print the rules made from an objective, as Prometheus loads them
    Rules {
        /// Its name, `users-availability` for example
        name: String,
    },
    /// Run slo/tests with promtool: what pages, and what does not
    Test,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    match args.action.unwrap_or(Action::List { json: false }) {
        Action::List { json } => list(lab, json).await,
        Action::Check => check(lab).await,
        Action::Rules { name } => rules(lab, &name),
        Action::Test => test(lab).await,
    }
}

fn sources(lab: &Lab) -> anyhow::Result<Vec<Source>> {
    let folder = lab.paths.slo();
    read_folder(&folder).with_context(|| format!("cannot read {}", folder.display()))
}

/// One objective, for a table.
#[derive(Serialize)]
struct Row {
    name: String,
    /// Per cent.
    target: f64,
    window: String,
    /// Per cent; nothing until there were requests and a minute has passed.
    availability: Option<f64>,
    /// Per cent; below zero when more than the budget is gone.
    budget_left: Option<f64>,
    /// Severities of the alerts that fire.
    firing: Vec<String>,
}

async fn list(lab: &Lab, json: bool) -> anyhow::Result<ExitCode> {
    let mut wrong = false;
    let mut objectives = Vec::new();
    for source in sources(lab)? {
        match source.objective {
            Ok(objective) => objectives.push(objective),
            Err(error) => {
                wrong = true;
                lab.printer.error(error);
            }
        }
    }
    let measured = measure(lab).await;
    if let Err(why) = &measured {
        lab.printer
            .note(format_args!("nothing is measured: {why:#}"));
    }
    let rows: Vec<Row> = objectives
        .iter()
        .map(|objective| row(objective, measured.as_ref().ok()))
        .collect();
    if json {
        lab.printer.json(&rows)?;
    } else {
        show(lab, &rows);
    }
    Ok(if wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What Prometheus knows, by objective.
#[derive(Default)]
struct Measured {
    availability: BTreeMap<String, f64>,
    firing: BTreeMap<String, Vec<String>>,
}

async fn prometheus(lab: &Lab) -> anyhow::Result<Prometheus> {
    let running = lab.running_anywhere().await?.context("no lab is running")?;
    let url = lab.url(Port::Prometheus, Some(&running))?;
    Ok(Prometheus::new(Http::new(TIMEOUT)?, url))
}

async fn measure(lab: &Lab) -> anyhow::Result<Measured> {
    let prometheus = prometheus(lab).await?;
    let mut measured = Measured::default();
    for sample in prometheus.query("pyrra_availability").await? {
        let name = sample.label("slo").to_owned();
        measured.availability.insert(name, sample.value);
    }
    let firing = "count by (slo, severity) (ALERTS{alertstate=\"firing\",slo!=\"\"})";
    for sample in prometheus.query(firing).await? {
        let severities = measured.firing.entry(sample.label("slo").to_owned());
        severities
            .or_default()
            .push(sample.label("severity").to_owned());
    }
    Ok(measured)
}

fn row(objective: &Objective, measured: Option<&Measured>) -> Row {
    let availability = measured
        .and_then(|measured| measured.availability.get(&objective.name))
        .copied()
        .filter(|share| share.is_finite());
    let firing = measured
        .and_then(|measured| measured.firing.get(&objective.name))
        .cloned()
        .unwrap_or_default();
    // A target of 100 % has no budget.
    let budget = 1.0 - objective.target;
    let left = availability
        .filter(|_| budget > 0.0)
        .map(|share| 100.0 * (1.0 - (1.0 - share) / budget));
    Row {
        name: objective.name.clone(),
        target: 100.0 * objective.target,
        window: objective.window.to_string(),
        availability: availability.map(|share| 100.0 * share),
        budget_left: left,
        firing,
    }
}

fn show(lab: &Lab, rows: &[Row]) {
    let mut table = printer::table([
        "OBJECTIVE",
        "TARGET",
        "WINDOW",
        "AVAILABILITY",
        "BUDGET LEFT",
        "FIRING",
    ]);
    for row in rows {
        let nothing = || styled(DIM, "not known yet");
        let availability = row
            .availability
            .map_or_else(nothing, |share| format!("{share:.3} %"));
        let left = row.budget_left.map_or_else(String::new, |left| {
            let style = if left > 0.0 { GOOD } else { BAD };
            styled(style, format_args!("{left:.1} %"))
        });
        let style = if row.firing.iter().any(|each| each == "critical") {
            BAD
        } else {
            WARN
        };
        table.add_row([
            Cell::new(&row.name),
            Cell::new(format!("{} %", row.target)),
            Cell::new(&row.window),
            Cell::new(availability),
            Cell::new(left),
            Cell::new(styled(style, row.firing.join(", "))),
        ]);
    }
    lab.printer.table(&table);
}

async fn check(lab: &Lab) -> anyhow::Result<ExitCode> {
    let promtool = rules::promtool(lab).await;
    let faults = rules::faults(&lab.paths, promtool.as_deref())?;
    for fault in &faults {
        lab.printer.error(fault);
    }
    let sources = sources(lab)?;
    let mut wrong = BTreeSet::new();
    for source in &sources {
        for (level, finding) in &source.findings {
            say(lab, *level, finding);
            if *level == Level::Error {
                wrong.insert(source.path.as_path());
            }
        }
        let Ok(objective) = &source.objective else {
            continue;
        };
        for window in objective.windows().iter().filter(|each| !can_fire(each)) {
            lab.printer.out(format_args!(
                "{}: its {} alert over {} and {} cannot fire: its short window holds no two scrapes, which are {SCRAPE} apart",
                objective.name, window.severity, window.short, window.long
            ));
        }
    }
    if promtool.is_none() {
        lab.printer.note(
            "the rules are not checked by promtool, which comes with Prometheus; `./lab up` gets it",
        );
    }
    if let Err(why) = series(lab, &sources, &mut wrong).await {
        lab.printer
            .note(format_args!("series are not looked for: {why:#}"));
    }
    let wrong = faults.len() + wrong.len();
    lab.printer
        .out(format_args!("{} objectives, {wrong} wrong", sources.len()));
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn say(lab: &Lab, level: Level, finding: impl std::fmt::Display) {
    match level {
        Level::Error => lab.printer.error(finding),
        Level::Warning => lab.printer.warn(finding),
    }
}

/// Asks the running Prometheus for what each selector finds.
async fn series<'a>(
    lab: &Lab,
    sources: &'a [Source],
    wrong: &mut BTreeSet<&'a Path>,
) -> anyhow::Result<()> {
    let prometheus = prometheus(lab).await?;
    for source in sources {
        let Ok(objective) = &source.objective else {
            continue;
        };
        let indicator = &objective.indicator;
        let mut counts = Vec::new();
        for (selector, field) in [
            (indicator.total(), indicator.total_field()),
            (indicator.part(), indicator.part_field()),
        ] {
            let [.., name, _] = field;
            let count = prometheus.sum(&format!("count({selector})")).await?;
            if count > 0.0 {
                counts.push(format!("{name} {count} series"));
                continue;
            }
            counts.push(format!("{name} none found"));
            let (level, why) = not_found(&prometheus, selector).await?;
            if level == Level::Error {
                wrong.insert(&source.path);
            }
            let (path, field) = (source.path.display(), field.join("."));
            say(lab, level, format_args!("{path}: {field}: {why}"));
        }
        lab.printer
            .out(format_args!("{}: {}", objective.name, counts.join(", ")));
    }
    Ok(())
}

/// Why a selector finds nothing, as far as Prometheus knows.
async fn not_found(
    prometheus: &Prometheus,
    selector: &Selector,
) -> anyhow::Result<(Level, String)> {
    let mut other = selector.clone();
    other.matchers.retain(|matcher| matcher.label != "le");
    let mut bounds = if other == *selector {
        Vec::new()
    } else {
        prometheus.label_values("le", &other.to_string()).await?
    };
    if bounds.is_empty() {
        let why = format!("Prometheus has no series {selector} now; expected one at least");
        return Ok((Level::Warning, why));
    }
    bounds.sort_by(|a, b| {
        let number = |text: &str| text.parse().unwrap_or(f64::NAN);
        number(a).total_cmp(&number(b))
    });
    let why = format!(
        "Prometheus has no bucket {selector}; expected le to be one of {}",
        bounds.join(", ")
    );
    Ok((Level::Error, why))
}

/// Windows are whole minutes, or nothing.
fn can_fire(window: &Window) -> bool {
    window.short > SCRAPE
}

fn rules(lab: &Lab, name: &str) -> anyhow::Result<ExitCode> {
    let mut names = Vec::new();
    for source in sources(lab)? {
        let is_it = source.path.file_stem().is_some_and(|stem| stem == name);
        match source.objective {
            Ok(objective) if objective.name == name => {
                lab.printer.raw(objective.rules().to_yaml().as_bytes())?;
                return Ok(ExitCode::SUCCESS);
            }
            Ok(objective) => names.push(objective.name),
            Err(error) if is_it => return Err(error.into()),
            Err(_) => {}
        }
    }
    Err(WrongRequest(format!(
        "there is no objective `{name}`: expected one of {}",
        names.join(", ")
    ))
    .into())
}

/// The rules as they would be loaded now, and the tests beside them, in a folder of their own.
async fn test(lab: &Lab) -> anyhow::Result<ExitCode> {
    let promtool = promtool(lab).await?;
    let place = lab.paths.config("slo-test");
    let (rules, tests) = (place.join("rules"), place.join("tests"));
    for folder in [&rules, &tests] {
        // An earlier run's files may be of objectives that are gone.
        let _none = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut failed = 0;
    for source in sources(lab)? {
        let file = rules.join(source.path.file_name().unwrap_or_default());
        match source.objective {
            Ok(objective) => std::fs::write(&file, objective.rules().to_yaml())?,
            Err(error) => {
                failed += 1;
                lab.printer.error(error);
            }
        }
    }
    copy(&lab.paths.infra("prometheus").join("rules"), &rules)?;
    let tests = copy(&lab.paths.slo().join("tests"), &tests)?;
    if tests.is_empty() {
        bail!(
            "there are no tests in {}",
            lab.paths.slo().join("tests").display()
        );
    }
    let mut signals = Signals::listen()?;
    let parallel = std::thread::available_parallelism().map_or(1, usize::from);
    let all = stream::iter(&tests)
        .map(|file| one(&promtool, file))
        .buffered(parallel)
        .collect::<Vec<_>>();
    let results = tokio::select! {
        results = all => results,
        () = signals.any() => return Err(Interrupted.into()),
    };
    for (file, result) in tests.iter().zip(results) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let (passed, output, took) = result?;
        let took = styled(DIM, duration(took));
        if passed {
            lab.printer.out(format_args!(
                "{} slo/tests/{name} {took}",
                styled(GOOD, "ok")
            ));
        } else {
            failed += 1;
            lab.printer.out(format_args!(
                "{} slo/tests/{name} {took}\n{output}",
                styled(BAD, "failed")
            ));
        }
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn one(promtool: &Path, file: &Path) -> anyhow::Result<(bool, String, Duration)> {
    let started = Instant::now();
    let output = Command::new(promtool)
        .args(["test", "rules"])
        .arg(file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", promtool.display()))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), text, started.elapsed()))
}

async fn promtool(lab: &Lab) -> anyhow::Result<PathBuf> {
    let component = components::by_name("prometheus").context("no such component")?;
    match provision::look(lab, component).await {
        Look::Found(found) => beside(lab, &found, "promtool").await,
        _ => bail!("promtool comes with Prometheus, which is not here yet; `./lab up` gets it"),
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<Vec<PathBuf>> {
    yaml_files(from)?
        .into_iter()
        .map(|path| {
            let target = to.join(path.file_name().unwrap_or_default());
            std::fs::copy(&path, &target)
                .with_context(|| format!("cannot copy {}", path.display()))?;
            Ok(target)
        })
        .collect()
}
