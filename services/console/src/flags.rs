//! The flags that break things, in flagd's JSON format. A write is one rename, so that a service sees
//! the old file or the new one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The healthy variant that every flag has.
const OFF: &str = "off";

/// The file that the services read. Beside the console, `./lab fault` on the host may write it.
#[derive(Debug)]
pub(crate) struct Flags(PathBuf);

impl Flags {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// A file beside it, where the console can write too.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.0.with_file_name(name)
    }

    /// Those that are not as they should be.
    pub(crate) fn on(&self) -> Result<BTreeMap<String, String>, String> {
        let document = self.read()?;
        let flags = document["flags"].as_object().into_iter().flatten();
        Ok(flags
            .filter_map(|(name, flag)| {
                let variant = flag["defaultVariant"].as_str()?;
                (variant != OFF).then(|| (name.clone(), variant.to_owned()))
            })
            .collect())
    }

    /// Sets all of these; a flag or a variant that does not exist changes nothing.
    pub(crate) fn set(&self, variants: &BTreeMap<String, String>) -> Result<(), String> {
        let _lock = self
            .lock()
            .map_err(|error| self.cannot("written", &error))?;
        let mut document = self.read()?;
        for (name, variant) in variants {
            let flag = document["flags"]
                .get_mut(name)
                .ok_or_else(|| format!("there is no flag `{name}`"))?;
            if flag["variants"].get(variant).is_none() {
                return Err(format!("the flag {name} has no variant `{variant}`"));
            }
            flag["defaultVariant"] = variant.as_str().into();
        }
        let text = serde_json::to_vec_pretty(&document).map_err(|error| error.to_string())?;
        write(&self.0, &text).map_err(|error| self.cannot("written", &error))
    }

    pub(crate) fn clear(&self, names: impl Iterator<Item = String>) -> Result<(), String> {
        self.set(&names.map(|name| (name, OFF.to_owned())).collect())
    }

    /// The one that `./lab fault` takes too: neither loses the other's change.
    fn lock(&self) -> io::Result<File> {
        let path = self.beside(".lock");
        // Whoever made it may be somebody else; to lock it, to read it is enough.
        let lock = File::open(&path).or_else(|_| File::create(&path))?;
        lock.lock()?;
        Ok(lock)
    }

    fn read(&self) -> Result<Value, String> {
        let text = std::fs::read(&self.0).map_err(|error| self.cannot("read", &error))?;
        serde_json::from_slice(&text)
            .map_err(|error| format!("{} is no JSON: {error}", self.0.display()))
    }

    fn cannot(&self, what: &str, error: &io::Error) -> String {
        format!("{} cannot be {what}: {error}", self.0.display())
    }
}

/// Replaces a file as a whole.
pub(crate) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".console");
    let part = path.with_file_name(name);
    std::fs::write(&part, text)?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_set_all_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab.flagd.json");
        let flag = r#"{"variants": {"off": 0, "half": 0.5}, "defaultVariant": "off"}"#;
        let text = format!(r#"{{"flags": {{"a": {flag}, "b": {flag}}}, "other": 1}}"#);
        std::fs::write(&path, text).unwrap();
        let flags = Flags::new(path);
        let variants = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, variant)| ((*name).to_owned(), (*variant).to_owned()))
                .collect()
        };
        assert!(flags.set(&variants(&[("a", "half"), ("b", "no")])).is_err());
        assert!(
            flags
                .set(&variants(&[("a", "half"), ("c", "off")]))
                .is_err()
        );
        assert!(flags.on().unwrap().is_empty());
        flags.set(&variants(&[("a", "half")])).unwrap();
        assert_eq!(flags.on().unwrap(), variants(&[("a", "half")]));
        assert_eq!(flags.read().unwrap()["other"], 1);
        flags.clear(["a".to_owned()].into_iter()).unwrap();
        assert!(flags.on().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
