//! A strict reader of both formats of the page: what a lenient parser would take is an error here.

use std::collections::{BTreeMap, HashSet};

use super::page::Format;

/// Reads the whole page; the number of its samples, or the first line that is not allowed.
pub(super) fn samples(page: &str, format: Format) -> Result<usize, String> {
    let text = if format == Format::OpenMetrics {
        page.strip_suffix("# EOF\n").ok_or("no end")?
    } else {
        page
    };
    let text = text.strip_suffix('\n').ok_or("no end of the last line")?;
    let mut reader = Reader {
        format,
        families: HashSet::new(),
        family: Family::default(),
        series: HashSet::new(),
    };
    for line in text.split('\n') {
        reader
            .line(line)
            .map_err(|wrong| format!("{wrong}: {line:?}"))?;
    }
    reader.family.whole()?;
    Ok(reader.series.len())
}

struct Reader<'a> {
    format: Format,
    families: HashSet<&'a str>,
    family: Family<'a>,
    series: HashSet<(&'a str, BTreeMap<&'a str, String>)>,
}

#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    kind: Option<&'a str>,
    /// Of each series of a histogram: the bound and count of its last bucket, and the count of all.
    histograms: BTreeMap<BTreeMap<&'a str, String>, (f64, f64, Option<f64>)>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) -> Result<(), &'static str> {
        let Some(metadata) = line.strip_prefix("# ") else {
            return self.sample(line);
        };
        let mut words = metadata.splitn(3, ' ');
        let (Some(what), Some(name), Some(text)) = (words.next(), words.next(), words.next())
        else {
            return Err("not three words");
        };
        is_name(name, true)?;
        match what {
            "HELP" => {
                self.family.whole()?;
                self.family = Family {
                    name,
                    ..Family::default()
                };
                if !self.families.insert(name) {
                    return Err("a family twice");
                }
                unescaped(text, self.format == Format::OpenMetrics).map(drop)
            }
            _ if name != self.family.name => Err("of another family"),
            "TYPE" if self.family.kind.is_none() => {
                self.family.kind = Some(text);
                let kinds: &[&str] = match self.format {
                    Format::OpenMetrics => &["counter", "gauge", "histogram", "info"],
                    Format::Text => &["counter", "gauge", "histogram"],
                };
                kinds.contains(&text).then_some(()).ok_or("unknown type")
            }
            "UNIT" if self.format == Format::OpenMetrics => name
                .strip_suffix(text)
                .filter(|rest| rest.ends_with('_'))
                .map(drop)
                .ok_or("a unit that is not in the name"),
            _ => Err("unknown metadata"),
        }
    }

    fn sample(&mut self, line: &'a str) -> Result<(), &'static str> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        is_name(name, true)?;
        let (mut labels, rest) = labels(rest)?;
        let rest = rest.strip_prefix(' ').ok_or("no value")?;
        let (value, exemplar) = match rest.split_once(" # ") {
            Some((value, exemplar)) => (value, Some(exemplar)),
            None => (rest, None),
        };
        let value = number(value)?;
        let suffix = name.strip_prefix(self.family.name).ok_or("no family")?;
        let openmetrics = self.format == Format::OpenMetrics;
        let expected: &[&str] = match self.family.kind {
            Some("counter") if openmetrics => &["_total"],
            Some("info") => &["_info"],
            Some("histogram") => &["_bucket", "_sum", "_count"],
            Some("gauge" | "counter") => &[""],
            _ => return Err("no type"),
        };
        if !expected.contains(&suffix) {
            return Err("a name that the type does not have");
        }
        if self.family.kind == Some("counter") && !name.ends_with("_total") {
            return Err("a counter without _total");
        }
        if let Some(exemplar) = exemplar {
            let (_, rest) = labels_of_exemplar(exemplar)?;
            let mut numbers = rest.strip_prefix(' ').ok_or("no value")?.split(' ');
            if !openmetrics || !matches!(suffix, "_bucket" | "_total") {
                return Err("an exemplar that may not be here");
            }
            numbers.try_for_each(|word| number(word).map(drop))?;
        }
        if !self.series.insert((name, labels.clone())) {
            return Err("a series twice");
        }
        if self.family.kind == Some("histogram") {
            let bound = labels.remove("le");
            let seen = self.family.histograms.entry(labels);
            let (last, cumulative, count) = seen.or_insert((f64::NEG_INFINITY, 0.0, None));
            match (suffix, bound) {
                ("_bucket", Some(bound)) => {
                    let bound = number(&bound)?;
                    if bound <= *last || value < *cumulative {
                        return Err("buckets that do not rise");
                    }
                    (*last, *cumulative) = (bound, value);
                }
                ("_bucket", None) | (_, Some(_)) => return Err("a bound in the wrong place"),
                ("_count", None) => *count = Some(value),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Family<'_> {
    fn whole(&self) -> Result<(), &'static str> {
        let whole = self.histograms.values().all(|(last, cumulative, count)| {
            last.is_infinite() && count.is_some_and(|count| count.total_cmp(cumulative).is_eq())
        });
        whole.then_some(()).ok_or("a histogram that is not whole")
    }
}

fn is_name(name: &str, metric: bool) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (metric && c == ':');
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || digit || name.starts_with("__") || !name.chars().all(good) {
        return Err("a name that is none");
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, &'static str> {
    if text == "+Inf" {
        return Ok(f64::INFINITY);
    }
    let digits = text.bytes().all(|b| b"0123456789.eE+-".contains(&b));
    let parsed = text.parse().ok().filter(|_| digits);
    parsed.ok_or("a number that is none")
}

type Set<'a> = (BTreeMap<&'a str, String>, &'a str);

/// The labels that a text begins with, and what comes after them.
fn labels(text: &str) -> Result<Set<'_>, &'static str> {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return Ok((labels, text));
    };
    if let Some(rest) = rest.strip_prefix('}') {
        return Ok((labels, rest));
    }
    loop {
        let (name, quoted) = rest.split_once("=\"").ok_or("no label")?;
        is_name(name, false)?;
        let mut escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (value, after) = quoted.split_at(end.ok_or("no end of a label")?);
        if labels.insert(name, unescaped(value, true)?).is_some() {
            return Err("a label twice");
        }
        match after.as_bytes() {
            [b'"', b'}', ..] => return Ok((labels, &after[2..])),
            [b'"', b',', ..] => rest = &after[2..],
            _ => return Err("no end of the labels"),
        }
    }
}

fn labels_of_exemplar(text: &str) -> Result<Set<'_>, &'static str> {
    let (labels, rest) = labels(text)?;
    let length: usize = labels
        .iter()
        .map(|(name, value)| name.chars().count() + value.chars().count())
        .sum();
    (length <= 128)
        .then_some((labels, rest))
        .ok_or("an exemplar that is too long")
}

fn unescaped(text: &str, quotes: bool) -> Result<String, &'static str> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match (c, quotes) {
            ('\\', _) => match (chars.next(), quotes) {
                (Some('\\'), _) => '\\',
                (Some('n'), _) => '\n',
                (Some('"'), true) => '"',
                _ => return Err("an escape that is none"),
            },
            ('"', true) | ('\n' | '\0', _) => return Err("a character that is not escaped"),
            (c, _) => c,
        });
    }
    Ok(plain)
}
