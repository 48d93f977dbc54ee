//! What tests with a real lab share.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// A lab of this test; dropping it stops it.
pub(crate) struct TestLab {
    pub(crate) directory: TempDir,
    pub(crate) root: PathBuf,
    pub(crate) offset: u16,
    pub(crate) env: Vec<(&'static str, OsString)>,
}

impl TestLab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Postgres' user must get in.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        Self {
            directory,
            root: checkout(),
            offset: free_offset(),
            env: Vec::new(),
        }
    }

    pub(crate) fn state_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_lab"));
        command.args(args);
        command
    }

    /// One that asks for this lab.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env("LAB_ROOT", &self.root)
            .env("LAB_STATE_DIR", self.state_dir())
            .env("LAB_PORT_OFFSET", self.offset.to_string())
            .env_remove("LAB_ENGINE")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub(crate) fn lab(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        assert!(
            output.status.success(),
            "lab {args:?} ended with {}:\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.command(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn component(&self, name: &str) -> Value {
        let status = self.status();
        let components = status["components"].as_array().cloned().unwrap_or_default();
        let component = components.into_iter().find(|each| each["name"] == name);
        component.unwrap_or_default()
    }

    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        i32::try_from(self.component(name)["process"]["pid"].as_i64()?).ok()
    }

    pub(crate) fn address(&self, port: u16, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", port + self.offset)
    }

    /// The page that users is scraped from.
    pub(crate) fn page(&self) -> String {
        let url = self.address(8000, "/metrics");
        get(async |client| client.get(&url).send().await.unwrap().text().await.unwrap())
    }

    /// A counter on the page that users is scraped from; 0 when it is not there.
    pub(crate) fn scraped(&self, series: &str) -> u64 {
        let page = self.page();
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let _stopped = self.command(&["down", "--purge"]).output();
    }
}

pub(crate) fn get<T>(ask: impl AsyncFnOnce(reqwest::Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    runtime.block_on(ask(client))
}

pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// An offset with which every port of the lab is free, above that of the lab that runs the tests.
fn free_offset() -> u16 {
    let first = std::env::var("LAB_PORT_OFFSET")
        .ok()
        .and_then(|offset| offset.parse().ok())
        .unwrap_or(700_u16)
        + 400;
    let text = std::fs::read_to_string(checkout().join(".env")).unwrap();
    let ports: Vec<u16> = text
        .lines()
        .filter_map(|line| line.split_once("_PORT=")?.1.trim().parse().ok())
        .collect();
    (0..40)
        .map(|step| first + 50 * step)
        .find(|offset| {
            ports
                .iter()
                .all(|port| TcpListener::bind(("127.0.0.1", port + offset)).is_ok())
        })
        .expect("no offset has all ports free")
}

pub(crate) fn eventually(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        pause(Duration::from_millis(50));
    }
    condition()
}

#[expect(
    clippy::disallowed_methods,
    reason = "polls from outside, with a deadline, what another process does"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}
