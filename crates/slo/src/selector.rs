//! An instant vector selector: a metric's name and what its labels must be. It is the only part
//! of PromQL that the format holds, so no parser of the whole language is brought in for it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::re2;

/// Words of PromQL that name no metric, in any case of letters.
const RESERVED: [&str; 8] = [
    "atan2",
    "bool",
    "group_left",
    "group_right",
    "ignoring",
    "inf",
    "nan",
    "on",
];

/// `name{label="value",...}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The metric.
    pub name: String,
    /// What its labels must be, as they were written.
    pub matchers: Vec<Matcher>,
}

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: String,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
}

impl Operator {
    /// Longer ones first: they begin alike.
    const ALL: [(&'static str, Self); 4] = [
        ("=~", Self::Match),
        ("!~", Self::NotMatch),
        ("!=", Self::NotEqual),
        ("=", Self::Equal),
    ];

    /// Whether the value is a regular expression.
    pub fn is_regex(self) -> bool {
        matches!(self, Self::Match | Self::NotMatch)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Match => "=~",
            Self::NotMatch => "!~",
        })
    }
}

impl Matcher {
    /// `label="value"`
    pub(crate) fn equal(label: &str, value: &str) -> Self {
        Self {
            label: label.to_owned(),
            operator: Operator::Equal,
            value: value.to_owned(),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}\"", self.label, self.operator)?;
        for c in self.value.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Conditions in PromQL's own order, without braces.
pub(crate) fn join<'a>(matchers: impl IntoIterator<Item = &'a Matcher>) -> String {
    let mut texts: Vec<String> = matchers.into_iter().map(ToString::to_string).collect();
    texts.sort();
    texts.join(",")
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.matchers.is_empty() {
            return Ok(());
        }
        write!(f, "{{{}}}", join(&self.matchers))
    }
}

/// It is no selector.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at character {at} of the metric, found {found}")]
pub struct NotASelector {
    expected: Cow<'static, str>,
    at: usize,
    found: String,
}

impl FromStr for Selector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, at: 0 };
        reader.space();
        let begin = reader.at;
        let name = reader
            .word(|c| c == ':')
            .ok_or_else(|| reader.expected("a metric's name"))?;
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            reader.at = begin;
            return Err(reader.expected("a metric's name (this is a word of PromQL)"));
        }
        reader.space();
        let mut matchers = Vec::new();
        if reader.eat("{") {
            reader.space();
            while !reader.eat("}") {
                matchers.push(reader.matcher()?);
                reader.space();
                if reader.eat("}") {
                    break;
                }
                if !reader.eat(",") {
                    return Err(reader.expected("`,` or `}`"));
                }
                reader.space();
            }
            reader.space();
        }
        if !reader.rest().is_empty() {
            return Err(reader.expected("the end (one metric with labels, no expression)"));
        }
        Ok(Self { name, matchers })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// White space, and comments, which end with their line.
    fn space(&mut self) {
        let mut rest = self.rest();
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            if !rest.starts_with('#') {
                break;
            }
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        }
        self.at = self.text.len() - rest.len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    /// Letters, digits, underscores, and what else is allowed; no digit first.
    fn word(&mut self, also: impl Fn(char) -> bool) -> Option<String> {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || also(c)))
            .unwrap_or(rest.len());
        let word = &rest[..length];
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += length;
        Some(word.to_owned())
    }

    fn matcher(&mut self) -> Result<Matcher, NotASelector> {
        let begin = self.at;
        let label = self
            .word(|_| false)
            .ok_or_else(|| self.expected("a label's name"))?;
        if label == "__name__" {
            self.at = begin;
            return Err(self.expected("another label (the metric's name stands before the braces)"));
        }
        self.space();
        let operator = Operator::ALL
            .into_iter()
            .find_map(|(text, operator)| self.eat(text).then_some(operator))
            .ok_or_else(|| self.expected("one of = != =~ !~"))?;
        self.space();
        let begin = self.at;
        let value = self.quoted()?;
        // Prometheus does not start with a wrong one.
        if operator.is_regex()
            && let Err(why) = re2::check(&value)
        {
            self.at = begin;
            return Err(self.expected(format!("a regular expression of RE2 ({why})")));
        }
        Ok(Matcher {
            label,
            operator,
            value,
        })
    }

    fn quoted(&mut self) -> Result<String, NotASelector> {
        let rest = self.rest();
        let quote = match rest.chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => quote,
            _ => return Err(self.expected("a value in quotes")),
        };
        let raw = quote == '`';
        let mut value = String::new();
        let mut at = 1;
        while let Some(c) = rest[at..].chars().next() {
            let (c, length) = match c {
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(value);
                }
                '\\' if !raw => match unescape(&rest[at + 1..], quote) {
                    Some((c, length)) => (c, 1 + length),
                    None => {
                        self.at += at;
                        return Err(self.expected("an escape of PromQL such as \\\\ \\\" \\n \\t"));
                    }
                },
                '\n' if !raw => break,
                char::REPLACEMENT_CHARACTER => {
                    self.at += at;
                    return Err(self.expected("a character that is known"));
                }
                c => (c, c.len_utf8()),
            };
            value.push(c);
            at += length;
        }
        Err(self.expected("a closing quote"))
    }

    fn expected(&self, expected: impl Into<Cow<'static, str>>) -> NotASelector {
        let rest = self.rest();
        let found = if rest.is_empty() {
            "its end".to_owned()
        } else {
            format!("{:?}", rest.chars().take(20).collect::<String>())
        };
        NotASelector {
            expected: expected.into(),
            at: self.text[..self.at].chars().count() + 1,
            found,
        }
    }
}

