//! Conditions as people write them, and the filter that they make.
//!
//! Guarantees: what [`filter_of`] accepts names fields that the registry has and values that are
//! something, and reads as it is written: `to_string()` of the filter, line by line, makes it again.

use crate::{AudienceError, audience::OWN_FIELDS, kind::value_of};
use domain::{BroadcastId, FieldKind, Prefecture};
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};
use store::{AudienceFilter, Clause, QUOTATION_MARKS, Term, Test};
use unicode_normalization::UnicodeNormalization;

/// More terms than anyone can read.
pub(crate) const CONDITIONS_MAX: usize = 50;
/// Every workplace of a prefecture, and far less than a statement can hold.
pub(crate) const VALUES_MAX: usize = 500;
/// The longest name of a workplace has some dozens.
pub(crate) const VALUE_CHARS_MAX: usize = 200;
/// What stands between values in a field of the form.
const BETWEEN_VALUES: [char; 4] = ['\n', ',', '，', '、'];
/// The fields that stand for every member; the roster's other columns come to these.
const KEYS: [&str; 5] = ["prefecture", "facility", "role", "non-respondents-of", "reached-by"];
/// Always so, or cannot be asked for.
const IMPLIED: [&str; 4] = ["status", "状態", "fiscal_year", "年度"];

/// One `--where` of the command line: alternatives, of which one has to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// At least one.
    pub any: Vec<Comparison>,
}

/// `KEY=VALUE|VALUE` or `KEY!=VALUE|VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// `prefecture`, `facility`, `role`, `non-respondents-of`, `reached-by`, or the name of a free
    /// field; Japanese headings too.
    pub key: String,
    /// None of the values may fit.
    pub not: bool,
    /// What it has to be: one of these.
    pub values: Vec<String>,
}

impl Comparison {
    fn folded_key(&self) -> String {
        folded(&self.key)
    }
}

fn folded(key: &str) -> String {
    let key = key.nfkc().collect::<String>().trim().to_lowercase();
    match key.as_str() {
        "都道府県" => "prefecture".to_owned(),
        "施設名" => "facility".to_owned(),
        "役割" => "role".to_owned(),
        _ => key,
    }
}

/// Whether a comparison with this key asks for the free field of this name, and not for something else.
#[must_use]
pub fn can_be_asked_for(free_field: &str) -> bool {
    let other: [&[&str]; 3] = [&KEYS, &IMPLIED, &OWN_FIELDS];
    folded(free_field) == free_field && !other.iter().any(|names| names.contains(&free_field))
}

impl FromStr for Condition {
    type Err = AudienceError;

    /// Reads comparisons with ` or ` between them. A value that contains ` or ` or `|` stands in
    /// quotation marks; full-width signs are as good as others, also [`QUOTATION_MARKS`].
    fn from_str(text: &str) -> Result<Self, AudienceError> {
        let (mut any, mut rest) = (Vec::new(), Some(text));
        while let Some(text) = rest {
            let (comparison, after) = read_comparison(text)?;
            any.push(comparison);
            rest = after;
        }
        Ok(Self { any })
    }
}

