//! Ports that are taken, and by whom.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use nix::unistd::User;
use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::FDTarget;

use crate::process;
use crate::settings::{Port, Settings};

/// A port the lab wants and cannot have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) component: &'static str,
    pub(crate) var: &'static str,
    pub(crate) port: u16,
    pub(crate) why: Why,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Taken(Option<Owner>),
    /// Below 1024, and not root.
    Forbidden,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pid: i32,
    pub(crate) command: String,
    pub(crate) user: String,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            component,
            var,
            port,
            why,
        } = self;
        match why {
            Why::Taken(Some(Owner { pid, command, user })) => write!(
                f,
                "port {port} for {component} is in use by process {pid} of {user} (`{command}`)"
            )?,
            Why::Taken(None) => write!(
                f,
                "port {port} for {component} is in use by a process that you may not see"
            )?,
            Why::Forbidden => write!(
                f,
                "port {port} for {component} is below 1024 and needs root"
            )?,
        }
        write!(f, "; {var} moves it")
    }
}

/// Which of these ports cannot be listened on.
pub(crate) fn conflicts(
    settings: &Settings,
    wanted: impl Iterator<Item = (&'static str, Port)>,
) -> Vec<Conflict> {
    let mut conflicts: Vec<Conflict> = wanted
        .filter_map(|(component, port)| {
            let number = settings.port(port);
            let why = match TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], number))) {
                Ok(_) => return None,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Why::Forbidden,
                Err(_) => Why::Taken(None),
            };
            Some(Conflict {
                component,
                var: port.var(),
                port: number,
                why,
            })
        })
        .collect();
    for conflict in &mut conflicts {
        if conflict.why == Why::Taken(None) {
            conflict.why = Why::Taken(owner(conflict.port));
        }
    }
    conflicts
}

/// The process that listens on a port.
pub(crate) fn owner(port: u16) -> Option<Owner> {
    let listens =
        |entry: &TcpNetEntry| entry.state == TcpState::Listen && entry.local_address.port() == port;
    let entries = procfs::net::tcp()
        .into_iter()
        .flatten()
        .chain(procfs::net::tcp6().into_iter().flatten());
    let sockets: HashSet<u64> = entries.filter(listens).map(|entry| entry.inode).collect();
    for process in procfs::process::all_processes().ok()?.flatten() {
        let Ok(descriptors) = process.fd() else {
            continue;
        };
        let holds = descriptors
            .flatten()
            .any(|fd| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode)));
        if holds {
            let user = process
                .uid()
                .ok()
                .map(|uid| {
                    User::from_uid(uid.into())
                        .ok()
                        .flatten()
                        .map_or_else(|| format!("user {uid}"), |user| user.name)
                })
                .unwrap_or_default();
            return Some(Owner {
                pid: process.pid(),
                command: process::command_line(process.pid()).unwrap_or_default(),
                user,
            });
        }
    }
    None
}

/// Whether a process listens on a port, alone or with others.
pub(crate) fn listens(pid: i32, port: u16) -> bool {
    let Ok(descriptors) = procfs::process::Process::new(pid).and_then(|process| process.fd())
    else {
        return false;
    };
    let entries = procfs::net::tcp()
        .into_iter()
        .flatten()
        .chain(procfs::net::tcp6().into_iter().flatten());
    let sockets: HashSet<u64> = entries
        .filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port)
        .map(|entry| entry.inode)
        .collect();
    descriptors
        .flatten()
        .any(|fd| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let owner = owner(port).unwrap();
        assert_eq!(u32::try_from(owner.pid).unwrap(), std::process::id());
        assert!(owner.command.contains("lab"));
        assert!(listens(owner.pid, port));
        assert!(!listens(owner.pid, 1));
    }

    #[test]
    fn messages_name_port_owner_and_variable() {
        let mut conflict = Conflict {
            component: "edge",
            var: "EDGE_PORT",
            port: 8001,
            why: Why::Taken(Some(Owner {
                pid: 42,
                command: "python3 -m http.server 8001".into(),
                user: "ann".into(),
            })),
        };
        assert_eq!(
            conflict.to_string(),
            "port 8001 for edge is in use by process 42 of ann (`python3 -m http.server 8001`); \
             EDGE_PORT moves it"
        );
        conflict.why = Why::Taken(None);
        assert!(conflict.to_string().contains("that you may not see"));
        conflict.why = Why::Forbidden;
        assert!(conflict.to_string().contains("needs root"));
    }
}
