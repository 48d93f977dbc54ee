//! `lab logs NAME`: the end of a component's log, and what comes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::Lab;
use crate::cli::WrongRequest;
use crate::compose;
use crate::native::components;
use crate::state::Phase;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A component, `supervisor`, or `build-<component>`
    name: String,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// How many lines to begin with
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
}

pub(crate) async fn run(lab: &Lab, args: Args) -> anyhow::Result<ExitCode> {
    if lab.running()?.is_none()
        && let Some(state) = compose::running(lab).await?
        && state.component(&args.name).is_some()
    {
        return compose::up::logs(lab, &args.name, args.lines, args.follow).await;
    }
    let path = find(lab, &args.name)?;
    let mut file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut position = tail_start(&mut file, args.lines)?;
    loop {
        position = copy_from(lab, &mut file, position)?;
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        if replaced(&file, &path) {
            file = File::open(&path)?;
            position = 0;
        } else if file.metadata()?.len() < position {
            // The supervisor cut it.
            position = 0;
        }
    }
}

/// The log a person means. While a component is prepared that is the log of the preparation.
fn find(lab: &Lab, name: &str) -> anyhow::Result<PathBuf> {
    let mut known: Vec<String> = vec!["supervisor".to_owned()];
    for component in components::names() {
        known.push(component.to_owned());
        let build = format!("build-{component}");
        if lab.paths.log(&build).exists() {
            known.push(build);
        }
    }
    if !known.iter().any(|each| each == name) {
        return Err(WrongRequest(format!(
            "there is no log `{name}`: expected one of {}",
            known.join(", ")
        ))
        .into());
    }
    let preparing = lab.running()?.and_then(|state| {
        let component = state.component(name)?;
        matches!(component.phase, Phase::Preparing | Phase::Failed)
            .then(|| component.log.clone())?
    });
    let path = preparing.unwrap_or_else(|| lab.paths.log(name));
    if !path.exists() {
        anyhow::bail!(
            "{name} has written no log yet ({} does not exist)",
            path.display()
        );
    }
    Ok(path)
}

/// Where the last `lines` lines begin.
fn tail_start(file: &mut File, lines: usize) -> anyhow::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut wanted = lines;
    let mut first = true;
    let mut block = vec![0; 8192];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let length = usize::try_from(end - start)?;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..length])?;
        for index in (0..length).rev() {
            if block[index] == b'\n' {
                // The newline at the very end closes the last line; it begins none.
                if !std::mem::take(&mut first) || index + 1 < length {
                    if wanted == 0 {
                        return Ok(start + index as u64 + 1);
                    }
                    wanted -= 1;
                    if wanted == 0 {
                        return Ok(start + index as u64 + 1);
                    }
                } else if wanted == 0 {
                    return Ok(end);
                }
            }
            first = false;
        }
        end = start;
    }
    Ok(0)
}

fn copy_from(lab: &Lab, file: &mut File, mut position: u64) -> anyhow::Result<u64> {
    file.seek(SeekFrom::Start(position))?;
    let mut block = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut block)?;
        if length == 0 {
            return Ok(position);
        }
        position += length as u64;
        // A reader that went away ends it quietly: `lab logs edge -f | head`.
        if lab.printer.raw(&block[..length]).is_err() {
            return Ok(position);
        }
    }
}

fn replaced(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (open.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(now)) => open.ino() != now.ino(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tail(text: &str, lines: usize) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let start = usize::try_from(tail_start(&mut file, lines).unwrap()).unwrap();
        text[start..].to_owned()
    }

    #[test]
    fn the_last_lines_are_found() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a\nb\nc\n", 9), "a\nb\nc\n");
        assert_eq!(tail("a\nb\nc\n", 0), "");
        assert_eq!(tail("", 5), "");
        let long: String = (0..5000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(tail(&long, 1), "line 4999\n");
        assert_eq!(tail(&long, 3000).lines().count(), 3000);
    }
}
