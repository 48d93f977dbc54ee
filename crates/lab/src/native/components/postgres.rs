//! postgres: a small server of its own, with its data in the state directory. It refuses to run
//! as root; there it runs as another user.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User, chown};

use crate::Lab;
use crate::native::component::{
    Act, Before, Component, Debian, Found, Launch, Probe, Recipe, Source, Spec, Stop, System, Tier,
};
use crate::settings::Port;

pub(super) const COMPONENT: Component = Component {
    name: "postgres",
    core: true,
    tier: Tier::Database,
    ports: &[Port::Postgres],
    address: |settings| Some(settings.database_url()),
    recipe: |_| {
        Recipe::Sources(vec![
            Source::System(System {
                program: "postgres",
                directories: &[
                    "/usr/lib/postgresql/*/bin",
                    "/usr/pgsql-*/bin",
                    "/usr/libexec/postgresql*",
                    "/usr/local/pgsql/bin",
                ],
                version: &["--version"],
                at_least: &[13],
            }),
            Source::Debian(Debian {
                package: "postgresql",
                program: "usr/lib/postgresql/*/bin/postgres",
                elsewhere: &[
                    ("dnf", "postgresql-server"),
                    ("zypper", "postgresql-server"),
                    ("pacman", "postgresql"),
                    ("apk", "postgresql"),
                ],
            }),
        ])
    },
    configure,
    probe: |settings| Probe::Postgres {
        port: settings.port(Port::Postgres),
    },
    stop: Stop {
        // "Fast": ends sessions instead of waiting for them.
        signal: Signal::SIGINT,
        deadline: Duration::from_secs(15),
    },
};

/// What differs from the defaults: small, local, and nothing that needs LLVM.
const SETTINGS: [&str; 12] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=32MB",
    "max_connections=50",
    "jit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=128MB",
    "autovacuum_max_workers=1",
    "max_worker_processes=2",
    "track_activity_query_size=4096",
    "logging_collector=off",
];

fn configure(lab: &Lab, found: &Found) -> anyhow::Result<Launch> {
    let data = lab.paths.data("postgres");
    // The server insists on a directory that only its user can enter; this one is around it.
    let cluster = data.join("cluster");
    let user = other_user(&found.program, &data)?;
    let spec = |program: PathBuf| {
        let mut spec = Spec::component(lab, program);
        spec.user.clone_from(&user);
        // SIGTERM would wait for every session to end.
        spec.death_signal = Signal::SIGINT;
        spec.directory = Some(data.clone());
        if let Some(path) = found.library_path() {
            spec = spec.env("LD_LIBRARY_PATH", path);
        }
        spec
    };

    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    if let Some(user) = &user {
        chown(&data, Some(user.uid), Some(user.gid))
            .with_context(|| format!("cannot give {} to {}", data.display(), user.name))?;
        reachable(&data, user, "LAB_STATE_DIR")?;
        reachable(&found.program, user, "LAB_CACHE_DIR")?;
    }

    let mut before = Vec::new();
    if cluster.join("PG_VERSION").is_file() {
        same_version(&cluster, found)?;
        remove_stale_pid_file(&cluster);
    } else {
        let new = data.join("cluster.new");
        if new.exists() {
            std::fs::remove_dir_all(&new)
                .with_context(|| format!("cannot remove {}", new.display()))?;
        }
        let password = data.join("password");
        std::fs::write(&password, "lab\n")
            .with_context(|| format!("cannot write {}", password.display()))?;
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600))?;
        if let Some(user) = &user {
            chown(&password, Some(user.uid), Some(user.gid))?;
        }
        before.push(Before {
            what: "creating the database cluster",
            act: Act::Run {
                spec: spec(found.program.with_file_name("initdb"))
                    .arg("--username=lab")
                    .flag("--pwfile=", &password)
                    .arg("--auth=scram-sha-256")
                    .arg("--encoding=UTF8")
                    .arg("--locale=C")
                    .arg("--no-sync")
                    .arg("--no-instructions")
                    .flag("--pgdata=", &new),
                stdin: String::new(),
            },
        });
        before.push(Before {
            what: "creating the database lab",
            act: Act::Run {
                spec: spec(found.program.clone())
                    .arg("--single")
                    .arg("-D")
                    .arg(&new)
                    .arg("postgres"),
                stdin: "CREATE DATABASE lab OWNER lab\n".to_owned(),
            },
        });
        // Only a complete cluster gets the name.
        before.push(Before {
            what: "creating the database lab",
            act: Act::Rename {
                from: new,
                to: cluster.clone(),
            },
        });
    }

    let mut run = spec(found.program.clone())
        .arg("-D")
        .arg(&cluster)
        .arg("-p")
        .arg(lab.settings.port(Port::Postgres).to_string());
    for setting in SETTINGS {
        run = run.arg("-c").arg(setting);
    }
    let mut launch = Launch::new(run);
    launch.before = before;
    Ok(launch)
}

