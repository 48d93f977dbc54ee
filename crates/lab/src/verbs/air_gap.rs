//! `lab air-gap images`: the compose stack where no container registry can be reached. Images are
//! made from programs that can be had otherwise, and carried to where not even those can.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use comfy_table::Cell;

use crate::Lab;
use crate::compose::images::{self, Here, Outcome};
use crate::compose::stack::{Service, Stack};
use crate::compose::{docker, recipes};
use crate::printer::{self, BAD, DIM, GOOD, WARN, duration, megabytes, styled};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The images of the compose stack
    Images {
        #[command(subcommand)]
        action: Option<Action>,
    },
}

#[derive(Subcommand)]
enum Action {
    /// Show which images are here, and which can be made (the default)
    List,
    /// Make those that can be made, tagged as upstream tags its own; none that is here is replaced
    Make {
        /// The images that the Dockerfiles build on instead, from the compilers of this machine
        #[arg(long)]
        bases: bool,
    },
    /// Remove those that were made here, so that upstream's can be pulled
    Remove {
        /// The images that the Dockerfiles build on instead
        #[arg(long)]
        bases: bool,
    },
    /// Write all that are here into one archive, to be carried; `docker load --input FILE` reads it
    Save {
        /// The archive
        file: PathBuf,
    },
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let What::Images { action } = args.what;
    let stack = Stack::find(lab).await?;
    let services = stack.services().await?;
    match action.unwrap_or(Action::List) {
        Action::List => list(lab, &stack, &services).await,
        Action::Make { bases: true } => make_bases(lab, &stack).await,
        Action::Make { bases: false } => make(lab, &stack, &services).await,
        Action::Remove { bases } => {
            let made = if bases {
                images::made_bases(&stack).await?
            } else {
                images::made_and_stand_ins(&stack, &services).await
            };
            remove(lab, &stack, &made).await
        }
        Action::Save { file } => save(lab, &stack, &services, file).await,
    }
}

async fn list(lab: &Lab, stack: &Stack<'_>, services: &[Service]) -> anyhow::Result<ExitCode> {
    let mut table = printer::table(["SERVICE", "IMAGE", "HERE", "WITHOUT A REGISTRY"]);
    let mut all = true;
    for service in services {
        let can = service.stand_in.is_some() || recipes::component(lab, &service.name).is_some();
        let here = match images::here(stack, service).await {
            Here::No => {
                all = false;
                styled(if can { WARN } else { BAD }, "no")
            }
            Here::Upstream => styled(GOOD, "yes"),
            Here::Made(from) => styled(GOOD, format_args!("made here: {from}")),
            Here::StoodIn(image) => styled(GOOD, format_args!("in its place: {image}")),
        };
        let without = if can {
            "can be made here".to_owned()
        } else {
            styled(DIM, "has to be carried here")
        };
        table.add_row([
            Cell::new(&service.name),
            Cell::new(&service.image),
            Cell::new(here),
            Cell::new(without),
        ]);
    }
    lab.printer.table(&table);
    if !all {
        lab.printer.out(
            "`./lab air-gap images make` makes what can be made; `./lab up --engine compose --offline` \
             then starts what is here",
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn make(lab: &Lab, stack: &Stack<'_>, services: &[Service]) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let outcomes = images::make(lab, stack, services).await;
    let names = |wanted: &dyn Fn(&Outcome) -> bool| {
        let names = outcomes.iter().filter(|(_, outcome)| wanted(outcome));
        let names: Vec<&str> = names.map(|(service, _)| service.name.as_str()).collect();
        names.join(", ")
    };
    let made = names(&|outcome| matches!(outcome, Outcome::Made { .. } | Outcome::Same));
    let upstream = names(&|outcome| matches!(outcome, Outcome::Upstream));
    let out = names(&|outcome| matches!(outcome, Outcome::Impossible));
    let failed = names(&|outcome| matches!(outcome, Outcome::Failed(_)));
    lab.printer.out(format_args!(
        "made here: {made} ({})",
        duration(began.elapsed())
    ));
    if !upstream.is_empty() {
        lab.printer.out(format_args!(
            "here already, pulled or built, and left alone: {upstream}"
        ));
    }
    if !out.is_empty() {
        lab.printer.out(format_args!(
            "cannot be made here, and are left out by `./lab up --engine compose --offline`: {out}"
        ));
    }
    ensure!(failed.is_empty(), "could not be made: {failed}");
    Ok(ExitCode::SUCCESS)
}

async fn make_bases(lab: &Lab, stack: &Stack<'_>) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let outcomes = images::make_bases(lab, stack).await?;
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|each| wanted(each)).count();
    lab.printer.out(format_args!(
        "{} bases made here ({}), {} here already; `docker compose build` now needs no registry of images",
        count(|outcome| matches!(outcome, Outcome::Made { .. } | Outcome::Same)),
        duration(began.elapsed()),
        count(|outcome| matches!(outcome, Outcome::Upstream)),
    ));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    ensure!(failed == 0, "{failed} bases could not be made");
    Ok(ExitCode::SUCCESS)
}

async fn remove(lab: &Lab, stack: &Stack<'_>, made: &[String]) -> anyhow::Result<ExitCode> {
    for image in made {
        let mut command = stack.docker.command();
        command.args(["image", "rm", image]);
        docker::output(command)
            .await
            .with_context(|| format!("cannot remove {image}"))?;
    }
    lab.printer
        .out(format_args!("removed {} images", made.len()));
    Ok(ExitCode::SUCCESS)
}

async fn save(
    lab: &Lab,
    stack: &Stack<'_>,
    services: &[Service],
    file: PathBuf,
) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let mut found = Vec::new();
    let mut absent = Vec::new();
    for service in services {
        match images::here(stack, service).await {
            Here::No => absent.push(service.image.as_str()),
            Here::Upstream | Here::Made(_) if found.contains(&service.image.as_str()) => {}
            Here::Upstream | Here::Made(_) => found.push(service.image.as_str()),
            Here::StoodIn(_) => found.extend(service.stand_in.as_deref()),
        }
    }
    if found.is_empty() {
        bail!(
            "none of the images is here: `docker compose pull && docker compose build` gets them where there is a \
             registry, `./lab air-gap images make` where there is none"
        );
    }
    ensure!(
        !file.is_dir(),
        "{} is a directory: a file is expected",
        file.display()
    );
    // Beside it and then in its place: an interrupted one is no archive.
    let part = file.with_extension("part");
    let mut command = stack.docker.command();
    command.args(["save", "--output"]).arg(&part).args(&found);
    let mut saving = std::pin::pin!(docker::output(command));
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(200));
    let saved = loop {
        tokio::select! {
            saved = &mut saving => break saved,
            _ = ticks.tick() => {
                let size = std::fs::metadata(&part).map_or(0, |meta| meta.len());
                lab.printer.step("save", &format!("{} written", megabytes(size)), began.elapsed());
            }
        }
    };
    lab.printer.clear_steps();
    if let Err(error) = saved {
        let _absent = std::fs::remove_file(&part);
        return Err(error).with_context(|| format!("cannot write {}", file.display()));
    }
    std::fs::rename(&part, &file).with_context(|| format!("cannot write {}", file.display()))?;
    let size = std::fs::metadata(&file)?.len();
    lab.printer.out(format_args!(
        "{} images in {} ({}); `docker load --input {}` reads it",
        found.len(),
        file.display(),
        megabytes(size),
        file.file_name().unwrap_or_default().display()
    ));
    if !absent.is_empty() {
        lab.printer.warn(format_args!(
            "not on this machine, and so not in it: {}",
            absent.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}
