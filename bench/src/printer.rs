//! The one place that writes to the terminal: results to standard output, progress to standard error.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints, and shows what goes on and how long it will take.
pub(crate) struct Printer {
    bar: ProgressBar,
    live: bool,
    plan: RefCell<Plan>,
}

/// What was planned, to tell how much is left.
#[derive(Debug)]
struct Plan {
    began: Instant,
    total: Duration,
    done: Duration,
}

impl Plan {
    /// What is left, corrected by how the plan held so far.
    fn left(&self, elapsed: Duration) -> Option<Duration> {
        if self.total.is_zero() {
            return None;
        }
        let left = self.total.saturating_sub(self.done);
        // Early on the plan knows better than the clock.
        let pace = if self.done > Duration::from_secs(10) {
            (elapsed.as_secs_f64() / self.done.as_secs_f64()).clamp(0.5, 5.0)
        } else {
            1.0
        };
        Some(left.mul_f64(pace))
    }
}

impl Printer {
    pub(crate) fn new() -> Self {
        let live = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let target = if live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("  {spinner:.cyan} {wide_msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            live,
            plan: RefCell::new(Plan {
                began: Instant::now(),
                total: Duration::ZERO,
                done: Duration::ZERO,
            }),
        }
    }

    /// A line of the result.
    pub(crate) fn out(&self, line: impl std::fmt::Display) {
        self.bar.suspend(|| {
            // A reader that went away is no error of ours.
            let _closed = writeln!(anstream::stdout().lock(), "{line}");
        });
    }

    /// A line for the person that waits.
    pub(crate) fn note(&self, line: impl std::fmt::Display) {
        self.bar.suspend(|| {
            let _closed = writeln!(anstream::stderr().lock(), "{line}");
        });
    }

    pub(crate) fn error(&self, line: impl std::fmt::Display) {
        self.note(format_args!("{} {line}", styled(BAD, "error:")));
    }

    /// Announces how long the measuring will take.
    pub(crate) fn plan(&self, total: Duration) {
        *self.plan.borrow_mut() = Plan {
            began: Instant::now(),
            total,
            done: Duration::ZERO,
        };
    }

    /// A planned part is over.
    pub(crate) fn planned_done(&self, part: Duration) {
        self.plan.borrow_mut().done += part;
    }

    /// What is going on now: one moving line on a terminal, a line for each step elsewhere.
    pub(crate) fn step(&self, what: impl std::fmt::Display) {
        let left = {
            let plan = self.plan.borrow();
            plan.left(plan.began.elapsed())
        };
        let text = match left {
            Some(left) => format!("{what} (about {} left)", duration(left)),
            None => what.to_string(),
        };
        if self.live {
            self.bar.set_message(text);
            self.bar.enable_steady_tick(Duration::from_millis(120));
        } else {
            self.note(format_args!("  {text}"));
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Takes the moving line away.
    pub(crate) fn clear(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

/// A table without lines around it.
pub(crate) fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// `40 s`, `12 min`, `1 h 05 min`
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_the_pace() {
        let seconds = Duration::from_secs;
        let plan = |total, done| Plan {
            began: Instant::now(),
            total: seconds(total),
            done: seconds(done),
        };
        assert_eq!(plan(0, 0).left(seconds(5)), None);
        assert_eq!(plan(100, 5).left(seconds(50)), Some(seconds(95)));
        assert_eq!(plan(100, 50).left(seconds(100)), Some(seconds(100)));
        assert_eq!(plan(100, 120).left(seconds(100)), Some(seconds(0)));
    }

    #[test]
    fn durations_read_well() {
        let texts = [5, 89, 90, 3600, 5400].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(texts, ["5 s", "89 s", "2 min", "60 min", "1 h 30 min"]);
    }
}
