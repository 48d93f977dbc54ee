//! In place of the symbol tables where there is no sampler.

pub(super) struct Module {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) offset: u64,
    pub(super) path: String,
}

pub(super) struct Function {
    pub(super) name: String,
    pub(super) system_name: String,
}

#[derive(Default)]
pub(super) struct Symbols;

#[expect(clippy::unused_self, reason = "where there is a sampler they are used")]
impl Symbols {
    pub(super) fn resolve(&mut self, _: impl IntoIterator<Item = u64>) {}

    pub(super) fn place(&self, _: u64) -> Option<(usize, usize)> {
        None
    }

    pub(super) fn module_at(&self, _: usize) -> Option<&Module> {
        None
    }

    pub(super) fn function_at(&self, _: usize) -> Option<&Function> {
        None
    }
}
