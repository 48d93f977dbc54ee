//! `lab`: starts, breaks, proves and explains the lab.

mod cli;
mod compose;
mod context;
mod flags;
mod native;
mod paths;
mod printer;
mod process;
mod settings;
mod state;
mod verbs;
mod versions;

pub(crate) use context::Lab;

use std::process::ExitCode;

fn main() -> ExitCode {
    if cfg!(not(target_os = "linux")) {
        return cli::not_linux();
    }
    cli::run()
}
