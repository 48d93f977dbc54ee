use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::{Limits, Stop, body, handover};

/// A client that leaves a connection unused for so long must not use it again: see [`serve`].
pub const IDLE_CONNECTION: Duration = Duration::from_millis(1_500);

/// How long a server that stops keeps connections open that nobody uses: longer than a client of
/// ours keeps them, so that none is closed at the moment a request is sent on it.
const LINGER: Duration = Duration::from_secs(2);

/// Nothing has come for so long: nothing is queued any more.
const QUIET: Duration = Duration::from_millis(50);
/// With clients that go on connecting, because there is no other instance, it is enough then.
const BACKLOG: Duration = Duration::from_millis(250);

/// Connections that are cut off end as soon as their handlers yield.
const CUT_OFF: Duration = Duration::from_secs(1);

/// The longest head of a request in bytes: what a caller's `tracestate` and `baggage` can come to,
/// which are passed on, is well below.
const LONGEST_HEAD: usize = 64 * 1024;

/// How often a log line says that no further connection is accepted.
const FULL_AGAIN: Duration = Duration::from_secs(60);

/// What connections are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Each answer is the last of its connection.
    Draining,
    /// Connections that wait for a request, or for the rest of one, are closed.
    Closing,
    /// All connections are closed.
    CutOff,
}

impl Phase {
    /// Resolves once connections are told this or more.
    async fn reached(self, mut told: watch::Receiver<Self>) {
        // An error means that the server is gone: then it is time, too.
        let _ = told.wait_for(|phase| *phase >= self).await;
    }
}

/// Serves until `stop` asks for the first time. Then, so that no request is lost to the stop:
///
/// - New connections go to the instance that shares the port, if there is one. Those that the
///   kernel has queued for this one already are accepted and served.
/// - Each answer is the last one of its connection and says so. A connection without a request, or
///   with a part of one, is closed a little later, when a client that keeps to
///   [`IDLE_CONNECTION`] does not use it any more; at once if it only ever asked for health or
///   metrics.
/// - Requests that were accepted are waited for, at most for `limits.drain`, and no longer than
///   until `stop` asks for the second time. What is unfinished then is cut off.
pub async fn serve(listener: TcpListener, app: Router, mut stop: Stop, limits: Limits) {
    let (phase, watched) = watch::channel(Phase::Serving);
    let connections = TaskTracker::new();
    let draining = Arc::new(AtomicBool::new(false));
    let take = |(stream, peer): (TcpStream, SocketAddr), place: Option<OwnedSemaphorePermit>| {
        let connection = Connection {
            peer,
            app: app.clone(),
            draining: draining.clone(),
            phase: watched.clone(),
            client_timeout: limits.client_timeout,
            _place: place,
        };
        connections.spawn(connection.serve(stream));
    };
    let mut places = Places::new(limits.connections);
    loop {
        let accepted = async { (places.next().await, listener.accept().await) };
        tokio::select! {
            (place, accepted) = accepted => match accepted {
                Ok(accepted) => take(accepted, place),
                Err(error) => accept_failed(&error).await,
            },
            () = stop.asked() => break,
        }
    }
    draining.store(true, Ordering::Relaxed);
    phase.send_replace(Phase::Draining);
    let drained = async {
        handover::to_the_other(&listener);
        let enough = Instant::now() + BACKLOG;
        while let Ok(Ok(accepted)) = timeout(QUIET, listener.accept()).await {
            // The kernel bounds its queue: these need no place.
            take(accepted, None);
            if Instant::now() >= enough {
                break;
            }
        }
        drop(listener);
        connections.close();
        let _some_are_idle = timeout(LINGER, connections.wait()).await;
        phase.send_replace(Phase::Closing);
        connections.wait().await;
    };
    let why = tokio::select! {
        () = drained => return,
        () = sleep(limits.drain) => "the drain deadline has passed",
        () = stop.asked() => "asked to stop for the second time",
    };
    tracing::warn!(
        drain = ?limits.drain,
        unfinished = connections.len(),
        "{why}: unfinished requests are cut off"
    );
    phase.send_replace(Phase::CutOff);
    connections.close();
    let _some_do_not_yield = timeout(CUT_OFF, connections.wait()).await;
}

/// Bounds how many connections are open.
struct Places {
    free: Arc<Semaphore>,
    told: Option<Instant>,
}

impl Places {
    fn new(most: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most)),
            told: None,
        }
    }

    /// Waits for a place, which is free again when what this gives is dropped.
    async fn next(&mut self) -> Option<OwnedSemaphorePermit> {
        let full = self.free.available_permits() == 0;
        if full && self.told.is_none_or(|told| told.elapsed() >= FULL_AGAIN) {
            self.told = Some(Instant::now());
            tracing::warn!(
                "as many connections are open as LISTEN_MAX_CONNECTIONS allows; further ones wait"
            );
        }
        // An error would mean that the semaphore is closed, which it never is.
        self.free.clone().acquire_owned().await.ok()
    }
}

/// The kernel closes a connection that takes nothing of its answer for so long.
#[cfg(target_os = "linux")]
fn bound_unread_answer(stream: &TcpStream, limit: Duration) {
    use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};

    let milliseconds = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = setsockopt(stream, TcpUserTimeout, &milliseconds) {
        tracing::debug!(%error, "a connection that takes no answer stays open");
    }
}

/// Only Linux has the option.
#[cfg(not(target_os = "linux"))]
fn bound_unread_answer(_: &TcpStream, _: Duration) {}

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

struct Connection {
    peer: SocketAddr,
    app: Router,
    draining: Arc<AtomicBool>,
    phase: watch::Receiver<Phase>,
    client_timeout: Duration,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        bound_unread_answer(&stream, self.client_timeout);
        let asked = AtomicBool::new(false);
        // Whether closing it may cost somebody a request: not when it is a prober's.
        let matters = AtomicBool::new(true);
        let service = service_fn(|request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let mut request = request.map(|body| self.timely(body));
            matters.store(!is_probe(request.uri().path()), Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(self.peer));
            let answer = self.app.clone().call(request);
            async {
                let mut answer = answer.await;
                if self.draining.load(Ordering::Relaxed)
                    && let Ok(answer) = &mut answer
                {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                answer
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.client_timeout)
            .max_header_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut served = std::pin::pin!(served);
        let close = async {
            Phase::Draining.reached(self.phase.clone()).await;
            if matters.load(Ordering::Relaxed) {
                Phase::Closing.reached(self.phase.clone()).await;
            }
        };
        let ended = tokio::select! {
            biased;
            ended = served.as_mut() => ended,
            () = close => {
                // hyper would wait for the rest of a first head that has begun to arrive.
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                served.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    ended = served.as_mut() => ended,
                    () = Phase::CutOff.reached(self.phase.clone()) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection broke");
        }
    }

    fn timely(&self, incoming: Incoming) -> Body {
        if incoming.is_end_stream() {
            return Body::empty();
        }
        let (limit, phase) = (self.client_timeout, self.phase.clone());
        body::timely(incoming, async move {
            tokio::select! {
                () = sleep(limit) => {}
                () = Phase::Closing.reached(phase) => {}
            }
        })
    }
}

/// Paths that are asked at intervals, by somebody who asks again.
fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}
