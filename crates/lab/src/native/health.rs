//! Asking a component whether it can serve.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::native::component::Probe;

/// An answer that takes longer is no answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A client for loopback: no proxy, no redirect, a deadline.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}

/// Ok, or what is wrong in a few words.
pub(crate) async fn check(client: &reqwest::Client, probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::Http(url) => http(client, url).await,
        Probe::Postgres { port } => tokio::time::timeout(TIMEOUT, postgres(*port))
            .await
            .unwrap_or_else(|_| Err(format!("no answer on port {port} within 2 s"))),
    }
}

async fn http(client: &reqwest::Client, url: &str) -> Result<(), String> {
    let response = client.get(url).send().await.map_err(|error| {
        if error.is_timeout() {
            format!("{url} does not answer within 2 s")
        } else if error.is_connect() {
            format!("{url} refuses connections")
        } else {
            format!("{url}: {error}")
        }
    })?;
    let status = response.status();
    if status == reqwest::StatusCode::OK {
        return Ok(());
    }
    let body = response.text().await.unwrap_or_default();
    let body: String = body.trim().chars().take(160).collect();
    Err(format!("{url} answers {} {body}", status.as_u16())
        .trim_end()
        .to_owned())
}

/// The first step of a login: a server that is ready asks for a password; one that still starts
/// or recovers answers with an error.
async fn postgres(port: u16) -> Result<(), String> {
    let io = |error: std::io::Error| format!("port {port}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(io)?;
    let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
    startup.extend_from_slice(b"user\0lab\0database\0lab\0\0");
    let length = u8::try_from(startup.len()).unwrap_or(u8::MAX);
    startup[3] = length;
    stream.write_all(&startup).await.map_err(io)?;
    let mut kind = [0];
    stream.read_exact(&mut kind).await.map_err(io)?;
    match kind[0] {
        b'R' => Ok(()),
        _ => Err("starting or recovering".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives one answer to whatever comes.
    async fn answering(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let _read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        port
    }

    #[tokio::test]
    async fn only_200_is_healthy_and_the_body_explains() {
        let client = client().unwrap();
        let port = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let url = format!("http://127.0.0.1:{port}/ready");
        assert_eq!(check(&client, &Probe::Http(url)).await, Ok(()));

        let port =
            answering(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 11\r\n\r\nno database")
                .await;
        let url = format!("http://127.0.0.1:{port}/ready");
        assert_eq!(
            check(&client, &Probe::Http(url.clone())).await,
            Err(format!("{url} answers 503 no database"))
        );
    }

    #[tokio::test]
    async fn a_closed_port_is_unhealthy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let client = client().unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(
            check(&client, &Probe::Http(url.clone())).await,
            Err(format!("{url} refuses connections"))
        );
        assert!(check(&client, &Probe::Postgres { port }).await.is_err());
    }

    #[tokio::test]
    async fn postgres_is_ready_when_it_asks_for_a_password() {
        let client = client().unwrap();
        let port = answering(b"R\0\0\0\x08\0\0\0\x0a").await;
        assert_eq!(check(&client, &Probe::Postgres { port }).await, Ok(()));
        let port = answering(b"E\0\0\0\x08\0\0\0\0").await;
        assert!(check(&client, &Probe::Postgres { port }).await.is_err());
    }
}
