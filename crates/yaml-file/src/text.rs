use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Visitor};

/// What a field takes as text.
pub trait FromText: Sized {
    /// For whoever wrote a number or a list.
    const EXPECTED: &'static str;

    /// The value, or what was expected and what is there.
    ///
    /// # Errors
    /// It is no such value.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl FromText for String {
    const EXPECTED: &'static str = "text (in quotes, if it looks like a number)";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

/// A value that is written as text. What is wrong with it is said where it stands.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<T>(pub T);

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<T>(PhantomData<T>);

        impl<T: FromText> Visitor<'_> for Reading<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::from_text(text).map(Text).map_err(E::custom)
            }
        }

        // Not `deserialize_str`, which takes a plain 95 for text.
        deserializer.deserialize_any(Reading(PhantomData))
    }
}
