//! A run that stays broken after its walk, for whoever wants to look.

use std::cell::Cell;
use std::time::Duration;

/// How long a run waits for a person, and whether one has said that it may heal.
#[derive(Debug)]
pub struct Hold {
    most: Duration,
    released: Cell<bool>,
}

impl Hold {
    /// Nobody's lab stays broken for ever: after this time the run heals by itself.
    #[must_use]
    pub fn new(most: Duration) -> Self {
        Self {
            most,
            released: Cell::new(false),
        }
    }

    /// Lets the run that waits go on; one that does not wait hears nothing of it.
    pub fn release(&self) {
        self.released.set(true);
    }

    /// What was said before it waits was not meant for it.
    pub(super) fn begin(&self) -> Duration {
        self.released.set(false);
        self.most
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.get()
    }
}
