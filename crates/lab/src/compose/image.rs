//! Writes a container image as the archive that `docker load` takes, from files of this machine.
//! No engine and no base image is needed: what an upstream image is, is one program and the
//! libraries it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The label by which an image that is the same need not be made again.
pub(crate) const INPUTS: &str = "observability-lab.inputs";

/// What is in an image, by absolute path, and how it starts.
#[derive(Default)]
pub(crate) struct Image {
    entries: BTreeMap<PathBuf, Entry>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) user: String,
    pub(crate) labels: BTreeMap<String, String>,
}

enum Entry {
    File(PathBuf),
    Text { text: String, mode: u32 },
    Link(PathBuf),
    Directory { owner: u64, mode: u32 },
}

impl Image {
    /// A file of this machine; a link to one counts as the file.
    pub(crate) fn file(&mut self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) {
        self.entries.insert(to.into(), Entry::File(from.into()));
    }

    /// A file of our own.
    pub(crate) fn text(&mut self, to: &str, text: &str, mode: u32) {
        let text = text.to_owned();
        self.entries.insert(to.into(), Entry::Text { text, mode });
    }

    pub(crate) fn link(&mut self, at: &str, to: &str) {
        self.entries.insert(at.into(), Entry::Link(to.into()));
    }

    /// A directory that a user, by number, can write: volumes begin with its owner.
    pub(crate) fn directory(&mut self, at: &str, owner: u64, mode: u32) {
        let entry = Entry::Directory { owner, mode };
        self.entries.insert(at.into(), entry);
    }

    /// All files below a directory, but for those that `keep` does not want.
    pub(crate) fn tree(
        &mut self,
        from: &Path,
        to: &Path,
        keep: &dyn Fn(&Path) -> bool,
    ) -> anyhow::Result<()> {
        let entries =
            std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
        for entry in entries {
            let path = entry?.path();
            let target = to.join(path.file_name().unwrap_or_default());
            if !keep(&path) {
                continue;
            }
            if path.is_dir() {
                self.tree(&path, &target, keep)?;
            } else {
                self.file(path, target);
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        self.entries.remove(path);
    }

    /// A root directory as it is, its links too.
    pub(crate) fn root(&mut self, from: &Path) -> anyhow::Result<()> {
        self.below(from, Path::new("/"), &|_| true)
    }

    /// All below a directory, links as links, but for what `keep` does not want.
    pub(crate) fn below(
        &mut self,
        from: &Path,
        to: &Path,
        keep: &dyn Fn(&Path) -> bool,
    ) -> anyhow::Result<()> {
        let entries =
            std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if !keep(&path) {
                continue;
            }
            let target = to.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                let link = std::fs::read_link(&path)?;
                self.entries.insert(target, Entry::Link(link));
            } else if kind.is_dir() {
                self.below(&path, &target, keep)?;
            } else if kind.is_file() {
                self.file(path, target);
            }
        }
        Ok(())
    }

    /// A program and the shared libraries that it loads.
    pub(crate) async fn program(
        &mut self,
        from: &Path,
        to: &str,
        library_path: Option<&std::ffi::OsStr>,
    ) -> anyhow::Result<()> {
        self.file(from, to);
        self.libraries(from, library_path).await
    }

    pub(crate) async fn libraries(
        &mut self,
        program: &Path,
        library_path: Option<&std::ffi::OsStr>,
    ) -> anyhow::Result<()> {
        let mut ldd = tokio::process::Command::new("ldd");
        ldd.arg(program)
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null());
        if let Some(path) = library_path {
            ldd.env("LD_LIBRARY_PATH", path);
        }
        let output = ldd.output().await.context("cannot run ldd")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // A static program has none, and ldd then fails.
        for library in libraries(&text) {
            // Where the loader of a bare image looks, whatever path this machine's took.
            let name = library.file_name().unwrap_or_default();
            let is_loader = name.to_string_lossy().starts_with("ld-linux");
            let to = if is_loader {
                library.clone()
            } else {
                Path::new("/lib").join(name)
            };
            self.file(library, to);
        }
        ensure!(
            !text.contains("not found"),
            "{} needs libraries that are not here:\n{text}",
            program.display()
        );
        Ok(())
    }

    /// Changes with everything that is in it.
    pub(crate) fn fingerprint(&self) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        hash.update(self.config(&[]).to_string());
        for (path, entry) in &self.entries {
            hash.update(path.as_os_str().as_encoded_bytes());
            match entry {
                Entry::File(from) => {
                    hash.update(crate::native::component::file_identity(from));
                }
                Entry::Text { text, mode } => hash.update(format!("{mode} {text}")),
                Entry::Link(to) => hash.update(to.as_os_str().as_encoded_bytes()),
                Entry::Directory { owner, mode } => hash.update(format!("{owner} {mode}")),
            }
        }
        Ok(format!("{:x}", hash.finalize()))
    }

    fn config(&self, layers: &[String]) -> Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.command,
                "Env": self.env,
                "User": self.user,
                "Labels": self.labels,
                "WorkingDir": "/",
            },
            "rootfs": { "type": "layers", "diff_ids": layers },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "lab air-gap images make" }],
        })
    }

    /// Writes the archive. `scratch` is a directory for what is in between.
    pub(crate) fn write(&self, tag: &str, archive: &Path, scratch: &Path) -> anyhow::Result<()> {
        let layer = scratch.join("layer.tar");
        let digest = self.write_layer(&layer)?;
        let config = self.config(&[format!("sha256:{digest}")]).to_string();
        let config_name = format!("{:x}.json", Sha256::digest(&config));
        let manifest = json!([{
            "Config": config_name,
            "RepoTags": [tag],
            "Layers": ["layer.tar"],
        }]);
        let file = std::fs::File::create(archive)
            .with_context(|| format!("cannot write {}", archive.display()))?;
        let mut tar = tar::Builder::new(io::BufWriter::new(file));
        append_text(&mut tar, Path::new(&config_name), &config, 0o644)?;
        tar.append_path_with_name(&layer, "layer.tar")?;
        append_text(
            &mut tar,
            Path::new("manifest.json"),
            &manifest.to_string(),
            0o644,
        )?;
        tar.into_inner()?.flush()?;
        Ok(())
    }

    fn write_layer(&self, layer: &Path) -> anyhow::Result<String> {
        let file = std::fs::File::create(layer)
            .with_context(|| format!("cannot write {}", layer.display()))?;
        let hashing = Hashing {
            inner: io::BufWriter::new(file),
            hash: Sha256::new(),
        };
        let mut tar = tar::Builder::new(hashing);
        let mut made: BTreeSet<PathBuf> = BTreeSet::new();
        for (path, entry) in &self.entries {
            let path = path.strip_prefix("/").unwrap_or(path);
            let above: Vec<&Path> = path.ancestors().skip(1).collect();
            for directory in above.into_iter().rev() {
                if !directory.as_os_str().is_empty() && made.insert(directory.to_path_buf()) {
                    append_directory(&mut tar, directory, 0, 0o755)?;
                }
            }
            match entry {
                Entry::File(from) => append_file(&mut tar, from, path)?,
                Entry::Text { text, mode } => append_text(&mut tar, path, text, *mode)?,
                Entry::Link(to) => {
                    let mut header = header(tar::EntryType::Symlink, 0, 0, 0o777);
                    tar.append_link(&mut header, path, to)?;
                }
                Entry::Directory { owner, mode } => {
                    made.insert(path.to_path_buf());
                    append_directory(&mut tar, path, *owner, *mode)?;
                }
            }
        }
        let mut hashing = tar.into_inner()?;
        hashing.flush()?;
        Ok(format!("{:x}", hashing.hash.finalize()))
    }
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the loader's `/lib64/ld-… (0x…)`.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.starts_with('/'))
                .map(PathBuf::from)
        })
        .collect()
}