/// What follows a value.
enum Next<'a> {
    /// Another value of the same comparison.
    Value(&'a str),
    /// Another comparison.
    Comparison(&'a str),
    /// Nothing.
    End,
}

fn read_comparison(text: &str) -> Result<(Comparison, Option<&str>), AudienceError> {
    let (key, mut rest) = text.split_once(['=', '＝']).ok_or(AudienceError::Condition)?;
    let negated = key.trim().strip_suffix(['!', '！']);
    let (key, not) = (negated.unwrap_or(key).trim().to_owned(), negated.is_some());
    if key.is_empty() {
        return Err(AudienceError::Condition);
    }
    let mut values = Vec::new();
    loop {
        let (value, next) = read_alternative(rest)?;
        values.push(value);
        match next {
            Next::Value(after) => rest = after,
            Next::Comparison(after) => return Ok((Comparison { key, not, values }, Some(after))),
            Next::End => return Ok((Comparison { key, not, values }, None)),
        }
    }
}

fn read_alternative(text: &str) -> Result<(String, Next<'_>), AudienceError> {
    let (value, rest) = read_value(text, |rest| rest.starts_with(['|', '｜']) || after_or(rest).is_some())?;
    if value.is_empty() {
        return Err(AudienceError::Condition);
    }
    let next = match (rest.trim_start().strip_prefix(['|', '｜']), after_or(rest)) {
        (Some(after), _) => Next::Value(after),
        (None, Some(after)) => Next::Comparison(after),
        (None, None) if rest.trim().is_empty() => Next::End,
        (None, None) => return Err(AudienceError::Condition),
    };
    Ok((value, next))
}

/// The values in a field of the form: one in a line, or with commas between them. What stands in
/// quotation marks is one value as it is; two of them are one of its own.
///
/// # Errors
/// [`AudienceError::Condition`] for a quotation mark that is not closed, or is not the value's end.
pub fn listed_values(text: &str) -> Result<Vec<String>, AudienceError> {
    let (mut values, mut rest) = (Vec::new(), Some(text));
    while let Some(text) = rest {
        let (value, after) = read_value(text, |rest| rest.starts_with(BETWEEN_VALUES))?;
        if !value.is_empty() {
            values.push(value);
        }
        let after = after.trim_start_matches(|c: char| c.is_whitespace() && c != '\n');
        rest = after.strip_prefix(BETWEEN_VALUES);
        if rest.is_none() && !after.is_empty() {
            return Err(AudienceError::Condition);
        }
    }
    Ok(values)
}

/// A value in quotation marks, or what stands before the place where `ends` holds; and what follows.
fn read_value(text: &str, ends: impl Fn(&str) -> bool) -> Result<(String, &str), AudienceError> {
    if let Some(quoted) = text.trim_start().strip_prefix(QUOTATION_MARKS) {
        return read_quoted(quoted);
    }
    let end = text.char_indices().find(|(at, _)| ends(&text[*at..]));
    let (value, rest) = text.split_at(end.map_or(text.len(), |(at, _)| at));
    Ok((value.trim().to_owned(), rest))
}

/// Up to the closing quotation mark; two of them are one of the value's own.
fn read_quoted(text: &str) -> Result<(String, &str), AudienceError> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once(QUOTATION_MARKS).ok_or(AudienceError::Condition)?;
        let mark = rest[part.len()..].chars().next().unwrap_or('"');
        value.push_str(part);
        match after.strip_prefix(mark) {
            Some(more) => {
                value.push(mark);
                rest = more;
            }
            None => return Ok((value, after)),
        }
    }
}

/// What follows ` or `, where the text begins with it.
fn after_or(text: &str) -> Option<&str> {
    let word = text.trim_start();
    let after = word.get(2..)?;
    let stands_apart = word.len() < text.len() && after.starts_with(char::is_whitespace);
    (stands_apart && word[..2].eq_ignore_ascii_case("or")).then_some(after)
}

/// Puts plain conditions (one comparison without `!`) of one field together: on the command line
/// several `--where KEY=VALUE` under one key are alternatives.
pub(crate) fn alternatives_joined(conditions: &[Condition]) -> Vec<Condition> {
    let mut joined: Vec<Condition> = Vec::new();
    for condition in conditions {
        let field = plain_field(condition);
        match joined.iter_mut().find(|earlier| field.is_some() && plain_field(earlier) == field) {
            Some(earlier) => {
                for (known, more) in earlier.any.iter_mut().zip(&condition.any) {
                    known.values.extend(more.values.iter().cloned());
                }
            }
            None => joined.push(condition.clone()),
        }
    }
    joined
}

/// The field of a plain condition. Nobody has two values in a field, but many were reached by two
/// broadcasts: those conditions stay apart.
fn plain_field(condition: &Condition) -> Option<String> {
    let [comparison] = condition.any.as_slice() else { return None };
    let key = comparison.folded_key();
    let is_field = !matches!(key.as_str(), "non-respondents-of" | "reached-by");
    (is_field && !comparison.not).then_some(key)
}

