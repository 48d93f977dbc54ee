//! The command line. Exit codes: 0 measured; 1 failed, or requests or their telemetry were lost, or memory grew
//! in a soak at a rate; 2 wrong request; 130 Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::build::{self, Profile};
use crate::chain::{Ports, Programs};
use crate::compare::{self, Plan};
use crate::config::{self, Chain, Config};
use crate::counters::{self, Counters, Place};
use crate::lab::{self, Lab, Paths};
use crate::load::Bench;
use crate::machine::{self, Machine};
use crate::printer::Printer;
use crate::processors::Awake;
use crate::result::{self, Compare, Run, Soak};
use crate::sink::Sink;
use crate::tables::Table;
use crate::wrk::{Shape, Wrk};
use crate::{docs, growth, instructions, peers, soak};

/// What does telemetry cost? Starts a lab of its own (real PostgreSQL, Collector, Jaeger, Loki and
/// Prometheus), then the services in every configuration, one after the other, in rounds.
#[derive(Parser)]
#[command(
    name = "lab bench",
    bin_name = "./lab bench",
    args_conflicts_with_subcommands = true
)]
#[command(
    after_help = "LAB_PORT_OFFSET (default 1400) moves the ports of the bench's lab.\n\
    Exit codes: 0 measured, 1 failed, something was lost or a soak was not flat, 2 wrong request, 130 Ctrl-C."
)]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    main: Main,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Common {
    /// How users and edge are built [default: dist; with --quick: release]
    #[arg(long, value_enum, global = true)]
    profile: Option<Profile>,
    /// Print JSON in place of tables
    #[arg(long, global = true)]
    json: bool,
    /// Put the result into bench/results, and make docs/performance.md and the pictures anew
    #[arg(long, global = true)]
    save: bool,
}

#[derive(Args)]
struct Main {
    /// One round of 2 s, off, traces and all, no peers: does the bench itself work?
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// How often every configuration is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How many seconds each load lasts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Only these configurations
    #[arg(long, value_delimiter = ',', value_parser = config::parse)]
    configs: Vec<&'static Config>,
    /// Only these chains
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Chain::Rust, Chain::Python, Chain::Go])]
    chains: Vec<Chain>,
    /// Connections that saturate
    #[arg(long, value_delimiter = ',', default_values_t = [10, 64], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,
    /// Requests a second of the fixed load
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    rate: u32,
}

#[derive(Subcommand)]
enum What {
    /// With 10, 100 and 1,000 connections
    Growth {
        /// How often each configuration is measured with each number
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// How many connections
        #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000], value_parser = clap::value_parser!(u32).range(1..=10_000))]
        connections: Vec<u32>,
        /// Only these configurations
        #[arg(long, value_delimiter = ',', value_parser = config::parse, default_values = ["off", "all", "go", "python"])]
        configs: Vec<&'static Config>,
        /// How many seconds each load lasts
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
    },
    /// Does memory stay flat, and is nothing lost?
    Soak {
        /// How long
        #[arg(long, default_value_t = 10.0, value_parser = minutes)]
        minutes: f64,
        /// The configuration
        #[arg(long, value_parser = config::parse, default_value = config::ALL)]
        config: &'static Config,
        /// Requests a second
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
        rate: u32,
        /// As many requests as are answered, over 64 connections: overload, for as long as it lasts
        #[arg(long, conflicts_with = "rate")]
        saturate: bool,
    },
    /// User-space instructions a request, by callgrind: they repeat where timings do not
    Instructions {
        /// How many requests are counted
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
        requests: u64,
        /// How many are under way at once
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        connections: u32,
        /// Only these configurations [default: those of the Rust chain that differ in what they do]
        #[arg(long, value_delimiter = ',', value_parser = config::parse)]
        configs: Vec<&'static Config>,
        /// Where callgrind's files go, for `callgrind_annotate` [default: target/bench/callgrind]
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Make the pictures and the tables of docs/performance.md from bench/results
    Plot {
        /// Change nothing: fail when something is not what would be made
        #[arg(long)]
        check: bool,
    },
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (soak::SHORTEST..=1440.0).contains(&minutes) => Ok(minutes),
        _ => Err(format!(
            "expected a number of minutes from {} to 1440",
            soak::SHORTEST
        )),
    }
}

pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let printer = Printer::new();
    // One thread: children are tied to the thread that spawns them.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.error(error);
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(attended(&cli, &printer));
    printer.clear();
    code.unwrap_or_else(|error| {
        printer.error(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Does it, and leaves nothing running however it ends.
async fn attended(cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let paths = Paths::find()?;
    if let Some(What::Plot { check }) = cli.what {
        return docs::make(&paths.root, printer, check);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let _alone = lab::lock(&paths)?;
    let ended = tokio::select! {
        result = dispatch(cli, &paths, printer) => Some(result),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        _ = hangup.recv() => None,
    };
    match ended {
        Some(Ok(code)) => Ok(code),
        Some(Err(error)) => {
            printer.clear();
            lab::halt(&paths)
                .await
                .with_context(|| format!("after this: {error:#}"))?;
            Err(error)
        }
        None => {
            printer.clear();
            printer.note("interrupted: stopping what was started");
            lab::remove(&paths).await?;
            Ok(ExitCode::from(130))
        }
    }
}

async fn dispatch(cli: &Cli, paths: &Paths, printer: &Printer) -> anyhow::Result<ExitCode> {
    match &cli.what {
        None => compared(&cli.main, &cli.common, paths, printer).await,
        Some(What::Growth {
            rounds,
            connections,
            configs,
            seconds,
        }) => {
            let session = Session::open(cli, paths, printer, configs).await?;
            let machine = session.machine().await;
            let time = Duration::from_secs(*seconds);
            let bench = session.bench();
            let growth = growth::run(&bench, configs, connections, *rounds, time, machine).await?;
            session
                .close("growth", &growth, &growth.tables(), miscounts(&growth.runs))
                .await
        }
        Some(What::Soak {
            minutes,
            config,
            rate,
            saturate,
        }) => {
            let shape = Shape {
                connections: 64,
                rate: (!saturate).then(|| f64::from(*rate)),
            };
            let name = if *saturate {
                docs::SOAK_SATURATED
            } else {
                docs::SOAK
            };
            let session = Session::open(cli, paths, printer, &[*config]).await?;
            let machine = session.machine().await;
            let soak = soak::run(&session.bench(), config, *minutes, shape, machine).await?;
            let mut findings = miscounts(std::slice::from_ref(&soak.run));
            findings.extend(growing(&soak));
            session.close(name, &soak, &soak.tables(), findings).await
        }
        Some(What::Instructions {
            requests,
            connections,
            configs,
            keep,
        }) => {
            let chosen = countable(configs);
            if chosen.is_empty() {
                bail!(
                    "instructions are counted for the Rust chain only: none of its configurations was named"
                );
            }
            let valgrind = lab::provide(paths, "valgrind").await?;
            let session = Session::open(cli, paths, printer, &chosen).await?;
            let machine = session.machine().await;
            let keep = keep
                .clone()
                .unwrap_or_else(|| paths.target.join("bench/callgrind"));
            let instructions = instructions::run(
                &session.bench(),
                &valgrind,
                &chosen,
                *requests,
                *connections,
                machine,
                &keep,
            )
            .await?;
            printer.note(format_args!("callgrind's files are in {}", keep.display()));
            session
                .close(
                    "instructions",
                    &instructions,
                    &instructions.tables(),
                    Vec::new(),
                )
                .await
        }
        Some(What::Plot { .. }) => Ok(ExitCode::SUCCESS),
    }
}

/// What instructions are counted for. Which processor one ran on and who takes the telemetry make no
/// difference: such configurations are counted where they are named.
fn countable(named: &[&'static Config]) -> Vec<&'static Config> {
    let mut chosen = compare::choose(named, &[Chain::Rust]);
    if named.is_empty() {
        chosen.retain(|config| !config.split && !config.remote);
    }
    chosen
}

async fn compared(
    args: &Main,
    common: &Common,
    paths: &Paths,
    printer: &Printer,
) -> anyhow::Result<ExitCode> {
    let mut chains = args.chains.clone();
    let mut named = args.configs.clone();
    let mut plan = Plan {
        configs: Vec::new(),
        rounds: args.rounds,
        time: Duration::from_secs(args.seconds),
        warm_up: Duration::from_secs(2),
        connections: args.connections.clone(),
        rate: f64::from(args.rate),
    };
    let mut profile = Profile::Dist;
    if args.quick {
        chains.retain(|chain| *chain == Chain::Rust || !args.configs.is_empty());
        if named.is_empty() {
            named.extend(
                ["off", "traces", config::ALL]
                    .into_iter()
                    .filter_map(config::by_name),
            );
        }
        plan.rounds = 1;
        plan.time = Duration::from_secs(2);
        plan.warm_up = Duration::from_secs(1);
        profile = Profile::Release;
    }
    plan.configs = compare::choose(&named, &chains);
    if plan.configs.is_empty() {
        bail!(
            "nothing is left to measure: none of the named configurations belongs to the named chains"
        );
    }
    let session = Session::start(common, profile, paths, printer, &plan.configs).await?;
    let machine = session.machine().await;
    let compare: Compare = compare::run(&session.bench(), &plan, machine).await?;
    let name = if args.quick { "quick" } else { "main" };
    session
        .close(name, &compare, &compare.tables(), miscounts(&compare.runs))
        .await
}

/// The bench's lab and the programs that are measured.
struct Session<'a> {
    lab: Lab,
    sink: Sink,
    programs: Programs,
    wrk: Wrk,
    ports: Ports,
    paths: &'a Paths,
    printer: &'a Printer,
    profile: Profile,
    busy_before: f64,
    awake: Option<Awake>,
    json: bool,
    save: bool,
}

impl<'a> Session<'a> {
    async fn open(
        cli: &Cli,
        paths: &'a Paths,
        printer: &'a Printer,
        configs: &[&'static Config],
    ) -> anyhow::Result<Self> {
        Self::start(&cli.common, Profile::Dist, paths, printer, configs).await
    }

    async fn start(
        common: &Common,
        profile: Profile,
        paths: &'a Paths,
        printer: &'a Printer,
        configs: &[&'static Config],
    ) -> anyhow::Result<Self> {
        let profile = common.profile.unwrap_or(profile);
        let busy_before = machine::busy().await;
        lab::prepare(paths).await?;
        let wrk = lab::provide(paths, "wrk").await?;
        let mut programs = Programs::default();
        if configs.iter().any(|config| config.chain == Chain::Rust) {
            build::rust(paths, printer, profile, &mut programs).await?;
        }
        for chain in [Chain::Python, Chain::Go] {
            if configs.iter().any(|config| config.chain == chain) {
                peers::prepare(paths, printer, chain, &mut programs).await?;
            }
        }
        let lab = Lab::start(paths, printer).await?;
        let ports = Ports::free()?;
        lab.scrape(ports.users)?;
        printer.step("waiting for the lab to be quiet");
        // The lab's own services tell about their start; albums' log is not counted.
        let unchanged = Duration::from_secs(3);
        let patience = Duration::from_secs(30);
        if !counters::quiet(Place::Lab(&lab), Counters::default(), unchanged, patience).await? {
            printer.note("  the lab's own services still send: what they do is counted, too");
        }
        let awake = Awake::keep()
            .inspect_err(|error| {
                printer.note(format_args!(
                    "  processors may go to sleep between requests ({error:#}): answer times at the fixed rate tell how long they take to wake up, too"
                ));
            })
            .ok();
        let sink = Sink::start()?;
        let wrk = Wrk::new(wrk.program, wrk.library_path, &paths.work);
        Ok(Self {
            lab,
            sink,
            programs,
            wrk,
            ports,
            paths,
            printer,
            profile,
            busy_before,
            awake,
            json: common.json,
            save: common.save,
        })
    }

    fn bench(&self) -> Bench<'_> {
        Bench {
            lab: &self.lab,
            sink: &self.sink,
            programs: &self.programs,
            wrk: &self.wrk,
            ports: self.ports,
            printer: self.printer,
        }
    }

    async fn machine(&self) -> Machine {
        let mut machine =
            Machine::look(&self.paths.root, self.profile.name(), self.busy_before).await;
        if machine.was_busy() {
            self.printer.note(format_args!(
                "  warning: the machine was busy before this began ({:.1} of {} processors): figures will be worth little",
                self.busy_before, machine.cores
            ));
        }
        machine.awake = self.awake.is_some();
        machine.versions.extend(self.lab.sources());
        machine.versions.extend(self.programs.versions.clone());
        machine
    }

    /// Stops the lab, writes and shows the result.
    async fn close(
        self,
        name: &str,
        result: &impl Serialize,
        tables: &[Table],
        findings: Vec<Finding>,
    ) -> anyhow::Result<ExitCode> {
        self.printer.clear();
        self.lab.stop().await?;
        let file = self.paths.target.join("bench").join(format!("{name}.json"));
        result::write(&file, result)?;
        if self.json {
            self.printer.out(serde_json::to_string_pretty(result)?);
        } else {
            for table in tables {
                self.printer
                    .out(format_args!("{}\n", styled_title(&table.title)));
                self.printer.out(format_args!("{}\n", table.terminal()));
            }
        }
        self.printer
            .note(format_args!("everything measured is in {}", file.display()));
        if self.save {
            let kept = docs::results(&self.paths.root).join(format!("{name}.json"));
            result::write(&kept, result)?;
            docs::make(&self.paths.root, self.printer, false)?;
        }
        Ok(verdict(self.printer, &findings))
    }
}

fn styled_title(title: &str) -> String {
    crate::printer::styled(anstyle::Style::new().bold().underline(), title)
}

/// What a result says against itself.
#[derive(Debug, PartialEq)]
enum Finding {
    /// The measurement has failed.
    Failed(String),
    /// Was to be expected, and is told.
    Expected(String),
}

/// What was lost, and what was stored more than once. A measurement in which requests or their telemetry were lost
/// has failed. The SDK's processors drop what their queue cannot hold, which is what they are there to show; the
/// peers are others' work. What comes twice is no loss: the Collector delivers at least once.
fn miscounts(runs: &[Run]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for run in runs {
        let count = run.count;
        if count.errors + count.spans_lost + count.logs_lost > 0 {
            let what = format!(
                "{}, round {}: {} errors, {} spans and {} log records lost of {} answered requests",
                run.config,
                run.round,
                count.errors,
                count.spans_lost,
                count.logs_lost,
                count.answered
            );
            findings.push(if run.chain == Chain::Rust && run.config != "sdk" {
                Finding::Failed(what)
            } else {
                Finding::Expected(what)
            });
        }
        let repeated = count.counters.repeated();
        if repeated > 0 {
            findings.push(Finding::Expected(format!(
                "{}, round {}: {repeated} spans and log records are stored more than once: the Collector sent them \
                 again, since Jaeger or Loki answered too late",
                run.config, run.round
            )));
        }
    }
    findings
}

/// A soak in which memory grew has failed. Under overload queues fill up to their bound, which may
/// come after the soak's end.
fn growing(soak: &Soak) -> Vec<Finding> {
    let grown = soak.services.iter().filter(|(_, flat)| !flat.flat);
    grown
        .map(|(name, flat)| {
            let what = format!(
                "{name} grew from {:.1} MB after a quarter of the time to {:.1} MB at the end",
                flat.at_quarter, flat.at_end
            );
            if soak.is_saturated() {
                Finding::Expected(format!(
                    "{what}: expected under overload until its queues are full"
                ))
            } else {
                Finding::Failed(format!("{what}: it should have stayed flat"))
            }
        })
        .collect()
}

fn verdict(printer: &Printer, findings: &[Finding]) -> ExitCode {
    for finding in findings {
        match finding {
            Finding::Failed(what) => printer.error(what),
            Finding::Expected(what) => printer.note(what),
        }
    }
    code(findings)
}

fn code(findings: &[Finding]) -> ExitCode {
    let failed = |finding| matches!(finding, &Finding::Failed(_));
    if findings.iter().any(failed) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;
    use crate::result::{Count, Flat, Instructions, Load};

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_requests_are_refused() {
        for args in [
            ["bench", "--rounds=0"].as_slice(),
            &["bench", "--configs=none"],
            &["bench", "soak", "--minutes=0"],
            &["bench", "soak", "--minutes=ten"],
            &["bench", "--quick", "--rounds=2"],
            &["bench", "growth", "--connections=0"],
            &["bench", "growth", "--rounds=0"],
        ] {
            assert!(Cli::try_parse_from(args).is_err(), "{args:?}");
        }
        for args in [
            ["bench", "--quick", "--json"].as_slice(),
            &["bench", "soak", "--minutes=0.5"],
            &["bench"],
        ] {
            assert!(Cli::try_parse_from(args).is_ok(), "{args:?}");
        }
    }

    fn run(config: &str, count: Count, asked_per_second: Option<f64>) -> Run {
        let config = config::by_name(config).unwrap();
        Run {
            config: config.name.to_owned(),
            chain: config.chain,
            round: 1,
            loads: vec![Load {
                asked_per_second,
                ..Load::default()
            }],
            memory: BTreeMap::new(),
            count,
        }
    }

    #[test]
    fn the_committed_instructions_are_what_the_command_counts() {
        let names = |configs: Vec<&'static Config>| -> Vec<_> {
            configs.iter().map(|config| config.name).collect()
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let file = docs::results(&root).join("instructions.json");
        let kept: Instructions = result::read(&file).unwrap().unwrap();
        let counted: Vec<_> = kept.rows.iter().map(|row| row.config.as_str()).collect();
        assert_eq!(names(countable(&[])), counted);
        let remote = config::by_name(config::REMOTE).unwrap();
        assert_eq!(names(countable(&[remote])), [config::REMOTE]);
    }

    #[test]
    fn loss_fails_where_it_is_ours() {
        let lossy = Count {
            answered: 100,
            spans_lost: 7,
            ..Count::default()
        };
        let twice = Count {
            counters: Counters {
                logs_acknowledged: 300,
                logs_stored: 312,
                ..Counters::default()
            },
            ..Count::default()
        };
        let findings = miscounts(&[run(config::ALL, twice, None)]);
        let [Finding::Expected(what)] = findings.as_slice() else {
            panic!("{findings:?}");
        };
        assert!(what.contains("12 spans and log records"), "{what}");
        let runs = [
            run(config::ALL, Count::default(), None),
            run(config::ALL, lossy, None),
            run("sdk", lossy, None),
            run(config::GO, lossy, None),
        ];
        let findings = miscounts(&runs);
        let [
            Finding::Failed(what),
            Finding::Expected(_),
            Finding::Expected(_),
        ] = findings.as_slice()
        else {
            panic!("{findings:?}");
        };
        assert!(what.contains("7 spans and 0 log records lost"), "{what}");
        assert_eq!(code(&findings), ExitCode::FAILURE);
        assert_eq!(code(&miscounts(&runs[2..])), ExitCode::SUCCESS);
    }

    #[test]
    fn a_soak_that_grows_fails_unless_it_is_overload() {
        let soak = |asked_per_second| Soak {
            machine: Machine::default(),
            config: config::ALL.to_owned(),
            minutes: 1.0,
            run: run(config::ALL, Count::default(), asked_per_second),
            samples: Vec::new(),
            services: [("edge", 20.0, true), ("users", 50.0, false)]
                .map(|(name, at_end, flat)| {
                    let flat = Flat {
                        at_quarter: 20.0,
                        at_end,
                        slope_mb_an_hour: 0.0,
                        flat,
                    };
                    (name.to_owned(), flat)
                })
                .into(),
        };
        let findings = growing(&soak(Some(1000.0)));
        let [Finding::Failed(what)] = findings.as_slice() else {
            panic!("{findings:?}");
        };
        assert!(what.starts_with("users grew from 20.0 MB"), "{what}");
        assert_eq!(code(&findings), ExitCode::FAILURE);
        let findings = growing(&soak(None));
        let [Finding::Expected(what)] = findings.as_slice() else {
            panic!("{findings:?}");
        };
        assert!(what.starts_with("users grew from 20.0 MB"), "{what}");
        assert_eq!(code(&findings), ExitCode::SUCCESS);
    }
}
