use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::Readiness;
use crate::env::{self, EnvError};
use crate::handover;

/// A client that leaves a connection unused for so long must not use it again: see [`serve`].
pub const IDLE_CONNECTION: Duration = Duration::from_millis(1_500);

/// How long a server that stops keeps connections open that nobody uses: longer than a client of
/// ours keeps them, so that none is closed at the moment a request is sent on it.
const LINGER: Duration = Duration::from_secs(2);

/// Nothing has come for so long: nothing is queued any more.
const QUIET: Duration = Duration::from_millis(50);
/// With clients that go on connecting, because there is no other instance, it is enough then.
const BACKLOG: Duration = Duration::from_millis(250);

/// Connections that wait to be accepted.
const QUEUE: u32 = 1024;

/// Why a service could not listen or stopped early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `LISTEN_HOST`, `LISTEN_SHARED`, `LISTEN_WHEN_READY` or the port's variable is wrong.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address} (LISTEN_HOST, {variable}): {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The variable that moves it.
        variable: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Listens on `LISTEN_HOST` (default 127.0.0.1) and the port in `variable`.
///
/// With `LISTEN_SHARED=true` another instance of the same user may listen there too, if it was
/// started with it as well: that is how an instance is replaced without a refused request. With
/// `LISTEN_WHEN_READY=true` the port is taken once everything is ready, and not before: whoever
/// replaces an instance sees by that that the new one can serve.
///
/// # Errors
/// A variable is wrong, or the address cannot be had.
pub async fn bind(
    variable: &'static str,
    default: u16,
    readiness: &Readiness,
) -> Result<TcpListener, ServeError> {
    const SWITCH: &str = "true or false";
    let host = env::or(
        "LISTEN_HOST",
        "an IP address",
        IpAddr::V4(Ipv4Addr::LOCALHOST),
    )?;
    let port = env::or(variable, "a port number from 0 to 65535", default)?;
    let shared = env::or("LISTEN_SHARED", SWITCH, false)?;
    if env::or("LISTEN_WHEN_READY", SWITCH, false)? {
        readiness.wait().await;
    }
    let address = SocketAddr::new(host, port);
    listen(address, shared).map_err(|source| ServeError::Bind {
        address,
        variable,
        source,
    })
}

/// Listens on an address, alone or with other instances of the same user that share it.
///
/// # Errors
/// The address is taken, by somebody who does not share it say, or not ours.
pub fn listen(address: SocketAddr, shared: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of an earlier process that are still being closed do not keep the port.
    socket.set_reuseaddr(true)?;
    if shared {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// What connections are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Each answer is the last of its connection.
    Draining,
    /// Connections that wait for a request are closed.
    Closing,
}

/// Serves until `stop` resolves. Then, so that no request is lost to the stop:
///
/// - New connections go to the instance that shares the port, if there is one. Those that the
///   kernel has queued for this one already are accepted and served.
/// - Each answer is the last one of its connection and says so. A connection without a request is
///   closed a little later, when a client that keeps to [`IDLE_CONNECTION`] does not use it any
///   more; at once if it only ever asked for health or metrics.
/// - Requests that were accepted are waited for, at most for `drain`.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    stop: impl Future<Output = ()> + Send,
    drain: Duration,
) {
    let (phase, watched) = watch::channel(Phase::Serving);
    let connections = TaskTracker::new();
    let draining = Arc::new(AtomicBool::new(false));
    let take = |(stream, peer): (TcpStream, SocketAddr)| {
        let (app, draining, watched) = (app.clone(), draining.clone(), watched.clone());
        connections.spawn(connection(stream, peer, app, draining, watched));
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => take(accepted),
                Err(error) => accept_failed(&error).await,
            },
            () = &mut stop => break,
        }
    }
    let deadline = Instant::now() + drain;
    draining.store(true, Ordering::Relaxed);
    phase.send_replace(Phase::Draining);
    handover::to_the_other(&listener);
    let enough = Instant::now() + BACKLOG;
    while let Ok(Ok(accepted)) = timeout(QUIET, listener.accept()).await {
        take(accepted);
        if Instant::now() >= enough {
            break;
        }
    }
    drop(listener);
    connections.close();
    let _some_are_idle = timeout(LINGER, connections.wait()).await;
    phase.send_replace(Phase::Closing);
    if timeout_at(deadline, connections.wait()).await.is_err() {
        tracing::warn!(
            ?drain,
            unfinished = connections.len(),
            "some requests were not answered before the drain deadline"
        );
    }
}

async fn accept_failed(error: &std::io::Error) {
    use std::io::ErrorKind;
    let of_one_connection = matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    );
    if !of_one_connection {
        // Out of descriptors, most likely: trying again at once would take a whole core.
        tracing::error!(%error, "no connection can be accepted; trying again in a second");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    draining: Arc<AtomicBool>,
    mut phase: watch::Receiver<Phase>,
) {
    // Whether closing it may cost somebody a request: not when it is a prober's.
    let matters = AtomicBool::new(true);
    let service = service_fn(|request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        matters.store(!is_probe(request.uri().path()), Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = app.clone().call(request);
        async {
            let mut answer = answer.await;
            if draining.load(Ordering::Relaxed)
                && let Ok(answer) = &mut answer
            {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            answer
        }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let close = async {
        // An error means that the server is gone: then it is time, too.
        let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
        if matters.load(Ordering::Relaxed) {
            let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = served.as_mut() => ended,
        () = close => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection broke");
    }
}

/// Paths that are asked at intervals, by somebody who asks again.
fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// Resolves on SIGTERM or Ctrl-C.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "cannot listen for signals; stop this process with SIGKILL");
            std::future::pending::<()>().await;
        }
    }
}
