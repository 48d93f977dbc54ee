//! `lab trace`: one trace as a tree in the terminal, with its log lines.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use anyhow::{Context, bail};
use proof::backend::{Jaeger, LogLine, Loki};
use proof::draw::{self, Role};
use proof::trace::{Trace, View};
use proof::{Http, TraceId, Traceparent};

use crate::Lab;
use crate::cli::WrongRequest;
use crate::printer::{BAD, BOLD, DIM, WARN, styled};
use crate::settings::Port;
use crate::state::State;
use crate::verbs::verify::not_there;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The trace: its 32 hex digits, or a whole `traceparent` header; the latest one if not given
    id: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Whose latest trace is shown: every request passes edge.
const SERVICE: &str = "edge";
const TIMEOUT: Duration = Duration::from_secs(10);
/// Spans reach Jaeger within this time, or not at all.
const ARRIVAL: Duration = Duration::from_secs(6);
/// A trace that has not grown for so long is complete.
const STILL: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(250);
/// Where the width of the terminal is not known.
const WIDTH: usize = 100;

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let wanted = args.id.as_deref().map(trace_id).transpose()?;
    let Some(state) = lab.running_anywhere().await? else {
        bail!("no lab is running, so there are no traces; `./lab up` starts one");
    };
    if let Some(why) = not_there(&state, "jaeger") {
        bail!("there is nobody to ask for traces: {why}");
    }
    let http = Http::new(TIMEOUT)?;
    let jaeger = Jaeger::new(http.clone(), lab.url(Port::Jaeger, Some(&state))?);
    let id = match wanted {
        Some(id) => id,
        None => latest(lab, &state, &jaeger).await?,
    };
    let trace = complete(&jaeger, &id).await?;
    let lines = log_lines(lab, &state, http, &id, &trace).await;
    let view = View::new(&trace, &lines);
    if args.json {
        lab.printer.json(&view)?;
    } else {
        let width = terminal_width();
        let drawn = draw::draw(&view, width, &|role, text| styled(style(role), text));
        lab.printer.out(drawn.trim_end_matches('\n'));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a person gives for a trace: an id, or the header that an answer carried.
fn trace_id(text: &str) -> Result<TraceId, WrongRequest> {
    if let Some(header) = Traceparent::parse(text) {
        return Ok(header.trace);
    }
    text.parse()
        .map_err(|error: proof::BadTraceId| WrongRequest(error.to_string()))
}

async fn latest(lab: &Lab, state: &State, jaeger: &Jaeger) -> anyhow::Result<TraceId> {
    match jaeger.latest(SERVICE).await? {
        Some(trace) => trace
            .id
            .parse()
            .context("Jaeger's answer has no usable trace id"),
        None => bail!(
            "Jaeger has no trace of {SERVICE} yet: make one with `curl {}users`",
            lab.url(Port::Edge, Some(state))?
        ),
    }
}

/// The trace once all its spans are there: each service sends its own, in its own time.
async fn complete(jaeger: &Jaeger, id: &TraceId) -> anyhow::Result<Trace> {
    let deadline = Instant::now() + ARRIVAL;
    let mut last: Option<Trace> = None;
    let mut grown = Instant::now();
    loop {
        let now = jaeger.trace(id).await?;
        let spans = |trace: &Option<Trace>| trace.as_ref().map_or(0, |trace| trace.spans.len());
        if spans(&now) != spans(&last) {
            grown = Instant::now();
        }
        if let Some(trace) = now {
            let age = SystemTime::now()
                .duration_since(at(trace.end_us()))
                .unwrap_or_default();
            if age > ARRIVAL || grown.elapsed() >= STILL {
                return Ok(trace);
            }
            last = Some(trace);
        }
        if Instant::now() >= deadline {
            return last.with_context(|| {
                format!(
                    "Jaeger has no trace {id}: spans arrive within seconds, and the oldest traces give way to new ones"
                )
            });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The log lines, or none with a word on why.
async fn log_lines(
    lab: &Lab,
    state: &State,
    http: Http,
    id: &TraceId,
    trace: &Trace,
) -> Vec<LogLine> {
    if let Some(why) = not_there(state, "loki") {
        lab.printer.warn(format_args!("without log lines: {why}"));
        return Vec::new();
    }
    let asked = async {
        let loki = Loki::new(http, lab.url(Port::Loki, Some(state))?);
        anyhow::Ok(
            loki.of_trace(id, at(trace.start_us()), at(trace.end_us()))
                .await?,
        )
    };
    asked.await.unwrap_or_else(|error| {
        lab.printer
            .warn(format_args!("without log lines: {error:#}"));
        Vec::new()
    })
}

fn at(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

fn terminal_width() -> usize {
    comfy_table::Table::new()
        .width()
        .map(usize::from)
        .or_else(|| std::env::var("COLUMNS").ok()?.parse().ok())
        .unwrap_or(WIDTH)
}

fn style(role: Role) -> Style {
    match role {
        Role::Title | Role::Name => BOLD,
        Role::Service => AnsiColor::Cyan.on_default(),
        Role::Bar => AnsiColor::Blue.on_default(),
        Role::Duration | Role::Log => Style::new(),
        Role::Branch | Role::Detail => DIM,
        Role::Warning => WARN,
        Role::Error => BAD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_or_a_header_will_do() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(id).unwrap().as_str(), id);
        let header = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(&header).unwrap().as_str(), id);
    }

    #[test]
    fn another_text_is_refused() {
        for text in [
            "",
            "abc",
            "4bf92f3577b34da6a3ce929d0e0e473g",
            "00-1-2-3",
            "../api",
        ] {
            let error = trace_id(text).unwrap_err();
            assert!(
                error.to_string().contains("expected 32 hex digits"),
                "{error}"
            );
        }
    }
}
