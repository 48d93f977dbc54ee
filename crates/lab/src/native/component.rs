//! What the engine must know about a component.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::User;
use sha2::{Digest, Sha256};

use crate::Lab;
use crate::native::environment;
use crate::settings::{Port, Settings};

/// One component. Each has its own file with one such value.
pub(crate) struct Component {
    /// Folder in `infra/`, compose service, and name in every table.
    pub(crate) name: &'static str,
    /// `up` waits for it.
    pub(crate) core: bool,
    pub(crate) tier: Tier,
    /// Every port it listens on.
    pub(crate) ports: &'static [Port],
    /// What a person opens or calls.
    pub(crate) address: fn(&Settings) -> Option<String>,
    /// Where its program can come from.
    pub(crate) recipe: fn(&Lab) -> Recipe,
    /// Writes its configuration and says how to start it.
    pub(crate) configure: fn(&Lab, &Found) -> anyhow::Result<Launch>,
    pub(crate) probe: fn(&Settings) -> Probe,
    pub(crate) stop: Stop,
}

/// The order of stopping: who sends goes before who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    Front,
    Service,
    Collector,
    Backend,
    Database,
}

impl Tier {
    pub(crate) const ALL: [Self; 5] = [
        Self::Front,
        Self::Service,
        Self::Collector,
        Self::Backend,
        Self::Database,
    ];

    /// Who watches keeps to half of the processors, so that those who are watched always find one. What
    /// comes faster than half of them can take waits in the services, up to the bounds of their queues.
    pub(crate) fn aside(self) -> bool {
        match self {
            Self::Collector | Self::Backend => true,
            Self::Front | Self::Service | Self::Database => false,
        }
    }
}

/// How far Jaeger and Loki leave the processor to the Collector, which shares their half with them: what comes faster
/// than they can store waits in its queue on disk, and no longer in the memory of the services.
pub(crate) const STORE_NICE: i32 = 10;

/// Where a component's program comes from.
pub(crate) enum Recipe {
    /// It is this program.
    Own,
    /// Tried in this order; the first that can be had is used.
    Sources(Vec<Source>),
    /// There is a container image and nothing else.
    ComposeOnly,
}

pub(crate) enum Source {
    /// A program of this machine.
    System(System),
    /// A Debian package, downloaded and unpacked into the cache, never installed.
    Debian(Debian),
    /// Built from a Go module of the checkout.
    Go(GoModule),
    /// A crate of the workspace.
    Cargo { package: &'static str },
    /// A crate of the workspace, and the page it serves.
    Page(Page),
}

pub(crate) struct System {
    pub(crate) program: &'static str,
    /// Directories to look in besides PATH, `*` standing for a version; the highest is taken.
    pub(crate) directories: &'static [&'static str],
    /// How it is asked for its version.
    pub(crate) version: &'static [&'static str],
    /// The lowest version that will do.
    pub(crate) at_least: &'static [u32],
}

pub(crate) struct Debian {
    /// Also a virtual or meta package (`postgresql`).
    pub(crate) package: &'static str,
    /// Where the program is inside the package, `*` standing for a version.
    pub(crate) program: &'static str,
    /// What to type where there is no apt: (package manager, package).
    pub(crate) elsewhere: &'static [(&'static str, &'static str)],
}

pub(crate) struct GoModule {
    /// Directory of `go.mod`, relative to the checkout.
    pub(crate) directory: &'static str,
    /// What is built: `.` or an import path.
    pub(crate) package: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// The crate that serves it.
    pub(crate) server: &'static str,
    /// Directory of `package.json`, relative to the checkout.
    pub(crate) directory: &'static str,
}

/// A program that is ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) program: PathBuf,
    /// For a person: "PATH", "Debian package prometheus 2.42", "built".
    pub(crate) source: String,
    /// The unpacked package, when the program is inside one.
    pub(crate) prefix: Option<PathBuf>,
}

