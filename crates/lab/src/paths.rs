//! Directories of the lab: checkout, state, cache.

use std::path::{Path, PathBuf};

use crate::settings::{self, SettingsError};

/// Where things are. Nothing is created by making one.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) cache: PathBuf,
}

impl Paths {
    /// Finds the checkout and decides on the state and cache directories.
    pub(crate) fn find() -> Result<Self, SettingsError> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let root = find_root(env(settings::ROOT), std::env::current_dir().ok())?;
        let is_root = nix::unistd::geteuid().is_root();
        Ok(Self {
            root,
            state: directory(
                &env,
                is_root,
                &Place {
                    var: settings::STATE_DIR,
                    for_root: "/var/lib/observability-lab",
                    xdg: "XDG_STATE_HOME",
                    in_home: ".local/state",
                    what: "state",
                },
            )?,
            cache: directory(
                &env,
                is_root,
                &Place {
                    var: settings::CACHE_DIR,
                    for_root: "/var/cache/observability-lab",
                    xdg: "XDG_CACHE_HOME",
                    in_home: ".cache",
                    what: "built programs",
                },
            )?,
        })
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.state.join("state.json")
    }

    /// What a verb asks of the supervisor.
    pub(crate) fn request_file(&self) -> PathBuf {
        self.state.join("request.json")
    }

    pub(crate) fn up_lock_file(&self) -> PathBuf {
        self.state.join("up.lock")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.state.join("supervisor.lock")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    pub(crate) fn data(&self, component: &str) -> PathBuf {
        self.state.join("data").join(component)
    }

    /// Configuration the engine rendered.
    pub(crate) fn config(&self, component: &str) -> PathBuf {
        self.state.join("config").join(component)
    }

    /// The live flags; only `lab` writes them.
    pub(crate) fn flags_file(&self) -> PathBuf {
        self.state.join("flags").join("lab.flagd.json")
    }

    /// The committed flags: the healthy default.
    pub(crate) fn default_flags_file(&self) -> PathBuf {
        self.root.join("infra/flags/lab.flagd.json")
    }

    /// What the webhook receiver kept.
    pub(crate) fn webhook(&self) -> PathBuf {
        self.data("webhook")
    }

    /// The incidents.
    pub(crate) fn scenarios(&self) -> PathBuf {
        self.root.join("scenarios")
    }

    /// The run of a scenario: what it broke, and what it has seen so far.
    pub(crate) fn scenario_file(&self) -> PathBuf {
        self.state.join("scenario.json")
    }

    pub(crate) fn scenario_lock_file(&self) -> PathBuf {
        self.state.join("scenario.lock")
    }

    /// The objectives.
    pub(crate) fn slo(&self) -> PathBuf {
        self.root.join("slo")
    }

    /// Configuration in the checkout.
    pub(crate) fn infra(&self, component: &str) -> PathBuf {
        self.root.join("infra").join(component)
    }
}

struct Place {
    var: &'static str,
    for_root: &'static str,
    xdg: &'static str,
    in_home: &'static str,
    what: &'static str,
}

fn directory(
    env: &impl Fn(&str) -> Option<String>,
    is_root: bool,
    place: &Place,
) -> Result<PathBuf, SettingsError> {
    if let Some(value) = env(place.var) {
        let path = PathBuf::from(&value);
        if path.is_relative() || path.is_file() {
            return Err(SettingsError::NotADirectory {
                var: place.var,
                value,
            });
        }
        return Ok(path);
    }
    // Root's home is usually closed to the user that Postgres runs as.
    if is_root {
        return Ok(PathBuf::from(place.for_root));
    }
    // The XDG specification says to ignore relative paths.
    let base = env(place.xdg)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            let home = env("HOME").map(PathBuf::from)?;
            home.is_absolute().then(|| home.join(place.in_home))
        })
        .ok_or(SettingsError::NoHome {
            what: place.what,
            var: place.var,
        })?;
    Ok(base.join("observability-lab"))
}

fn find_root(given: Option<String>, cwd: Option<PathBuf>) -> Result<PathBuf, SettingsError> {
    if let Some(value) = given {
        let path = PathBuf::from(&value);
        return path
            .canonicalize()
            .ok()
            .filter(|path| is_checkout(path))
            .ok_or(SettingsError::NoRoot { value });
    }
    cwd.iter()
        .flat_map(|cwd| cwd.ancestors())
        .find(|path| is_checkout(path))
        .map(Path::to_path_buf)
        .ok_or(SettingsError::NoRoot {
            value: String::new(),
        })
}

fn is_checkout(path: &Path) -> bool {
    path.join("crates/lab/Cargo.toml").is_file() && path.join(".env").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: Place = Place {
        var: "LAB_STATE_DIR",
        for_root: "/var/lib/observability-lab",
        xdg: "XDG_STATE_HOME",
        in_home: ".local/state",
        what: "state",
    };

    fn state(env: &[(&str, &str)], is_root: bool) -> Result<PathBuf, SettingsError> {
        let env = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        directory(&env, is_root, &STATE)
    }

    #[test]
    fn the_variable_wins_then_root_then_xdg_then_home() {
        let home = ("HOME", "/home/ann");
        let path = state(&[("LAB_STATE_DIR", "/x"), home], true).unwrap();
        assert_eq!(path, Path::new("/x"));
        let path = state(&[home], true).unwrap();
        assert_eq!(path, Path::new("/var/lib/observability-lab"));
        let path = state(&[("XDG_STATE_HOME", "/xdg"), home], false).unwrap();
        assert_eq!(path, Path::new("/xdg/observability-lab"));
        let path = state(&[("XDG_STATE_HOME", "relative"), home], false).unwrap();
        assert_eq!(path, Path::new("/home/ann/.local/state/observability-lab"));
    }

    #[test]
    fn refusals_name_the_variable() {
        let error = state(&[("LAB_STATE_DIR", "here")], false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "LAB_STATE_DIR is `here`: expected a directory with an absolute path"
        );
        let error = state(&[], false).unwrap_err();
        assert!(error.to_string().contains("set LAB_STATE_DIR"));
    }

    #[test]
    fn the_checkout_is_found_from_below() {
        let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let root = find_root(None, Some(below)).unwrap();
        assert!(root.join("crates/lab/Cargo.toml").is_file());
        assert!(find_root(Some("/nowhere".into()), None).is_err());
        assert!(find_root(None, Some(PathBuf::from("/"))).is_err());
    }
}
