//! The links of every Markdown file of the checkout: to files that are there, and to pages that a person can read.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::path::{Path, PathBuf};

fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn markdown(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // Others' files, and what is built.
            if !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
                markdown(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// Each link with its file; what is in blocks of code is none.
fn links() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    markdown(&checkout(), &mut files);
    let mut links = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        // Every other part is within fences.
        for prose in text.split("```").step_by(2) {
            for rest in prose.split("](").skip(1) {
                let link = rest.split_once(')').unwrap().0;
                links.push((file.clone(), link.to_owned()));
            }
        }
    }
    links
}

/// As the anchors of headings are made: small letters, dashes, no other signs.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    let text: String = heading.trim().chars().filter(kept).collect();
    text.to_lowercase().replace(' ', "-")
}

#[test]
fn links_to_files_lead_somewhere() {
    let mut dead = Vec::new();
    let mut followed = 0;
    for (file, link) in links() {
        if link.contains("://") {
            continue;
        }
        followed += 1;
        let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
        let target = match path {
            "" => file.clone(),
            path => file.parent().unwrap().join(path),
        };
        let has_heading = || {
            let text = std::fs::read_to_string(&target).unwrap_or_default();
            let mut headings = text.lines().filter(|line| line.starts_with('#'));
            headings.any(|line| anchor(line.trim_start_matches('#')) == heading)
        };
        if !target.exists() || (!heading.is_empty() && !has_heading()) {
            dead.push(format!("{}: {link}", file.display()));
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(followed > 60, "{followed}");
}

/// An API answers with JSON. That the pages show what is asked for, the console's tests see in a browser.
#[test]
fn links_into_the_lab_open_pages() {
    let pages = [
        "9090/graph?g0.expr=",
        "8088/logs?query=",
        "8088/traces?service=",
        "8088/services/",
        "8088/profiles?service=",
        "8088/slos",
    ];
    let mut followed = 0;
    for (file, link) in links() {
        if let Some(inside) = link.strip_prefix("http://localhost:") {
            followed += 1;
            let is_page = pages.iter().any(|page| inside.starts_with(page));
            assert!(is_page, "{}: {link}", file.display());
        }
    }
    assert!(followed > 40, "{followed}");
}
