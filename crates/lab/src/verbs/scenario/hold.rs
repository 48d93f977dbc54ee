//! `--hold`: a run stays broken after its walk until a person says that it may heal, by Enter in
//! its terminal or by `lab scenario release` from anywhere else.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal as Number;
use procfs::process::Process;
use proof::scenario::Phase;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use super::record::Record;
use crate::Lab;
use crate::cli::WrongRequest;

/// A run that waits looks every second.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the terminal is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long: `90s`, `15m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    proof::scenario::time(text).map_err(|why| {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            why
        } else {
            format!("{why}; names of scenarios come before --hold")
        }
    })
}

/// Whoever may say that a held run may heal.
pub(super) struct Person {
    told: Signal,
    /// Looks at the terminal where Enter can be pressed.
    looks: Option<Interval>,
}

impl Person {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let looks = std::io::stdin().is_terminal().then(|| {
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        Ok(Self {
            told: signal(SignalKind::user_defined1())?,
            looks,
        })
    }

    /// What a person does, in words.
    pub(super) fn how(&self) -> &'static str {
        match self.looks {
            Some(_) => "Enter or `./lab scenario release` heals it",
            None => "`./lab scenario release` heals it",
        }
    }

    pub(super) async fn says_so(&mut self) {
        tokio::select! {
            _ = self.told.recv() => {}
            () = enter(self.looks.as_mut()) => {}
        }
    }
}

async fn enter(looks: Option<&mut Interval>) {
    match looks {
        None => std::future::pending().await,
        Some(looks) => loop {
            looks.tick().await;
            if is_pressed() {
                return;
            }
        },
    }
}

/// Takes a line from the terminal if there is one. In the background it is the shell's, and reading
/// it would stop us, all broken.
fn is_pressed() -> bool {
    let stdin = std::io::stdin();
    let mut there = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    is_in_foreground()
        && poll(&mut there, PollTimeout::ZERO) == Ok(1)
        && nix::unistd::read(&stdin, &mut [0; 1024]).is_ok_and(|length| length > 0)
}

fn is_in_foreground() -> bool {
    Process::myself()
        .and_then(|process| process.stat())
        .is_ok_and(|stat| stat.pgrp == stat.tpgid)
}

/// Tells the run that is held that it may heal.
pub(super) async fn release(lab: &Lab) -> anyhow::Result<ExitCode> {
    let held = || -> anyhow::Result<Option<Record>> {
        let record = Record::read(lab)?.filter(|record| {
            record.report.phase == Phase::Held
                && record.process.is_some_and(|process| process.is_alive())
        });
        Ok(record)
    };
    let Some(record) = held()? else {
        return Err(WrongRequest(
            "no scenario is held now; `./lab scenario run NAME --hold` holds one after its walk"
                .to_owned(),
        )
        .into());
    };
    let name = &record.report.scenario;
    if let Some(process) = record.process {
        process.signal(Number::SIGUSR1)?;
    }
    let started = Instant::now();
    while held()?.is_some() {
        if started.elapsed() > DEADLINE {
            bail!("{name} does not go on; `./lab scenario heal` ends and heals it");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.printer.out(format_args!(
        "{name} heals, and goes on to the end of its alert"
    ));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Action, Args};
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn hold(words: &str) -> Result<Option<Duration>, String> {
        let words = std::iter::once("lab").chain(words.split(' '));
        match Line::try_parse_from(words) {
            Ok(Line { args }) => match args.action {
                Action::Run { hold, .. } => Ok(hold),
                _ => Err("another verb".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_hold_has_a_time_of_its_own_or_the_usual_one() {
        let minutes = |count: u64| Ok(Some(Duration::from_secs(60 * count)));
        assert_eq!(hold("run slow-query"), Ok(None));
        assert_eq!(hold("run slow-query --hold"), minutes(15));
        assert_eq!(hold("run slow-query --hold 2m"), minutes(2));
        assert_eq!(hold("run slow-query --hold=1h"), minutes(60));
        assert_eq!(hold("run --hold --all"), minutes(15));
    }

    #[test]
    fn a_wrong_time_is_refused_with_what_was_expected() {
        for (wrong, why) in [
            ("run slow-query --hold 2h", "an hour at most"),
            ("run slow-query --hold 0s", "a time such as"),
            ("run slow-query --hold 15", "a time such as"),
            (
                "run --hold slow-query",
                "names of scenarios come before --hold",
            ),
            ("run slow-query --hold --record", "cannot be used with"),
        ] {
            let said = hold(wrong).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
