//! Variables in queries, as Grafana puts their values in.

use std::collections::BTreeMap;

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// One choice, or text that Grafana makes itself: put in as it is.
    One(String),
    /// Of a variable with several choices: a regular expression that matches any of them.
    Any(Vec<String>),
    /// What stands for all of them.
    All(String),
}

impl Value {
    /// As it stands in a query. A backslash is doubled: it is inside a quoted string.
    fn text(&self) -> String {
        let escaped = |value: &String| regex_syntax::escape(value).replace('\\', "\\\\");
        match self {
            Self::One(text) | Self::All(text) => text.clone(),
            Self::Any(values) => match values.as_slice() {
                [one] => escaped(one),
                many => {
                    let any: Vec<String> = many.iter().map(escaped).collect();
                    format!("({})", any.join("|"))
                }
            },
        }
    }
}

pub(crate) type Scope = BTreeMap<String, Value>;

/// What cannot be put in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("there is no variable ${0}")]
    Variable(String),
    #[error("${{{0}:{1}}}: only `raw` is understood after the colon")]
    Format(String, String),
    #[error("`${{` without its `}}` in `{0}`")]
    Open(String),
}

/// `text` with every `$name`, `${name}` and `${name:raw}` replaced. A `$` that no name follows stays.
pub(crate) fn substitute(text: &str, scope: &Scope) -> Result<String, Unknown> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let after = &found[1..];
        if let Some(braced) = after.strip_prefix('{') {
            let end = braced
                .find('}')
                .ok_or_else(|| Unknown::Open(text.to_owned()))?;
            out.push_str(&braces(&braced[..end], scope)?);
            rest = &braced[end + 1..];
            continue;
        }
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let name = &after[..end];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('$');
            rest = after;
        } else {
            out.push_str(&value(name, scope)?.text());
            rest = &after[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braces(inside: &str, scope: &Scope) -> Result<String, Unknown> {
    match inside.split_once(':') {
        None => Ok(value(inside, scope)?.text()),
        Some((name, "raw")) => Ok(match value(name, scope)? {
            Value::Any(values) => values.join(","),
            one => one.text(),
        }),
        Some((name, format)) => Err(Unknown::Format(name.to_owned(), format.to_owned())),
    }
}

fn value<'s>(name: &str, scope: &'s Scope) -> Result<&'s Value, Unknown> {
    scope
        .get(name)
        .ok_or_else(|| Unknown::Variable(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let any = |values: &[&str]| Value::Any(values.iter().map(|v| (*v).to_owned()).collect());
        Scope::from([
            ("service".to_owned(), Value::One("users".to_owned())),
            ("route".to_owned(), any(&["/user/{name}", "/a.b"])),
            ("one".to_owned(), any(&["/users"])),
            ("all".to_owned(), Value::All(".*".to_owned())),
            ("__rate_interval".to_owned(), Value::One("20s".to_owned())),
        ])
    }

    #[test]
    fn every_spelling_is_replaced() {
        let put = |text: &str| substitute(text, &scope()).expect("known");
        assert_eq!(
            put(r#"rate(x{job="$service"}[$__rate_interval])"#),
            r#"rate(x{job="users"}[20s])"#
        );
        assert_eq!(put("${service}s and ${service:raw}"), "userss and users");
        assert_eq!(put(r#"r=~"$all""#), r#"r=~".*""#);
        assert_eq!(put(r#"r=~"$one""#), r#"r=~"/users""#);
    }

    #[test]
    fn several_choices_are_one_expression() {
        assert_eq!(
            substitute("$route", &scope()).expect("known"),
            r"(/user/\\{name\\}|/a\\.b)"
        );
    }

    #[test]
    fn a_dollar_that_names_nothing_stays() {
        let text = r#"x=~"/a$", y=~"$1", z="5$""#;
        assert_eq!(substitute(text, &scope()).expect("as it was"), text);
    }

    #[test]
    fn what_is_unknown_is_named() {
        let wrong = |text: &str| substitute(text, &scope()).expect_err("wrong").to_string();
        assert_eq!(wrong("$servise"), "there is no variable $servise");
        assert_eq!(
            wrong("${service:json}"),
            "${service:json}: only `raw` is understood after the colon"
        );
        assert_eq!(
            wrong("a ${service"),
            "`${` without its `}` in `a ${service`"
        );
    }
}
