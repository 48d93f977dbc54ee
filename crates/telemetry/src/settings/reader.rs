//! Reads one variable after the other, and keeps a warning for each value that is not understood.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::variables;
use super::{Signal, Warning};

/// The longest delay, interval or timeout: what is longer is a mistake, and cannot be added to a time.
const LONGEST_MILLISECONDS: u64 = 24 * 60 * 60 * 1_000;

pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            warnings: Vec::new(),
        }
    }

    /// An empty value counts as unset, as the specification says.
    pub(super) fn get(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        if value.contains(char::REPLACEMENT_CHARACTER) {
            self.warn(name, "(not UTF-8)");
            return None;
        }
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Warns that a value is not understood; the variable's default takes its place.
    pub(super) fn warn(&mut self, name: &str, value: &str) {
        let default = variables::entry(name).map_or("its default", |known| known.default);
        match variables::general(name) {
            Some(general) => self.warn_using(name, value, &format!("{general}, else {default}")),
            None => self.warn_using(name, value, default),
        }
    }

    pub(super) fn warn_using(&mut self, name: &str, value: &str, used: &str) {
        let warning = Warning {
            variable: name.to_owned(),
            value: value.to_owned(),
            expected: variables::entry(name).map_or("nothing", |known| known.expected),
            used: used.to_owned(),
        };
        // A variable of all signals is read for each.
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The signal's own variable, else the one for all signals.
    pub(super) fn otlp<T>(
        &mut self,
        signal: Signal,
        what: &str,
        mut read: impl FnMut(&mut Self, &str) -> Option<T>,
    ) -> Option<T> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.variable_part());
        let general = format!("OTEL_EXPORTER_OTLP_{what}");
        read(self, &own).or_else(|| read(self, &general))
    }

    /// Names of enumerated values are case-insensitive.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.get(name)?;
        let found = find(choices, &value);
        if found.is_none() {
            self.warn(name, &value);
        }
        found
    }

    pub(super) fn switch(&mut self, name: &str) -> Option<bool> {
        self.choice(name, &[("true", true), ("false", false)])
    }

    /// A list of names, of which `none` and the like add nothing. When none is understood, it is as
    /// if the variable were not set.
    pub(super) fn list<T: Copy + PartialEq>(
        &mut self,
        name: &str,
        choices: &[(&str, Option<T>)],
    ) -> Option<Vec<T>> {
        let list = self.get(name)?;
        let (mut known, mut understood, mut unknown) = (Vec::new(), false, Vec::new());
        for entry in list.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            match find(choices, entry) {
                Some(value) => {
                    understood = true;
                    known.extend(value.filter(|value| !known.contains(value)));
                }
                None => unknown.push(entry),
            }
        }
        for entry in unknown {
            if understood {
                self.warn_using(name, entry, "the rest of the list");
            } else {
                self.warn(name, entry);
            }
        }
        understood.then_some(known)
    }

    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(name)?;
        let number = value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.warn(name, &value);
        }
        number
    }

    pub(super) fn milliseconds(&mut self, name: &str, least: u64) -> Option<Duration> {
        self.number(name, least..=LONGEST_MILLISECONDS)
            .map(Duration::from_millis)
    }

    pub(super) fn limit(&mut self, name: &str) -> Option<u32> {
        let number = self.number(name, 0..=u32::MAX.into())?;
        u32::try_from(number).ok()
    }
}

fn find<T: Copy>(choices: &[(&str, T)], value: &str) -> Option<T> {
    let known = choices
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(value));
    known.map(|(_, choice)| *choice)
}

/// `key=value,...` as in W3C baggage: each part percent-encoded, with white space around it. An entry that is
/// not understood is an error, without its text, which may be a secret.
pub(super) fn pairs(list: &str) -> impl Iterator<Item = Result<(String, String), String>> {
    let entries = list.split(',').map(str::trim).enumerate();
    entries
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(index, entry)| {
            let pair = entry.split_once('=').and_then(|(key, value)| {
                let (key, value) = (percent_decoded(key.trim())?, percent_decoded(value.trim())?);
                (!key.is_empty()).then_some((key, value))
            });
            pair.ok_or_else(|| format!("(entry {}, not shown)", index + 1))
        })
}

/// `None` for a `%` without two hexadecimal digits, and for what is no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let broken = bytes.iter().enumerate().any(|(at, byte)| {
        *byte == b'%'
            && !bytes
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return None;
    }
    let decoded = percent_encoding::percent_decode(bytes).decode_utf8();
    decoded.ok().map(std::borrow::Cow::into_owned)
}
