//! What a thread works for: set at every poll, read by the sampler's signal handler.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence};
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::trace::SpanContext;

/// How many names there can be. They come from routes, which the code of a service bounds.
const MOST_NAMES: usize = 512;

/// Number of the name that stands for all beyond [`MOST_NAMES`].
const OTHER: u32 = 1;

/// The span that work is done for. Without a name it is nobody's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tag {
    /// 0 is no name.
    pub(super) name: u32,
    /// 0 is no span that could be found again.
    pub(super) span: u64,
}

/// Atomics, though only one thread has them: its signal handler may look between two stores. They
/// need neither initialisation nor a destructor, so that the handler can read them at any time.
struct Current {
    name: AtomicU32,
    span: AtomicU64,
}

thread_local! {
    static CURRENT: Current = const {
        Current { name: AtomicU32::new(0), span: AtomicU64::new(0) }
    };
}

impl Tag {
    /// For a request. A span that was not sampled cannot be found by its id, so it has none here.
    pub(crate) fn of_request(
        method: &'static str,
        route: Option<&str>,
        span: Option<&SpanContext>,
    ) -> Self {
        let span = span.filter(|span| span.is_valid() && span.is_sampled());
        Self {
            name: number(method, route),
            span: span.map_or(0, |span| u64::from_be_bytes(span.span_id().to_bytes())),
        }
    }

    /// What this thread works for right now. Called by the signal handler, too.
    #[inline]
    pub(super) fn current() -> Self {
        CURRENT.with(|current| {
            let name = current.name.load(Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            let span = current.span.load(Ordering::Relaxed);
            if name == 0 {
                Self::default()
            } else {
                Self { name, span }
            }
        })
    }

    #[inline]
    fn set(self) {
        CURRENT.with(|current| {
            // In between, a signal sees no name: never the name of one request with the span of another.
            current.name.store(0, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            current.span.store(self.span, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            current.name.store(self.name, Ordering::Relaxed);
        });
    }

    /// Until the guard is dropped, this thread works for it.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        let before = Self::current();
        self.set();
        Entered {
            before,
            here: PhantomData,
        }
    }
}

/// Gives the thread back to whom it worked for before.
#[must_use = "the work is tagged until this is dropped"]
pub(crate) struct Entered {
    before: Tag,
    /// It belongs to one thread.
    here: PhantomData<*const ()>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        self.before.set();
    }
}

struct Names {
    numbers: HashMap<Box<str>, HashMap<&'static str, u32>>,
    texts: Vec<Arc<str>>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            texts: vec!["".into(), "other".into()],
        }
    }
}

impl Names {
    fn get(&self, method: &'static str, route: Option<&str>) -> Option<u32> {
        let methods = self.numbers.get(route.unwrap_or_default())?;
        methods.get(method).copied()
    }

    /// The number of a name, a new one as long as there are some.
    fn add(&mut self, method: &'static str, route: Option<&str>) -> u32 {
        if let Some(number) = self.get(method, route) {
            return number;
        }
        if self.texts.len() >= MOST_NAMES {
            return OTHER;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(OTHER);
        let method_name = if method == "_OTHER" { "HTTP" } else { method };
        self.texts.push(match route {
            Some(route) => format!("{method_name} {route}").into(),
            None => method_name.into(),
        });
        let methods = self.numbers.entry(route.unwrap_or_default().into());
        methods.or_default().insert(method, number);
        number
    }
}

static NAMES: RwLock<Option<Names>> = RwLock::new(None);

/// The number of a span's name, found without making a string.
fn number(method: &'static str, route: Option<&str>) -> u32 {
    let known = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    let found = known.as_ref().and_then(|names| names.get(method, route));
    drop(known);
    found.unwrap_or_else(|| {
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        names.get_or_insert_default().add(method, route)
    })
}

/// The name behind a number; `None` for 0.
pub(super) fn name(number: u32) -> Option<Arc<str>> {
    if number == 0 {
        return None;
    }
    let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    names.as_ref()?.texts.get(number as usize).cloned()
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    fn span(flags: TraceFlags) -> SpanContext {
        SpanContext::new(
            TraceId::from(1),
            SpanId::from(0xabc),
            flags,
            false,
            TraceState::default(),
        )
    }

    #[test]
    fn tags_nest_and_end_with_their_guard() {
        let outer = Tag::of_request("GET", Some("/outer"), Some(&span(TraceFlags::SAMPLED)));
        let inner = Tag { span: 7, ..outer };
        assert_eq!(Tag::current(), Tag::default());
        let entered = outer.enter();
        {
            let _entered = inner.enter();
            assert_eq!(Tag::current(), inner);
        }
        assert_eq!(Tag::current(), outer);
        drop(entered);
        assert_eq!(Tag::current(), Tag::default());
    }

    #[test]
    fn names_are_those_of_the_spans() {
        let tag = Tag::of_request("GET", Some("/users/{id}"), Some(&span(TraceFlags::SAMPLED)));
        assert_eq!(name(tag.name).as_deref(), Some("GET /users/{id}"));
        assert_eq!(tag.span, 0xabc);
        let again = Tag::of_request(
            "GET",
            Some("/users/{id}"),
            Some(&span(TraceFlags::default())),
        );
        assert_eq!((again.name, again.span), (tag.name, 0));
        let unmatched = Tag::of_request("_OTHER", None, Some(&span(TraceFlags::SAMPLED)));
        assert_eq!(name(unmatched.name).as_deref(), Some("HTTP"));
        assert_eq!(name(0), None);
    }

    #[test]
    fn names_are_bounded_and_those_that_there_are_stay() {
        let mut names = Names::default();
        let first = names.add("GET", Some("/0"));
        let numbers: Vec<u32> = (0..2 * MOST_NAMES)
            .map(|route| names.add("GET", Some(&format!("/{route}"))))
            .collect();
        assert_eq!(names.texts.len(), MOST_NAMES);
        let others = numbers.iter().filter(|number| **number == OTHER);
        // Number 0 is no name, number 1 is all the others.
        assert_eq!(others.count(), MOST_NAMES + 2);
        assert_eq!(numbers[0], first);
        assert_eq!(&*names.texts[first as usize], "GET /0");
    }
}
