//! In place of the sampler where there is none: a profile cannot be started.

use super::tag::Tag;

pub(super) struct Sample<'a> {
    pub(super) tag: Tag,
    pub(super) weight: u32,
    pub(super) frames: &'a [u64],
}

pub(super) fn drain(_: impl FnMut(Sample<'_>)) -> u64 {
    0
}

pub(super) fn install() -> Result<(), String> {
    Err("CPU profiles need Linux on x86_64 or aarch64".to_owned())
}

pub(super) fn uninstall() {}

pub(super) struct Threads;

impl Threads {
    pub(super) fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the sampler's follows threads")]
    pub(super) fn follow(&mut self) {}
}
