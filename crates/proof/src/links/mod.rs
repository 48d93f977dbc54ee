//! The links: one small unit each, in the order in which a request passes them.

mod answers;
mod collector;
mod console;
mod database;
mod exemplars;
mod grafana;
mod logs;
mod metrics;
mod profiles;
mod scrape;
mod traces;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::backends::Part;
use crate::report::Failure;
use crate::verify::Run;

/// A link that is about to be followed.
pub(crate) struct Planned<'a> {
    pub(crate) name: String,
    /// Without these there is nothing to follow.
    pub(crate) needs: Vec<Part>,
    pub(crate) asked: String,
    /// What came, or why it leads nowhere.
    pub(crate) follow: Follow<'a>,
    /// Time that went into it before it was followed.
    pub(crate) spent: Duration,
}

pub(crate) type Follow<'a> = Pin<Box<dyn Future<Output = Result<String, Failure>> + Send + 'a>>;

impl<'a> Planned<'a> {
    fn new(
        name: impl Into<String>,
        needs: &[Part],
        asked: impl Into<String>,
        follow: impl Future<Output = Result<String, Failure>> + Send + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            needs: needs.to_vec(),
            asked: asked.into(),
            follow: Box::pin(follow),
            spent: Duration::ZERO,
        }
    }

    fn spent(mut self, spent: Duration) -> Self {
        self.spent = spent;
        self
    }
}

/// Every link.
pub(crate) fn all<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    [
        answers::links(run),
        traces::links(run),
        logs::links(run),
        metrics::links(run),
        exemplars::links(run),
        database::links(run),
        profiles::links(run),
        collector::links(run),
        scrape::links(run),
        console::links(run),
        grafana::links(run),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The counters whose values before the requests are needed.
pub(crate) fn counters() -> Vec<&'static str> {
    let mut all = metrics::COUNTERS.to_vec();
    all.extend(collector::COUNTERS);
    all
}

/// How many examples a message shows.
const EXAMPLES: usize = 4;

/// Some of a list, and how many more there are.
fn some(items: &[String]) -> String {
    let more = items.len().saturating_sub(EXAMPLES);
    let shown = items[..items.len() - more].join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}
