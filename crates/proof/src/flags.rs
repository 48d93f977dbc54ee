//! The flags that break things, in flagd's JSON format: the file that the services read. A write is one rename, so a
//! service sees the old file or the new one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::file;

/// The healthy variant that every flag has.
pub const OFF: &str = "off";

/// A flags file, with its order and everything the lab does not know kept as it was.
#[derive(Debug)]
pub struct Flags {
    document: Value,
}

/// One flag, for a table.
#[derive(Debug, PartialEq, serde::Serialize)]
pub struct Flag {
    pub name: String,
    pub variant: String,
    pub value: Value,
    pub variants: Vec<String>,
    pub description: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag or a variant that does not exist.
    #[error("{0}")]
    Unknown(String),
    #[error("{} is not a flags file: {why}", path.display())]
    Malformed { path: PathBuf, why: String },
    #[error("{} cannot be {what}: {error}", path.display())]
    File {
        path: PathBuf,
        what: &'static str,
        error: io::Error,
    },
}

impl Error {
    fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File { path, what, error }
    }
}

/// Changes a flags file; two programs at once do not lose each other's change. Where it is not there yet, it begins as
/// `default`. A change that fails leaves everything as it was.
pub fn edit(
    file: &Path,
    default: Option<&Path>,
    change: impl FnOnce(&mut Flags) -> Result<(), Error>,
) -> Result<Flags, Error> {
    let path = file.with_file_name(".lock");
    // Whoever made it may be somebody else; to lock it, to read it is enough.
    let lock = File::open(&path).or_else(|_| File::create(&path));
    let locked = lock.and_then(|lock| lock.lock().map(|()| lock));
    let _lock = locked.map_err(Error::file(file, "written"))?;
    let mut flags = match default {
        Some(default) if !file.exists() => Flags::read(default)?,
        _ => Flags::read(file)?,
    };
    change(&mut flags)?;
    flags.write(file)?;
    Ok(flags)
}

impl Flags {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path, "read"))?;
        Self::parse(&text).map_err(|why| Error::Malformed {
            path: path.to_owned(),
            why,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let flags = document
            .get("flags")
            .and_then(Value::as_object)
            .ok_or("it has no object `flags`")?;
        for (name, flag) in flags {
            let variants = flag
                .get("variants")
                .and_then(Value::as_object)
                .ok_or_else(|| format!("flag {name} has no object `variants`"))?;
            let variant = flag
                .get("defaultVariant")
                .and_then(Value::as_str)
                .ok_or_else(|| format!("flag {name} has no `defaultVariant`"))?;
            if !variants.contains_key(variant) {
                return Err(format!("flag {name} has no variant {variant}"));
            }
        }
        Ok(Self { document })
    }

    /// Into a directory that is there.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = format!("{:#}\n", self.document);
        file::replace(path, text.as_bytes()).map_err(Error::file(path, "written"))
    }

    fn flags(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.document
            .get("flags")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }

    pub fn list(&self) -> Vec<Flag> {
        self.flags()
            .map(|(name, flag)| {
                let variant = flag["defaultVariant"].as_str().unwrap_or_default();
                Flag {
                    name: name.clone(),
                    variant: variant.to_owned(),
                    value: flag["variants"][variant].clone(),
                    variants: keys(&flag["variants"]),
                    description: flag["metadata"]["description"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                }
            })
            .collect()
    }

    /// Those that are not as they should be.
    pub fn on(&self) -> Vec<Flag> {
        let mut on = self.list();
        on.retain(|flag| flag.variant != OFF);
        on
    }

    /// Sets one flag to one of its variants.
    pub fn set(&mut self, name: &str, variant: &str) -> Result<(), Error> {
        let known: Vec<String> = self.flags().map(|(name, _)| name.clone()).collect();
        let flag = self
            .document
            .get_mut("flags")
            .and_then(|flags| flags.get_mut(name))
            .ok_or_else(|| {
                Error::Unknown(format!(
                    "there is no flag `{name}`: expected one of {}",
                    known.join(", ")
                ))
            })?;
        let variants = keys(&flag["variants"]);
        if !variants.iter().any(|each| each == variant) {
            return Err(Error::Unknown(format!(
                "the flag {name} has no variant `{variant}`: expected one of {}",
                variants.join(", ")
            )));
        }
        flag["defaultVariant"] = variant.into();
        Ok(())
    }

    /// Sets every flag that has this variant to it, and all others to healthy.
    pub fn set_all(&mut self, variant: &str) -> Result<(), Error> {
        let mut sets: Vec<String> = Vec::new();
        for flag in self.list() {
            sets.extend(flag.variants);
        }
        sets.sort();
        sets.dedup();
        if !sets.iter().any(|each| each == variant) {
            return Err(Error::Unknown(format!(
                "no flag has a variant `{variant}`: expected one of {}",
                sets.join(", ")
            )));
        }
        for flag in self.list() {
            let has = flag.variants.iter().any(|each| each == variant);
            self.set(&flag.name, if has { variant } else { OFF })?;
        }
        Ok(())
    }
}

