//! Strict templates: `{{name}}` and nothing else.
//!
//! Guarantees: a field that has no value for a person is an error, never an empty place and never
//! a `null` (incidents.md B). A value is inserted as it is and never expanded again. There is
//! no logic, no nesting and no access to anything but the fields handed in.
//!
//! # Security
//! The author's text and the registry's values reach this module. Size and number of fields are
//! bounded; values lose line breaks, controls and directional overrides, so that none can forge a
//! header or a line of the text.

use std::collections::{BTreeMap, BTreeSet};

/// Values by field name, as a recipient's snapshot row holds them.
pub type Fields = BTreeMap<String, String>;

/// A notice is read on a telephone; 100 kB is far beyond any, and bounds a rendered mail.
const TEMPLATE_OCTETS_MAX: usize = 100_000;
/// More places than this is a form letter gone wrong.
const PLACES_MAX: usize = 50;
/// Longer field names are text between stray braces.
const NAME_CHARS_MAX: usize = 64;
/// No name, facility or link is longer; bounds what a roster can blow a mail up to.
const VALUE_CHARS_MAX: usize = 500;

/// What programs write where they had no value. Compared without regard to case.
const NO_VALUE_WORDS: [&str; 7] = ["null", "(null)", "none", "undefined", "n/a", "#n/a", "nan"];

/// Why a text is not a template. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Larger than the limit.
    #[error("the text has more than {TEMPLATE_OCTETS_MAX} bytes")]
    TooLarge,
    /// More places for fields than the limit.
    #[error("the text has more than {PLACES_MAX} places for fields")]
    TooManyFields,
    /// `{{` without its `}}`.
    #[error("line {line}: {{{{ is not closed by }}}}")]
    Unclosed {
        /// Where it opens.
        line: usize,
    },
    /// `}}` without its `{{`.
    #[error("line {line}: }}}} closes nothing")]
    Unopened {
        /// Where it stands.
        line: usize,
    },
    /// Between the braces stands something that is not a field's name.
    #[error("line {line}: between {{{{ and }}}} stands one field name of letters, digits and _")]
    BadName {
        /// Where it stands.
        line: usize,
    },
}

/// One field the registry does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// As the author wrote it.
    pub name: String,
    /// The known field that looks most like it, where one is close.
    pub nearest: Option<String>,
}

/// The text asks for fields that do not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown fields: {}", .0.iter().map(UnknownField::to_string).collect::<Vec<_>>().join(", "))]
pub struct UnknownFields(pub Vec<UnknownField>);

impl std::fmt::Display for UnknownField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{{{}}}}}", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean {{{{{nearest}}}}}?)"),
            None => Ok(()),
        }
    }
}

/// Why a field counts as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingWhy {
    /// The person has no such field.
    Absent,
    /// Nothing but space.
    Empty,
    /// The value is a word such as `null` that a program wrote for "nothing".
    NoValueWord,
    /// Longer than any real value.
    TooLong,
}

/// A field has no usable value for this person; nothing was rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {{{{{name}}}}} has no value")]
pub struct MissingField {
    /// Which field.
    pub name: String,
    /// What is the matter with it.
    pub why: MissingWhy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

/// A parsed text with places for fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    fields: BTreeSet<String>,
}

impl Template {
    /// Parses a text with `{{field}}` places; spaces inside the braces are ignored.
    ///
    /// # Errors
    /// [`TemplateError`] with the line.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_OCTETS_MAX {
            return Err(TemplateError::TooLarge);
        }
        let line_at = |rest: &str| text[..text.len() - rest.len()].matches('\n').count() + 1;
        let mut pieces = Vec::new();
        let mut fields = BTreeSet::new();
        let mut places = 0;
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            push_text(&mut pieces, before, || line_at(rest))?;
            let line = line_at(after);
            let (inside, behind) = after.split_once("}}").ok_or(TemplateError::Unclosed { line })?;
            let name = inside.trim();
            if !is_field_name(name) {
                return Err(TemplateError::BadName { line });
            }
            places += 1;
            if places > PLACES_MAX {
                return Err(TemplateError::TooManyFields);
            }
            fields.insert(name.to_owned());
            pieces.push(Piece::Field(name.to_owned()));
            rest = behind;
        }
        push_text(&mut pieces, rest, || line_at(rest))?;
        Ok(Self { pieces, fields })
    }

    /// The fields the text asks for.
    #[must_use]
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.fields
    }

    /// Checks that every field exists.
    ///
    /// # Errors
    /// All fields that do not, each with the known one nearest to it.
    pub fn check_known(&self, known: &BTreeSet<String>) -> Result<(), UnknownFields> {
        let unknown: Vec<UnknownField> = self
            .fields
            .difference(known)
            .map(|name| UnknownField { name: name.clone(), nearest: nearest(name, known) })
            .collect();
        if unknown.is_empty() { Ok(()) } else { Err(UnknownFields(unknown)) }
    }

    /// The text for one person.
    ///
    /// # Errors
    /// The first field, in order of the text, that has no usable value.
    pub fn render(&self, fields: &Fields) -> Result<String, MissingField> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(name) => out.push_str(&value(fields, name)?),
            }
        }
        Ok(out)
    }
}

