//! docs/performance.md and the pictures, made from bench/results.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::machine::Machine;
use crate::plot;
use crate::printer::Printer;
use crate::result::{self, Compare, Growth, Instructions, Soak};
use crate::tables::Table;

/// Where measured results are committed.
pub(crate) fn results(root: &Path) -> PathBuf {
    root.join("bench/results")
}

pub(crate) const SOAK: &str = "soak";
pub(crate) const SOAK_SATURATED: &str = "soak-saturated";

/// Makes everything that is made from results; with `check` only compares.
pub(crate) fn make(root: &Path, printer: &Printer, check: bool) -> anyhow::Result<ExitCode> {
    let directory = results(root);
    let compare: Option<Compare> = result::read(&directory.join("main.json"))?;
    let growth: Option<Growth> = result::read(&directory.join("growth.json"))?;
    let mut soaks: Vec<(&str, Soak)> = Vec::new();
    for name in [SOAK, SOAK_SATURATED] {
        if let Some(soak) = result::read(&directory.join(format!("{name}.json")))? {
            soaks.push((name, soak));
        }
    }
    let instructions: Option<Instructions> = result::read(&directory.join("instructions.json"))?;
    let mut made: Vec<(PathBuf, String)> = Vec::new();
    let page = root.join("docs/performance.md");
    let mut text = std::fs::read_to_string(&page)
        .with_context(|| format!("cannot read {}", page.display()))?;
    if let Some(compare) = &compare {
        text = put(&text, "main", &block(&compare.tables(), &compare.machine))?;
    }
    if let Some(growth) = &growth {
        text = put(&text, "growth", &block(&growth.tables(), &growth.machine))?;
    }
    for (name, soak) in &soaks {
        text = put(&text, name, &block(&soak.tables(), &soak.machine))?;
    }
    if let Some(instructions) = &instructions {
        text = put(
            &text,
            "instructions",
            &block(&instructions.tables(), &instructions.machine),
        )?;
    }
    made.push((page, text));
    let picture = |name: &str| root.join("images").join(format!("bench-{name}.svg"));
    for (name, svg) in plot::all(
        compare.as_ref(),
        growth.as_ref(),
        &soaks,
        instructions.as_ref(),
    )? {
        made.push((picture(name), svg));
    }
    let mut stale = Vec::new();
    for (path, text) in &made {
        if std::fs::read_to_string(path).ok().as_ref() == Some(text) {
            continue;
        }
        let shown = path
            .strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string();
        if check {
            stale.push(shown);
        } else {
            std::fs::write(path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            printer.note(format_args!("made {shown}"));
        }
    }
    if !stale.is_empty() {
        bail!(
            "not what bench/results makes: {}; `./lab bench plot` makes them anew",
            stale.join(", ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn block(tables: &[Table], machine: &Machine) -> String {
    let mut text = String::new();
    for table in tables {
        text.push_str(&format!("**{}**\n\n{}\n", table.title, table.markdown()));
    }
    text.push_str(&format!("{}.\n", machine.line()));
    text
}

/// Puts a text between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.
fn put(page: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (
        format!("<!-- bench:{name} -->"),
        format!("<!-- /bench:{name} -->"),
    );
    let split = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        split.with_context(|| format!("docs/performance.md has no {begin} and {end}"))?;
    Ok(format!("{before}{begin}\n\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_between_its_markers() {
        let page = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nz\n";
        let new = put(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench:x -->\n\nnew\n\n<!-- /bench:x -->\nz\n");
        assert_eq!(put(&new, "x", "new\n").unwrap(), new);
        assert!(
            put(page, "y", "")
                .unwrap_err()
                .to_string()
                .contains("bench:y")
        );
    }

    #[test]
    fn what_is_committed_is_what_the_results_make() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        make(&root, &Printer::new(), true).unwrap();
    }
}
