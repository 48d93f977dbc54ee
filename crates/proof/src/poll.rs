//! Asking again until the answer is right or the time is up.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::report::Failure;

/// Telemetry takes seconds to arrive; asking four times a second costs a backend nothing.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);

/// Asks until the answer is right, cannot become right, or `deadline` has passed; gives the last failure.
///
/// `waiting` hears of every failure that is followed by another try.
pub(crate) async fn until<T, F, Fut>(
    deadline: Instant,
    waiting: &(dyn Fn(&Failure) + Sync),
    ask: F,
) -> Result<T, Failure>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    every(INTERVAL, deadline, waiting, ask).await
}

/// The same at an interval of one's own.
pub(crate) async fn every<T, F, Fut>(
    interval: Duration,
    deadline: Instant,
    waiting: &(dyn Fn(&Failure) + Sync),
    mut ask: F,
) -> Result<T, Failure>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let mut last: Option<Failure> = None;
    loop {
        let failure = match tokio::time::timeout_at(deadline, ask()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            // A question that was cut off says less than the answer before it.
            Err(_) => {
                return Err(last.unwrap_or_else(|| {
                    Failure::new(
                        "an answer in time",
                        "none",
                        "a longer --timeout, or `./lab status`",
                    )
                }));
            }
        };
        if failure.settled || Instant::now() + interval >= deadline {
            return Err(failure);
        }
        waiting(&failure);
        last = Some(failure);
        tokio::time::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn failure(came: &str) -> Failure {
        Failure::new("it", came, "there")
    }

    #[tokio::test(start_paused = true)]
    async fn asks_until_it_is_right() {
        let tries = Cell::new(0);
        let deadline = Instant::now() + Duration::from_secs(5);
        let answer = until(deadline, &|_| {}, || async {
            tries.set(tries.get() + 1);
            if tries.get() == 3 {
                Ok(7)
            } else {
                Err(failure("not yet"))
            }
        })
        .await;
        assert_eq!(answer, Ok(7));
        assert_eq!(tries.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_the_last_failure_at_the_deadline() {
        let begin = Instant::now();
        let answer: Result<(), _> = until(begin + Duration::from_secs(2), &|_| {}, || async {
            Err(failure("nothing"))
        })
        .await;
        assert_eq!(answer, Err(failure("nothing")));
        assert!(begin.elapsed() <= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_hangs_is_cut_off() {
        let answer: Result<(), _> = until(Instant::now() + Duration::from_secs(2), &|_| {}, || {
            std::future::pending::<Result<(), Failure>>()
        })
        .await;
        assert_eq!(answer.expect_err("cut off").came, "none");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_become_right_is_not_asked_again() {
        let tries = Cell::new(0);
        let deadline = Instant::now() + Duration::from_secs(60);
        let answer: Result<(), _> = until(deadline, &|_| {}, || async {
            tries.set(tries.get() + 1);
            Err(failure("wrong").settled())
        })
        .await;
        assert!(answer.is_err());
        assert_eq!(tries.get(), 1);
    }
}
