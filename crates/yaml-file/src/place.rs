use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::ParseError;

/// Where a field's value is in a text that was read: for what is found to be wrong afterwards.
/// `field` has the names from the outermost to its own.
pub fn place(text: &str, field: &[impl AsRef<str>]) -> Option<(usize, usize)> {
    // An error has a place: the field is read as what cannot be.
    let error = Field(field).deserialize(serde_norway::Deserializer::from_str(text));
    ParseError::from(error.err()?).place
}

struct Field<'a, S>(&'a [S]);

impl<'de, S: AsRef<str>> DeserializeSeed<'de> for Field<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: AsRef<str>> Visitor<'de> for Field<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, inner)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        while let Some(name) = map.next_key::<String>()? {
            if name == first.as_ref() {
                map.next_value_seed(Field(inner))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_a_place() {
        let text = "a: {b: 1}\nc:\n  - x\nd:\n  b:\n    e: f\n";
        assert_eq!(place(text, &["d", "b", "e"]), Some((6, 8)));
        assert_eq!(place(text, &["d", "b"]), Some((6, 5)));
        assert_eq!(place(text, &["a", "b"]), Some((1, 8)));
        assert_eq!(place(text, &["d", "x"]), None);
    }
}
