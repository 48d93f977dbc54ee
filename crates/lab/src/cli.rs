//! The command line: parses, runs one verb, turns its result into an exit code.
//! 0: done; 1: it failed; 2: the request itself was wrong; 130: Ctrl-C.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Lab;
use crate::printer::Printer;
use crate::settings::SettingsError;
use crate::verbs::{
    air_gap, bench, doctor, down, fault, load, logs, provide, restart, scenario, slo, start,
    status, stop, supervise, test, trace, up, verify, webhook, with_docker,
};

#[derive(Parser)]
#[command(
    name = "lab",
    version,
    about = "An observability lab: start it, break it, follow every signal",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong request or setting, 130 Ctrl-C.\n\
                  Ports are in .env; LAB_STATE_DIR and LAB_CACHE_DIR move what the lab writes."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the lab, or put a running one right
    Up(up::Args),
    /// Stop the lab
    Down(down::Args),
    /// Restart components; edge and users without a refused request
    Restart(restart::Args),
    /// Stop components, and leave them stopped
    Stop(stop::Args),
    /// Start components that were stopped
    Start(start::Args),
    /// Show what runs, and what is being prepared
    Status(status::Args),
    /// Show the log of a component
    Logs(logs::Args),
    /// Send requests and follow everything they leave behind
    Verify(verify::Args),
    /// Draw the latest trace, or that one, as a tree with its log lines
    Trace(trace::Args),
    /// Put load on the lab with k6
    Load(load::Args),
    /// Show the objectives and their budgets, check and test them
    Slo(slo::Args),
    /// Show what this machine has, what is missing, and how to get it
    Doctor(doctor::Args),
    /// Break something on purpose, and heal it
    Fault(fault::Args),
    /// Run an incident from fault to page to cause to its end
    Scenario(scenario::Args),
    /// Make and carry the compose stack's images where there is no registry
    AirGap(air_gap::Args),
    /// Run every test of the project
    Test(test::Args),
    /// Measure what telemetry costs
    #[command(disable_help_flag = true)]
    Bench(bench::Args),
    /// Run a command with a Docker engine, one of our own where none answers (`test` asks)
    #[command(hide = true)]
    WithDocker(with_docker::Args),
    /// Find or fetch a tool (the bench asks)
    #[command(hide = true)]
    Provide(provide::Args),
    /// Receive alerts and keep them (the engine starts it)
    #[command(hide = true)]
    Webhook(webhook::Args),
    /// Own the lab's processes (`up` starts it)
    #[command(hide = true)]
    Supervise(supervise::Args),
}

/// A request that cannot be carried out as it was made: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongRequest(pub(crate) String);

/// The person pressed Ctrl-C and everything was put away: exit code 130.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    // One thread: children are tied to the thread that spawns them, and it must live as long
    // as the program does.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let result = Lab::load()
        .map_err(anyhow::Error::from)
        .and_then(|lab| runtime.block_on(Box::pin(dispatch(lab, cli.verb))));
    result.unwrap_or_else(|error| failed(&error))
}

async fn dispatch(lab: Lab, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Up(args) => up::run(&lab, args).await,
        Verb::Down(args) => down::run(&lab, args).await,
        Verb::Restart(args) => restart::run(&lab, args).await,
        Verb::Stop(args) => stop::run(&lab, args).await,
        Verb::Start(args) => start::run(&lab, args).await,
        Verb::Status(args) => status::run(&lab, &args).await,
        Verb::Logs(args) => logs::run(&lab, args).await,
        Verb::Verify(args) => verify::run(&lab, args).await,
        Verb::Trace(args) => trace::run(&lab, args).await,
        Verb::Load(args) => load::run(&lab, args).await,
        Verb::Slo(args) => slo::run(&lab, args).await,
        Verb::Doctor(args) => doctor::run(&lab, args).await,
        Verb::Fault(args) => fault::run(&lab, args).await,
        Verb::Scenario(args) => scenario::run(&lab, args).await,
        Verb::AirGap(args) => air_gap::run(&lab, args).await,
        Verb::Test(args) => test::run(&lab, args).await,
        Verb::Bench(args) => bench::run(&lab, args).await,
        Verb::WithDocker(args) => with_docker::run(&lab, args).await,
        Verb::Provide(args) => provide::run(&lab, args).await,
        Verb::Webhook(args) => webhook::run(&lab, args).await,
        Verb::Supervise(args) => supervise::run(lab, args).await,
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        return ExitCode::from(130);
    }
    Printer::new().error(format_args!("{error:#}"));
    if error.is::<SettingsError>() || error.is::<WrongRequest>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

pub(crate) fn not_linux() -> ExitCode {
    Printer::new().error(
        "the native engine needs Linux (it reads /proc and ties processes to their parent); \
         here, `docker compose up` runs the lab",
    );
    ExitCode::FAILURE
}
