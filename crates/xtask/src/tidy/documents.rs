//! Documents: links lead somewhere, and nothing names a package registry's host: whoever
//! builds this project chooses where packages come from.

use super::{Finding, TextFile};
use std::path::Path;

/// Written in two halves, so that this file does not name them either.
const REGISTRY_HOSTS: [&str; 4] =
    [concat!("crates", ".io"), concat!("npm", "js"), concat!("py", "pi"), concat!("deb.debian", ".org")];

pub(super) fn check(root: &Path, files: &[TextFile]) -> Vec<Finding> {
    let documents = files.iter().filter(|file| file.has_extension("md"));
    let mut findings: Vec<Finding> = documents.flat_map(|file| broken_links(root, file)).collect();
    let texts = files.iter().filter(|file| !file.path.ends_with("Cargo.lock"));
    findings.extend(texts.flat_map(registry_hosts));
    findings
}

fn broken_links(root: &Path, file: &TextFile) -> Vec<Finding> {
    let folder = root.join(&file.path).parent().unwrap_or(root).to_owned();
    prose_lines(&file.text)
        .flat_map(|(number, line)| link_targets(line).into_iter().map(move |target| (number, target)))
        .filter(|(_, target)| !leads_somewhere(&folder, target))
        .map(|(number, target)| Finding::new(file, number, format!("the link to `{target}` leads nowhere")))
        .collect()
}

/// Numbered lines outside fenced code.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// The targets of `[text](target)` and `![text](target)`.
fn link_targets(line: &str) -> Vec<&str> {
    line.match_indices("](")
        .filter_map(|(at, opening)| {
            let rest = &line[at + opening.len()..];
            rest[..rest.find(')')?].split_whitespace().next()
        })
        .collect()
}

fn leads_somewhere(folder: &Path, target: &str) -> bool {
    let elsewhere = ["http:", "https:", "mailto:", "#"].iter().any(|start| target.starts_with(start));
    let path = target.split('#').next().unwrap_or_default();
    elsewhere || folder.join(path).exists()
}

fn registry_hosts(file: &TextFile) -> Vec<Finding> {
    let lines = file.text.lines().enumerate();
    lines
        .flat_map(|(index, line)| {
            let hits = REGISTRY_HOSTS.iter().filter(|host| line.contains(**host));
            let rule = |host| format!("`{host}`: a package registry's host has no place here");
            hits.map(move |host| Finding::new(file, index + 1, rule(host))).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn findings(path: &str, text: &str) -> Vec<usize> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = TextFile { path: PathBuf::from(path), text: text.to_owned() };
        check(root, &[file]).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn links_to_files_must_lead_somewhere() {
        let text = "[a](Cargo.toml) [b](src/main.rs#x) [c](https://example.jp) [d](#here)\n[e](nowhere.md)\n\
                    ```\n[f](nowhere.md)\n```\n![g](src/none.png \"title\")\n";
        assert_eq!(findings("README.md", text), [2, 6]);
        assert_eq!(findings("src/README.md", "[a](../Cargo.toml) [b](Cargo.toml)"), [1]);
    }

    #[test]
    fn registry_hosts_are_found_everywhere_but_in_the_lock_file() {
        let text = format!("\nfrom {}\n", REGISTRY_HOSTS[0]);
        assert_eq!(findings("a.txt", &text), [2]);
        assert!(findings("Cargo.lock", &text).is_empty());
    }
}