fn header(kind: tar::EntryType, size: u64, owner: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

fn append_directory(
    tar: &mut tar::Builder<impl Write>,
    path: &Path,
    owner: u64,
    mode: u32,
) -> anyhow::Result<()> {
    let mut header = header(tar::EntryType::Directory, 0, owner, mode);
    Ok(tar.append_data(&mut header, path, io::empty())?)
}

fn append_text(
    tar: &mut tar::Builder<impl Write>,
    path: &Path,
    text: &str,
    mode: u32,
) -> anyhow::Result<()> {
    let mut header = header(tar::EntryType::Regular, text.len() as u64, 0, mode);
    Ok(tar.append_data(&mut header, path, text.as_bytes())?)
}

fn append_file(tar: &mut tar::Builder<impl Write>, from: &Path, to: &Path) -> anyhow::Result<()> {
    let reading = || format!("cannot read {}", from.display());
    let file = std::fs::File::open(from).with_context(reading)?;
    let meta = file.metadata().with_context(reading)?;
    // Everybody may run what somebody may run, whoever owns it here.
    let mode = if meta.permissions().mode() & 0o111 == 0 {
        0o644
    } else {
        0o755
    };
    let mut header = header(tar::EntryType::Regular, meta.len(), 0, mode);
    Ok(tar.append_data(&mut header, to, file.take(meta.len()))?)
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(
            libraries(text),
            [
                PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"),
                PathBuf::from("/lib64/ld-linux-x86-64.so.2")
            ]
        );
        assert!(libraries("\tstatically linked\n").is_empty());
    }

    #[test]
    fn the_archive_holds_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, "bits").unwrap();
        let mut image = Image {
            user: "1000".to_owned(),
            ..Image::default()
        };
        image.file(&program, "/usr/bin/program");
        image.directory("/data", 1000, 0o700);
        image.link("/bin/sh", "busybox");
        let archive = dir.path().join("image.tar");
        image.write("example:1", &archive, dir.path()).unwrap();

        let mut files = BTreeMap::new();
        let mut outer = tar::Archive::new(std::fs::File::open(&archive).unwrap());
        for entry in outer.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(name, content);
        }
        let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "example:1");
        let config = &files[manifest[0]["Config"].as_str().unwrap()];
        let config: Value = serde_json::from_slice(config).unwrap();
        let layer = &files["layer.tar"];
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            format!("sha256:{:x}", Sha256::digest(layer))
        );
        let mut inner = tar::Archive::new(layer.as_slice());
        let inside: BTreeMap<String, (u64, u32)> = inner
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let name = entry.path().unwrap().display().to_string();
                (name, (header.uid().unwrap(), header.mode().unwrap()))
            })
            .collect();
        assert_eq!(inside["data"], (1000, 0o700));
        assert_eq!(inside["usr/bin/program"], (0, 0o644));
        assert!(inside.contains_key("usr") && inside.contains_key("bin/sh"));
    }

    #[test]
    fn the_fingerprint_tells_one_content_from_another() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, "bits").unwrap();
        let mut image = Image::default();
        image.file(&program, "/program");
        let first = image.fingerprint().unwrap();
        assert_eq!(image.fingerprint().unwrap(), first);
        std::fs::write(&program, "other bits").unwrap();
        assert_ne!(image.fingerprint().unwrap(), first);
    }
}