impl Found {
    /// Directories with the shared libraries that came along.
    pub(crate) fn library_path(&self) -> Option<OsString> {
        let prefix = self.prefix.as_ref()?;
        let directories = super::provision::debian::library_directories(prefix);
        std::env::join_paths(directories)
            .ok()
            .filter(|path| !path.is_empty())
    }
}

/// One command: a child process, or something that runs before it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(String, OsString)>,
    /// The user to run as, when that is another one.
    pub(crate) user: Option<User>,
    pub(crate) directory: Option<PathBuf>,
    /// What the child gets when the supervisor dies.
    pub(crate) death_signal: Signal,
    /// How far it leaves the processor to others: 0 is as others, 19 is last.
    pub(crate) nice: i32,
    /// It runs on the upper half of the processors.
    pub(crate) aside: bool,
    /// Talks to loopback only: variables of the caller that would send it elsewhere are removed.
    pub(crate) local: bool,
}

impl Spec {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            user: None,
            directory: None,
            death_signal: Signal::SIGTERM,
            nice: 0,
            aside: false,
            local: false,
        }
    }

    /// A component, with the environment that each of them gets.
    pub(crate) fn component(lab: &Lab, program: impl Into<PathBuf>) -> Self {
        Self {
            env: environment::common(lab),
            local: true,
            ..Self::new(program)
        }
    }

    pub(crate) fn nice(mut self, nice: i32) -> Self {
        self.nice = nice;
        self
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// `<name><value>`, for flags of the form `--flag=value`.
    pub(crate) fn flag(self, name: &str, value: impl Into<OsString>) -> Self {
        let mut arg = OsString::from(name);
        arg.push(value.into());
        self.arg(arg)
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }
}

/// How a component is started.
pub(crate) struct Launch {
    /// Run to their end, one after the other, before the program.
    pub(crate) before: Vec<Before>,
    pub(crate) run: Spec,
    /// Files whose change means a restart.
    pub(crate) inputs: Vec<PathBuf>,
    /// The port that two instances can share: a new one is started before the old one is stopped.
    pub(crate) shared: Option<u16>,
    /// What of its configuration is left out, and why.
    pub(crate) notice: Option<String>,
}

pub(crate) struct Before {
    /// "creating the database"
    pub(crate) what: &'static str,
    pub(crate) act: Act,
}

pub(crate) enum Act {
    Run { spec: Spec, stdin: String },
    Rename { from: PathBuf, to: PathBuf },
}

impl Launch {
    pub(crate) fn new(run: Spec) -> Self {
        Self {
            before: Vec::new(),
            run,
            inputs: Vec::new(),
            shared: None,
            notice: None,
        }
    }

    /// Changes when the program, its arguments, its environment or its files change.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(file_identity(&self.run.program));
        for arg in &self.run.args {
            hash.update(arg.as_encoded_bytes());
            hash.update([0]);
        }
        for (name, value) in &self.run.env {
            hash.update(name);
            hash.update([b'=']);
            hash.update(value.as_encoded_bytes());
            hash.update([0]);
        }
        for path in &self.inputs {
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update([0]);
            hash.update(std::fs::read(path).unwrap_or_default());
            hash.update([0]);
        }
        format!("{:x}", hash.finalize())
    }
}

/// Tells one build of a program from another without reading all of it.
pub(crate) fn file_identity(path: &std::path::Path) -> String {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or_else(
        |_| format!("{} absent", path.display()),
        |meta| {
            format!(
                "{} {} {}.{}",
                path.display(),
                meta.len(),
                meta.mtime(),
                meta.mtime_nsec()
            )
        },
    )
}

/// How the engine knows that a component can serve.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// 200 means yes.
    Http(String),
    /// The server asks for a password.
    Postgres { port: u16 },
}

#[derive(Clone, Copy)]
pub(crate) struct Stop {
    pub(crate) signal: Signal,
    /// Time to end by itself before it is killed.
    pub(crate) deadline: Duration,
}

impl Stop {
    pub(crate) const TERM: Self = Self {
        signal: Signal::SIGTERM,
        deadline: Duration::from_secs(10),
    };
}
