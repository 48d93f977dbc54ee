use std::path::{Path, PathBuf};

use crate::{FileError, ParseError};

/// Every `.yaml` and `.yml` of a folder (not of its sub-folders), in order of their names.
///
/// # Errors
/// The folder cannot be read.
pub fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads one file.
///
/// # Errors
/// It cannot be read, or `parse` does not take what is in it.
pub fn read<T>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, ParseError>,
) -> Result<T, FileError> {
    let text = std::fs::read_to_string(path).map_err(|error| FileError::Unreadable {
        path: path.to_path_buf(),
        error,
    })?;
    parse(&text).map_err(|error| FileError::Wrong {
        path: path.to_path_buf(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yaml", "notes.md"] {
            std::fs::write(folder.path().join(name), "number: five\n").unwrap();
        }
        let files = files(folder.path()).unwrap();
        let names: Vec<_> = files.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["a.yaml", "b.yml"]);

        #[derive(Debug, serde::Deserialize)]
        struct Number {
            #[serde(rename = "number")]
            _number: u8,
        }
        let parse = |text: &str| Ok(serde_norway::from_str::<Number>(text)?);
        let wrong = read(&files[0], parse).unwrap_err().to_string();
        assert!(
            wrong.ends_with("/a.yaml:1:9: number: invalid type: string \"five\", expected u8"),
            "{wrong}"
        );
        let absent = read(&folder.path().join("c.yaml"), parse).unwrap_err();
        assert!(absent.to_string().contains("c.yaml: cannot be read: "));
    }
}
