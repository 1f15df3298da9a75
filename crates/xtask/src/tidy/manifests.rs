//! Every crate takes the workspace's lints; the lock file is under version control.

use super::{Finding, TextFile, git_paths};
use anyhow::Result;
use std::path::{Path, PathBuf};

pub(super) fn check(root: &Path, files: &[TextFile]) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = files
        .iter()
        .filter(|file| file.path.ends_with("Cargo.toml") && file.path != Path::new("Cargo.toml"))
        .filter(|file| !takes_workspace_lints(&file.text))
        .map(|file| Finding::new(file, 1, "add `[lints]` with `workspace = true`"))
        .collect();
    if git_paths(root, &["ls-files", "-z", "Cargo.lock"])?.is_empty() {
        let file = PathBuf::from("Cargo.lock");
        findings.push(Finding { file, line: 1, rule: "the lock file must be tracked".to_owned() });
    }
    Ok(findings)
}

fn takes_workspace_lints(manifest: &str) -> bool {
    manifest
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .skip_while(|line| *line != "[lints]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.replace(' ', "") == "workspace=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lints_section_counts() {
        assert!(takes_workspace_lints("[package]\nname = \"a\"\n[lints]\nworkspace = true # ours\n"));
        assert!(!takes_workspace_lints("[lints]\n[dependencies.domain]\nworkspace = true\n"));
        assert!(!takes_workspace_lints("[package]\nname = \"a\"\n"));
    }
}
