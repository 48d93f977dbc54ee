use std::future::pending;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Asks a server to stop: the first time it drains, the second time it ends at once.
#[derive(Debug)]
pub struct Stop(mpsc::Receiver<()>);

impl Stop {
    /// Each message is a request to stop.
    #[must_use]
    pub fn on(messages: mpsc::Receiver<()>) -> Self {
        Self(messages)
    }

    /// On SIGTERM and SIGINT (Ctrl-C). From here on, neither ends the process by itself.
    #[must_use]
    pub fn on_signals() -> Self {
        let (sender, messages) = mpsc::channel(1);
        match (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::spawn(async move {
                    loop {
                        tokio::select! {
                            _ = terminate.recv() => {}
                            _ = interrupt.recv() => {}
                        }
                        if sender.send(()).await.is_err() {
                            return;
                        }
                    }
                });
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "cannot listen for signals; stop this process with SIGKILL");
            }
        }
        Self(messages)
    }

    /// Resolves at the next request; never, when there can be none.
    pub(crate) async fn asked(&mut self) {
        if self.0.recv().await.is_none() {
            pending::<()>().await;
        }
    }
}
