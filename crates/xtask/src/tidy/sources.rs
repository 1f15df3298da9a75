//! Rust files: short functions, honest names, nothing switched off.

use super::{Finding, TextFile, rust_text::code_only};

/// Longer ones do not fit a screen (style guide, point 2).
const FUNCTION_LINES_MAX: usize = 70;
/// These names say nothing about what is inside.
const EMPTY_NAMES: [&str; 4] = ["utils", "helpers", "common", "misc"];
const FORBIDDEN: [(&str, &str); 5] = [
    ("#[ignore", "a test that does not run proves nothing: make it run or remove it"),
    ("#[allow", "use `#[expect(lint, reason = \"…\")]`"),
    ("#![allow", "use `#![expect(lint, reason = \"…\")]`"),
    ("todo!", "finish it or leave it out"),
    ("dbg!", "left over from debugging"),
];

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.has_extension("rs"))
        .flat_map(|file| {
            let code = code_only(&file.text);
            let mut findings = empty_name(file);
            findings.extend(forbidden(file, &code));
            findings.extend(long_functions(file, &code));
            findings
        })
        .collect()
}

fn empty_name(file: &TextFile) -> Vec<Finding> {
    let path = file.path.with_extension("");
    path.components()
        .filter(|part| EMPTY_NAMES.iter().any(|name| part.as_os_str() == *name))
        .map(|_| Finding::new(file, 1, "name the file after what it does"))
        .collect()
}

fn forbidden(file: &TextFile, code: &str) -> Vec<Finding> {
    let lines = code.lines().enumerate();
    lines
        .flat_map(|(index, line)| {
            let hits = FORBIDDEN.iter().filter(move |(word, _)| has_word(line, word));
            hits.map(move |(word, advice)| Finding::new(file, index + 1, format!("`{word}`: {advice}")))
        })
        .collect()
}

/// Whether the line has `word`, not as the end of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c == '_' || c.is_alphanumeric()))
}

fn long_functions(file: &TextFile, code: &str) -> Vec<Finding> {
    code.match_indices("fn ")
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c == '_' || c.is_alphanumeric()))
        .filter_map(|(at, _)| {
            let end = body_end(&code[at..])?;
            let lines = code[at..at + end].lines().count();
            let first = code[..at].matches('\n').count() + 1;
            let rule = format!("a function of {lines} lines, more than {FUNCTION_LINES_MAX}");
            (lines > FUNCTION_LINES_MAX).then(|| Finding::new(file, first, rule))
        })
        .collect()
}

/// Where the body of the function that begins here ends; `None` where it has no body.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut others) = (0_u32, 0_u32);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            ';' if braces == 0 && others == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: PathBuf::from(path), text: text.to_owned() }
    }

    #[test]
    fn a_function_of_seventy_lines_passes_and_one_of_seventy_one_does_not() {
        let with_lines = |lines: usize| {
            let text =
                format!("trait T {{ fn none(&self, a: [u8; 3]); }}\nfn f() {{{}}}\n", "\n".repeat(lines - 1));
            check(&[file("a.rs", &text)])
        };
        assert_eq!(with_lines(70), []);
        let found = with_lines(71);
        assert_eq!((found.len(), found[0].line), (1, 2));
    }

    #[test]
    fn forbidden_words_count_in_code_only() {
        assert_eq!(check(&[file("a.rs", "// dbg!(x) todo!()\nlet s = \"#[ignore]\";\n")]), []);
        let found = check(&[file("a.rs", "fn a() {\n    dbg!(1);\n}\n#[ignore]\nfn b() {}\n")]);
        assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn files_have_names_that_say_something() {
        assert_eq!(check(&[file("src/helpers/mod.rs", ""), file("src/utils.rs", "")]).len(), 2);
        assert_eq!(check(&[file("src/commons_house.rs", "")]), []);
    }
}
