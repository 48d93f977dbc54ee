//! The service's own variables; `OTEL_*` belongs to the telemetry crate.

use std::time::Duration;

use service::address;
use service::env::{self, EnvError};
use url::Url;

/// Who edge asks.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// `USERS_URL`, default `http://127.0.0.1:8000`; a path in it is kept.
    pub users: Url,
    /// `ALBUMS_URL`, default `http://127.0.0.1:8002`; a path in it is kept.
    pub albums: Url,
    /// `UPSTREAM_TIMEOUT`, in seconds, default 30: longer than the slowest fault takes.
    pub timeout: Duration,
}

impl Upstreams {
    /// Reads `USERS_URL`, `ALBUMS_URL` and `UPSTREAM_TIMEOUT`.
    pub fn from_env() -> Result<Self, EnvError> {
        Ok(Self {
            users: address::or_local("USERS_URL", 8000)?,
            albums: address::or_local("ALBUMS_URL", 8002)?,
            timeout: env::seconds("UPSTREAM_TIMEOUT", 30.0)?,
        })
    }
}
