//! `lab test`: every test of the project, as CI runs them. It ends with a table of the steps and
//! the summaries of the test runners.

mod console;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::Cell;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::mpsc;

use crate::Lab;
use crate::cli::Interrupted;
use crate::compose::engine;
use crate::native::child;
use crate::native::component::{Found, Spec};
use crate::native::provision::{self, Look, cargo, golang, node};
use crate::native::{client, components};
use crate::printer::{self, BAD, BOLD, DIM, GOOD, WARN, duration, styled};
use crate::settings;
use crate::verbs::up::Signals;

/// Between this lab's ports and those of the lab that is tested.
const OFFSET: u16 = 700;
/// Between the labs of one row of steps and those of the other: no two of their ports are the same.
const BESIDE: u16 = 1_950;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Run only the compose stack; the same as `--only compose`
    #[arg(long, conflicts_with = "only")]
    compose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Part {
    /// Formatting and lints
    Lint,
    /// The Rust tests
    Rust,
    /// The Go tests
    Go,
    /// A lab of its own: configuration, start, proof, crashes, stop
    Native,
    /// The compose stack on images made here, where a Docker engine answers or can be started
    Compose,
}

struct Outcome {
    name: String,
    result: Result<(), String>,
    took: Duration,
    /// Why this machine cannot do it, which is no failure.
    not_applicable: Option<String>,
}

/// What the runners said at their end.
#[derive(Default)]
struct Tally {
    lines: Vec<String>,
    passed: u64,
    failed: u64,
}

struct Runner<'a> {
    lab: &'a Lab,
    outcomes: Vec<Outcome>,
    tally: Tally,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let parts: BTreeSet<Part> = if args.compose {
        [Part::Compose].into()
    } else if args.only.is_empty() {
        Part::value_variants().iter().copied().collect()
    } else {
        args.only.into_iter().collect()
    };
    let mut signals = Signals::listen()?;
    let started = Instant::now();
    let mut runner = Runner {
        lab,
        outcomes: Vec::new(),
        tally: Tally::default(),
    };
    let own = OwnLab::new(lab)?;
    let finished = tokio::select! {
        result = all(&mut runner, &own, &parts) => Some(result),
        () = signals.any() => None,
    };
    let Some(result) = finished else {
        lab.printer
            .note("interrupted: stopping what the tests started");
        own.remove(lab).await?;
        return Err(Interrupted.into());
    };
    result?;
    Ok(runner.close(started))
}

async fn all(runner: &mut Runner<'_>, own: &OwnLab, parts: &BTreeSet<Part>) -> anyhow::Result<()> {
    if parts.contains(&Part::Lint) {
        lint(runner).await;
    }
    if parts.contains(&Part::Go) {
        go(runner).await?;
    }
    if ![Part::Rust, Part::Native, Part::Compose]
        .iter()
        .any(|part| parts.contains(part))
    {
        return Ok(());
    }
    // An earlier run that was killed may have left its lab.
    own.remove(runner.lab).await?;
    if parts.contains(&Part::Rust) {
        rust(runner, own).await?;
    }
    if parts.contains(&Part::Native) {
        native(runner, own).await?;
    }
    labs_of_their_own(runner, own, parts).await?;
    own.remove(runner.lab).await
}

/// The services' tests want a real database: that of a lab of their own.
async fn rust(runner: &mut Runner<'_>, own: &OwnLab) -> anyhow::Result<()> {
    let core = own.spec(&["up", "--engine", "native"])?;
    runner.step("lab up", Ok(core)).await;
    let mut test = runner.cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if let Ok(spec) = &mut test {
        let url = own.view(runner.lab)?.settings.database_url();
        spec.env.push(("DATABASE_URL".to_owned(), url.into()));
    }
    runner.step("cargo test", test).await;
    Ok(())
}

async fn lint(runner: &mut Runner<'_>) {
    let format = runner.cargo(["fmt", "--all", "--check"]);
    runner.step("cargo fmt", format).await;
    let clippy = runner.cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]);
    runner.step("cargo clippy", clippy).await;
    let root = runner.lab.paths.root.clone();
    let mut picture = Spec::new(root.join("docs/draw")).arg("--check");
    picture.directory = Some(root);
    runner.step("docs/draw --check", Ok(picture)).await;
    let page = console::check(runner.lab).await;
    runner.step("types and style of the console", page).await;
    dashboards(runner).await;
}

