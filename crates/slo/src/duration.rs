//! Durations as Prometheus writes them (`1w`, `1h43m`), in milliseconds.

use std::fmt;
use std::str::FromStr;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const YEAR: u64 = 365 * DAY;

/// From the longest to the shortest, the order in which they must be written. Years and weeks
/// are only printed where nothing remains: `90d` reads better than `12w6d`.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", YEAR, true),
    ("w", WEEK, true),
    ("d", DAY, false),
    ("h", HOUR, false),
    ("m", MINUTE, false),
    ("s", SECOND, false),
    ("ms", 1, false),
];

/// A length of time, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Duration {
    /// That many whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * SECOND)
    }

    /// That many whole minutes.
    pub const fn from_mins(minutes: u64) -> Self {
        Self(minutes * MINUTE)
    }

    /// That many whole days.
    pub const fn from_days(days: u64) -> Self {
        Self(days * DAY)
    }

    /// Whole seconds; what is left over is dropped.
    pub const fn as_secs(self) -> u64 {
        self.0 / SECOND
    }

    /// Milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// To whole minutes, halves up.
    pub(crate) const fn to_minutes(self) -> Self {
        Self((self.0 + MINUTE / 2) / MINUTE * MINUTE)
    }

    /// This one divided, to whole minutes.
    pub(crate) const fn fraction(self, by: u64) -> Self {
        Self(self.0 / by).to_minutes()
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// As Go prints its own durations, `1h30m0s`: Pyrra has these in one field.
    pub(crate) fn go_text(self) -> String {
        let (hours, minutes) = (self.0 / HOUR, self.0 / MINUTE % 60);
        let seconds = (self.0 % MINUTE) as f64 / SECOND as f64;
        if hours > 0 {
            format!("{hours}h{minutes}m{seconds}s")
        } else if minutes > 0 {
            format!("{minutes}m{seconds}s")
        } else {
            format!("{seconds}s")
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, length, only_whole) in UNITS {
            if only_whole && !left.is_multiple_of(length) {
                continue;
            }
            if left >= length {
                write!(f, "{}{unit}", left / length)?;
                left %= length;
            }
        }
        Ok(())
    }
}

/// It is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a length of time such as 12h, 1w or 1h30m (units y, w, d, h, m, s, ms, from long to short), found {0:?}"
)]
pub struct NotADuration(String);

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotADuration(text.to_owned());
        if text == "0" {
            return Ok(Self(0));
        }
        let mut left = text;
        let mut units = UNITS.iter();
        let mut total = 0_u64;
        while !left.is_empty() {
            let digits = left.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = left.split_at(digits);
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, rest) = rest.split_at(letters);
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let (_, length, _) = units.find(|(name, ..)| *name == unit).ok_or_else(wrong)?;
            total = number
                .checked_mul(*length)
                .and_then(|time| total.checked_add(time))
                // A century is more than any metric is kept; beyond, sums would overflow.
                .filter(|total| *total <= 100 * YEAR)
                .ok_or_else(wrong)?;
            left = rest;
        }
        if text.is_empty() {
            return Err(wrong());
        }
        Ok(Self(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_printed_alike() {
        for text in [
            "0s", "1ms", "1s", "90s", "1m", "1h43m", "12h", "1d", "90d", "1w", "4w", "1y",
        ] {
            let duration: Duration = text.parse().unwrap();
            let again = if text == "90s" { "1m30s" } else { text };
            assert_eq!(duration.to_string(), again);
        }
        assert_eq!("2d19h12m".parse(), Ok(Duration(67 * HOUR + 12 * MINUTE)));
        assert_eq!("0".parse(), Ok(Duration(0)));
        assert_eq!("28d".parse::<Duration>().unwrap().to_string(), "4w");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "1",
            "week",
            "1 w",
            "1.5h",
            "-1h",
            "1h1h",
            "1m1h",
            "1M",
            "101y",
            "99999999999999999999w",
        ] {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("found {text:?}")), "{error}");
        }
    }

    #[test]
    fn minutes_are_rounded_halves_up() {
        assert_eq!(Duration::from_secs(29).to_minutes(), Duration(0));
        assert_eq!(Duration::from_secs(30).to_minutes(), Duration(MINUTE));
        assert_eq!(Duration(HOUR).fraction(7), Duration(9 * MINUTE));
    }

    #[test]
    fn go_prints_minutes_with_seconds() {
        for (seconds, text) in [(0, "0s"), (60, "1m0s"), (5400, "1h30m0s"), (3600, "1h0m0s")] {
            assert_eq!(Duration::from_secs(seconds).go_text(), text);
        }
    }
}
