//! `bench`: measures what telemetry costs. `./lab bench` builds and runs it.

mod build;
mod chain;
mod child;
mod cli;
mod compare;
mod config;
mod counters;
mod docs;
mod goals;
mod growth;
mod instructions;
mod lab;
mod load;
mod machine;
mod peers;
mod plot;
mod printer;
mod process;
mod processors;
mod result;
mod sink;
mod soak;
mod stats;
mod tables;
mod wrk;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