/// What Grafana and the console load is what its source makes.
async fn dashboards(runner: &mut Runner<'_>) {
    let name = "dashboards/generate --check";
    let log = runner.lab.paths.log("build-node");
    let node = match node::get(runner.lab, &log, &|_| ()).await {
        Ok(node) => node,
        Err(why) => {
            runner.not_applicable(name, &format!("{why:#}"));
            return;
        }
    };
    let root = runner.lab.paths.root.clone();
    let mut check = Spec::new(root.join("dashboards/generate"))
        .arg("--check")
        .env("PATH", node.path());
    check.directory = Some(root);
    runner.step(name, Ok(check)).await;
}

async fn go(runner: &mut Runner<'_>) -> anyhow::Result<()> {
    for module in go_modules(&runner.lab.paths.root)? {
        let name = module
            .strip_prefix(&runner.lab.paths.root)
            .unwrap_or(&module)
            .display()
            .to_string();
        let unformatted = runner.go(&module, &["-d", "."]).map(|mut spec| {
            spec.program.set_file_name("gofmt");
            spec
        });
        runner.step(&format!("gofmt {name}"), unformatted).await;
        let vet = runner.go(&module, &["vet", "./..."]);
        runner.step(&format!("go vet {name}"), vet).await;
        let test = runner.go(&module, &["test", "./..."]);
        runner.step(&format!("go test {name}"), test).await;
    }
    Ok(())
}

/// Modules with Go files of ours; those that only pin a program have none.
fn go_modules(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut modules = Vec::new();
    let mut pending = ["services", "infra/native", "bench/peers"]
        .map(|directory| root.join(directory))
        .to_vec();
    while let Some(directory) = pending.pop() {
        let entries = entries(&directory)?;
        // Some only pin a program that is built from elsewhere.
        if entries.iter().any(|path| path.ends_with("go.mod")) && has_go_source(&directory)? {
            modules.push(directory);
        }
        pending.extend(entries.into_iter().filter(|path| path.is_dir()));
    }
    modules.sort();
    Ok(modules)
}

