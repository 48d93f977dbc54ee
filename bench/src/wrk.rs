//! The load: wrk, saturating or with pauses.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::child;

const REPORT: &str = include_str!("wrk.lua");
/// Longer than a chain at its worst takes to answer.
const TIMEOUT: &str = "30s";

/// How wrk asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) connections: u32,
    /// Requests a second, or as many as are answered.
    pub(crate) rate: Option<f64>,
}

impl Shape {
    /// The mean pause of a connection that makes the rate, if answers are quick beside it.
    fn pause_ms(self) -> u64 {
        self.rate.map_or(0, |rate| {
            (f64::from(self.connections) * 1000.0 / rate).round() as u64
        })
    }
}

/// What wrk reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) duration_us: u64,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

impl Report {
    pub(crate) fn errors(&self) -> u64 {
        self.connect + self.read + self.write + self.status + self.timeout
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.duration_us.max(1) as f64
    }
}

/// wrk and where it may write.
pub(crate) struct Wrk {
    program: PathBuf,
    library_path: Option<String>,
    directory: PathBuf,
}

impl Wrk {
    pub(crate) fn new(program: PathBuf, library_path: Option<String>, directory: &Path) -> Self {
        Self {
            program,
            library_path,
            directory: directory.to_path_buf(),
        }
    }

    /// Loads for that long. Dropping the future ends it.
    pub(crate) async fn run(
        &self,
        url: &str,
        shape: Shape,
        time: Duration,
    ) -> anyhow::Result<Report> {
        let script = self.directory.join("wrk.lua");
        std::fs::write(
            &script,
            REPORT.replace("PAUSE_MS", &shape.pause_ms().to_string()),
        )
        .with_context(|| format!("cannot write {}", script.display()))?;
        let mut command = child::command(&self.program);
        command
            .arg("-t1")
            .arg(format!("-c{}", shape.connections))
            .arg(format!("-d{}s", time.as_secs().max(1)))
            .args(["--timeout", TIMEOUT, "-s"])
            .arg(&script)
            .arg(url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        let output = child::output(command, time + Duration::from_secs(60))
            .await
            .with_context(|| format!("{} -c{}", self.program.display(), shape.connections))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("wrk on {url} failed: {} {}", why.trim(), text.trim());
        }
        let report = parse(&text)?;
        ensure!(
            report.requests > 0,
            "wrk got no answer from {url}:\n{}",
            text.trim()
        );
        Ok(report)
    }
}

/// The script's line among wrk's own ones.
fn parse(text: &str) -> anyhow::Result<Report> {
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .with_context(|| format!("wrk printed no report:\n{}", text.trim()))?;
    serde_json::from_str(line).with_context(|| format!("wrk's report cannot be read: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 2s test @ http://127.0.0.1:8001/users\n  1 threads and 10 connections\n\
        Requests/sec:   4999.50\nTransfer/sec:      1.00MB\n\
        {\"requests\":10000,\"duration_us\":2000000,\"connect\":1,\"read\":2,\"write\":3,\"status\":4,\"timeout\":5,\
        \"p50_us\":1800,\"p90_us\":2500,\"p99_us\":4100,\"max_us\":9000}\n";

    #[test]
    fn the_report_is_found_among_the_lines_of_wrk() {
        let report = parse(TEXT).unwrap();
        assert_eq!(report.errors(), 15);
        assert!((report.per_second() - 5000.0).abs() < 1e-9);
        assert!((report.p99_us - 4100.0).abs() < 1e-9);
        let error = parse("unable to connect to 127.0.0.1:1\n").unwrap_err();
        assert!(error.to_string().contains("unable to connect"), "{error}");
        assert!(parse("{\"requests\":1}\n").is_err());
    }

    #[test]
    fn a_rate_is_made_by_pauses() {
        let shape = |connections, rate| Shape { connections, rate };
        assert_eq!(shape(64, Some(1000.0)).pause_ms(), 64);
        assert_eq!(shape(64, None).pause_ms(), 0);
    }
}