/// The filter in which all of these conditions have to fit.
///
/// # Errors
/// [`AudienceError`] for whatever would fit nobody, or not what its writer meant.
pub(crate) fn filter_of(
    conditions: &[Condition],
    known_fields: &BTreeMap<String, FieldKind>,
) -> Result<AudienceFilter, AudienceError> {
    let comparisons = || conditions.iter().flat_map(|condition| &condition.any);
    let values: usize = comparisons().map(|comparison| comparison.values.len()).sum();
    if comparisons().count() > CONDITIONS_MAX || values > VALUES_MAX {
        return Err(AudienceError::TooManyConditions);
    }
    let mut fields = BTreeSet::new();
    for field in conditions.iter().filter_map(plain_field) {
        if !fields.insert(field.clone()) {
            return Err(AudienceError::SameField(field));
        }
    }
    let all: Result<Vec<Clause>, AudienceError> =
        conditions.iter().map(|condition| clause_of(condition, known_fields)).collect();
    Ok(AudienceFilter { all: all? })
}

fn clause_of(
    condition: &Condition,
    known_fields: &BTreeMap<String, FieldKind>,
) -> Result<Clause, AudienceError> {
    if condition.any.is_empty() {
        return Err(AudienceError::Condition);
    }
    let term =
        |comparison: &Comparison| Ok(Term { not: comparison.not, test: test_of(comparison, known_fields)? });
    let any: Result<Vec<Term>, AudienceError> = condition.any.iter().map(term).collect();
    Ok(Clause { any: any? })
}

fn test_of(
    comparison: &Comparison,
    known_fields: &BTreeMap<String, FieldKind>,
) -> Result<Test, AudienceError> {
    let key = comparison.folded_key();
    let values = usable(&comparison.values)?;
    Ok(match key.as_str() {
        "prefecture" => {
            Test::Prefecture(values.iter().map(|value| code_of(value)).collect::<Result<_, _>>()?)
        }
        "facility" => Test::Facility(values),
        "role" => Test::Role(values),
        "non-respondents-of" => Test::NonRespondentsOf(one_broadcast(key, &values)?),
        "reached-by" => Test::ReachedBy(one_broadcast(key, &values)?),
        _ if IMPLIED.contains(&key.as_str()) => return Err(AudienceError::Implied(key)),
        _ => match known_fields.get(&key).filter(|_| !OWN_FIELDS.contains(&key.as_str())) {
            Some(kind) => Test::Attribute { values: values_of(&key, *kind, &values)?, name: key },
            None => {
                let free =
                    known_fields.keys().map(String::as_str).filter(|field| !OWN_FIELDS.contains(field));
                let known: Vec<&str> = KEYS.into_iter().chain(free).collect();
                return Err(AudienceError::UnknownField { given: key, known: known.join(" ") });
            }
        },
    })
}

/// As the registry keeps them: it compares texts.
fn values_of(field: &str, kind: FieldKind, given: &[String]) -> Result<Vec<String>, AudienceError> {
    let value = |given: &String| {
        let stray = || AudienceError::NotOfKind { field: field.to_owned(), kind, given: given.clone() };
        value_of(kind, given).ok_or_else(stray)
    };
    given.iter().map(value).collect()
}

/// Without the space around them; an empty list would fit nobody.
fn usable(values: &[String]) -> Result<Vec<String>, AudienceError> {
    let is_usable = |value: &String| {
        !value.is_empty() && value.chars().count() <= VALUE_CHARS_MAX && !value.chars().any(char::is_control)
    };
    let values: Vec<String> = values.iter().map(|value| value.trim().to_owned()).collect();
    if values.is_empty() || !values.iter().all(is_usable) {
        return Err(AudienceError::Value);
    }
    Ok(values)
}

fn code_of(value: &str) -> Result<u8, AudienceError> {
    let folded: String = value.nfkc().collect();
    let prefecture: Prefecture =
        folded.trim().parse().map_err(|_| AudienceError::Prefecture(value.to_owned()))?;
    Ok(prefecture.code())
}