fn has_go_source(directory: &Path) -> anyhow::Result<bool> {
    for path in entries(directory)? {
        let below = path.is_dir() && !path.join("go.mod").exists();
        if path.extension().is_some_and(|extension| extension == "go")
            || (below && has_go_source(&path)?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let paths = paths.filter(|path| !matches!(path, Ok(path) if path.ends_with("node_modules")));
    paths.collect()
}

/// A lab on other ports with its own state, proven and broken.
async fn native(runner: &mut Runner<'_>, own: &OwnLab) -> anyhow::Result<()> {
    let up = runner
        .step(
            "lab up --wait",
            Ok(own.spec(&["up", "--wait", "--engine", "native"])?),
        )
        .await;
    configurations(runner, own).await;
    runner
        .step("lab slo test", Ok(own.spec(&["slo", "test"])?))
        .await;
    if up {
        runner.step("lab verify", Ok(own.spec(&["verify"])?)).await;
        for args in [
            &["verify", "--panels"][..],
            &["verify", "--panels", "--react"],
        ] {
            let name = format!("lab {}", args.join(" "));
            runner.step(&name, Ok(own.spec(args)?)).await;
        }
        let load = own.spec(&["load", "--vus", "2", "--duration", "5s"])?;
        runner.step("lab load", Ok(load)).await;
        let browser = console::browser(own, runner.lab).await;
        runner.step("the console in a browser", browser).await;
    } else {
        runner.skip("lab verify", "the lab did not come up");
    }
    runner
        .step("lab down --purge", Ok(own.spec(&["down", "--purge"])?))
        .await;
    Ok(())
}

/// What starts and kills labs of its own and mostly waits: two rows of steps side by side. What the
/// second row prints is shown after the first is done.
async fn labs_of_their_own(
    runner: &mut Runner<'_>,
    own: &OwnLab,
    parts: &BTreeSet<Part>,
) -> anyhow::Result<()> {
    let mut first = Vec::new();
    let mut second = Vec::new();
    if parts.contains(&Part::Native) {
        first.push(("crash and restart", runner.ignored_tests(own, &["native"])));
        first.push(("nothing is lost", runner.ignored_tests(own, &["loss"])));
        first.push(("lab bench --quick", bench(runner, own)));
    }
    if parts.contains(&Part::Compose) {
        const STEP: &str = "the compose stack";
        match engine::why_not(runner.lab).await {
            Some(why) => runner.not_applicable(STEP, &why),
            None => {
                let engine = runner.ignored_tests(own, &["engine"]);
                second.push(("an engine for the stack", engine));
                let stack = compose(runner, own).await;
                second.push((STEP, stack.map(|spec| own.moved(spec))));
            }
        }
    }
    if parts.contains(&Part::Native) {
        // In the shorter row.
        let incidents = runner.ignored_tests(own, &["scenarios"]);
        if second.is_empty() {
            second.push(("incidents", incidents.map(|spec| own.moved(spec))));
        } else {
            first.push(("incidents", incidents));
        }
    }
    if first.is_empty() {
        std::mem::swap(&mut first, &mut second);
    }
    let aside = async {
        let mut done = Vec::new();
        for (name, spec) in second {
            done.push(Aside::run(name, spec).await);
        }
        done
    };
    let shown = async {
        for (name, spec) in first {
            runner.step(name, spec).await;
        }
    };
    let ((), done) = tokio::join!(shown, aside);
    for aside in done {
        runner.take(aside);
    }
    Ok(())
}

/// The bench in its quickest form, and what its result must hold. With the workspace, whose tests are built:
/// named alone, its dependencies would be compiled with other features.
fn bench(runner: &Runner<'_>, own: &OwnLab) -> anyhow::Result<Spec> {
    let mut test = runner.cargo([
        "test",
        "--workspace",
        "--locked",
        "--test",
        "quick",
        "--",
        "--ignored",
    ])?;
    own.environment(&mut test);
    Ok(test.env("LAB_PROGRAM", provision::own_program()?))
}

/// The shipped stack on images made here, and its console in a browser.
async fn compose(runner: &Runner<'_>, own: &OwnLab) -> anyhow::Result<Spec> {
    let mut test = own.spec(&["with-docker"])?;
    // With what it measured.
    let cargo = runner
        .ignored_tests(own, &["compose", "compose_scenarios"])?
        .arg("--show-output");
    test.args.push(cargo.program.into());
    test.args.extend(cargo.args);
    test.env.extend(cargo.env);
    let log = runner.lab.paths.log("build-node");
    let node = node::get(runner.lab, &log, &|_| ()).await?;
    Ok(test.env("PATH", node.path()))
}

/// Every configuration, read by the very program that runs with it.
async fn configurations(runner: &mut Runner<'_>, own: &OwnLab) {
    let checks: [(&str, &str, &[&str]); 5] = [
        (
            "prometheus",
            "promtool",
            &[
                "check",
                "config",
                "{state}/config/prometheus/prometheus.yml",
            ],
        ),
        (
            "alertmanager",
            "amtool",
            &[
                "check-config",
                "{state}/config/alertmanager/alertmanager.yml",
            ],
        ),
        (
            "otel-collector",
            "",
            &[
                "validate",
                "--config={infra}/otel-collector/config.yaml",
                "--config={infra}/otel-collector/albums.yaml",
                "--config={infra}/otel-collector/ledger.yaml",
            ],
        ),
        (
            "jaeger",
            "",
            &[
                "validate",
                "--config={infra}/jaeger/config.yaml",
                "--config={infra}/jaeger/badger.yaml",
            ],
        ),
        (
            "loki",
            "",
            &[
                "-config.file={infra}/loki/loki.yaml",
                "-config.expand-env=true",
                "-verify-config",
            ],
        ),
    ];
    for (name, checker, args) in checks {
        let spec = own.checker(runner.lab, name, checker, args).await;
        runner.step(&format!("configuration of {name}"), spec).await;
    }
    // The receivers are named like the severities that they are for.
    for severity in ["critical", "warning"] {
        let args = [
            "config",
            "routes",
            "test",
            "--config.file={state}/config/alertmanager/alertmanager.yml",
            &format!("--verify.receivers={severity}"),
            &format!("severity={severity}"),
        ];
        let spec = own.checker(runner.lab, "alertmanager", "amtool", &args);
        let name = format!("way of a {severity} alert");
        runner.step(&name, spec.await).await;
    }
}

/// The lab that is tested. Its place is fixed, so that a run finds what an earlier one left.
struct OwnLab {
    state: PathBuf,
    cache: PathBuf,
    root: PathBuf,
    offset: u16,
}

impl OwnLab {
    fn new(lab: &Lab) -> anyhow::Result<Self> {
        let user = nix::unistd::Uid::effective();
        Ok(Self {
            state: std::env::temp_dir().join(format!("observability-lab-test-{user}")),
            cache: lab.paths.cache.clone(),
            root: lab.paths.root.clone(),
            offset: lab
                .settings
                .port_offset
                .checked_add(OFFSET)
                .context("LAB_PORT_OFFSET leaves no room for the tests' own lab")?,
        })
    }

    fn environment(&self, spec: &mut Spec) {
        for (name, value) in [
            (settings::STATE_DIR, self.state.clone().into_os_string()),
            (settings::CACHE_DIR, self.cache.clone().into_os_string()),
            (settings::ROOT, self.root.clone().into_os_string()),
            (settings::PORT_OFFSET, self.offset.to_string().into()),
        ] {
            spec.env.push((name.to_owned(), value));
        }
    }

    fn spec(&self, args: &[&str]) -> anyhow::Result<Spec> {
        let mut spec = Spec::new(provision::own_program()?);
        spec.args = args.iter().map(OsString::from).collect();
        spec.directory = Some(self.root.clone());
        self.environment(&mut spec);
        Ok(spec)
    }

    /// For what runs beside others: nobody looks for free ports where they do.
    fn moved(&self, mut spec: Spec) -> Spec {
        let offset = self.offset + BESIDE;
        spec.env
            .push((settings::PORT_OFFSET.to_owned(), offset.to_string().into()));
        spec
    }

    /// The same paths, ports and environment as the tested lab has.
    fn view(&self, lab: &Lab) -> anyhow::Result<Lab> {
        let mut paths = lab.paths.clone();
        paths.state.clone_from(&self.state);
        Ok(Lab {
            settings: lab.settings.moved_to(self.offset)?,
            paths,
            printer: crate::printer::Printer::new(),
        })
    }

    async fn checker(
        &self,
        lab: &Lab,
        name: &str,
        checker: &str,
        args: &[&str],
    ) -> anyhow::Result<Spec> {
        let lab = self.view(lab)?;
        let component = components::by_name(name).context("no such component")?;
        let found = match provision::look(&lab, component).await {
            Look::Found(found) => found,
            _ => anyhow::bail!("its program is not here"),
        };
        let launch = (component.configure)(&lab, &found)?;
        let program = if checker.is_empty() {
            found.program.clone()
        } else {
            beside(&lab, &found, checker).await?
        };
        let mut spec = Spec::new(program);
        spec.env = launch.run.env;
        spec.local = true;
        for arg in args {
            spec.args.push(
                arg.replace("{state}", &lab.paths.state.display().to_string())
                    .replace(
                        "{infra}",
                        &lab.paths.root.join("infra").display().to_string(),
                    )
                    .into(),
            );
        }
        Ok(spec)
    }

    /// Stops it, whatever state it is in, and removes its data.
    async fn remove(&self, lab: &Lab) -> anyhow::Result<()> {
        let view = self.view(lab)?;
        if let Some(supervisor) = client::running(&view)
            .await?
            .and_then(|state| state.supervisor)
        {
            client::stop(&view, supervisor).await?;
        } else {
            client::end_leftovers(&view).await?;
        }
        if self.state.exists() {
            std::fs::remove_dir_all(&self.state)
                .with_context(|| format!("cannot remove {}", self.state.display()))?;
        }
        Ok(())
    }
}

/// A tool that comes with a program: beside it, on PATH, or in the program's Debian package.
pub(super) async fn beside(lab: &Lab, found: &Found, tool: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = provision::beside(found, tool) {
        return Ok(path);
    }
    let package = match tool {
        "promtool" => "prometheus",
        _ => "prometheus-alertmanager",
    };
    let log = lab.paths.log(&format!("build-{tool}"));
    let program = format!("usr/bin/{tool}");
    let fetched = provision::debian::fetch(lab, package, &program, &log, &|_| ()).await;
    Ok(fetched
        .with_context(|| format!("{tool} is not here, and its Debian package cannot be had"))?
        .program)
}

impl Runner<'_> {
    fn cargo<const N: usize>(&self, args: [&str; N]) -> anyhow::Result<Spec> {
        let cargo = cargo::cargo()
            .with_context(|| format!("cargo is not here; to get it: {}", cargo::HINT))?;
        let mut spec = Spec::new(cargo);
        spec.args = args.iter().map(OsString::from).collect();
        spec.directory = Some(self.lab.paths.root.clone());
        if printer::is_colourful() {
            spec = spec.env("CARGO_TERM_COLOR", "always");
        }
        Ok(spec)
    }

    /// Tests that need more than a checkout, one after the other.
    fn ignored_tests(&self, own: &OwnLab, targets: &[&str]) -> anyhow::Result<Spec> {
        let mut spec = self.cargo(["test", "--locked", "--no-fail-fast", "-p", "lab"])?;
        for target in targets {
            spec = spec.arg("--test").arg(target);
        }
        spec = spec.arg("--").arg("--ignored").arg("--test-threads=1");
        own.environment(&mut spec);
        Ok(spec)
    }

    fn go(&self, module: &Path, args: &[&str]) -> anyhow::Result<Spec> {
        let go = golang::go()
            .with_context(|| format!("Go is not here; to get it: {}", golang::hint()))?;
        let mut spec = Spec::new(go)
            // As in the builds, so that what those compiled is used.
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env(
                "GOFLAGS",
                "-trimpath -mod=readonly -buildvcs=false -gcflags=all=-dwarf=false",
            );
        spec.args = args.iter().map(OsString::from).collect();
        if args.first() == Some(&"test") {
            // Only then are single tests named, and countable.
            spec.args.insert(1, "-v".into());
            // Not what an earlier run found.
            spec.args.insert(2, "-count=1".into());
        }
        spec.directory = Some(module.to_path_buf());
        Ok(spec)
    }

    /// Runs one command with its output shown as it comes. True when it succeeded.
    async fn step(&mut self, name: &str, spec: anyhow::Result<Spec>) -> bool {
        self.title(name);
        let started = Instant::now();
        let failed_before = self.tally.failed;
        let result = match spec {
            Ok(spec) => {
                execute(&spec, |line| {
                    self.tally.read(&line);
                    self.lab.printer.out(line);
                })
                .await
            }
            Err(error) => Err(error),
        };
        self.done(name, result, started.elapsed(), failed_before)
    }

    /// Shows what ran beside others, as if it had run now.
    fn take(&mut self, aside: Aside) {
        self.title(&aside.name);
        let failed_before = self.tally.failed;
        for line in aside.lines {
            self.tally.read(&line);
            self.lab.printer.out(line);
        }
        self.done(&aside.name, aside.result, aside.took, failed_before);
    }

    fn title(&self, name: &str) {
        self.lab.printer.out(format_args!(
            "\n{}",
            styled(BOLD, format_args!("=== {name}"))
        ));
    }

    fn done(
        &mut self,
        name: &str,
        result: anyhow::Result<()>,
        took: Duration,
        failed_before: u64,
    ) -> bool {
        let result = result.map_err(|error| format!("{error:#}"));
        match &result {
            Ok(()) => self.lab.printer.out(format_args!(
                "{} {name} {}",
                styled(GOOD, "passed"),
                styled(DIM, duration(took))
            )),
            Err(why) => self.lab.printer.out(format_args!(
                "{} {name}: {why} {}",
                styled(BAD, "failed"),
                styled(DIM, duration(took))
            )),
        }
        let passed = result.is_ok();
        if !passed && self.tally.failed == failed_before {
            // A step without tests of its own counts as one.
            self.tally.failed += 1;
        }
        self.outcomes.push(Outcome {
            name: name.to_owned(),
            result,
            took,
            not_applicable: None,
        });
        passed
    }

    /// Not a failure: this machine cannot do it.
    fn not_applicable(&mut self, name: &str, why: &str) {
        self.lab
            .printer
            .out(format_args!("\n{} {name}: {why}", styled(WARN, "n/a")));
        self.outcomes.push(Outcome {
            name: name.to_owned(),
            result: Ok(()),
            took: Duration::ZERO,
            not_applicable: Some(why.to_owned()),
        });
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.tally.failed += 1;
        self.outcomes.push(Outcome {
            name: name.to_owned(),
            result: Err(why.to_owned()),
            took: Duration::ZERO,
            not_applicable: None,
        });
    }

    /// The table, then what the runners said: their summaries are the last lines of all.
    fn close(self, started: Instant) -> ExitCode {
        let printer = &self.lab.printer;
        let mut table = printer::table(["STEP", "RESULT", "TIME", ""]);
        let mut failed_steps = 0;
        for outcome in &self.outcomes {
            let (result, why) = match (&outcome.result, &outcome.not_applicable) {
                (_, Some(why)) => (styled(WARN, "n/a"), why.as_str()),
                (Ok(()), None) => (styled(GOOD, "passed"), ""),
                (Err(why), None) => {
                    failed_steps += 1;
                    (styled(BAD, "failed"), why.as_str())
                }
            };
            table.add_row([
                Cell::new(&outcome.name),
                Cell::new(result),
                Cell::new(duration(outcome.took)),
                Cell::new(why),
            ]);
        }
        printer.out("");
        printer.table(&table);
        printer.out(format_args!(
            "{} steps in {}, {failed_steps} failed\n",
            self.outcomes.len(),
            duration(started.elapsed())
        ));
        for line in &self.tally.lines {
            printer.out(line);
        }
        printer.out(format_args!(
            "{} passed, {} failed",
            self.tally.passed, self.tally.failed
        ));
        if failed_steps == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// A step whose output is kept until somebody can read it.
struct Aside {
    name: String,
    lines: Vec<String>,
    result: anyhow::Result<()>,
    took: Duration,
}

impl Aside {
    async fn run(name: &str, spec: anyhow::Result<Spec>) -> Self {
        let started = Instant::now();
        let mut lines = Vec::new();
        let result = match spec {
            Ok(spec) => execute(&spec, |line| lines.push(line)).await,
            Err(error) => Err(error),
        };
        Self {
            name: name.to_owned(),
            lines,
            result,
            took: started.elapsed(),
        }
    }
}

/// Runs a command to its end; every line that it prints is handed on as it comes.
async fn execute(spec: &Spec, mut show: impl FnMut(String)) -> anyhow::Result<()> {
    let mut child = child::spawn_piped(spec)?;
    let (lines, mut inbox) = mpsc::channel(64);
    let (out, err) = child.take_output();
    let out = tokio::spawn(forward(out.context("no pipe")?, lines.clone()));
    let err = tokio::spawn(forward(err.context("no pipe")?, lines));
    while let Some(line) = inbox.recv().await {
        show(line);
    }
    out.await?;
    err.await?;
    let status = child.wait().await?;
    anyhow::ensure!(status.success(), "{}", child::describe(status));
    Ok(())
}

async fn forward(from: impl AsyncRead + Unpin, to: mpsc::Sender<String>) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        if to
            .send(String::from_utf8_lossy(&line).into_owned())
            .await
            .is_err()
        {
            return;
        }
    }
}

impl Tally {
    fn read(&mut self, line: &str) {
        let plain = anstream::adapter::strip_str(line).to_string();
        let plain = plain.trim_end();
        if let Some(rest) = plain.strip_prefix("test result: ") {
            self.passed += count(rest, "passed");
            self.failed += count(rest, "failed");
            // A target without tests says nothing.
            if count(rest, "passed") + count(rest, "failed") > 0 {
                self.lines.push(plain.to_owned());
            }
        } else if plain.starts_with("--- PASS: ") {
            self.passed += 1;
        } else if plain.starts_with("--- FAIL: ") {
            self.failed += 1;
        } else if let Some(passed) = plain.strip_prefix("ℹ pass ") {
            // Node's reporter.
            self.passed += passed.parse().unwrap_or(0);
            self.lines.push(format!("browser: {plain}"));
        } else if let Some(failed) = plain.strip_prefix("ℹ fail ") {
            self.failed += failed.parse().unwrap_or(0);
            self.lines.push(format!("browser: {plain}"));
        } else if plain.starts_with("ok  \t") || plain.starts_with("FAIL\t") {
            self.lines.push(plain.to_owned());
        }
    }
}

/// `12` of `ok. 12 passed; 0 failed; ...`
fn count(summary: &str, what: &str) -> u64 {
    summary
        .split([';', '.'])
        .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_the_runners_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: \u{1b}[32mok\u{1b}[0m. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "--- PASS: TestAlbums (0.00s)",
            "    --- PASS: TestAlbums/one (0.00s)",
            "--- FAIL: TestDown (0.00s)",
            "FAIL\tlab/albums\t0.1s",
            "ℹ tests 3",
            "ℹ pass 2",
            "ℹ fail 1",
        ] {
            tally.read(line);
        }
        assert_eq!((tally.passed, tally.failed), (7, 4));
        assert_eq!(tally.lines.len(), 5);
    }

    #[test]
    fn modules_that_only_pin_are_not_tested() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let modules = go_modules(&root).unwrap();
        assert!(
            modules
                .iter()
                .any(|module| module.ends_with("services/albums"))
        );
        assert!(
            !modules
                .iter()
                .any(|module| module.ends_with("infra/native/loki"))
        );
    }
}
