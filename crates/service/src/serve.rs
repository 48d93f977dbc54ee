use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::env::{self, EnvError};

/// Why a service could not listen or stopped early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `LISTEN_HOST` or the port's variable is wrong.
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
    /// The listener failed.
    #[error("the server stopped: {0}")]
    Io(#[from] std::io::Error),
}

/// Listens on `LISTEN_HOST` (default 127.0.0.1) and the port in `variable`.
///
/// # Errors
/// A variable is wrong, or the address cannot be had.
pub async fn bind(variable: &'static str, default: u16) -> Result<TcpListener, ServeError> {
    let host = env::or(
        "LISTEN_HOST",
        "an IP address",
        IpAddr::V4(Ipv4Addr::LOCALHOST),
    )?;
    let port = env::or(variable, "a port number from 0 to 65535", default)?;
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind {
            address,
            variable,
            source,
        })
}

/// Serves until `stop` resolves, then accepts nothing new and waits for the requests that were
/// accepted, at most for `drain`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    stop: impl Future<Output = ()> + Send + 'static,
    drain: Duration,
) -> Result<(), ServeError> {
    let (stopping, mut stopped) = watch::channel(false);
    let graceful = async move {
        stop.await;
        let _ = stopping.send(true);
    };
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, app).with_graceful_shutdown(graceful);
    let deadline = async move {
        // An error means that the server is gone already.
        if stopped.wait_for(|stopping| *stopping).await.is_ok() {
            tokio::time::sleep(drain).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = server => Ok(result?),
        () = deadline => {
            tracing::warn!(?drain, "some requests were not answered before the drain deadline");
            Ok(())
        }
    }
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
