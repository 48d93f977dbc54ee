use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// Fields that must go together.
pub trait Check: Sized {
    /// What they become once they are known to be right.
    type Into;

    /// The value, or what was expected and what is there.
    ///
    /// # Errors
    /// They do not go together.
    fn check(self) -> Result<Self::Into, String>;
}

/// A mapping whose fields must go together. What is wrong is said where it begins.
pub struct Checked<T: Check>(pub T::Into);

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
