//! The faults: flags in flagd's JSON format. Services read the live file; only `lab` writes it.
//! A write is one rename, so a service sees the old file or the new one.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Map, Value};

use crate::cli::WrongRequest;
use crate::paths::Paths;
use crate::state::write_atomically;

/// The healthy variant that every flag has.
pub(crate) const OFF: &str = "off";

/// A flags file, with its order and everything the lab does not know kept as it was.
pub(crate) struct Flags {
    document: Value,
}

/// One flag, for a table.
#[derive(Debug, PartialEq, serde::Serialize)]
pub(crate) struct Flag {
    pub(crate) name: String,
    pub(crate) variant: String,
    pub(crate) value: Value,
    pub(crate) variants: Vec<String>,
    pub(crate) description: String,
}

/// Makes the live file from the committed one, unless there is one that can be read.
pub(crate) fn ensure(paths: &Paths) -> anyhow::Result<()> {
    let live = paths.flags_file();
    if Flags::read(&live).is_ok() {
        return Ok(());
    }
    let default = Flags::read(&paths.default_flags_file())?;
    default.write(&live)
}

/// Changes the live file; two `lab` at once do not lose each other's change.
pub(crate) fn edit(
    paths: &Paths,
    change: impl FnOnce(&mut Flags) -> anyhow::Result<()>,
) -> anyhow::Result<Flags> {
    let live = paths.flags_file();
    let directory = live.parent().context("the flags file has no directory")?;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let lock = File::create(directory.join(".lock"))
        .with_context(|| format!("cannot write into {}", directory.display()))?;
    lock.lock().context("cannot lock the flags file")?;
    let mut flags = if live.exists() {
        Flags::read(&live)?
    } else {
        Flags::read(&paths.default_flags_file())?
    };
    change(&mut flags)?;
    flags.write(&live)?;
    Ok(flags)
}

/// Puts the committed default in place, whatever was there.
pub(crate) fn reset(paths: &Paths) -> anyhow::Result<()> {
    Flags::read(&paths.default_flags_file())?.write(&paths.flags_file())
}

/// The live flags, or the default while there are none.
pub(crate) fn current(paths: &Paths) -> anyhow::Result<Flags> {
    let live = paths.flags_file();
    if live.exists() {
        Flags::read(&live)
    } else {
        Flags::read(&paths.default_flags_file())
    }
}

impl Flags {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| {
            format!(
                "{} is not a flags file; `./lab fault clear` puts the default there",
                path.display()
            )
        })
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let document: Value = serde_json::from_str(text)?;
        let flags = document
            .get("flags")
            .and_then(Value::as_object)
            .context("it has no object `flags`")?;
        for (name, flag) in flags {
            let variants = flag
                .get("variants")
                .and_then(Value::as_object)
                .with_context(|| format!("flag {name} has no object `variants`"))?;
            let variant = flag
                .get("defaultVariant")
                .and_then(Value::as_str)
                .with_context(|| format!("flag {name} has no `defaultVariant`"))?;
            ensure!(
                variants.contains_key(variant),
                "flag {name} has no variant {variant}"
            );
        }
        Ok(Self { document })
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut text = serde_json::to_string_pretty(&self.document)?;
        text.push('\n');
        write_atomically(path, text.as_bytes())
    }

    fn flags(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.document
            .get("flags")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }

    pub(crate) fn list(&self) -> Vec<Flag> {
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

    /// Sets one flag to one of its variants.
    pub(crate) fn set(&mut self, name: &str, variant: &str) -> anyhow::Result<()> {
        let known: Vec<String> = self.flags().map(|(name, _)| name.clone()).collect();
        let flag = self
            .document
            .get_mut("flags")
            .and_then(|flags| flags.get_mut(name))
            .ok_or_else(|| {
                WrongRequest(format!(
                    "there is no flag `{name}`: expected one of {}",
                    known.join(", ")
                ))
            })?;
        let variants = keys(&flag["variants"]);
        if !variants.iter().any(|each| each == variant) {
            return Err(WrongRequest(format!(
                "the flag {name} has no variant `{variant}`: expected one of {}",
                variants.join(", ")
            ))
            .into());
        }
        flag["defaultVariant"] = variant.into();
        Ok(())
    }

    /// Sets every flag that has this variant to it, and all others to healthy.
    pub(crate) fn set_all(&mut self, variant: &str) -> anyhow::Result<()> {
        let mut sets: Vec<String> = Vec::new();
        for flag in self.list() {
            sets.extend(flag.variants);
        }
        sets.sort();
        sets.dedup();
        if !sets.iter().any(|each| each == variant) {
            return Err(WrongRequest(format!(
                "no flag has a variant `{variant}`: expected one of {}",
                sets.join(", ")
            ))
            .into());
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
        assert!(error.is::<WrongRequest>());
        assert!(error.to_string().contains("there is no flag `slwo`"));
        let error = flags.set("slow", "0.3").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the flag slow has no variant `0.3`: expected one of off, seed, all"
        );
        assert!(flags.set_all("storm").is_err());
    }

    #[test]
    fn an_edit_keeps_what_it_does_not_know() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        edit(&paths, |flags| flags.set("slow", "all")).unwrap();
        let text = std::fs::read_to_string(paths.flags_file()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["flags"]["slow"]["defaultVariant"], "all");
        assert!(document["flags"]["down"]["targeting"].is_object());
        assert_eq!(
            document["$schema"],
            "https://flagd.dev/schema/v0/flags.json"
        );
        let default = std::fs::read_to_string(paths.default_flags_file()).unwrap();
        assert_eq!(default, TEXT);
    }

    #[test]
    fn a_refused_edit_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        ensure(&paths).unwrap();
        let before = std::fs::read(paths.flags_file()).unwrap();
        assert!(edit(&paths, |flags| flags.set("slow", "no")).is_err());
        assert_eq!(std::fs::read(paths.flags_file()).unwrap(), before);
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
    fn starting_heals_a_damaged_live_file_and_keeps_a_good_one() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        edit(&paths, |flags| flags.set("slow", "all")).unwrap();
        ensure(&paths).unwrap();
        assert_eq!(current(&paths).unwrap().list().len(), 2);
        let slow = |paths: &Paths| {
            let list = current(paths).unwrap().list();
            list.into_iter()
                .find(|flag| flag.name == "slow")
                .unwrap()
                .variant
        };
        assert_eq!(slow(&paths), "all");
        std::fs::write(paths.flags_file(), "{").unwrap();
        ensure(&paths).unwrap();
        assert_eq!(slow(&paths), "off");
    }

    #[test]
    fn the_committed_file_is_healthy_and_has_the_seed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut flags = Flags::read(&root.join("infra/flags/lab.flagd.json")).unwrap();
        assert!(flags.list().iter().all(|flag| flag.variant == OFF));
        flags.set_all("seed").unwrap();
    }
}
