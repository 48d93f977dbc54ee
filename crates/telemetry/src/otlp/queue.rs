//! Encoded items on their way: a batch that fills, and full batches that wait to be sent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry::InstrumentationScope;
use tokio::sync::watch;

use super::encode;

/// What bounds a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// So many items make a batch, which is sent without waiting for more.
    pub(super) batch_items: usize,
    /// Items of one request, when several batches wait.
    pub(super) request_items: usize,
    /// Bytes of one request: receivers refuse more than 4 MiB.
    pub(super) batch_bytes: usize,
    /// Items that wait at the most.
    pub(super) queue_items: usize,
    /// Bytes that wait at the most.
    pub(super) queue_bytes: usize,
    /// How long an item waits for its batch to fill.
    pub(super) delay: Duration,
}

/// What became of the items, since the start: each is counted once, in one of these.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    unanswered: AtomicU64,
}

impl Counts {
    /// The receiver took them.
    pub(crate) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Not taken, because the queue was full, or given up at the end.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sent, and refused for good.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Sent, and the process stopped before the receiver answered: it has them, or not.
    pub(crate) fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Handed on to the exporter.
    pub(crate) fn taken(&self) -> u64 {
        self.exported() + self.rejected() + self.unanswered()
    }
}

/// Items of one scope.
#[derive(Debug)]
struct Group {
    scope: InstrumentationScope,
    name: Box<str>,
    items: Vec<u8>,
}

/// What one request carries.
#[derive(Debug, Default)]
pub(super) struct Batch {
    groups: Vec<Group>,
    pub(super) items: usize,
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, scope: &InstrumentationScope, name: &str, item: &[u8]) {
        let known = self
            .groups
            .iter_mut()
            .find(|g| *g.name == *name && g.scope == *scope);
        match known {
            Some(group) => group.items.extend_from_slice(item),
            None => self.groups.push(Group {
                scope: scope.clone(),
                name: name.into(),
                items: item.to_vec(),
            }),
        }
        self.items += 1;
        self.bytes += item.len();
    }

    /// An `Export...ServiceRequest`, in parts, so that what was collected is not copied; `head` is the
    /// encoded resource, `tail` its schema.
    pub(super) fn encode(self, head: &[u8], tail: &[u8]) -> Body {
        let groups: Vec<_> = self
            .groups
            .into_iter()
            .filter(|group| !group.items.is_empty())
            .map(|group| {
                let (mut before, mut after) = (Vec::new(), Vec::new());
                encode::scope(&mut before, &group.scope, &group.name);
                encode::schema_url(&mut after, group.scope.schema_url());
                let length = before.len() + group.items.len() + after.len();
                let mut start = Vec::with_capacity(8 + before.len());
                encode::message_head(&mut start, 2, length);
                start.append(&mut before);
                (start, group.items, after)
            })
            .collect();
        let inside: usize = groups
            .iter()
            .map(|(start, items, after)| start.len() + items.len() + after.len())
            .sum();
        let mut part = Vec::with_capacity(8 + head.len());
        encode::message_head(&mut part, 1, head.len() + inside + tail.len());
        part.extend_from_slice(head);
        let mut parts = Vec::with_capacity(1 + 2 * groups.len());
        for (mut start, items, after) in groups {
            part.append(&mut start);
            parts.push(std::mem::replace(&mut part, after).into());
            parts.push(items.into());
        }
        part.extend_from_slice(tail);
        parts.push(part.into());
        Body(parts)
    }

    /// The next batch, with room for as much as this one has.
    fn next(&self) -> Self {
        let groups = self.groups.iter().filter(|group| !group.items.is_empty());
        Self {
            groups: groups
                .map(|group| Group {
                    scope: group.scope.clone(),
                    name: group.name.clone(),
                    items: Vec::with_capacity(group.items.len()),
                })
                .collect(),
            items: 0,
            bytes: 0,
        }
    }
}

/// An encoded request.
#[derive(Debug, Clone)]
pub(super) struct Body(pub(super) Vec<Bytes>);

impl Body {
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    pub(super) fn joined(&self) -> Bytes {
        self.0.concat().into()
    }
}

#[derive(Debug, Default)]
struct Inner {
    filling: Batch,
    /// When the first item of `filling` came.
    since: Option<Instant>,
    waiting: VecDeque<Batch>,
    /// A batch is with the sender: it still counts.
    sending: Option<(usize, usize)>,
    items: usize,
    bytes: usize,
    /// Somebody waits for everything to be sent.
    flushing: bool,
    closed: bool,
    /// The warning about a full queue was given.
    warned: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    inner: Mutex<Inner>,
    /// Something to send, or closed.
    work: Condvar,
    /// Nothing left to send, or closed.
    idle: Condvar,
    /// Told when the queue is closed, for a sender that waits for an answer.
    closing: watch::Sender<bool>,
    counts: Arc<Counts>,
}

