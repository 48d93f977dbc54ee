//! W3C Baggage: what a request takes along beside its trace.

use std::borrow::Cow;

use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt};
use opentelemetry::propagation::{Extractor, Injector};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::OWS;

pub(super) const FIELDS: [&str; 1] = [BAGGAGE];
const BAGGAGE: &str = "baggage";

const MAX_BYTES: usize = 8192;
const MAX_MEMBERS: usize = 180;

/// What a value cannot hold as it is.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b',')
    .add(b';')
    .add(b'\\');

/// The members as they came. The library's type holds 64 of them, without order and one for each key.
#[derive(Debug)]
struct Received {
    text: String,
    /// Holds the baggage that was made of it, so that another is known by its address.
    context: Context,
}

pub(super) fn inject(context: &Context, injector: &mut dyn Injector) {
    let baggage = context.baggage();
    let text = match context.get::<Received>() {
        Some(received) if std::ptr::eq(received.context.baggage(), baggage) => {
            received.text.clone()
        }
        _ => written(baggage),
    };
    if !text.is_empty() {
        injector.set(BAGGAGE, text);
    }
}

pub(super) fn extract(context: Context, extractor: &dyn Extractor) -> Context {
    let headers = extractor.get_all(BAGGAGE).unwrap_or_default();
    let (mut list, mut baggage) = (List::default(), Baggage::new());
    for member in headers.iter().flat_map(|header| header.split(',')) {
        let member = member.trim_matches(OWS);
        if let Some((key, value, properties)) = parse(member)
            && list.push(member)
        {
            let (key, value) = (key.to_owned(), value.into_owned());
            baggage.insert_with_metadata(key, value, properties);
        }
    }
    if list.text.is_empty() {
        return context;
    }
    let context = context.with_baggage(baggage);
    let received = Received {
        text: list.text,
        context: context.clone(),
    };
    context.with_value(received)
}

/// A header on its way to the limits: a member is in it as a whole, or not at all.
#[derive(Default)]
struct List {
    text: String,
    members: usize,
}

impl List {
    fn push(&mut self, member: &str) -> bool {
        let comma = if self.text.is_empty() { "" } else { "," };
        let length = self.text.len() + comma.len() + member.len();
        let fits = length <= MAX_BYTES && self.members < MAX_MEMBERS;
        if fits {
            self.text.push_str(comma);
            self.text.push_str(member);
            self.members += 1;
        }
        fits
    }
}

/// Sorted by key, so that with too much baggage always the same is left out.
fn written(baggage: &Baggage) -> String {
    let mut entries: Vec<_> = baggage.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let mut list = List::default();
    for (key, (value, metadata)) in entries {
        let mut member = format!("{key}={}", utf8_percent_encode(value.as_str(), ENCODED));
        for property in metadata.as_str().split(';').map(|p| p.trim_matches(OWS)) {
            // Any text can be set as metadata; what is no property would break the list.
            if pair(property).is_some() {
                member.push(';');
                member.push_str(property);
            }
        }
        list.push(&member);
    }
    list.text
}

/// `key=value;property;property=value`, the value decoded; `None` for anything else.
fn parse(member: &str) -> Option<(&str, Cow<'_, str>, String)> {
    let mut parts = member.split(';').map(|part| part.trim_matches(OWS));
    let (key, value) = pair(parts.next()?)?;
    let value = percent_decode_str(value?).decode_utf8_lossy();
    let properties: Option<Vec<_>> = parts.map(|part| pair(part).map(|_| part)).collect();
    Some((key, value, properties?.join(";")))
}

/// A key, and its value if there is a `=`.
fn pair(text: &str) -> Option<(&str, Option<&str>)> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (
            key.trim_end_matches(OWS),
            Some(value.trim_start_matches(OWS)),
        ),
        None => (text, None),
    };
    (is_token(key) && value.is_none_or(is_value)).then_some((key, value))
}

/// `token` of HTTP.
fn is_token(text: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_token)
}

fn is_value(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_graphic() && !b"\",;\\".contains(&b))
}

#[cfg(test)]
mod tests {
    use opentelemetry::baggage::{BaggageMetadata, KeyValueMetadata};

    use super::*;
    use crate::propagation::tests::{extract, inject, one};

    fn received(headers: &[&str]) -> (Context, Option<String>) {
        let sent: Vec<_> = headers.iter().map(|&value| (BAGGAGE, value)).collect();
        let context = extract(&sent);
        let passed = one(&inject(&context), BAGGAGE).map(str::to_owned);
        (context, passed)
    }

    fn sent(baggage: impl IntoIterator<Item = KeyValueMetadata>) -> Option<String> {
        let context = Context::new().with_baggage(baggage);
        one(&inject(&context), BAGGAGE).map(str::to_owned)
    }

    fn entry(key: &str, value: &str, metadata: &str) -> KeyValueMetadata {
        KeyValueMetadata::new(key.to_owned(), value.to_owned(), metadata)
    }

