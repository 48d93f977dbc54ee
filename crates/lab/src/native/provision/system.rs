//! Programs of this machine.

use std::path::Path;
use std::time::Duration;

use super::{Look, expand, is_executable, numbers, on_path};
use crate::native::component::{Found, System};

pub(super) async fn look(system: &System) -> Look {
    let candidates = system
        .directories
        .iter()
        .flat_map(|directory| expand(Path::new(directory)))
        .map(|directory| directory.join(system.program))
        .filter(|path| is_executable(path))
        .chain(on_path(system.program));
    // That it is not here at all goes without saying: the next source is asked.
    let mut reason = String::new();
    for program in candidates {
        match version(&program, system.version).await {
            Some(version) if version.as_slice() >= system.at_least => {
                return Look::Found(Found {
                    source: program.display().to_string(),
                    program,
                    prefix: None,
                });
            }
            Some(version) => {
                reason = format!(
                    "{} is version {}, {} or newer is needed",
                    program.display(),
                    dotted(&version),
                    dotted(system.at_least)
                );
            }
            None => reason = format!("{} does not tell its version", program.display()),
        }
    }
    Look::Missing { reason, hint: None }
}

/// Asks a program for its version: the first text of the form 1.2 or 1.2.3 it prints.
pub(crate) async fn version(program: &Path, args: &[&str]) -> Option<Vec<u32>> {
    let output = output(program, args).await?;
    first_version(&output)
}

/// What a quick command prints, or nothing when it fails.
pub(crate) async fn output(program: &Path, args: &[&str]) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    command
        .args(args)
        .current_dir("/")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(20), command.output())
        .await
        .ok()?
        .ok()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Some print their version on standard error.
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(text)
}

/// The first text of the form 1.2 or 1.2.3 in what a program prints.
pub(crate) fn first_version(text: &str) -> Option<Vec<u32>> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'))
        .map(numbers)
}

pub(crate) fn dotted(version: &[u32]) -> String {
    let parts: Vec<String> = version.iter().map(u32::to_string).collect();
    parts.join(".")
}

/// A Python that can download wheels, some of which hold programs.
pub(crate) async fn python_with_pip() -> Option<std::path::PathBuf> {
    let python = on_path("python3")?;
    output(&python, &["-m", "pip", "--version"]).await?;
    Some(python)
}

/// The version a program tells, for a person.
pub(crate) async fn version_text(program: &Path, args: &[&str]) -> Option<String> {
    version(program, args).await.map(|version| dotted(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_print() {
        for (text, expected) in [
            (
                "prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2)",
                vec![2, 42, 0],
            ),
            ("go version go1.26.8 linux/amd64", vec![1, 26, 8]),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                vec![15, 18],
            ),
            ("loki, version 3.7.8 (branch: , revision: )", vec![3, 7, 8]),
        ] {
            assert_eq!(first_version(text), Some(expected));
        }
        assert_eq!(first_version("no version"), None);
    }

    #[tokio::test]
    async fn a_program_that_is_too_old_is_said_to_be() {
        let sh = System {
            program: "bash",
            directories: &[],
            version: &["--version"],
            at_least: &[999, 0],
        };
        let Look::Missing { reason, .. } = look(&sh).await else {
            panic!("must be refused");
        };
        assert!(reason.ends_with("999.0 or newer is needed"), "{reason}");
    }
}
