//! YAML that people write: every mistake is told with its file, line, column, and what was expected.
#![warn(missing_docs)]

mod checked;
mod error;
mod folder;
mod place;
mod text;

pub use checked::{Check, Checked};
pub use error::{FileError, ParseError};
pub use folder::{files, read};
pub use place::place;
pub use text::{FromText, Text};
