//! People who ask edge for something, one answer after the other, until nobody listens any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use super::model;
use crate::backend::Edge;
use crate::traceparent::Traceparent;

/// The load, for as long as this lives.
pub(super) struct Load {
    _people: JoinSet<()>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    answers: BTreeMap<String, u64>,
    /// Good answers since the last bad one.
    good_in_a_row: usize,
}

impl Load {
    pub(super) fn start(load: &model::Load, edge: &Edge) -> Self {
        let paths: Arc<Vec<String>> = Arc::new(
            load.paths
                .iter()
                .flat_map(|(path, times)| std::iter::repeat_n(path.clone(), *times))
                .collect(),
        );
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut people = JoinSet::new();
        for person in 0..load.people {
            let (paths, seen) = (paths.clone(), seen.clone());
            let (edge, pause) = (edge.clone(), load.pause);
            people.spawn(async move {
                // They do not all ask for the same at once.
                for path in paths.iter().cycle().skip(person) {
                    let traceparent = Traceparent::random().to_string();
                    let answer = match edge.get(path, &traceparent).await {
                        Ok(answer) => answer.status.to_string(),
                        Err(_) => "no answer".to_owned(),
                    };
                    lock(&seen).count(answer);
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self {
            _people: people,
            seen,
        }
    }

    /// How often which status came.
    pub(super) fn answers(&self) -> BTreeMap<String, u64> {
        lock(&self.seen).answers.clone()
    }

    pub(super) fn good_in_a_row(&self) -> usize {
        lock(&self.seen).good_in_a_row
    }

    /// From here on good answers are counted anew.
    pub(super) fn begin_again(&self) {
        lock(&self.seen).good_in_a_row = 0;
    }
}

impl Seen {
    fn count(&mut self, answer: String) {
        if answer.starts_with('2') {
            self.good_in_a_row += 1;
        } else {
            self.good_in_a_row = 0;
        }
        *self.answers.entry(answer).or_default() += 1;
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
