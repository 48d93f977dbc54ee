//! `lab status`: what runs, what is being prepared, how much memory it takes.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment};
use serde::Serialize;

use crate::Lab;
use crate::compose::stack::{COMPOSE, Stack};
use crate::printer::{self, BAD, DIM, GOOD, WARN, duration, megabytes, styled};
use crate::process::Memory;
use crate::state::{ComponentState, Phase, State, now};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    running: bool,
    state_dir: &'a std::path::Path,
    #[serde(flatten)]
    state: Option<&'a State>,
    memory: Option<MemoryReport>,
}

#[derive(Serialize)]
struct MemoryReport {
    /// Bytes, by component; `supervisor` is the lab's own process.
    components: std::collections::BTreeMap<String, u64>,
    total: u64,
}

pub(crate) async fn run(lab: &Lab, args: &Args) -> anyhow::Result<ExitCode> {
    let state = lab.running_anywhere().await?;
    let memory = match &state {
        Some(state) if state.engine == COMPOSE => measure_containers(lab).await,
        Some(state) => Some(measure(state)),
        None => None,
    };
    if args.json {
        lab.printer.json(&Report {
            running: state.is_some(),
            state_dir: &lab.paths.state,
            state: state.as_ref(),
            memory,
        })?;
        return Ok(code(state.as_ref()));
    }
    match &state {
        Some(state) => {
            show(lab, state, memory.as_ref());
        }
        None => lab.printer.out("no lab is running; `./lab up` starts one"),
    }
    Ok(code(state.as_ref()))
}

/// 0 while everything that can run here runs or is on its way.
fn code(state: Option<&State>) -> ExitCode {
    let fine = state.is_some_and(|state| {
        state.components.iter().all(|component| {
            component.phase.is_pending()
                || matches!(
                    component.phase,
                    Phase::Healthy | Phase::Missing | Phase::ComposeOnly
                )
        })
    });
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn measure(state: &State) -> MemoryReport {
    let table = Memory::look();
    let mut components: std::collections::BTreeMap<String, u64> = state
        .components
        .iter()
        .filter_map(|component| {
            let process = component.process?;
            Some((component.name.clone(), table.of_tree(process.pid)))
        })
        .collect();
    if let Some(supervisor) = state.supervisor {
        components.insert("supervisor".to_owned(), Memory::of(supervisor.pid));
    }
    MemoryReport {
        total: components.values().sum(),
        components,
    }
}

/// What the containers take, as the engine counts it; `None` when it does not tell.
async fn measure_containers(lab: &Lab) -> Option<MemoryReport> {
    let stack = Stack::find(lab).await.ok()?;
    let components = stack.memory().await.ok()?;
    Some(MemoryReport {
        total: components.values().sum(),
        components,
    })
}

/// The table that `up` and `status` end with, of containers.
pub(crate) async fn show_compose(lab: &Lab, state: &State) {
    show(lab, state, measure_containers(lab).await.as_ref());
}

fn show(lab: &Lab, state: &State, memory: Option<&MemoryReport>) {
    let mut table = printer::table(["NAME", "STATE", "FOR", "MEMORY", "ADDRESS"]);
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut notes = Vec::new();
    for component in &state.components {
        if component.phase == Phase::ComposeOnly {
            continue;
        }
        let bytes = memory.and_then(|memory| memory.components.get(&component.name));
        let mut phase = styled(style(component.phase), component.phase.name());
        if component.crashes > 0 {
            phase.push_str(&format!(" ({} crashes)", component.crashes));
        }
        table.add_row([
            Cell::new(&component.name),
            Cell::new(phase),
            Cell::new(elapsed(component)),
            Cell::new(bytes.map(|bytes| megabytes(*bytes)).unwrap_or_default()),
            Cell::new(component.address.as_deref().unwrap_or_default()),
        ]);
        notes.extend(explain(component));
    }
    lab.printer.table(&table);
    let compose_only: Vec<&str> = state
        .components
        .iter()
        .filter(|component| component.phase == Phase::ComposeOnly)
        .map(|component| component.name.as_str())
        .collect();
    if !compose_only.is_empty() {
        lab.printer.out(format_args!(
            "compose only (container images): {}",
            compose_only.join(", ")
        ));
    }
    let up = duration(Duration::try_from_secs_f64(now() - state.started).unwrap_or_default());
    match memory {
        Some(memory) if state.engine == COMPOSE => lab.printer.out(format_args!(
            "memory: {} in all containers",
            megabytes(memory.total)
        )),
        Some(memory) => lab.printer.out(format_args!(
            "memory: {} in all, {} of it the supervisor; up for {up}",
            megabytes(memory.total),
            megabytes(memory.components.get("supervisor").copied().unwrap_or(0)),
        )),
        None => {}
    }
    for note in notes {
        lab.printer.out(note);
    }
    let mut said = Vec::new();
    for hint in state
        .components
        .iter()
        .filter_map(|each| each.hint.as_ref())
    {
        if !said.contains(&hint) {
            said.push(hint);
            let names: Vec<&str> = state
                .components
                .iter()
                .filter(|each| each.hint.as_ref() == Some(hint))
                .map(|each| each.name.as_str())
                .collect();
            lab.printer
                .out(format_args!("to get {}:\n  {hint}", names.join(", ")));
        }
    }
}

/// The table with the memory as it is now.
pub(crate) fn show_now(lab: &Lab, state: &State) {
    show(lab, state, Some(&measure(state)));
}

fn elapsed(component: &ComponentState) -> String {
    match component.phase {
        Phase::Stopped | Phase::ComposeOnly | Phase::Missing | Phase::Failed => String::new(),
        _ => duration(component.elapsed()),
    }
}

pub(crate) fn style(phase: Phase) -> anstyle::Style {
    match phase {
        Phase::Healthy => GOOD,
        Phase::Waiting | Phase::Preparing | Phase::Starting | Phase::Stopping => WARN,
        Phase::Unhealthy | Phase::Crashed | Phase::Failed | Phase::Missing => BAD,
        Phase::Stopped | Phase::ComposeOnly => DIM,
    }
}

/// What a person should know about a component that is not simply healthy.
pub(crate) fn explain(component: &ComponentState) -> Option<String> {
    let name = &component.name;
    let mut text = match (&component.phase, &component.detail, &component.notice) {
        (Phase::Healthy, _, None) | (Phase::ComposeOnly, ..) => return None,
        (Phase::Healthy, _, Some(notice)) => {
            format!("{name} runs as before, what is new cannot be used: {notice}")
        }
        (phase, Some(detail), _) => format!("{name} is {}: {detail}", phase.name()),
        (_, None, _) => return None,
    };
    let has_log = matches!(
        component.phase,
        Phase::Preparing | Phase::Unhealthy | Phase::Crashed | Phase::Failed
    );
    if let Some(log) = component.log.as_ref().filter(|_| has_log) {
        text.push_str(&format!("\n  log: {}", log.display()));
    }
    Some(text)
}
