//! The four pairs of windows whose burn rates are watched, by the length of the objective.

use std::fmt;

use crate::Duration;

/// Who is to be bothered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Somebody's telephone rings.
    Critical,
    /// Somebody finds it in the morning.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        })
    }
}

/// One burn-rate alert: it fires when the budget burns `factor` times too fast over both windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How urgent it is.
    pub severity: Severity,
    /// How long both must be exceeded.
    pub wait: Duration,
    /// Shows that it still burns, so that the alert ends soon after the trouble.
    pub short: Duration,
    /// Shows that it matters.
    pub long: Duration,
    /// How many times faster than the objective allows.
    pub factor: u32,
}

/// Severity, then what the objective's length is divided by for `wait`, `short` and `long`.
const PARTS: [(Severity, u64, u64, u64, u32); 4] = [
    (Severity::Critical, 20_160, 8_064, 672, 14),
    (Severity::Critical, 2_688, 1_344, 112, 7),
    (Severity::Warning, 672, 336, 28, 2),
    (Severity::Warning, 224, 112, 7, 1),
];

/// The alerts of an objective over this time, the most urgent first.
pub(crate) fn windows(objective: Duration) -> [Window; 4] {
    PARTS.map(|(severity, wait, short, long, factor)| Window {
        severity,
        wait: objective.fraction(wait),
        short: objective.fraction(short),
        long: objective.fraction(long),
        factor,
    })
}

/// Every window once, from short to long.
pub(crate) fn lengths(windows: &[Window]) -> Vec<Duration> {
    let mut lengths: Vec<Duration> = windows
        .iter()
        .flat_map(|window| [window.short, window.long])
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_has_the_windows_of_the_books() {
        let text: Vec<String> = windows("1w".parse().unwrap())
            .iter()
            .map(|w| {
                format!(
                    "{} {} {}/{} x{}",
                    w.severity, w.wait, w.short, w.long, w.factor
                )
            })
            .collect();
        assert_eq!(
            text,
            [
                "critical 1m 1m/15m x14",
                "critical 4m 8m/1h30m x7",
                "warning 15m 30m/6h x2",
                "warning 45m 1h30m/1d x1",
            ]
        );
    }

    #[test]
    fn windows_that_fall_together_are_one() {
        let lengths = lengths(&windows("1s".parse().unwrap()));
        assert_eq!(lengths.len(), 1);
    }
}