fn keys(object: &Value) -> Vec<String> {
    object
        .as_object()
        .map(Map::keys)
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "flags": {
            "slow": {
                "state": "ENABLED",
                "variants": { "off": 0, "seed": 0.1, "all": 1 },
                "defaultVariant": "off",
                "metadata": { "description": "Slow." }
            },
            "down": {
                "state": "ENABLED",
                "variants": { "off": false, "on": true },
                "defaultVariant": "off",
                "targeting": {}
            }
        }
    }"#;

    fn variants(flags: &Flags) -> Vec<(String, String)> {
        flags
            .list()
            .into_iter()
            .map(|flag| (flag.name, flag.variant))
            .collect()
    }

    fn pairs(expected: [(&str, &str); 2]) -> Vec<(String, String)> {
        expected
            .map(|(name, variant)| (name.to_owned(), variant.to_owned()))
            .to_vec()
    }

    #[test]
    fn a_set_is_the_variant_of_every_flag_that_has_it() {
        let mut flags = Flags::parse(TEXT).unwrap();
        flags.set("down", "on").unwrap();
        flags.set_all("seed").unwrap();
        let mut now = variants(&flags);
        now.sort();
        assert_eq!(now, pairs([("down", "off"), ("slow", "seed")]));
        flags.set_all(OFF).unwrap();
        let mut now = variants(&flags);
        now.sort();
        assert_eq!(now, pairs([("down", "off"), ("slow", "off")]));
    }

    #[test]
    fn unknown_names_are_refused_with_what_is_known() {
        let mut flags = Flags::parse(TEXT).unwrap();
        let error = flags.set("slwo", "seed").unwrap_err();
        assert!(matches!(error, Error::Unknown(_)));
        assert!(error.to_string().contains("there is no flag `slwo`"));
        let error = flags.set("slow", "0.3").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the flag slow has no variant `0.3`: expected one of off, seed, all"
        );
        assert!(flags.set_all("storm").is_err());
    }

    #[test]
    fn an_edit_keeps_what_it_does_not_know_and_begins_as_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let default = dir.path().join("default.json");
        let live = dir.path().join("live.json");
        std::fs::write(&default, TEXT).unwrap();
        edit(&live, Some(&default), |flags| flags.set("slow", "all")).unwrap();
        edit(&live, Some(&default), |flags| flags.set("down", "on")).unwrap();
        let flags = Flags::read(&live).unwrap();
        assert_eq!(variants(&flags), pairs([("slow", "all"), ("down", "on")]));
        assert_eq!(flags.on().len(), 2);
        assert!(flags.document["flags"]["down"]["targeting"].is_object());
        assert_eq!(
            flags.document["$schema"],
            "https://flagd.dev/schema/v0/flags.json"
        );
        assert_eq!(std::fs::read_to_string(default).unwrap(), TEXT);
        // These two, and the lock.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn flags_are_set_all_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let live = dir.path().join("live.json");
        std::fs::write(&live, TEXT).unwrap();
        for second in [("slow", "no"), ("slwo", "all")] {
            let both = [("down", "on"), second];
            let refused = edit(&live, None, |flags| {
                both.iter()
                    .try_for_each(|(name, variant)| flags.set(name, variant))
            });
            assert!(refused.is_err());
            assert_eq!(std::fs::read_to_string(&live).unwrap(), TEXT);
        }
    }

    #[test]
    fn two_edits_at_once_are_both_kept() {
        let dir = tempfile::tempdir().unwrap();
        let live = dir.path().join("live.json");
        std::fs::write(&live, TEXT).unwrap();
        let turn = |name: &str, there: &str| {
            for _ in 0..100 {
                edit(&live, None, |flags| flags.set(name, there)).unwrap();
                let now = Flags::read(&live).unwrap().list();
                let flag = now.into_iter().find(|flag| flag.name == name).unwrap();
                assert_eq!(flag.variant, there);
                edit(&live, None, |flags| flags.set(name, OFF)).unwrap();
            }
            edit(&live, None, |flags| flags.set(name, there)).unwrap();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| turn("slow", "all"));
            turn("down", "on");
        });
        let flags = Flags::read(&live).unwrap();
        assert_eq!(variants(&flags), pairs([("slow", "all"), ("down", "on")]));
    }

    #[test]
    fn malformed_files_are_said_to_be() {
        for (text, message) in [
            ("{", "EOF"),
            ("{}", "no object `flags`"),
            (r#"{"flags":{"a":{}}}"#, "no object `variants`"),
            (
                r#"{"flags":{"a":{"variants":{"off":0},"defaultVariant":"on"}}}"#,
                "no variant on",
            ),
        ] {
            let error = Flags::parse(text).err().unwrap();
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn the_committed_file_is_healthy_and_has_the_seed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut flags = Flags::read(&root.join("infra/flags/lab.flagd.json")).unwrap();
        assert!(flags.on().is_empty());
        flags.set_all("seed").unwrap();
    }
}
