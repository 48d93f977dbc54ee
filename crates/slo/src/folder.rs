//! A folder of objectives: each file by itself, so that a wrong one leaves the others alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use yaml_file::ParseError;

use crate::{Level, Objective};

/// One file, and the objective in it or what is wrong with it.
#[derive(Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub objective: Result<Objective, FileError>,
    /// What is wrong with it although its rules load.
    pub findings: Vec<(Level, yaml_file::FileError)>,
}

/// Why a file gives no objective.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, or what is in it is wrong.
    #[error(transparent)]
    File(#[from] yaml_file::FileError),
    /// Its rules would be mixed up with those of another.
    #[error("{}: metadata.name: expected a name of its own, found {name:?}, which {} has", path.display(), other.display())]
    Twice {
        /// Where it is.
        path: PathBuf,
        /// The name.
        name: String,
        /// Who has it.
        other: PathBuf,
    },
}

/// Reads every `.yaml` and `.yml` of a folder (not of its sub-folders), in order of their names.
///
/// # Errors
/// The folder cannot be read. A file that is wrong is part of the result.
pub fn read_folder(folder: &Path) -> std::io::Result<Vec<Source>> {
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    Ok(yaml_file::files(folder)?
        .into_iter()
        .map(|path| {
            let mut findings = Vec::new();
            let read = yaml_file::read(&path, |text| {
                let objective = Objective::parse(text)?;
                findings.extend(objective.findings().into_iter().map(|finding| {
                    let error = ParseError {
                        place: yaml_file::place(text, &finding.field),
                        message: finding.to_string(),
                    };
                    let path = path.clone();
                    (finding.level, yaml_file::FileError::Wrong { path, error })
                }));
                Ok(objective)
            });
            let objective = read.map_err(FileError::from).and_then(|objective| {
                match names.get(&objective.name) {
                    Some(other) => Err(FileError::Twice {
                        path: path.clone(),
                        name: objective.name,
                        other: other.clone(),
                    }),
                    None => {
                        names.insert(objective.name.clone(), path.clone());
                        Ok(objective)
                    }
                }
            });
            Source {
                path,
                objective,
                findings,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../tests/golden/slo/users-availability.yaml");

    #[test]
    fn a_wrong_file_leaves_the_others_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.yaml", GOOD),
            ("b.yml", "kind: 5\n"),
            ("c.yaml", GOOD),
            ("notes.md", "no"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let sources = read_folder(folder.path()).unwrap();
        assert_eq!(sources.len(), 3);
        assert_eq!(
            sources[0].objective.as_ref().unwrap().name,
            "users-availability"
        );
        let wrong = sources[1].objective.as_ref().unwrap_err().to_string();
        assert!(
            wrong.ends_with(
                "/b.yml:1:7: kind: invalid type: integer `5`, expected ServiceLevelObjective"
            ),
            "{wrong}"
        );
        let twice = sources[2].objective.as_ref().unwrap_err().to_string();
        assert!(
            twice.contains("/c.yaml: metadata.name: expected a name of its own"),
            "{twice}"
        );
        assert!(twice.ends_with("/a.yaml has"), "{twice}");
    }
}
