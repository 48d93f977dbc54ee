//! Where another service is.

use url::Url;

use crate::env::{self, EnvError};

const EXPECTED: &str =
    "http://host:port or http://host:port/path, without credentials, query and fragment";

/// The address in `name`, or `port` on loopback when it is unset or empty.
///
/// # Errors
/// It is no address of a service; the error names the variable.
pub fn or_local(name: &'static str, port: u16) -> Result<Url, EnvError> {
    let local = || {
        #[expect(
            clippy::expect_used,
            reason = "a constant and a number always make an address"
        )]
        format!("http://127.0.0.1:{port}")
            .parse()
            .expect("a valid address")
    };
    Ok(optional(name)?.unwrap_or_else(local))
}

/// The address in `name`, if it is set and not empty.
///
/// # Errors
/// It is no address of a service; the error names the variable.
pub fn optional(name: &'static str) -> Result<Option<Url>, EnvError> {
    let Some(value) = env::optional::<String>(name, EXPECTED)? else {
        return Ok(None);
    };
    parse(&value).map(Some).map_err(|reason| {
        // It may have a password, or a key in its query.
        let secret = value.contains(['@', '?', '#']);
        EnvError::Invalid {
            name,
            value: if secret {
                "(not shown)".to_owned()
            } else {
                value
            },
            reason,
            expected: EXPECTED,
        }
    })
}

fn parse(value: &str) -> Result<Url, String> {
    let url: Url = value
        .parse()
        .map_err(|error: url::ParseError| error.to_string())?;
    let wrong = if url.scheme() != "http" {
        "the scheme is not http"
    } else if !url.username().is_empty() || url.password().is_some() {
        "it has credentials"
    } else if url.query().is_some() {
        "it has a query"
    } else if url.fragment().is_some() {
        "it has a fragment"
    } else {
        return Ok(url);
    };
    Err(wrong.to_owned())
}

/// `path`, which is percent-encoded already, below the path of `base`.
#[must_use]
pub fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_base_is_kept() {
        for (base, expected) in [
            ("http://users:8000", "http://users:8000/users"),
            ("http://users:8000/", "http://users:8000/users"),
            ("http://users:8000/base", "http://users:8000/base/users"),
            ("http://users:8000/a/b/", "http://users:8000/a/b/users"),
            ("http://users/a%2Fb%20c", "http://users/a%2Fb%20c/users"),
            ("http://[::1]:8000/base", "http://[::1]:8000/base/users"),
            ("http://[2001:db8::7]", "http://[2001:db8::7]/users"),
        ] {
            let base = parse(base).unwrap();
            assert_eq!(below(&base, "/users").as_str(), expected);
        }
    }

    #[test]
    fn what_would_be_dropped_is_refused() {
        for (value, reason) in [
            ("users:8000", "the scheme is not http"),
            ("//users:8000", "relative URL without a base"),
            ("http://", "empty host"),
            ("http://users:80000", "invalid port number"),
            ("http://::1:8000", "empty host"),
            ("https://users:8000", "the scheme is not http"),
            ("http://me@users:8000", "it has credentials"),
            ("http://:secret@users:8000", "it has credentials"),
            ("http://users:8000/?key=1", "it has a query"),
            ("http://users:8000?", "it has a query"),
            ("http://users:8000/#top", "it has a fragment"),
        ] {
            assert_eq!(parse(value), Err(reason.to_owned()), "{value}");
        }
    }
}