    #[test]
    fn members_are_passed_on_as_they_came() {
        let octets: String = ('!'..='~').filter(|c| !"\",;\\".contains(*c)).collect();
        let all = format!("k={octets};p={octets}");
        for (headers, expected) in [
            (&["a=1"][..], Some("a=1")),
            (&["a=1", "b=2,c=3"], Some("a=1,b=2,c=3")),
            (&["", "z=1 , ,\ta=2", " "], Some("z=1,a=2")),
            (&["a = 1 ; p ;q =\t2 "], Some("a = 1 ; p ;q =\t2")),
            (&["a==1==2="], Some("a==1==2=")),
            (&["a="], Some("a=")),
            (&["a=1,a=2,A=3"], Some("a=1,a=2,A=3")),
            (
                &["!#$%&'*+-.^_`|~09azAZ=1"],
                Some("!#$%&'*+-.^_`|~09azAZ=1"),
            ),
            (&["a=%20%C3%A9%ff%4%zz%"], Some("a=%20%C3%A9%ff%4%zz%")),
            (&[&all], Some(&all)),
            (&[], None),
            (&["", " ,"], None),
        ] {
            assert_eq!(received(headers).1.as_deref(), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_wrong_member_is_skipped_and_no_other() {
        for wrong in [
            "a",
            "=1",
            "a b=1",
            "\"a\"=1",
            "a@b=1",
            "a:b=1",
            "é=1",
            "a=1 2",
            "a=\"1\"",
            "a=\\",
            "a=é",
            "a=1;",
            "a=1;;p",
            "a=1;=p",
            "a=1;p q",
            "a=1;p=\"q\"",
            ";p",
            "a;p=1",
            "\u{fffd}",
        ] {
            for headers in [&[wrong, "ok=1"][..], &[&format!("ok=1,{wrong}")]] {
                let (context, passed) = received(headers);
                assert_eq!(passed.as_deref(), Some("ok=1"), "{headers:?}");
                assert_eq!(context.baggage().len(), 1);
            }
        }
    }

    #[test]
    fn the_service_reads_values_decoded_and_properties_as_they_are() {
        let header =
            "plain=1==2= , name = Am%C3%A9lie ; hidden ; ttl = %33 ,bad=%ff%4,twice=1,twice=2";
        let (context, _) = received(&[header]);
        for (key, value, properties) in [
            ("plain", "1==2=", ""),
            ("name", "Amélie", "hidden;ttl = %33"),
            ("bad", "\u{fffd}%4", ""),
            ("twice", "2", ""),
        ] {
            let expected = (value.to_owned().into(), BaggageMetadata::from(properties));
            let found = context.baggage().get_with_metadata(key);
            assert_eq!(found, Some(&expected), "{key}");
        }
    }

    #[test]
    fn what_is_beyond_the_limits_is_dropped_whole() {
        let members: Vec<_> = (0..MAX_MEMBERS + 20).map(|i| format!("k{i}=1")).collect();
        let most = members[..MAX_MEMBERS].join(",");
        assert_eq!(received(&[&most]).1.as_ref(), Some(&most));
        // Together, however many headers they came in.
        let (first, rest) = members.split_at(100);
        assert_eq!(received(&[&first.join(","), &rest.join(",")]).1, Some(most));

        let fitting = format!("a={}", "x".repeat(MAX_BYTES - 2));
        assert_eq!(received(&[&fitting]).1, Some(fitting.clone()));
        assert_eq!(received(&[&fitting, "b=1"]).1, Some(fitting.clone()));
        assert_eq!(received(&[&format!("{fitting}x")]).1, None);
        let around = ["a=1", &format!("{fitting}x"), "b=2"];
        assert_eq!(received(&around).1.as_deref(), Some("a=1,b=2"));
        let almost = format!("a={}", "x".repeat(MAX_BYTES - 6));
        let both = format!("{almost},b=1");
        assert_eq!(both.len(), MAX_BYTES);
        assert_eq!(received(&[&almost, "b=12", "b=1"]).1, Some(both));
    }

    #[test]
    fn what_the_service_sets_replaces_what_came() {
        let (context, _) = received(&["a=1,b=2"]);
        let set = context.with_baggage([entry("c", "3", "")]);
        assert_eq!(one(&inject(&set), BAGGAGE), Some("c=3"));
        let cleared = context.with_cleared_baggage();
        assert_eq!(one(&inject(&cleared), BAGGAGE), None);
        // And an entry more than came keeps the others.
        let mut more = Baggage::new();
        for (key, (value, metadata)) in context.baggage() {
            more.insert_with_metadata(key.clone(), value.clone(), metadata.clone());
        }
        more.insert("c", "3");
        let more = context.with_baggage(more);
        assert_eq!(one(&inject(&more), BAGGAGE), Some("a=1,b=2,c=3"));
    }

    #[test]
    fn what_is_set_is_encoded_and_reads_back() {
        let every: String = ('\0'..='\u{ff}').chain("\u{ffff}𝄞".chars()).collect();
        for value in ["", "1==2=", " spaces ", "100%41", "a,b;c=d\"e\\", &every] {
            let header = sent([entry("k", value, "")]).unwrap();
            let (context, passed) = received(&[&header]);
            assert_eq!(passed, Some(header));
            assert_eq!(context.baggage().get("k").unwrap().as_str(), value);
        }
        let known = sent([entry("k", "é =,;\"\\%\n", "")]);
        assert_eq!(known.as_deref(), Some("k=%C3%A9%20=%2C%3B%22%5C%25%0A"));
        assert_eq!(sent([]), None);
    }

    #[test]
    fn metadata_that_is_no_property_is_not_sent() {
        for (metadata, expected) in [
            ("p;q=1", "k=v;p;q=1"),
            (" p ; q = %20 ", "k=v;p;q = %20"),
            ("two words", "k=v"),
            ("p,evil=1;q", "k=v;q"),
            ("p\r\nx: y;;q", "k=v;q"),
        ] {
            let header = sent([entry("k", "v", metadata)]);
            assert_eq!(header.as_deref(), Some(expected), "{metadata:?}");
        }
    }

    #[test]
    fn what_is_set_beyond_the_limit_is_dropped_whole() {
        // Three bytes for each space: 8,195 in all for the first.
        let header = sent([
            entry("a", &" ".repeat(2_731), ""),
            entry("c", "2", ""),
            entry("b", "1", ""),
        ]);
        assert_eq!(header.as_deref(), Some("b=1,c=2"));
    }
}