/// Root must not run a Postgres server: it runs as `postgres`, or else as `nobody`.
fn other_user(program: &Path, data: &Path) -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!(
        "{} refuses to run as root, and this machine has neither a user `postgres` nor `nobody` \
         to run it as (data: {})",
        program.display(),
        data.display()
    )
}

/// Whether another user can get to a path; `var` moves it when not.
fn reachable(path: &Path, user: &User, var: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    for directory in path.ancestors().skip(1) {
        let meta = std::fs::metadata(directory)
            .with_context(|| format!("cannot look at {}", directory.display()))?;
        let bit = if meta.uid() == user.uid.as_raw() {
            0o100
        } else if meta.gid() == user.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        ensure!(
            meta.mode() & bit != 0,
            "Postgres refuses to run as root, so it runs as the user `{}`, who may not enter {}: \
             set {var} to a directory that every user can enter",
            user.name,
            directory.display()
        );
    }
    Ok(())
}

/// A cluster only runs with the major version that made it.
fn same_version(cluster: &Path, found: &Found) -> anyhow::Result<()> {
    let made_by = std::fs::read_to_string(cluster.join("PG_VERSION"))?;
    let made_by = made_by.trim();
    let mut command = std::process::Command::new(&found.program);
    command.arg("--version");
    if let Some(path) = found.library_path() {
        command.env("LD_LIBRARY_PATH", path);
    }
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", found.program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2).unwrap_or_default();
    let major = version.split('.').next().unwrap_or_default();
    ensure!(
        major.is_empty() || major == made_by,
        "the lab's database was made by Postgres {made_by}, and {} is {version}: \
         `./lab down --purge` removes the old data",
        found.program.display()
    );
    Ok(())
}

/// After a `kill -9` or a reboot the file may name a process that is something else by now;
/// Postgres would take that for itself and refuse to start.
fn remove_stale_pid_file(cluster: &Path) {
    let path = cluster.join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return;
    };
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    let is_postgres = pid
        .and_then(|pid| procfs::process::Process::new(pid).ok())
        .and_then(|process| process.stat().ok())
        .is_some_and(|stat| stat.comm.starts_with("postgres") && stat.state != 'Z');
    if !is_postgres {
        let _absent = std::fs::remove_file(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_that_names_something_else_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("postmaster.pid");
        remove_stale_pid_file(dir.path());
        std::fs::write(&file, format!("{}\n/data\n", std::process::id())).unwrap();
        remove_stale_pid_file(dir.path());
        assert!(!file.exists());
    }

    #[test]
    fn a_closed_directory_is_named_with_the_variable() {
        let Some(nobody) = User::from_name("nobody").unwrap() else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        if Uid::effective() == nobody.uid {
            return;
        }
        let error = reachable(&closed.join("data"), &nobody, "LAB_STATE_DIR").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("LAB_STATE_DIR") && text.contains("`nobody`"),
            "{text}"
        );
    }
}
