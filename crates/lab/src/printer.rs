//! The one place that writes to the terminal. Results go to standard output, progress and
//! notes to standard error. Colours and spinners only where a person sees them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, ContentArrangement, Table, presets};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal, a step that is shorter than this is not worth a line.
const PATIENCE: Duration = Duration::from_secs(2);
/// Without a terminal, a long step says that it goes on this often.
const REPEAT: Duration = Duration::from_secs(15);

/// Tables are fitted into terminals that are at least this wide.
const NARROW: u16 = 60;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();

/// Text in a style; `anstream` takes the style out where it is not wanted.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Whether standard output shows colours.
pub(crate) fn is_colourful() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

pub(crate) struct Printer {
    live: Option<MultiProgress>,
    steps: RefCell<BTreeMap<String, Step>>,
}

/// A long step that is being shown.
struct Step {
    bar: Option<ProgressBar>,
    /// When a line about it was last printed.
    said: Option<Instant>,
    elapsed: Duration,
}

impl Printer {
    pub(crate) fn new() -> Self {
        let live = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            live: live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            steps: RefCell::default(),
        }
    }

    /// A line of the result, on standard output.
    pub(crate) fn out(&self, line: impl std::fmt::Display) {
        self.suspended(|| {
            // A reader that went away (`lab logs | head`) is no error of the lab.
            let _closed = writeln!(anstream::stdout().lock(), "{line}");
        });
    }

    /// A table of the result.
    pub(crate) fn table(&self, table: &Table) {
        self.out(table.trim_fmt());
    }

    /// Bytes of the result as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// A machine-readable result.
    pub(crate) fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        self.out(serde_json::to_string_pretty(value)?);
        Ok(())
    }

    /// A line for the person that waits, on standard error.
    pub(crate) fn note(&self, line: impl std::fmt::Display) {
        self.suspended(|| {
            let _closed = writeln!(anstream::stderr().lock(), "{line}");
        });
    }

    pub(crate) fn warn(&self, line: impl std::fmt::Display) {
        self.note(format_args!("{} {line}", styled(WARN, "warning:")));
    }

    pub(crate) fn error(&self, line: impl std::fmt::Display) {
        self.note(format_args!("{} {line}", styled(BAD, "error:")));
    }

    /// Shows a long step, or its next message. On a terminal one moving line a step; elsewhere
    /// a line when it turns out to be long, and one every 15 s. `elapsed` is its age.
    pub(crate) fn step(&self, name: &str, message: &str, elapsed: Duration) {
        let text = line(name, message, elapsed);
        let mut steps = self.steps.borrow_mut();
        let step = steps.entry(name.to_owned()).or_insert_with(|| Step {
            bar: self.live.as_ref().map(spinner),
            said: None,
            elapsed,
        });
        step.elapsed = elapsed;
        if let Some(bar) = &step.bar {
            bar.set_message(text);
        } else if elapsed >= PATIENCE && step.said.is_none_or(|said| said.elapsed() >= REPEAT) {
            step.said = Some(Instant::now());
            let _closed = writeln!(anstream::stderr().lock(), "{text}");
        }
    }

    /// Ends a step with one line that stays.
    pub(crate) fn step_done(&self, name: &str, style: Style, message: &str) {
        let step = self.steps.borrow_mut().remove(name);
        let elapsed = step.as_ref().map(|step| step.elapsed);
        if let Some(bar) = step.and_then(|step| step.bar) {
            bar.finish_and_clear();
        }
        let time = elapsed
            .filter(|elapsed| elapsed.as_secs() >= 1)
            .map(|elapsed| format!(" {}", styled(DIM, duration(elapsed))))
            .unwrap_or_default();
        self.note(format_args!(
            "  {name:<14} {}{time}",
            styled(style, message)
        ));
    }

    /// Takes away every moving line.
    pub(crate) fn clear_steps(&self) {
        for (_, step) in std::mem::take(&mut *self.steps.borrow_mut()) {
            if let Some(bar) = step.bar {
                bar.finish_and_clear();
            }
        }
    }

    fn suspended(&self, write: impl FnOnce()) {
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }
}

fn spinner(live: &MultiProgress) -> ProgressBar {
    let bar = live.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn line(name: &str, message: &str, elapsed: Duration) -> String {
    if elapsed.as_secs() == 0 {
        format!("  {name:<14} {message}")
    } else {
        format!("  {name:<14} {message} ({})", duration(elapsed))
    }
}

/// A table without lines around it, as wide as the terminal.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = rows();
    table.set_header(header.map(|name| Cell::new(styled(BOLD, name))));
    space(&mut table);
    table
}

/// The same without a header.
pub(crate) fn rows() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // Squeezed into a narrow terminal, or one that does not tell its width, it could not be read.
    if table.width().is_some_and(|width| width >= NARROW) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// Columns apart from each other. To be called when the table has its columns.
pub(crate) fn space(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
}

/// `340 ms`, `4.2 s`, `2 m 05 s`
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.9995 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = time.as_secs_f64().round();
        format!("{:.0} m {:02.0} s", (whole / 60.0).floor(), whole % 60.0)
    }
}

/// `12 MB`
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", (bytes + 500_000) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(340)), "340 ms");
        assert_eq!(duration(Duration::from_millis(4249)), "4.2 s");
        assert_eq!(duration(Duration::from_millis(59_990)), "1 m 00 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 m 05 s");
    }

    #[test]
    fn sizes_are_rounded() {
        assert_eq!(megabytes(12_499_999), "12 MB");
        assert_eq!(megabytes(12_500_000), "13 MB");
    }
}
