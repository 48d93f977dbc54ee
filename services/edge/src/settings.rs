//! The service's own variables; `OTEL_*` belongs to the telemetry crate.

use std::time::Duration;

use service::env::{self, EnvError};
use url::Url;

/// Who edge asks.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// `USERS_URL`, default `http://127.0.0.1:8000`.
    pub users: Url,
    /// `ALBUMS_URL`, default `http://127.0.0.1:8002`.
    pub albums: Url,
    /// `UPSTREAM_TIMEOUT`, in seconds, default 30: longer than the slowest fault takes.
    pub timeout: Duration,
}

impl Upstreams {
    /// Reads `USERS_URL`, `ALBUMS_URL` and `UPSTREAM_TIMEOUT`.
    pub fn from_env() -> Result<Self, EnvError> {
        Ok(Self {
            users: address("USERS_URL", 8000)?,
            albums: address("ALBUMS_URL", 8002)?,
            timeout: timeout("UPSTREAM_TIMEOUT")?,
        })
    }
}

fn address(name: &'static str, port: u16) -> Result<Url, EnvError> {
    const EXPECTED: &str = "an address such as http://users:8000";
    let url = match env::optional::<Url>(name, EXPECTED)? {
        Some(url) => url,
        None => return Ok(local(port)),
    };
    if url.scheme() == "http" && url.has_host() {
        return Ok(url);
    }
    let (value, reason) = (url.to_string(), "not http".to_owned());
    Err(EnvError::Invalid {
        name,
        value,
        reason,
        expected: EXPECTED,
    })
}

fn local(port: u16) -> Url {
    #[expect(
        clippy::expect_used,
        reason = "a constant and a number always make an address"
    )]
    format!("http://127.0.0.1:{port}")
        .parse()
        .expect("a valid address")
}

fn timeout(name: &'static str) -> Result<Duration, EnvError> {
    const EXPECTED: &str = "a number of seconds above 0, at most 3600";
    let seconds = env::or(name, EXPECTED, 30.0_f64)?;
    if seconds > 0.0 && seconds <= 3600.0 {
        return Ok(Duration::from_secs_f64(seconds));
    }
    let reason = "out of range".to_owned();
    Err(EnvError::Invalid {
        name,
        value: seconds.to_string(),
        reason,
        expected: EXPECTED,
    })
}
