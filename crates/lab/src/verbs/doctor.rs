//! `lab doctor`: what this machine has, what is missing, how to get it. Changes nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use comfy_table::Cell;
use nix::unistd::{Uid, User};
use serde::Serialize;

use crate::Lab;
use crate::compose::docker::{self, Compose};
use crate::native::component::Component;
use crate::native::provision::{self, Look, cargo, debian, golang, node, on_path, system};
use crate::native::{client, components};
use crate::printer::{self, BAD, BOLD, DIM, GOOD, WARN, megabytes, styled};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// Everything that the native engine needs can be had.
    ok: bool,
    machine: Vec<Finding>,
    tools: Vec<Finding>,
    components: Vec<Finding>,
    ports: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    name: String,
    result: Verdict,
    what: String,
    /// What it is for, or what its absence means.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The exact command that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Ok,
    /// The lab will get it by itself.
    ToDo,
    /// Nice to have.
    Absent,
    Bad,
}

impl Finding {
    fn new(name: &str, result: Verdict, what: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            result,
            what: what.into(),
            why: None,
            hint: None,
        }
    }

    fn why(mut self, why: &str) -> Self {
        self.why = Some(why.to_owned());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let mut report = Report {
        ok: true,
        machine: machine(lab),
        tools: tools(lab).await,
        components: Vec::new(),
        ports: ports(lab).await?,
    };
    for component in &components::ALL {
        report.components.push(look(lab, component).await);
    }
    report.ok = [&report.machine, &report.components, &report.ports]
        .into_iter()
        .flatten()
        .all(|finding| finding.result != Verdict::Bad);
    let ok = report.ok;
    if args.json {
        lab.printer.json(&report)?;
    } else {
        show(lab, &report);
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(lab: &Lab, report: &Report) {
    let mut hints: Vec<(&str, Vec<&str>)> = Vec::new();
    for (title, findings) in [
        ("This machine", &report.machine),
        ("Tools", &report.tools),
        ("Components", &report.components),
        ("Ports", &report.ports),
    ] {
        lab.printer.out(styled(BOLD, title));
        let mut table = printer::rows();
        for finding in findings {
            let (style, word) = match finding.result {
                Verdict::Ok => (GOOD, "ok"),
                Verdict::ToDo => (WARN, "to do"),
                Verdict::Absent => (DIM, "absent"),
                Verdict::Bad => (BAD, "missing"),
            };
            let mut what = finding.what.clone();
            if let Some(why) = &finding.why {
                what.push_str(&format!("; {why}"));
            }
            table.add_row([
                Cell::new(format!("  {}", finding.name)),
                Cell::new(styled(style, word)),
                Cell::new(what),
            ]);
            if let Some(hint) = &finding.hint {
                match hints.iter_mut().find(|(known, _)| known == hint) {
                    Some((_, names)) => names.push(&finding.name),
                    None => hints.push((hint, vec![&finding.name])),
                }
            }
        }
        printer::space(&mut table);
        lab.printer.table(&table);
    }
    for (hint, names) in hints {
        lab.printer
            .out(format_args!("to get {}:\n  {hint}", names.join(", ")));
    }
    lab.printer.out(if report.ok {
        styled(
            GOOD,
            "everything the native lab needs is here or can be had: ./lab up",
        )
    } else {
        styled(BAD, "something is missing; what can run will run: ./lab up")
    });
}

fn machine(lab: &Lab) -> Vec<Finding> {
    let uid = Uid::effective();
    let user = User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut findings = vec![
        Finding::new(
            "system",
            Verdict::Ok,
            format!(
                "{} on {}, {processors} processors",
                os_name(),
                std::env::consts::ARCH
            ),
        ),
        Finding::new("user", Verdict::Ok, user),
    ];
    if let Some((total, available)) = memory() {
        let result = if available >= 1_000_000_000 {
            Verdict::Ok
        } else {
            Verdict::Bad
        };
        findings.push(
            Finding::new(
                "memory",
                result,
                format!("{} of {} free", megabytes(available), megabytes(total)),
            )
            .why("the lab takes about 700 MB, building it natively 3 GB for some minutes"),
        );
    }
    for (name, path, least, why) in [
        ("state", &lab.paths.state, 500_000_000, "data and logs"),
        (
            "cache",
            &lab.paths.cache,
            500_000_000,
            "built programs; Go's own build cache takes some GB in the home directory",
        ),
    ] {
        findings.push(directory(name, path, least).why(why));
    }
    findings
}

fn os_name() -> String {
    std::fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("PRETTY_NAME="))
                .map(|name| name.trim_matches('"').to_owned())
        })
        .unwrap_or_else(|| std::env::consts::OS.to_owned())
}

fn memory() -> Option<(u64, u64)> {
    use procfs::Current;
    let info = procfs::Meminfo::current().ok()?;
    Some((info.mem_total, info.mem_available?))
}

