//! The faults: the live file of flags, which services read, and the committed one with which it begins.

use std::path::Path;

use anyhow::Context;
use proof::flags::{Error, Flags};

use crate::cli::WrongRequest;
use crate::paths::Paths;

/// Makes the live file from the committed one, unless there is one that can be read.
pub(crate) fn ensure(paths: &Paths) -> anyhow::Result<()> {
    if Flags::read(&paths.flags_file()).is_ok() {
        return Ok(());
    }
    reset(paths)
}

/// Changes the live file; whoever changes it at the same time loses nothing.
pub(crate) fn edit(
    paths: &Paths,
    change: impl FnOnce(&mut Flags) -> Result<(), Error>,
) -> anyhow::Result<Flags> {
    let live = paths.flags_file();
    make_directory(&live)?;
    proof::flags::edit(&live, Some(&paths.default_flags_file()), change).map_err(told)
}

/// Puts the committed default in place, whatever was there.
pub(crate) fn reset(paths: &Paths) -> anyhow::Result<()> {
    let live = paths.flags_file();
    let default = Flags::read(&paths.default_flags_file()).map_err(told)?;
    make_directory(&live)?;
    default.write(&live).map_err(told)
}

/// The live flags, or the default while there are none.
pub(crate) fn current(paths: &Paths) -> anyhow::Result<Flags> {
    let live = paths.flags_file();
    let file = if live.exists() {
        live
    } else {
        paths.default_flags_file()
    };
    Flags::read(&file).map_err(told)
}

fn make_directory(file: &Path) -> anyhow::Result<()> {
    let directory = file.parent().context("the flags file has no directory")?;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
}

/// With what to do about it.
fn told(error: Error) -> anyhow::Error {
    match error {
        Error::Unknown(text) => WrongRequest(text).into(),
        Error::Malformed { .. } => {
            anyhow::anyhow!("{error}; `./lab fault clear` puts the default there")
        }
        Error::File { .. } => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"flags": {
        "slow": {"variants": {"off": 0, "seed": 0.1, "all": 1}, "defaultVariant": "off"}
    }}"#;

    fn paths(directory: &Path) -> Paths {
        let root = directory.join("root");
        std::fs::create_dir_all(root.join("infra/flags")).unwrap();
        std::fs::write(root.join("infra/flags/lab.flagd.json"), TEXT).unwrap();
        Paths {
            root,
            state: directory.join("state"),
            cache: directory.join("cache"),
        }
    }

    fn slow(paths: &Paths) -> String {
        let flags = current(paths).unwrap().list();
        assert_eq!(flags.len(), 1);
        flags.into_iter().next().unwrap().variant
    }

    #[test]
    fn a_refused_edit_changes_nothing_and_is_a_wrong_request() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        ensure(&paths).unwrap();
        let before = std::fs::read(paths.flags_file()).unwrap();
        let refused = edit(&paths, |flags| flags.set("slow", "no")).unwrap_err();
        assert!(refused.is::<WrongRequest>());
        assert_eq!(std::fs::read(paths.flags_file()).unwrap(), before);
    }

    #[test]
    fn starting_heals_a_damaged_live_file_and_keeps_a_good_one() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        edit(&paths, |flags| flags.set("slow", "all")).unwrap();
        ensure(&paths).unwrap();
        assert_eq!(slow(&paths), "all");
        std::fs::write(paths.flags_file(), "{").unwrap();
        let refused = current(&paths).unwrap_err().to_string();
        assert!(refused.ends_with("`./lab fault clear` puts the default there"));
        ensure(&paths).unwrap();
        assert_eq!(slow(&paths), "off");
    }
}
