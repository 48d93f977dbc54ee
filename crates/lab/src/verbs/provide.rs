//! `lab provide`: finds a tool of the bench, or fetches its Debian package into the cache, and says
//! as JSON where it is.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use serde::Serialize;

use crate::Lab;
use crate::native::component::Found;
use crate::native::provision::{Progress, debian, on_path};
use crate::printer::GOOD;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TOOLS.map(|tool| tool.name)))]
    tool: String,
}

struct Tool {
    name: &'static str,
    /// In its Debian package, which has the tool's name.
    path: &'static str,
}

const TOOLS: [Tool; 2] = [
    Tool {
        name: "wrk",
        path: "usr/bin/wrk",
    },
    Tool {
        name: "valgrind",
        path: "usr/bin/valgrind",
    },
];

#[derive(Serialize)]
struct Provided {
    program: PathBuf,
    prefix: Option<PathBuf>,
    library_path: Option<String>,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    let Some(tool) = TOOLS.iter().find(|tool| tool.name == args.tool) else {
        bail!("`{}` is no tool that the lab provides", args.tool);
    };
    let found = match on_path(tool.name) {
        Some(program) => Found {
            program,
            source: "PATH".to_owned(),
            prefix: None,
        },
        None => fetch(lab, tool).await?,
    };
    lab.printer.json(&Provided {
        library_path: found
            .library_path()
            .map(|path| path.to_string_lossy().into_owned()),
        program: found.program,
        prefix: found.prefix,
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn fetch(lab: &Lab, tool: &Tool) -> anyhow::Result<Found> {
    let name = tool.name;
    if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
        bail!(
            "{name} is not on this machine, and there is no apt to download its Debian package with: \
             install {name} with this machine's package manager"
        );
    }
    let began = Instant::now();
    let log = lab.paths.log(&format!("build-{name}"));
    let say = |progress: Progress| {
        if let Progress::Doing(what) = progress {
            lab.printer.step(name, &what, began.elapsed());
        }
    };
    match debian::fetch(lab, name, tool.path, &log, &say).await {
        Ok(found) => {
            lab.printer.step_done(name, GOOD, &found.source);
            Ok(found)
        }
        Err(error) => {
            lab.printer.clear_steps();
            Err(error.context(format!(
                "{name} could not be fetched (see {}); `apt-get install {name}` puts it on PATH",
                log.display()
            )))
        }
    }
}
