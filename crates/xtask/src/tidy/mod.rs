//! `cargo xtask tidy`: rules of the house that no compiler knows. Reads the working tree's
//! files (tracked, or new and not ignored), needs no network and no build.

mod documents;
mod locales;
mod manifests;
mod rust_text;
mod sources;

use anyhow::{Context, Result, bail};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the root.
    file: PathBuf,
    /// Counts from 1.
    line: usize,
    rule: String,
}

impl Finding {
    fn new(file: &TextFile, line: usize, rule: impl Into<String>) -> Self {
        Self { file: file.path.clone(), line, rule: rule.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.rule)
    }
}

/// A text file of the project.
struct TextFile {
    /// Relative to the root.
    path: PathBuf,
    text: String,
}

impl TextFile {
    fn has_extension(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|own| own == extension)
    }
}

/// Checks everything and prints what it finds.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let files = text_files(root)?;
    let mut findings = manifests::check(root, &files)?;
    findings.extend(sources::check(&files));
    findings.extend(documents::check(root, &files));
    findings.extend(locales::check(&files));
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    println!("{} files, {} findings", files.len(), findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What git says, one path per item.
fn git_paths(root: &Path, arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let output = Command::new("git").current_dir(root).args(arguments).output().context("cannot run git")?;
    if !output.status.success() {
        bail!("git {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    let listed = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    Ok(listed.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).collect())
}

fn text_files(root: &Path) -> Result<Vec<TextFile>> {
    let paths = git_paths(root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let read = |path: PathBuf| {
        // Deleted but still tracked, or not text: nothing to check.
        let text = String::from_utf8(fs::read(root.join(&path)).ok()?).ok()?;
        Some(TextFile { path, text })
    };
    Ok(paths.into_iter().filter_map(read).collect())
}