/// How the batch that was with the sender ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// The receiver took them, all but so many.
    Taken { rejected: usize },
    /// The receiver refused them for good.
    Refused,
    /// Given up: the receiver never had them.
    Dropped,
    /// Given up: nobody knows whether the receiver has them.
    Unanswered,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            inner: Mutex::default(),
            work: Condvar::new(),
            idle: Condvar::new(),
            closing: watch::Sender::new(false),
            counts: Arc::default(),
        }
    }

    pub(super) fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, scope: &InstrumentationScope, name: &str, item: &[u8]) {
        let mut inner = self.lock();
        let full = inner.items >= self.limits.queue_items
            || inner.bytes + item.len() > self.limits.queue_bytes;
        if full || inner.closed {
            let first = !std::mem::replace(&mut inner.warned, true) && !inner.closed;
            drop(inner);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            if first {
                tracing::warn!(
                    target: "opentelemetry",
                    "the export queue is full: what comes now is dropped and counted \
                     (otel.sdk.processor.*.processed with error.type=queue_full)"
                );
            }
            return;
        }
        inner.filling.push(scope, name, item);
        inner.items += 1;
        inner.bytes += item.len();
        let first = inner.filling.items == 1;
        if first {
            inner.since = Some(Instant::now());
        }
        let sealed = inner.filling.items >= self.limits.batch_items
            || inner.filling.bytes >= self.limits.batch_bytes;
        if sealed {
            inner.seal();
        }
        drop(inner);
        if first || sealed {
            self.work.notify_one();
        }
    }

    /// The next batch to send; `None` when the queue is closed and there is nothing left.
    pub(super) fn next(&self) -> Option<Batch> {
        let mut inner = self.lock();
        loop {
            let due = inner.since.map(|since| since + self.limits.delay);
            let now = Instant::now();
            if inner.waiting.is_empty()
                && (inner.flushing || inner.closed || due.is_some_and(|due| due <= now))
            {
                inner.seal();
            }
            if let Some(batch) = inner.take(&self.limits) {
                inner.sending = Some((batch.items, batch.bytes));
                return Some(batch);
            }
            if inner.closed {
                return None;
            }
            inner = match due {
                Some(due) => {
                    let wait = due.saturating_duration_since(now);
                    self.work
                        .wait_timeout(inner, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .work
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The batch that [`next`](Self::next) gave is done with, one way or the other.
    pub(super) fn done(&self, outcome: Outcome) {
        let mut inner = self.lock();
        let Some((items, bytes)) = inner.sending.take() else {
            return;
        };
        let count = |counter: &AtomicU64, items: usize| {
            counter.fetch_add(items as u64, Ordering::Relaxed);
        };
        match outcome {
            Outcome::Taken { rejected } => {
                let rejected = rejected.min(items);
                count(&self.counts.exported, items - rejected);
                count(&self.counts.rejected, rejected);
            }
            Outcome::Refused => count(&self.counts.rejected, items),
            Outcome::Dropped => count(&self.counts.dropped, items),
            Outcome::Unanswered => count(&self.counts.unanswered, items),
        }
        inner.items = inner.items.saturating_sub(items);
        inner.bytes = inner.bytes.saturating_sub(bytes);
        inner.warned = false;
        if inner.items == 0 {
            inner.flushing = false;
            self.idle.notify_all();
        }
    }

    /// Waits until everything is sent; `false` when that did not happen in time.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut inner = self.lock();
        while inner.items > 0 && !inner.closed {
            inner.flushing = true;
            self.work.notify_one();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.flushing = false;
                return false;
            }
            inner = self
                .idle
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        inner.items == 0
    }

    /// Takes nothing more; what still waits is given up. A batch that is with the sender is the
    /// sender's to tell of: it is woken for that.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let (items, bytes) = inner.sending.unwrap_or_default();
        let left = inner.items.saturating_sub(items);
        (inner.items, inner.bytes) = (items, bytes);
        inner.waiting.clear();
        inner.filling = Batch::default();
        inner.since = None;
        self.counts
            .dropped
            .fetch_add(left as u64, Ordering::Relaxed);
        self.closing.send_replace(true);
        self.work.notify_all();
        self.idle.notify_all();
    }

    /// Resolves when the queue is closed.
    pub(super) async fn closed(&self) {
        // The sender is in `self`: it cannot be gone.
        let _ = self.closing.subscribe().wait_for(|closed| *closed).await;
    }
}

impl Inner {
    /// What waits, as much as one request may carry: a receiver that is slow to answer is asked
    /// less often, not left behind.
    fn take(&mut self, limits: &Limits) -> Option<Batch> {
        let mut batch = self.waiting.pop_front()?;
        while let Some(next) = self.waiting.front()
            && batch.items + next.items <= limits.request_items
            && batch.bytes + next.bytes <= limits.batch_bytes
        {
            batch.items += next.items;
            batch.bytes += next.bytes;
            batch
                .groups
                .extend(self.waiting.pop_front().into_iter().flat_map(|b| b.groups));
        }
        Some(batch)
    }

    fn seal(&mut self) {
        if self.filling.items > 0 {
            let next = self.filling.next();
            self.waiting
                .push_back(std::mem::replace(&mut self.filling, next));
        }
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: Outcome = Outcome::Taken { rejected: 0 };

    fn limits() -> Limits {
        Limits {
            batch_items: 3,
            request_items: 3,
            batch_bytes: 100,
            queue_items: 7,
            queue_bytes: 1000,
            delay: Duration::from_millis(20),
        }
    }

    fn queue(limits: Limits) -> Queue {
        Queue::new(limits)
    }

    fn push(queue: &Queue, item: &[u8]) {
        queue.push(&InstrumentationScope::builder("s").build(), "s", item);
    }

    fn dropped(queue: &Queue) -> u64 {
        queue.counts.dropped.load(Ordering::Relaxed)
    }

    #[test]
    fn a_batch_is_sealed_by_items_by_bytes_and_by_time() {
        let queue = queue(limits());
        (0..4).for_each(|_| push(&queue, b"x"));
        assert_eq!(queue.next().unwrap().items, 3);
        queue.done(TAKEN);
        // The fourth comes when its time is over.
        assert_eq!(queue.next().unwrap().items, 1);
        queue.done(TAKEN);
        push(&queue, &[0; 100]);
        assert_eq!(queue.next().unwrap().bytes, 100);
    }

    #[test]
    fn what_waits_goes_in_one_request_within_its_bounds() {
        let push_all = |queue: &Queue| (0..10).for_each(|_| push(queue, &[1; 20]));
        let sizes = |queue: Queue| {
            let mut sizes = Vec::new();
            while sizes.iter().sum::<usize>() < 10 {
                sizes.push(queue.next().unwrap().items);
                queue.done(TAKEN);
            }
            sizes
        };
        let limits = Limits {
            queue_items: 100,
            ..limits()
        };
        for (limits, expected) in [
            (limits, vec![3, 3, 3, 1]),
            (
                Limits {
                    request_items: 6,
                    batch_bytes: 1000,
                    ..limits
                },
                vec![6, 3, 1],
            ),
            (
                Limits {
                    request_items: usize::MAX,
                    batch_bytes: 120,
                    ..limits
                },
                vec![6, 3, 1],
            ),
        ] {
            let queue = queue(limits);
            push_all(&queue);
            assert_eq!(sizes(queue), expected, "{limits:?}");
        }
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_counts_them() {
        let queue = queue(limits());
        (0..10).for_each(|_| push(&queue, b"x"));
        assert_eq!(dropped(&queue), 3);
        let by_bytes = self::queue(Limits {
            queue_bytes: 250,
            ..limits()
        });
        (0..5).for_each(|_| push(&by_bytes, &[0; 100]));
        assert_eq!(dropped(&by_bytes), 3);
    }

    #[test]
    fn a_batch_with_the_sender_still_counts() {
        let queue = queue(Limits {
            queue_items: 3,
            ..limits()
        });
        (0..3).for_each(|_| push(&queue, b"x"));
        assert_eq!(queue.next().unwrap().items, 3);
        push(&queue, b"x");
        assert_eq!(dropped(&queue), 1);
        queue.done(TAKEN);
        push(&queue, b"x");
        assert_eq!(dropped(&queue), 1);
    }

    #[test]
    fn a_flush_waits_for_the_sender() {
        let queue = Arc::new(queue(Limits {
            delay: Duration::from_secs(3600),
            ..limits()
        }));
        push(&queue, b"x");
        assert!(!queue.flush(Duration::from_millis(20)));
        let sender = queue.clone();
        let thread = std::thread::spawn(move || {
            while sender.next().is_some() {
                sender.done(TAKEN);
            }
        });
        assert!(queue.flush(Duration::from_secs(10)));
        queue.close();
        thread.join().unwrap();
        assert_eq!((queue.counts.exported(), dropped(&queue)), (1, 0));
    }

    #[test]
    fn closed_it_tells_what_was_given_up() {
        let queue = queue(limits());
        (0..4).for_each(|_| push(&queue, b"x"));
        queue.close();
        assert_eq!(dropped(&queue), 4);
        assert!(queue.next().is_none());
        push(&queue, b"x");
        assert_eq!(dropped(&queue), 5);
    }

    #[test]
    fn closed_while_a_batch_is_sent_each_item_is_counted_once() {
        for (outcome, expected) in [
            (TAKEN, (3, 1, 0)),
            (Outcome::Dropped, (0, 4, 0)),
            (Outcome::Unanswered, (0, 1, 3)),
        ] {
            let queue = queue(limits());
            (0..4).for_each(|_| push(&queue, b"x"));
            assert_eq!(queue.next().unwrap().items, 3);
            queue.close();
            queue.done(outcome);
            queue.done(outcome);
            let counts = &queue.counts;
            let counted = (counts.exported(), counts.dropped(), counts.unanswered());
            assert_eq!(counted, expected, "{outcome:?}");
            assert!(queue.next().is_none());
        }
    }
}
