//! Every text that exists in one language exists in the other: `…/ja/X.ftl` and `…/en/X.ftl`
//! have the same messages and attributes.

use super::{Finding, TextFile};
use std::{collections::BTreeMap, path::PathBuf};

const LANGUAGES: [&str; 2] = ["ja", "en"];

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let translations = files.iter().filter(|file| file.has_extension("ftl"));
    translations
        .flat_map(|file| {
            let Some((language, path)) = sibling(file) else { return Vec::new() };
            match files.iter().find(|other| other.path == path) {
                None => vec![Finding::new(file, 1, format!("there is no {language} counterpart"))],
                Some(other) => missing_in(other, file, language),
            }
        })
        .collect()
}

/// The other language and where its file should be; `None` outside a language folder.
fn sibling(file: &TextFile) -> Option<(&'static str, PathBuf)> {
    let folder = file.path.parent()?;
    let own = LANGUAGES.iter().position(|language| folder.ends_with(language))?;
    let other = LANGUAGES[1 - own];
    Some((other, folder.parent()?.join(other).join(file.path.file_name()?)))
}

fn missing_in(other: &TextFile, file: &TextFile, language: &str) -> Vec<Finding> {
    let known = messages(&other.text);
    let own = messages(&file.text);
    own.into_iter()
        .filter(|(id, _)| !known.contains_key(id))
        .map(|(id, line)| Finding::new(file, line, format!("`{id}` is missing in {language}")))
        .collect()
}

/// Message and attribute names with their lines; an attribute is `message.attribute`.
fn messages(text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut message = String::new();
    for (index, line) in text.lines().enumerate() {
        let Some((name, _)) = line.split_once('=') else { continue };
        let indented = line.starts_with(' ');
        let name = name.trim();
        let attribute = name.strip_prefix('.').filter(|_| indented);
        let word = attribute.unwrap_or(name);
        let is_name = word.starts_with(|c: char| c == '-' || c.is_ascii_alphabetic())
            && word.chars().all(|c| c == '-' || c == '_' || c.is_ascii_alphanumeric());
        match attribute {
            Some(attribute) if is_name => {
                found.insert(format!("{message}.{attribute}"), index + 1);
            }
            None if is_name && !indented => {
                name.clone_into(&mut message);
                found.insert(message.clone(), index + 1);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: PathBuf::from(path), text: text.to_owned() }
    }

    #[test]
    fn a_text_that_one_language_lacks_is_found() {
        let ja = "# 注 = 釈\na = あ\nb = { $n ->\n    [one] = x\n   *[other] y\n }\n    .title = 題\n";
        let found = check(&[file("l/ja/x.ftl", ja), file("l/en/x.ftl", "a = A\nb = B\nc = C\n")]);
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["l/ja/x.ftl:7: `b.title` is missing in en", "l/en/x.ftl:3: `c` is missing in ja"]);
    }

    #[test]
    fn a_file_without_counterpart_is_found() {
        assert_eq!(check(&[file("l/ja/x.ftl", "a = あ\n")]).len(), 1);
        assert_eq!(check(&[file("l/names.ftl", "a = A\n")]), []);
    }
}
