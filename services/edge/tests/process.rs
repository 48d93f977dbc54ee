//! The program: how it is asked for its health, and how it ends.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

const DEADLINE: Duration = Duration::from_secs(20);

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

fn edge(port: &str, vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge"));
    command
        .envs([("EDGE_PORT", port), ("OTEL_SDK_DISABLED", "true")])
        .envs(vars.iter().copied())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[tokio::test]
async fn it_is_healthy_on_whatever_host_it_listens() {
    for host in ["127.0.0.1", "0.0.0.0", "::1", "[::1]", "::"] {
        if host.contains(':') && TcpListener::bind("[::1]:0").is_err() {
            continue; // A machine without IPv6.
        }
        let port = free_port();
        let vars = [("LISTEN_HOST", host)];
        let mut healthcheck = edge(&port, &vars);
        healthcheck.arg("healthcheck");
        let _server = edge(&port, &vars).spawn().unwrap();
        let started = Instant::now();
        loop {
            let output = healthcheck.output().await.unwrap();
            if output.status.success() {
                break;
            }
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(started.elapsed() < DEADLINE, "{host}: {why}");
        }
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_with_its_telemetry_sent() {
    let receiver = MockServer::start().await;
    let accepted = ResponseTemplate::new(200).set_body_raw("{}", "application/json");
    Mock::given(path("/v1/traces"))
        .respond_with(accepted)
        .mount(&receiver)
        .await;
    let users = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
    Mock::given(path("/users"))
        .respond_with(slow)
        .mount(&users)
        .await;
    let port = free_port();
    let mut server = edge(
        &port,
        &[
            ("OTEL_SDK_DISABLED", "false"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.uri()),
            ("USERS_URL", &users.uri()),
        ],
    )
    .spawn()
    .unwrap();
    let client = reqwest::Client::builder()
        .timeout(DEADLINE)
        .build()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}/users");
    let caller = tokio::spawn(async move {
        while let Err(error) = client.get(&url).send().await {
            if !error.is_connect() {
                return;
            }
        }
        panic!("an answer without an answer of users");
    });
    let started = Instant::now();
    while users.received_requests().await.unwrap().is_empty() {
        assert!(started.elapsed() < DEADLINE, "no request arrived");
        sleep(Duration::from_millis(20)).await;
    }

    signal(&server, Signal::SIGTERM);
    let ended = timeout(Duration::from_secs(3), server.wait()).await;
    assert!(ended.is_err(), "it did not wait for the request");
    let asked = Instant::now();
    signal(&server, Signal::SIGINT);
    let status = timeout(DEADLINE, server.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    caller.await.unwrap();
    let sent = receiver.received_requests().await.unwrap();
    let sent: String = sent
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body))
        .collect();
    for expected in ["\"GET /users\"", "\"cancelled\""] {
        assert!(sent.contains(expected), "no {expected} in {sent}");
    }
}