fn directory(name: &str, path: &Path, least: u64) -> Finding {
    let Some(existing) = path.ancestors().find(|each| each.exists()) else {
        return Finding::new(name, Verdict::Bad, format!("{}", path.display()));
    };
    let writable = nix::unistd::access(existing, nix::unistd::AccessFlags::W_OK).is_ok();
    let free = nix::sys::statvfs::statvfs(existing)
        .map(|stat| stat.blocks_available() * stat.fragment_size())
        .unwrap_or(0);
    let what = format!("{}, {} free", path.display(), megabytes(free));
    if !writable {
        Finding::new(name, Verdict::Bad, format!("{what}, not writable"))
    } else if free < least {
        Finding::new(name, Verdict::Bad, format!("{what}, too little"))
    } else {
        Finding::new(name, Verdict::Ok, what)
    }
}

async fn tools(lab: &Lab) -> Vec<Finding> {
    let mut findings = vec![
        tool(
            "cargo",
            cargo::cargo(),
            &["--version"],
            "builds users, edge and lab itself",
            Some(cargo::HINT.to_owned()),
        )
        .await,
        tool(
            "go",
            golang::go(),
            &["version"],
            "builds albums, the Collector, Jaeger and Loki, once",
            Some(golang::hint()),
        )
        .await,
    ];
    findings.push(
        match debian::apt_version().await {
            Some(version) => Finding::new("apt", Verdict::Ok, version),
            None => Finding::new("apt", Verdict::Absent, "not found"),
        }
        .why("downloads Prometheus, Alertmanager and Postgres where they are not installed"),
    );
    findings.push(
        tool(
            "k6",
            on_path("k6"),
            &["version"],
            "the load of `./lab load`, which downloads it where it is absent",
            None,
        )
        .await,
    );
    findings.push(
        tool(
            "node",
            on_path("node"),
            &["--version"],
            "builds the console's page; where it is absent it comes as a Python wheel",
            Some(node::hint()),
        )
        .await,
    );
    findings.push(docker().await.why("runs the compose stack"));
    findings.push(
        compose(lab)
            .await
            .why("starts it; docs/compose.md has more"),
    );
    findings
}

async fn tool(
    name: &str,
    path: Option<PathBuf>,
    version: &[&str],
    why: &str,
    hint: Option<String>,
) -> Finding {
    let mut finding = match path {
        Some(path) => {
            let version = system::version_text(&path, version).await;
            Finding::new(
                name,
                Verdict::Ok,
                format!("{} at {}", version.unwrap_or_default(), path.display()),
            )
        }
        None => {
            let absent = Finding::new(name, Verdict::Absent, "not found");
            match hint {
                Some(hint) => absent.hint(hint),
                None => absent,
            }
        }
    };
    finding = finding.why(why);
    finding
}

async fn docker() -> Finding {
    let found = |verdict, what: String| Finding::new("docker", verdict, what);
    let Some(docker) = on_path("docker") else {
        return found(Verdict::Absent, "not found".to_owned());
    };
    match docker::engine(&docker).await {
        Ok(engine) if docker::is_rootless(&docker).await => {
            found(Verdict::Ok, format!("{engine}, rootless"))
        }
        Ok(engine) => found(Verdict::Ok, engine),
        Err(_none) => found(
            Verdict::Absent,
            "the command is here, no engine answers".to_owned(),
        ),
    }
}

async fn compose(lab: &Lab) -> Finding {
    match Compose::find(lab).await {
        Ok(Some(compose)) => {
            let what = format!("{}: {}", compose.version, compose.program());
            Finding::new("compose", Verdict::Ok, what)
        }
        Ok(None) => Finding::new("compose", Verdict::Absent, "not found"),
        Err(too_old) => Finding::new("compose", Verdict::Bad, too_old.to_string()),
    }
}

async fn look(lab: &Lab, component: &Component) -> Finding {
    match provision::look(lab, component).await {
        Look::Found(found) => Finding::new(component.name, Verdict::Ok, found.source),
        Look::Work(work) => Finding::new(component.name, Verdict::ToDo, work.what),
        Look::Missing { reason, hint } => {
            let finding = Finding::new(component.name, Verdict::Bad, reason);
            match hint {
                Some(hint) => finding.hint(hint),
                None => finding,
            }
        }
        Look::ComposeOnly => Finding::new(
            component.name,
            Verdict::Absent,
            "compose only (a container image)",
        ),
    }
}

async fn ports(lab: &Lab) -> anyhow::Result<Vec<Finding>> {
    let running = client::running(lab).await?;
    let conflicts = client::conflicts(lab, running.as_ref());
    if conflicts.is_empty() {
        let what = if running.is_some() {
            "the lab runs; its ports are its own"
        } else {
            "all free"
        };
        return Ok(vec![Finding::new("all", Verdict::Ok, what)]);
    }
    Ok(conflicts
        .iter()
        .map(|conflict| Finding::new(conflict.var, Verdict::Bad, conflict.to_string()))
        .collect())
}
