//! Requests at a bounded rate, each in a trace whose id is known before it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::MissedTickBehavior;

use crate::common::eventually;

/// One request, as its sender saw it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) trace: String,
    /// The status, or why there was no answer.
    pub(crate) answer: Result<u16, String>,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

impl Request {
    /// None when there was no answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.answer.as_ref().ok().copied()
    }
}

/// Load that runs until it is told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Request>>,
}

impl Load {
    /// So many senders make `rate` requests a second together; 0 means as fast as they can.
    pub(crate) fn start(url: &str, senders: usize, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (stop.clone(), sent.clone());
        let url = url.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run(&url, senders, rate, &stopped, &counted))
        });
        Self { stop, sent, thread }
    }

    /// Waits until so many more were sent and have ended.
    #[track_caller]
    pub(crate) fn more(&self, requests: usize) {
        let goal = self.sent.load(Ordering::SeqCst) + requests;
        let reached = eventually(Duration::from_secs(60), || {
            self.sent.load(Ordering::SeqCst) >= goal
        });
        assert!(reached, "{requests} more requests take too long");
    }

    /// Waits for what is on its way, and tells of every request.
    pub(crate) fn stop(self) -> Vec<Request> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

async fn run(
    url: &str,
    senders: usize,
    rate: u32,
    stop: &Arc<AtomicBool>,
    sent: &Arc<AtomicUsize>,
) -> Vec<Request> {
    let client = || {
        reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(40))
            // As every client of a service that may be replaced should: see `service::serve`.
            .pool_idle_timeout(Duration::from_millis(1_500))
    };
    // Half of the senders use their connections again, the others never do.
    let clients = [
        client().build().unwrap(),
        client().pool_max_idle_per_host(0).build().unwrap(),
    ];
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let run = u64::try_from(run.as_nanos() & u128::from(u64::MAX)).unwrap();
    let senders = (0..senders).map(|sender| {
        let (url, client) = (url.to_owned(), clients[sender % 2].clone());
        let (stop, sent) = (stop.clone(), sent.clone());
        let share = senders;
        tokio::spawn(async move {
            let every = Duration::from_secs_f64(match rate {
                0 => 1e-9,
                rate => share as f64 / f64::from(rate),
            });
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut requests = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                if rate > 0 {
                    ticks.tick().await;
                }
                let number = ((sender as u64) << 32) | requests.len() as u64;
                let trace = format!("{run:016x}{number:016x}");
                requests.push(send(&client, &url, trace).await);
                sent.fetch_add(1, Ordering::SeqCst);
            }
            requests
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut all = Vec::new();
    for sender in senders {
        all.extend(sender.await.unwrap());
    }
    all
}

async fn send(client: &reqwest::Client, url: &str, trace: String) -> Request {
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let began = Instant::now();
    let answer = client.get(url).header("traceparent", parent).send().await;
    let answer = match answer {
        Ok(answer) => {
            let own = answer.headers().get("traceparent");
            let own = own.and_then(|own| own.to_str().ok()).unwrap_or_default();
            assert!(own.contains(&trace), "{own:?} is not of {trace}");
            let status = answer.status().as_u16();
            answer.bytes().await.map(|_| status)
        }
        Err(error) => Err(error),
    };
    Request {
        trace,
        answer: answer.map_err(|error| format!("{error:?}")),
        began,
        ended: Instant::now(),
    }
}
