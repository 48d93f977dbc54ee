//! Versions that services are to run as, for as long as somebody pretends a deploy: only the name of the
//! version changes, the program is the same.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;

use crate::cli::WrongRequest;
use crate::paths::Paths;
use crate::state::write_atomically;

/// By the names of the services.
pub(crate) type Versions = BTreeMap<String, String>;

fn file(paths: &Paths) -> PathBuf {
    paths.state.join("versions.json")
}

/// Those of now. A file that cannot be read says nothing.
pub(crate) fn current(paths: &Paths) -> Versions {
    std::fs::read(file(paths))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// What is said here goes for the next start of each service.
pub(crate) fn set(paths: &Paths, versions: &Versions) -> anyhow::Result<()> {
    if let Some((service, version)) = versions.iter().find(|(_, version)| !is_version(version)) {
        return Err(WrongRequest(format!(
            "{service} cannot run as version `{version}`: expected letters, digits, dots, dashes and pluses"
        ))
        .into());
    }
    let path = file(paths);
    if versions.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        };
    }
    write_atomically(&path, &serde_json::to_vec_pretty(versions)?)
}

/// It goes into a list of attributes, where commas and equals signs separate.
fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b".-+_".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stays_until_it_is_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths {
            root: directory.path().to_path_buf(),
            state: directory.path().to_path_buf(),
            cache: directory.path().to_path_buf(),
        };
        let versions = Versions::from([("users".to_owned(), "0.2.0".to_owned())]);
        set(&paths, &versions).unwrap();
        assert_eq!(current(&paths), versions);
        set(&paths, &Versions::new()).unwrap();
        set(&paths, &Versions::new()).unwrap();
        assert!(current(&paths).is_empty());
        let wrong = Versions::from([("users".to_owned(), "1,service.name=x".to_owned())]);
        assert!(set(&paths, &wrong).unwrap_err().is::<WrongRequest>());
    }
}