fn push_text(
    pieces: &mut Vec<Piece>,
    text: &str,
    first_line: impl Fn() -> usize,
) -> Result<(), TemplateError> {
    if let Some((before, _)) = text.split_once("}}") {
        return Err(TemplateError::Unopened { line: first_line() + before.matches('\n').count() });
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(())
}

/// Letters of any script: rosters bring Japanese headings as free attributes.
fn is_field_name(name: &str) -> bool {
    name.chars().next().is_some_and(char::is_alphabetic)
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && name.chars().count() <= NAME_CHARS_MAX
}

fn value(fields: &Fields, name: &str) -> Result<String, MissingField> {
    let missing = |why| MissingField { name: name.to_owned(), why };
    let raw = fields.get(name).ok_or_else(|| missing(MissingWhy::Absent))?;
    if raw.chars().count() > VALUE_CHARS_MAX {
        return Err(missing(MissingWhy::TooLong));
    }
    let value = one_line(raw);
    if value.is_empty() {
        return Err(missing(MissingWhy::Empty));
    }
    if NO_VALUE_WORDS.iter().any(|word| value.eq_ignore_ascii_case(word)) {
        return Err(missing(MissingWhy::NoValueWord));
    }
    Ok(value)
}

/// One line without controls: breaks and tabs become one space, other controls and directional
/// overrides vanish, and the ends are trimmed.
fn one_line(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

fn nearest(name: &str, known: &BTreeSet<String>) -> Option<String> {
    // A third of the word wrong is still a slip of the pen; more is another word.
    let close_enough = name.chars().count().div_ceil(3);
    known
        .iter()
        .map(|candidate| (edit_distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= close_enough)
        .min()
        .map(|(_, candidate)| candidate.clone())
}

/// Levenshtein's distance in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn render(text: &str, pairs: &[(&str, &str)]) -> Result<String, MissingField> {
        Template::parse(text).expect("a template").render(&fields(pairs))
    }

    #[test]
    fn fields_are_filled_in_and_everything_else_stays() {
        let text = "{{name}} 様（{{ 勤務形態 }}） {a} }{ $100%";
        let rendered = render(text, &[("name", "鈴木 花子"), ("勤務形態", "夜勤")]);
        assert_eq!(rendered.as_deref(), Ok("鈴木 花子 様（夜勤） {a} }{ $100%"));
    }

    #[test]
    fn a_field_without_a_value_never_renders_as_null() {
        for value in
            ["", " ", "　", "\r\n", "null", "NULL", "Null", " None ", "undefined", "N/A", "#N/A", "(null)"]
        {
            let missing = render("{{facility}}", &[("facility", value)]).expect_err("missing");
            assert_eq!(missing.name, "facility", "{value:?}");
        }
        let absent = render("{{facility}}", &[]).expect_err("missing");
        assert_eq!(absent.why, MissingWhy::Absent);
        let long = "あ".repeat(VALUE_CHARS_MAX + 1);
        assert_eq!(
            render("{{facility}}", &[("facility", &long)]).map_err(|m| m.why),
            Err(MissingWhy::TooLong)
        );
    }

    #[test]
    fn values_are_never_expanded_again() {
        let rendered = render("{{name}}", &[("name", "{{address}}"), ("address", "secret")]);
        assert_eq!(rendered.as_deref(), Ok("{{address}}"));
    }

    #[test]
    fn a_value_cannot_begin_a_new_line() {
        let rendered = render("a {{name}} b", &[("name", "x\r\nBcc: y\u{2028}z\0\u{202e}!\u{1b}[0m")]);
        assert_eq!(rendered.as_deref(), Ok("a x Bcc: y z![0m b"));
    }

    #[test]
    fn braces_that_do_not_match_are_refused_with_their_line() {
        for (text, error) in [
            ("a\n{{name", TemplateError::Unclosed { line: 2 }),
            ("a\nb }} c", TemplateError::Unopened { line: 2 }),
            ("{{name}}\n\n}}", TemplateError::Unopened { line: 3 }),
            ("{{}}", TemplateError::BadName { line: 1 }),
            ("{{ }}", TemplateError::BadName { line: 1 }),
            ("{{{name}}}", TemplateError::BadName { line: 1 }),
            ("{{a {{name}} }}", TemplateError::BadName { line: 1 }),
            ("{{ env \"HOME\" }}", TemplateError::BadName { line: 1 }),
            ("{{name|upper}}", TemplateError::BadName { line: 1 }),
            ("{{1st}}", TemplateError::BadName { line: 1 }),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn size_and_places_are_bounded() {
        assert_eq!(Template::parse(&"a".repeat(TEMPLATE_OCTETS_MAX + 1)), Err(TemplateError::TooLarge));
        assert!(Template::parse(&"{{a}}".repeat(PLACES_MAX)).is_ok());
        assert_eq!(Template::parse(&"{{a}}".repeat(PLACES_MAX + 1)), Err(TemplateError::TooManyFields));
    }

    #[test]
    fn unknown_fields_are_named_with_the_nearest_known_one() {
        let known = ["name", "member_no", "facility"].into_iter().map(str::to_owned).collect();
        let template = Template::parse("{{Name}} {{facilty}} {{env}} {{member_no}}").expect("a template");
        let error = template.check_known(&known).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "unknown fields: {{Name}} (did you mean {{name}}?), {{env}}, \
             {{facilty}} (did you mean {{facility}}?)"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_parsed_renders_the_text_around_the_fields_unchanged(
            before in "[^{}]{0,40}", after in "[^{}]{0,40}", value in "[a-zあ-ん]{1,20}x"
        ) {
            let rendered = render(&format!("{before}{{{{f}}}}{after}"), &[("f", &value)]);
            prop_assert_eq!(rendered, Ok(format!("{before}{value}{after}")));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(\\{\\{|\\}\\}|[a-z_ \n{}あ]){0,40}") {
            let _ = Template::parse(&text);
        }
    }
}
