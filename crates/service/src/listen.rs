use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};

use crate::Readiness;
use crate::env::{self, EnvError};

/// Connections that wait to be accepted.
const QUEUE: u32 = 1024;

/// Why a service could not listen or stopped early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `LISTEN_HOST`, `LISTEN_SHARED`, `LISTEN_WHEN_READY` or the port's variable is wrong.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address} (LISTEN_HOST, {variable}): {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The variable that moves it.
        variable: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// An address with or without the brackets that an IPv6 one has in a URL.
struct Host(IpAddr);

impl FromStr for Host {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        match bare {
            Some(bare) => bare.parse().map(IpAddr::V6),
            None => text.parse(),
        }
        .map(Self)
    }
}

fn address(variable: &'static str, default: u16) -> Result<SocketAddr, EnvError> {
    let Host(host) = env::or(
        "LISTEN_HOST",
        "an IP address such as 127.0.0.1, 0.0.0.0, ::1 or ::",
        Host(Ipv4Addr::LOCALHOST.into()),
    )?;
    let port = env::or(variable, "a port number from 0 to 65535", default)?;
    Ok(SocketAddr::new(host, port))
}

/// Where a program on this machine reaches what [`bind`] listens on: on `0.0.0.0` and `::`, that is
/// the loopback address of the same family.
///
/// # Errors
/// `LISTEN_HOST` or the port's variable is wrong.
pub fn local_address(variable: &'static str, default: u16) -> Result<SocketAddr, EnvError> {
    address(variable, default).map(reachable)
}

fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Listens on `LISTEN_HOST` (default 127.0.0.1) and the port in `variable`.
///
/// With `LISTEN_SHARED=true` another instance of the same user may listen there too, if it was
/// started with it as well: that is how an instance is replaced without a refused request. With
/// `LISTEN_WHEN_READY=true` the port is taken once everything is ready, and not before: whoever
/// replaces an instance sees by that that the new one can serve.
///
/// # Errors
/// A variable is wrong, or the address cannot be had.
pub async fn bind(
    variable: &'static str,
    default: u16,
    readiness: &Readiness,
) -> Result<TcpListener, ServeError> {
    const SWITCH: &str = "true or false";
    let address = address(variable, default)?;
    let shared = env::or("LISTEN_SHARED", SWITCH, false)?;
    if env::or("LISTEN_WHEN_READY", SWITCH, false)? {
        readiness.wait().await;
    }
    raise_descriptor_limit();
    listen(address, shared).map_err(|source| ServeError::Bind {
        address,
        variable,
        source,
    })
}

/// A connection takes a descriptor, and what it asks of an upstream takes another. The soft limit
/// is 1,024 on many systems, for the sake of programs that use `select`.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Listens on an address, alone or with other instances of the same user that share it.
///
/// # Errors
/// The address is taken, by somebody who does not share it say, or not ours.
pub fn listen(address: SocketAddr, shared: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of an earlier process that are still being closed do not keep the port.
    socket.set_reuseaddr(true)?;
    if shared {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(QUEUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_of_either_family() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:1"),
            ("0.0.0.0", "127.0.0.1:1"),
            ("192.0.2.7", "192.0.2.7:1"),
            ("::1", "[::1]:1"),
            ("[::1]", "[::1]:1"),
            ("::", "[::1]:1"),
            ("[::]", "[::1]:1"),
            ("2001:db8::7", "[2001:db8::7]:1"),
        ] {
            let Host(host) = text.parse().unwrap();
            let found = reachable(SocketAddr::new(host, 1));
            assert_eq!(found, address.parse().unwrap(), "{text}");
        }
        for text in [
            "localhost",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "[::1]:80",
            "127.0.0.1:80",
            "127.1",
            "fe80::1%lo",
            "*",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