fn one_broadcast(key: String, values: &[String]) -> Result<BroadcastId, AudienceError> {
    let [value] = values else { return Err(AudienceError::OneBroadcast(key)) };
    let folded: String = value.nfkc().collect();
    folded.trim().parse().map_err(|_| AudienceError::OneBroadcast(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known() -> BTreeMap<String, FieldKind> {
        let texts = OWN_FIELDS.into_iter().chain(["勤務形態", "team"]).map(|field| (field, FieldKind::Text));
        let typed = [("更新期限", FieldKind::Date), ("点数", FieldKind::Number)];
        texts.chain(typed).map(|(field, kind)| (field.to_owned(), kind)).collect()
    }

    fn filter(texts: &[&str]) -> Result<AudienceFilter, AudienceError> {
        let conditions: Vec<Condition> =
            texts.iter().map(|text| text.parse()).collect::<Result<_, AudienceError>>()?;
        filter_of(&alternatives_joined(&conditions), &known())
    }

    #[test]
    fn conditions_are_read_as_people_write_them() {
        for (texts, written) in [
            (&["prefecture=宮城県|岩手"][..], "prefecture=宮城県|岩手県"),
            (&["都道府県＝宮城｜岩手県"], "prefecture=宮城県|岩手県"),
            (&["prefecture=宮城県", "prefecture=岩手県"], "prefecture=宮城県|岩手県"),
            (&["役割！＝看護師", "役割!=保健師"], "role!=看護師\nrole!=保健師"),
            (
                &[" 施設名 = A病院 OR team=a|b or reached-by = １２ "],
                "facility=A病院 or team=a|b or reached-by=12",
            ),
            (&["reached-by=12", "reached-by=13"], "reached-by=12\nreached-by=13"),
            (&["facility=\"A or B|\"\"C\"\"\"|D"], "facility=\"A or B|\"\"C\"\"\"|D"),
            (&["facility=A=B"], "facility=A=B"),
            (&["facility=A, B|\"C、D\""], "facility=\"A, B\"|\"C、D\""),
            (&["team=oregon|or"], "team=oregon|\"or\""),
            (&["team=a or"], "team=\"a or\""),
            (&["facility=”A|B”|“C or D”"], "facility=\"A|B\"|\"C or D\""),
            (&["facility=A“B”|”””C””D”"], "facility=A“B”|\"””C””D\""),
            (&["team=a or 勤務形態!=日勤", "team=b"], "team=a or 勤務形態!=日勤\nteam=b"),
            (&["更新期限=令和8年4月1日|２０２６／５／１"], "更新期限=2026-04-01|2026-05-01"),
            (&["点数!=1,200", "点数=￥５００"], "点数!=1200\n点数=500"),
        ] {
            assert_eq!(filter(texts).expect("a filter").to_string(), written, "{texts:?}");
        }
    }

    #[test]
    fn values_are_read_from_a_field_as_people_type_them() {
        for (text, values) in [
            (" 甲、乙，丙,\r\n丁\n\n", &["甲", "乙", "丙", "丁"][..]),
            ("", &[]),
            ("\"A, B\"\r\n\"、\"", &["A, B", "、"]),
            (" \"A \"\"1\"\", B\" , C\"D ", &["A \"1\", B", "C\"D"]),
            ("「A, B」", &["「A", "B」"]),
            ("a|b or c", &["a|b or c"]),
            ("\"\", x", &["x"]),
            ("”A, B”、“C、D“,＂E,F＂", &["A, B", "C、D", "E,F"]),
            ("”A ””1””, B”, C”D", &["A ”1”, B", "C”D"]),
        ] {
            assert_eq!(listed_values(text).expect("values"), values, "{text:?}");
        }
        for text in ["\"A", "\"A\"B", "A, \"B\nC", "”A", "”A”B"] {
            assert!(matches!(listed_values(text), Err(AudienceError::Condition)), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in ["", "=x", "x=", "!=x", "team", "team=a|", "team=|a", "team=a or b"] {
            assert!(matches!(filter(&[text]), Err(AudienceError::Condition)), "{text:?}");
        }
        for text in ["team=\"a", "team=\"a\"b", "team=\"\""] {
            assert!(matches!(filter(&[text]), Err(AudienceError::Condition)), "{text:?}");
        }
        for text in [" or team=a", "team=a or or team=b"] {
            assert!(matches!(filter(&[text]), Err(AudienceError::UnknownField { .. })), "{text:?}");
        }
        assert!(matches!(filter(&["reached-by=12|13"]), Err(AudienceError::OneBroadcast(_))));
        assert!(matches!(filter(&["reached-by=x"]), Err(AudienceError::OneBroadcast(_))));
        assert!(matches!(filter(&["team=a\u{7}"]), Err(AudienceError::Value)));
        assert!(matches!(filter(&["year!=2026"]), Err(AudienceError::UnknownField { .. })));
        assert!(matches!(filter(&["team=a or 状態=退会"]), Err(AudienceError::Implied(_))));
        for text in ["更新期限=来月", "点数!=多い"] {
            assert!(matches!(filter(&[text]), Err(AudienceError::NotOfKind { .. })), "{text:?}");
        }
        let nothing = Condition { any: vec![] };
        assert!(matches!(filter_of(&[nothing], &known()), Err(AudienceError::Condition)));
    }

    #[test]
    fn two_conditions_on_one_field_are_not_taken_for_alternatives() {
        let conditions: Vec<Condition> =
            ["team=a", "team=b"].iter().map(|text| text.parse().expect("a condition")).collect();
        let refused = filter_of(&conditions, &known());
        assert!(matches!(refused, Err(AudienceError::SameField(field)) if field == "team"));
    }

    #[test]
    fn a_free_field_with_a_name_that_means_something_else_is_not_asked_for() {
        for name in ["勤務形態", "team", "更新期限"] {
            assert!(can_be_asked_for(name), "{name}");
        }
        for name in ["施設名", "役割", "facility", "年度", "status", "name", "reached-by", "Team"] {
            assert!(!can_be_asked_for(name), "{name}");
        }
    }

    #[test]
    fn there_is_an_end_to_conditions_and_values() {
        let alternatives = |count: usize, between: &str| vec!["team=a"; count].join(between);
        assert!(filter(&[alternatives(CONDITIONS_MAX, " or ").as_str()]).is_ok());
        let refused = filter(&[alternatives(CONDITIONS_MAX + 1, " or ").as_str()]);
        assert!(matches!(refused, Err(AudienceError::TooManyConditions)));
        let values = format!("team={}", vec!["a"; VALUES_MAX + 1].join("|"));
        assert!(matches!(filter(&[values.as_str()]), Err(AudienceError::TooManyConditions)));
    }

    fn any_comparison() -> impl Strategy<Value = Comparison> {
        let values = proptest::collection::vec("[a-cアOoRr 　|｜\"＂“”=＝!,病]{1,9}", 1..4);
        let key = proptest::sample::select(vec!["facility", "role", "team", "勤務形態"]);
        let field = (key, any::<bool>(), values).prop_map(|(key, not, values)| (key.to_owned(), not, values));
        let codes = proptest::collection::vec(proptest::sample::select(domain::PREFECTURES.to_vec()), 1..4);
        let prefecture = (any::<bool>(), codes).prop_map(|(not, names)| {
            ("prefecture".to_owned(), not, names.into_iter().map(str::to_owned).collect::<Vec<_>>())
        });
        let key = proptest::sample::select(vec!["reached-by", "non-respondents-of"]);
        let ledger = (key, any::<bool>(), 1..99i64)
            .prop_map(|(key, not, id)| (key.to_owned(), not, vec![id.to_string()]));
        prop_oneof![field, prefecture, ledger].prop_map(|(key, not, values)| Comparison { key, not, values })
    }

    proptest! {
        #[test]
        fn values_are_read_again_as_they_are_put_into_a_field(
            values in proptest::collection::vec("[a-c病 　,，、|\"＂“”]{1,6}", 1..4)
        ) {
            let text: Vec<String> = values.iter().cloned().map(store::quoted_where_needed).collect();
            prop_assert_eq!(listed_values(&text.join("\n")).expect("readable"), values);
        }

        #[test]
        fn a_filter_is_read_again_as_it_was_written(
            conditions in proptest::collection::vec(proptest::collection::vec(any_comparison(), 1..4), 0..4)
        ) {
            let conditions: Vec<Condition> = conditions.into_iter().map(|any| Condition { any }).collect();
            // Two plain conditions on one field, or a value of spaces only.
            let Ok(accepted) = filter_of(&conditions, &known()) else { return Ok(()) };
            let written = accepted.to_string();
            let lines: Vec<&str> = written.lines().collect();
            prop_assert_eq!(filter(&lines).expect("readable"), accepted, "{}", written);
        }
    }
}
