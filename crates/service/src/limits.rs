use std::num::NonZeroU32;
use std::time::Duration;

use crate::env::{self, EnvError};

/// What the clients of a server may take of it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections. Further ones wait in the kernel's queue until one is closed.
    pub connections: usize,
    /// How long a client may keep the server waiting: for the head of a request, from when the
    /// connection is ready for it (which closes idle connections); for all of its body; and for
    /// taking anything of an answer.
    pub client_timeout: Duration,
    /// How long the requests under way may take when the server stops.
    pub drain: Duration,
}

impl Limits {
    /// `LISTEN_MAX_CONNECTIONS` (default 1024) and `LISTEN_CLIENT_TIMEOUT` (in seconds, default 30).
    ///
    /// # Errors
    /// One of them is wrong.
    pub fn from_env(drain: Duration) -> Result<Self, EnvError> {
        const CONNECTIONS: NonZeroU32 = NonZeroU32::new(1024).unwrap();
        let connections = env::or("LISTEN_MAX_CONNECTIONS", "a number from 1", CONNECTIONS)?;
        Ok(Self {
            connections: connections.get() as usize,
            client_timeout: env::seconds("LISTEN_CLIENT_TIMEOUT", 30.0)?,
            drain,
        })
    }
}