/// The character that is written so after a backslash, and how long that is.
fn unescape(text: &str, quote: char) -> Option<(char, usize)> {
    let number = |digits: std::ops::Range<usize>, radix, most| {
        let length = digits.end;
        let digits = text.get(digits)?;
        // A sign would be read as well.
        let code = digits
            .chars()
            .all(|c| c.is_digit(radix))
            .then_some(digits)?;
        let code = u32::from_str_radix(code, radix).ok()?;
        let c = char::from_u32(code).filter(|c| *c <= most && *c != char::REPLACEMENT_CHARACTER)?;
        Some((c, length))
    };
    Some(match text.chars().next()? {
        'a' => ('\x07', 1),
        'b' => ('\x08', 1),
        'f' => ('\x0c', 1),
        'n' => ('\n', 1),
        'r' => ('\r', 1),
        't' => ('\t', 1),
        'v' => ('\x0b', 1),
        '\\' => ('\\', 1),
        c if c == quote => (c, 1),
        // A single byte: what is not ASCII would be no character.
        'x' => number(1..3, 16, '\x7f')?,
        '0'..='7' => number(0..3, 8, '\x7f')?,
        'u' => number(1..5, 16, char::MAX)?,
        'U' => number(1..9, 16, char::MAX)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_printed_in_order() {
        let text = r#" m:x { job = "users" , code!~'5..', path=~`\d+`, le="1.0", }"#;
        let selector: Selector = text.parse().unwrap();
        assert_eq!(
            selector.to_string(),
            r#"m:x{code!~"5..",job="users",le="1.0",path=~"\\d+"}"#
        );
        let plain: Selector = "up # it\n{#}\n}".parse().unwrap();
        assert_eq!(plain.to_string(), "up");
        let route: Selector = "up{route=~\"/user/{name}\",a='\\x41\\102\\u0043\\U0001F600\\'\\r'}"
            .parse()
            .unwrap();
        assert_eq!(
            route.to_string(),
            "up{a=\"ABC\u{1f600}'\r\",route=~\"/user/{name}\"}"
        );
        let quoted: Selector = r#"up{a="\"\\\n"}"#.parse().unwrap();
        assert_eq!(quoted.to_string(), r#"up{a="\"\\\n"}"#);
    }

    #[test]
    fn what_is_no_selector_says_where() {
        for (text, expected) in [
            (
                "",
                "a metric's name at character 1 of the metric, found its end",
            ),
            ("{job=\"x\"}", "a metric's name at character 1"),
            ("1up", "a metric's name at character 1"),
            (
                "up[5m]",
                "the end (one metric with labels, no expression) at character 3 of the metric, found \"[5m]\"",
            ),
            (
                "rate(up[5m])",
                "the end (one metric with labels, no expression) at character 5",
            ),
            ("up{job}", "one of = != =~ !~ at character 7"),
            ("up{job=x}", "a value in quotes at character 8"),
            ("up{job=\"x}", "a closing quote at character 8"),
            ("up{job=\"x\" a=\"y\"}", "`,` or `}` at character 12"),
            (
                "up{job=\"\\d\"}",
                "an escape of PromQL such as \\\\ \\\" \\n \\t at character 9",
            ),
            ("up{job=\"\\'\"}", "an escape of PromQL"),
            ("up{job=\"\\xFF\"}", "an escape of PromQL"),
            ("up{job=\"\\ud800\"}", "an escape of PromQL"),
            ("up{job=\"\\u+041\"}", "an escape of PromQL"),
            ("up{job=\"a\nb\"}", "a closing quote at character 8"),
            (
                "up{job=\"\u{fffd}\"}",
                "a character that is known at character 9",
            ),
            (
                "up\u{a0}{}",
                "the end (one metric with labels, no expression) at character 3",
            ),
            (
                "NaN{}",
                "a metric's name (this is a word of PromQL) at character 1",
            ),
            (
                "up{a=\"\",__name__!=\"x\"}",
                "another label (the metric's name stands before the braces) at character 9",
            ),
            (
                "up{job=~\"(?x)\"}",
                "a regular expression of RE2 (`(?x` expected a group or one of the flags i, m, s, U) at character 9 of the metric, found \"\\\"(?x)\\\"}\"",
            ),
            (
                "up{job=~'\\\\u0041'}",
                "a regular expression of RE2 (`\\u` is no escape of RE2) at character 9",
            ),
            (
                "up offset 5m",
                "the end (one metric with labels, no expression) at character 4",
            ),
        ] {
            let error = text.parse::<Selector>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
