//! What a client that stalls, or that never ends, may take of a server.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use service::{Limits, Stop, listen, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// By then it has failed.
const DEADLINE: Duration = Duration::from_secs(10);

const HALF: &str = "GET / HTTP/1.1\r\nhost: here\r\nx-half:";

const PATIENT: Limits = Limits {
    connections: 100,
    client_timeout: Duration::from_secs(60),
    drain: Duration::from_secs(60),
};
const IMPATIENT: Limits = Limits {
    client_timeout: Duration::from_millis(300),
    ..PATIENT
};

struct Server {
    address: SocketAddr,
    stop: mpsc::Sender<()>,
    served: JoinHandle<()>,
}

impl Server {
    fn start(limits: Limits) -> Self {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/", get(async || "here"))
            .route("/for-ever", get(std::future::pending::<()>))
            .route("/large", get(async || vec![b'x'; 32 << 20]))
            .route(
                "/body",
                post(async |body: Bytes| format!("{} bytes", body.len())),
            );
        let (stop, asked) = mpsc::channel(1);
        Self {
            address,
            stop,
            served: tokio::spawn(serve(listener, app, Stop::on(asked), limits)),
        }
    }

    async fn connect(&self, text: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(text.as_bytes()).await.unwrap();
        connection
    }

    /// How long it took.
    async fn stop(self) -> Duration {
        let asked = Instant::now();
        self.stop.send(()).await.unwrap();
        timeout(DEADLINE, self.served).await.unwrap().unwrap();
        asked.elapsed()
    }
}

/// Everything until the server closes the connection.
async fn rest(connection: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends it as well.
    let _ = timeout(DEADLINE, connection.read_to_end(&mut text))
        .await
        .expect("still open");
    String::from_utf8(text).unwrap()
}

/// One answer, and the connection stays open.
async fn answer(connection: &mut TcpStream) -> String {
    let mut text = vec![0; 64 << 10];
    let read = timeout(DEADLINE, connection.read(&mut text)).await;
    text.truncate(read.expect("no answer").unwrap());
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_connection_that_sends_no_or_half_a_request_is_closed() {
    let server = Server::start(IMPATIENT);
    let whole = "GET / HTTP/1.1\r\nhost: here\r\n\r\n";
    for (text, answers) in [
        ("", 0),
        (HALF, 0),
        (whole, 1),
        (&format!("{whole}{HALF}"), 1),
    ] {
        let started = Instant::now();
        let mut connection = server.connect(text).await;
        let found = rest(&mut connection).await;
        assert_eq!(
            found.matches("200 OK").count(),
            answers,
            "{text:?}: {found}"
        );
        assert!(started.elapsed() >= IMPATIENT.client_timeout, "{text:?}");
    }
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused() {
    let server = Server::start(IMPATIENT);
    let head = "POST /body HTTP/1.1\r\nhost: here\r\ncontent-length: 1000\r\n\r\n";
    let mut connection = server.connect(head).await;
    assert!(answer(&mut connection).await.starts_with("HTTP/1.1 400"));

    // Time is for all of it, not for each part.
    let (mut reads, mut writes) = server.connect(head).await.into_split();
    let drip = tokio::spawn(async move {
        while writes.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let mut text = [0; 12];
    let read = timeout(DEADLINE, reads.read_exact(&mut text)).await;
    read.expect("no answer").unwrap();
    assert_eq!(&text, b"HTTP/1.1 400");
    drop(reads);
    timeout(DEADLINE, drip).await.unwrap().unwrap();

    let mut connection = server
        .connect("POST /body HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n\r\nbody")
        .await;
    assert!(answer(&mut connection).await.ends_with("4 bytes"));
}

#[tokio::test]
async fn an_answer_that_is_not_taken_frees_its_connection() {
    let server = Server::start(Limits {
        connections: 1,
        ..IMPATIENT
    });
    let mut greedy = server
        .connect("GET /large HTTP/1.1\r\nhost: here\r\n\r\n")
        .await;
    greedy.readable().await.unwrap();
    // It has the only place, and the next one gets it.
    let mut next = server.connect("GET / HTTP/1.1\r\nhost: here\r\n\r\n").await;
    assert!(answer(&mut next).await.contains("200 OK"));
    let mut taken = Vec::new();
    assert!(greedy.read_to_end(&mut taken).await.is_err());
    assert!(taken.len() < 32 << 20);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start(PATIENT);
    let line = |length| format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(length));
    let mut connection = server.connect(&line(60 << 10)).await;
    assert!(answer(&mut connection).await.starts_with("HTTP/1.1 200"));
    let mut connection = server.connect(&line(70 << 10)).await;
    assert!(answer(&mut connection).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_a_place() {
    let server = Server::start(Limits {
        connections: 2,
        ..PATIENT
    });
    let request = "GET / HTTP/1.1\r\nhost: here\r\n\r\n";
    let mut first = server.connect(request).await;
    answer(&mut first).await;
    let mut second = server.connect(request).await;
    answer(&mut second).await;
    let mut third = server.connect(request).await;
    let waits = timeout(Duration::from_millis(300), third.readable()).await;
    assert!(waits.is_err(), "a third one was served");
    drop(first);
    assert!(answer(&mut third).await.contains("200 OK"));

    // A full server stops like any other, and serves what waits.
    let mut fourth = server.connect(request).await;
    let stopping = tokio::spawn(server.stop());
    assert!(answer(&mut fourth).await.contains("200 OK"));
    stopping.await.unwrap();
}

#[tokio::test]
async fn half_a_request_does_not_hold_up_a_stop() {
    let whole = "GET / HTTP/1.1\r\nhost: here\r\n\r\n";
    let body = "POST /body HTTP/1.1\r\nhost: here\r\ncontent-length: 9\r\n\r\nhalf";
    for text in ["", HALF, &format!("{whole}{HALF}"), body] {
        let server = Server::start(PATIENT);
        let _held = server.connect(text).await;
        let took = server.stop().await;
        assert!(took < Duration::from_secs(4), "{text:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_request_is_cut_off_by_a_second_stop_and_by_the_deadline() {
    let request = "GET /for-ever HTTP/1.1\r\nhost: here\r\n\r\n";
    let server = Server::start(PATIENT);
    let mut connection = server.connect(request).await;
    let stop = server.stop.clone();
    let stopping = tokio::spawn(server.stop());
    let waits = timeout(Duration::from_secs(3), connection.readable()).await;
    assert!(waits.is_err(), "one stop has cut it off");
    let asked = Instant::now();
    stop.send(()).await.unwrap();
    assert_eq!(rest(&mut connection).await, "");
    stopping.await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1));

    let server = Server::start(Limits {
        drain: Duration::from_millis(300),
        ..PATIENT
    });
    let mut connection = server.connect(request).await;
    assert!(server.stop().await < Duration::from_secs(2));
    assert_eq!(rest(&mut connection).await, "");
}
