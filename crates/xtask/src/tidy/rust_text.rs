//! Rust source with comments and literals blanked out, so that a search finds code only.
//! A reading aid for lints, not a lexer: byte positions and lines stay where they were.

/// The source with the inside of comments, strings and characters replaced by spaces.
pub(super) fn code_only(source: &str) -> String {
    let mut blanked = source.as_bytes().to_vec();
    let mut at = 0;
    while at < source.len() {
        let rest = &source.as_bytes()[at..];
        let length = literal_or_comment(rest, at.checked_sub(1).map(|before| source.as_bytes()[before]));
        match length {
            Some(length) => {
                let end = (at + length).min(source.len());
                blanked[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8_lossy(&blanked).into_owned()
}

/// Length of the comment or literal that begins here, if one does.
fn literal_or_comment(rest: &[u8], before: Option<u8>) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(find(rest, b"\n").unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with(b"\"") {
        return Some(quoted(rest, b'"'));
    }
    if rest.starts_with(b"r\"") || rest.starts_with(b"r#") {
        let in_a_word = before.is_some_and(|b| b != b'b' && (b == b'_' || b.is_ascii_alphanumeric()));
        return if in_a_word { None } else { raw_string(rest) };
    }
    if rest.starts_with(b"'") { character(rest) } else { None }
}

/// Block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    let open = 1 + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), "#".repeat(hashes).as_bytes()].concat();
    Some(find(&rest[open + 1..], &close).map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// A character literal; `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted(rest, b'\''));
    }
    // One character is at most four bytes of UTF-8; a lifetime has no quote right after it.
    let text = std::str::from_utf8(&rest[1..rest.len().min(5)])
        .or_else(|error| std::str::from_utf8(&rest[1..=error.valid_up_to()]));
    let length = text.ok()?.chars().next()?.len_utf8();
    (rest.get(1 + length) == Some(&b'\'')).then_some(length + 2)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_disappear_and_lines_stay() {
        let source =
            "let a = \"fn {\\\" x\"; // fn {\n/* { /* } */ */ b('{', '\\'', '半'); &'a str\nr#\"{\"}\"# }";
        let code = code_only(source);
        assert_eq!(code.len(), source.len());
        assert_eq!(code.lines().count(), source.lines().count());
        assert_eq!(code.matches('{').count(), 0);
        assert_eq!(code.matches('}').count(), 1);
        assert!(code.contains("&'a str"));
    }

    #[test]
    fn raw_identifiers_and_words_that_end_in_r_are_code() {
        assert_eq!(code_only("r#type + for"), "r#type + for");
    }

    #[test]
    fn a_multibyte_text_is_cut_nowhere() {
        let source = "let 半 = '鐘'; // 訓練";
        assert!(code_only(source).starts_with("let 半 = "));
    }
}
