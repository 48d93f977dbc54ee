//! A server is replaced while it is used, and nobody notices.
#![expect(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use service::{IDLE_CONNECTION, Limits, Readiness, Stop, health, listen, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const LIMITS: Limits = Limits {
    connections: 100,
    client_timeout: Duration::from_secs(30),
    drain: Duration::from_secs(20),
};

struct Instance {
    address: SocketAddr,
    stop: mpsc::Sender<()>,
    served: JoinHandle<()>,
    requests: Arc<AtomicUsize>,
}

impl Instance {
    fn start(address: SocketAddr) -> Self {
        let listener = listen(address, true).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let answer = || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            // Some requests are always on their way.
            tokio::time::sleep(Duration::from_millis(2)).await;
            "here"
        };
        let app = Router::new()
            .route("/", get(answer))
            .merge(health(Readiness::default()));
        let (stop, asked) = mpsc::channel(1);
        Self {
            address,
            stop,
            served: tokio::spawn(serve(listener, app, Stop::on(asked), LIMITS)),
            requests,
        }
    }

    /// How long it took.
    async fn stop(self) -> Duration {
        let asked = Instant::now();
        self.stop.send(()).await.unwrap();
        self.served.await.unwrap();
        asked.elapsed()
    }
}

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

async fn ask(connection: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = connection.read(&mut answer).await.unwrap();
    answer.truncate(length);
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_again_and_again_it_fails_no_request() {
    let mut instance = Instance::start(anywhere());
    let url = format!("http://{}/", instance.address);
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<JoinHandle<Vec<String>>> = (0..16)
        .map(|number| {
            let client = reqwest::Client::builder()
                .no_proxy()
                .pool_idle_timeout(IDLE_CONNECTION)
                // Every second one makes a new connection for each request.
                .pool_max_idle_per_host(number % 2)
                .timeout(Duration::from_secs(10))
                .build()
                .unwrap();
            let (url, done) = (url.clone(), done.clone());
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    match client.get(&url).send().await {
                        Ok(answer) if answer.status() == 200 => {}
                        other => failures.push(format!("{other:?}")),
                    }
                }
                failures
            })
        })
        .collect();
    for _ in 0..5 {
        let next = Instance::start(instance.address);
        let deadline = Instant::now() + Duration::from_secs(10);
        while next.requests.load(Ordering::SeqCst) < 20 {
            assert!(Instant::now() < deadline, "the new instance gets nothing");
            tokio::task::yield_now().await;
        }
        let old = std::mem::replace(&mut instance, next);
        old.stop().await;
    }
    done.store(true, Ordering::SeqCst);
    for client in clients {
        let failures = client.await.unwrap();
        assert!(failures.is_empty(), "{failures:#?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_good_for_one_more_request_after_the_stop() {
    let instance = Instance::start(anywhere());
    let address = instance.address;
    let mut connection = TcpStream::connect(address).await.unwrap();
    assert!(!ask(&mut connection, "/").await.contains("close"));
    let stopping = tokio::spawn(instance.stop());
    // Until nothing new is accepted.
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let answer = ask(&mut connection, "/").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
    // That was the last connection: nothing to wait for.
    assert!(stopping.await.unwrap() < IDLE_CONNECTION);
}

#[tokio::test]
async fn a_prober_does_not_hold_up_a_stop_and_an_idle_client_does_for_a_while() {
    for (path, waits) in [("/healthz", false), ("/", true)] {
        let instance = Instance::start(anywhere());
        let mut connection = TcpStream::connect(instance.address).await.unwrap();
        ask(&mut connection, path).await;
        let took = instance.stop().await;
        assert_eq!(took > IDLE_CONNECTION, waits, "{path}: {took:?}");
        assert!(took < 3 * IDLE_CONNECTION, "{path}: {took:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_an_error_unless_both_share_it() {
    let alone = listen(anywhere(), false).unwrap();
    let taken = alone.local_addr().unwrap();
    for shared in [false, true] {
        let error = listen(taken, shared).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    }
    let shared = listen(anywhere(), true).unwrap();
    let address = shared.local_addr().unwrap();
    assert!(listen(address, true).is_ok());
    let error = listen(address, false).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
