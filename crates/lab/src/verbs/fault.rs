//! `lab fault`: breaks something on purpose, and heals it. Services read the change within a second.

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Cell;
use proof::flags::{Flags, OFF};

use crate::Lab;
use crate::compose;
use crate::flags;
use crate::printer::{self, BAD, GOOD, styled};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show every flag, its value and its variants
    List {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set one flag to one of its variants
    Set { name: String, variant: String },
    /// Set every flag that has this variant to it, the others to healthy (`seed`: the lab's classic)
    SetAll { variant: String },
    /// Heal everything
    Clear,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    compose::ours(lab).await?;
    match args.action {
        Action::List { json } => {
            let flags = flags::current(&lab.paths)?;
            if json {
                lab.printer.json(&flags.list())?;
            } else {
                show(lab, &flags);
            }
        }
        Action::Set { name, variant } => {
            let flags = flags::edit(&lab.paths, |flags| flags.set(&name, &variant))?;
            say(lab, &flags);
        }
        Action::SetAll { variant } => {
            let flags = flags::edit(&lab.paths, |flags| flags.set_all(&variant))?;
            say(lab, &flags);
        }
        Action::Clear => {
            flags::reset(&lab.paths)?;
            lab.printer.out("every flag is off: the lab is healthy");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(lab: &Lab, flags: &Flags) {
    let mut table = printer::table(["FLAG", "IS", "VALUE", "VARIANTS", "WHAT IT DOES"]);
    for flag in flags.list() {
        let style = if flag.variant == OFF { GOOD } else { BAD };
        table.add_row([
            Cell::new(flag.name),
            Cell::new(styled(style, flag.variant)),
            Cell::new(flag.value),
            Cell::new(flag.variants.join(" ")),
            Cell::new(flag.description),
        ]);
    }
    lab.printer.table(&table);
}

fn say(lab: &Lab, flags: &Flags) {
    let on: Vec<String> = flags
        .on()
        .into_iter()
        .map(|flag| format!("{}={} ({})", flag.name, flag.variant, flag.value))
        .collect();
    if on.is_empty() {
        lab.printer.out("every flag is off: the lab is healthy");
    } else {
        lab.printer.out(format_args!(
            "on: {}; `./lab fault clear` heals",
            on.join(", ")
        ));
    }
}
