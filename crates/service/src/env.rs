//! A service's own variables. Unlike `OTEL_*` ones, a wrong value stops the service: a wrong
//! address that is silently replaced costs an afternoon.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// A variable that is missing or wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvError {
    /// Not set, and there is no default.
    #[error("{name} is not set: expected {expected}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// Set to something else than expected.
    #[error("{name}={value:?} is not valid ({reason}): expected {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        reason: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// The value of `name`, or an error when it is unset or empty.
pub fn required<T>(name: &'static str, expected: &'static str) -> Result<T, EnvError>
where
    T: FromStr<Err: Display>,
{
    optional(name, expected)?.ok_or(EnvError::Missing { name, expected })
}

/// The value of `name`, or `default` when it is unset or empty.
pub fn or<T>(name: &'static str, expected: &'static str, default: T) -> Result<T, EnvError>
where
    T: FromStr<Err: Display>,
{
    Ok(optional(name, expected)?.unwrap_or(default))
}

/// A time in seconds, or `default` when `name` is unset or empty.
pub fn seconds(name: &'static str, default: f64) -> Result<Duration, EnvError> {
    const EXPECTED: &str = "a number of seconds from 0.001 to 3600";
    let seconds = or(name, EXPECTED, default)?;
    if (0.001..=3600.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(EnvError::Invalid {
        name,
        value: seconds.to_string(),
        reason: "out of range".to_owned(),
        expected: EXPECTED,
    })
}

/// The value of `name`, if it is set and not empty.
pub fn optional<T>(name: &'static str, expected: &'static str) -> Result<Option<T>, EnvError>
where
    T: FromStr<Err: Display>,
{
    parse(name, expected, std::env::var(name).ok())
}

fn parse<T>(
    name: &'static str,
    expected: &'static str,
    value: Option<String>,
) -> Result<Option<T>, EnvError>
where
    T: FromStr<Err: Display>,
{
    let Some(value) = value.filter(|value| !value.trim().is_empty()) else {
        return Ok(None);
    };
    match value.trim().parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(error) => {
            let reason = error.to_string();
            Err(EnvError::Invalid {
                name,
                value,
                reason,
                expected,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_variable_value_and_expectation() {
        let error =
            parse::<u16>("USERS_PORT", "a port number", Some("80000".to_owned())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "USERS_PORT=\"80000\" is not valid (number too large to fit in target type): \
             expected a port number"
        );
    }

    #[test]
    fn empty_is_unset() {
        assert_eq!(
            parse::<u16>("USERS_PORT", "a port number", Some(" ".to_owned())),
            Ok(None)
        );
        assert_eq!(parse::<u16>("USERS_PORT", "a port number", None), Ok(None));
    }
}
