use std::fmt;
use std::path::PathBuf;

/// What is wrong with a text, and where.
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

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: cannot be read: {error}", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// What is in it is wrong.
    #[error("{}{}{error}", path.display(), if error.place.is_some() { ":" } else { ": " })]
    Wrong {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, and where.
        error: ParseError,
    },
}
