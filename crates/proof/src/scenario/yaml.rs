//! Reading YAML so that what is wrong is said where it stands.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// Why a text is no scenario, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Line and column, from 1; nothing when the text as a whole is wrong.
    pub place: Option<(usize, usize)>,
    /// Which field, what was expected, what is there.
    pub message: String,
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl From<serde_norway::Error> for ParseError {
    fn from(error: serde_norway::Error) -> Self {
        let place = error.location().map(|at| (at.line(), at.column()));
        let mut message = error.to_string();
        if let Some((line, column)) = place {
            let ending = format!(" at line {line} column {column}");
            if let Some(begin) = message.strip_suffix(&ending) {
                message.truncate(begin.len());
            }
        }
        Self { place, message }
    }
}

/// What a field takes as text.
pub(super) trait FromText: Sized {
    /// For whoever wrote a number or a list.
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Result<Self, String>;
}

/// A value that is written as text.
pub(super) struct Text<T>(pub(super) T);

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

        deserializer.deserialize_any(Reading(PhantomData))
    }
}

/// Fields that must go together.
pub(super) trait Check: Sized {
    /// What it becomes once it is known to be right.
    type Into;

    fn check(self) -> Result<Self::Into, String>;
}

/// A mapping whose fields must go together. What is wrong is said where it begins.
pub(super) struct Checked<T: Check>(pub(super) T::Into);

impl<'de, T: Deserialize<'de> + Check> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Check> Visitor<'de> for Reading<T> {
            type Value = Checked<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields with values")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let value = T::deserialize(MapAccessDeserializer::new(map))?;
                value.check().map(Checked).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_map(Reading(PhantomData))
    }
}
