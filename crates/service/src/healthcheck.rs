//! The question a container engine asks: a program's own image has no shell and no other program
//! to ask with, so that each service asks itself.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::local_address;

/// The argument that turns a service into its own probe.
const ARGUMENT: &str = "healthcheck";
/// Shorter than the time an engine allows.
const PATIENCE: Duration = Duration::from_secs(3);

/// Started as `<service> healthcheck`, this asks the service that runs on the same host and port
/// for `/readyz`: the exit code is 0 when it is ready, and 1 with the reason on stderr when it is not.
/// `None` when the program was started to serve.
#[must_use]
pub fn healthcheck(variable: &'static str, default: u16) -> Option<ExitCode> {
    if std::env::args().nth(1).as_deref() != Some(ARGUMENT) {
        return None;
    }
    let answer = local_address(variable, default)
        .map_err(|error| error.to_string())
        .and_then(ask);
    Some(match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // The engine keeps it: `docker inspect` shows it.
            let _nobody_reads = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    })
}

fn ask(address: SocketAddr) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("http://{address}/readyz: {error}");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream
        .write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .map_err(failed)?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().transpose().map_err(failed)?;
    let status = status.unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    // The body, behind the headers, has the reasons.
    let body: Vec<String> = lines
        .map_while(Result::ok)
        .skip_while(|line| !line.is_empty())
        .skip(1)
        .collect();
    Err(format!(
        "http://{address}/readyz: {status}: {}",
        body.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Readiness, health};

    #[tokio::test(flavor = "multi_thread")]
    async fn ready_unready_and_absent_are_told_apart() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            told_apart(address).await;
        }
    }

    async fn told_apart(address: &str) {
        let readiness = Readiness::default();
        readiness.not_ready("database", "not reached yet");
        let listener = match tokio::net::TcpListener::bind(address).await {
            Err(_) if address.starts_with('[') => return, // A machine without IPv6.
            listener => listener.unwrap(),
        };
        let address = listener.local_addr().unwrap();
        let app = health::<()>(readiness.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let asked = || tokio::task::spawn_blocking(move || ask(address));

        let why = asked().await.unwrap().unwrap_err();
        assert!(
            why.contains("503") && why.contains("not reached yet"),
            "{why}"
        );
        readiness.ready("database");
        assert_eq!(asked().await.unwrap(), Ok(()));
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        let why = asked().await.unwrap().unwrap_err();
        assert!(why.contains("refused"), "{why}");
    }
}
