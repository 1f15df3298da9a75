//! What an audience's conditions consist of, how they are stored, and how they are written.
//!
//! A filter is a conjunction of clauses, a clause a disjunction of terms, a term a test or its
//! contrary: every formula of and, or and not can be brought into this shape.

use domain::{BroadcastId, Prefecture};
use std::{collections::BTreeMap, fmt};

/// What a value may stand in: the keyboard's own, and those that an input method makes of it.
pub const QUOTATION_MARKS: [char; 4] = ['"', '＂', '“', '”'];

/// Conditions on members: every clause has to fit. No clause at all is everybody within reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Stored")]
pub struct AudienceFilter {
    /// In the order in which they were written.
    pub all: Vec<Clause>,
}

impl AudienceFilter {
    /// Every broadcast that its conditions ask about: whom it finds changes with mails and answers, too.
    pub fn broadcasts(&self) -> impl Iterator<Item = BroadcastId> {
        self.all.iter().flat_map(|clause| &clause.any).filter_map(|term| match &term.test {
            Test::NonRespondentsOf(id) | Test::ReachedBy(id) => Some(*id),
            Test::Prefecture(_) | Test::Facility(_) | Test::Role(_) | Test::Attribute { .. } => None,
        })
    }

    /// Every value that its conditions compare a free field with.
    pub fn values_of(&self, field: &str) -> impl Iterator<Item = &str> {
        let terms = self.all.iter().flat_map(|clause| &clause.any);
        let values = terms.filter_map(move |term| match &term.test {
            Test::Attribute { name, values } if name == field => Some(values),
            _ => None,
        });
        values.flatten().map(String::as_str)
    }
}

/// Alternatives: one of them has to fit. A clause without any fits nobody.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    /// In the order in which they were written.
    pub any: Vec<Term>,
}

/// One test, or its contrary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Fits those whom the test does not fit, also those who have no value at all.
    #[serde(default)]
    pub not: bool,
    /// What is asked.
    pub test: Test,
}

/// One question about a member. Several values are alternatives; without any it fits nobody,
/// and neither does its contrary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Test {
    /// JIS X 0401 codes.
    Prefecture(Vec<u8>),
    /// Workplaces, as written in the roster.
    Facility(Vec<String>),
    /// Roles in a disaster.
    Role(Vec<String>),
    /// Another column of the roster.
    Attribute {
        /// The field's name.
        name: String,
        /// Its values.
        values: Vec<String>,
    },
    /// Addressed by this broadcast, and has not answered what it asks.
    NonRespondentsOf(BroadcastId),
    /// This broadcast reached the member, or may have.
    ReachedBy(BroadcastId),
}

impl Test {
    /// The word for the field on the command line.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Prefecture(_) => "prefecture",
            Self::Facility(_) => "facility",
            Self::Role(_) => "role",
            Self::Attribute { name, .. } => name,
            Self::NonRespondentsOf(_) => "non-respondents-of",
            Self::ReachedBy(_) => "reached-by",
        }
    }

    /// The values as people write them.
    #[must_use]
    pub fn values(&self) -> Vec<String> {
        match self {
            Self::Prefecture(codes) => codes.iter().map(|code| prefecture_name(*code)).collect(),
            Self::Facility(values) | Self::Role(values) | Self::Attribute { values, .. } => values.clone(),
            Self::NonRespondentsOf(id) | Self::ReachedBy(id) => vec![id.to_string()],
        }
    }
}

/// A code that is none of the 47 stands as the number it is, and is refused when it is read.
fn prefecture_name(code: u8) -> String {
    Prefecture::from_code(code).map_or_else(|| code.to_string(), |prefecture| prefecture.name().to_owned())
}

impl fmt::Display for AudienceFilter {
    /// One clause in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, clause) in self.all.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{clause}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Clause {
    /// As behind `--where`: `prefecture=宮城県|岩手県 or facility!=中央病院`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, term) in self.any.iter().enumerate() {
            if n > 0 {
                f.write_str(" or ")?;
            }
            write!(f, "{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.test.values().into_iter().map(quoted_where_needed).collect();
        write!(f, "{}{}{}", self.test.key(), if self.not { "!=" } else { "=" }, values.join("|"))
    }
}

/// A value that would read as more than a value, behind `--where` or in a field of the form, stands in
/// quotation marks, its own ones doubled.
#[must_use]
pub fn quoted_where_needed(value: String) -> String {
    let plain = !value.starts_with(QUOTATION_MARKS)
        && !value.contains(['|', '｜', ',', '，', '、'])
        && value.trim() == value
        && !value.split_whitespace().any(|word| word.eq_ignore_ascii_case("or"));
    if plain {
        return value;
    }
    let mut quoted = String::from('"');
    for c in value.chars() {
        quoted.extend(std::iter::repeat_n(c, if QUOTATION_MARKS.contains(&c) { 2 } else { 1 }));
    }
    quoted.push('"');
    quoted
}

/// Both shapes that the database holds.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Stored {
    Clauses(Clauses),
    Keys(Keys),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Clauses {
    all: Vec<Clause>,
}

/// As filters were stored at first: all keys have to fit, values under one key are alternatives.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    prefecture: Option<Vec<u8>>,
    facility: Option<Vec<String>>,
    role: Option<Vec<String>>,
    attributes: BTreeMap<String, Vec<String>>,
}

impl From<Stored> for AudienceFilter {
    fn from(stored: Stored) -> Self {
        let keys = match stored {
            Stored::Clauses(Clauses { all }) => return Self { all },
            Stored::Keys(keys) => keys,
        };
        let own = [
            keys.prefecture.map(Test::Prefecture),
            keys.facility.map(Test::Facility),
            keys.role.map(Test::Role),
        ];
        let others = keys.attributes.into_iter().map(|(name, values)| Test::Attribute { name, values });
        let clause = |test| Clause { any: vec![Term { not: false, test }] };
        Self { all: own.into_iter().flatten().chain(others).map(clause).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stored: &str) -> AudienceFilter {
        serde_json::from_str(stored).expect("a filter")
    }

    #[test]
    fn a_filter_of_the_first_shape_keeps_its_meaning() {
        assert_eq!(read("{}"), AudienceFilter::default());
        let stored = r#"{"prefecture":[4,3],"facility":["中央病院"],"role":["看護師"],"attributes":{"勤務形態":["日勤","夜勤"]}}"#;
        let shown = "prefecture=宮城県|岩手県\nfacility=中央病院\nrole=看護師\n勤務形態=日勤|夜勤";
        assert_eq!(read(stored).to_string(), shown);
        assert_eq!(read(r#"{"prefecture":[]}"#).all.len(), 1, "an empty list stays a clause");
        assert!(serde_json::from_str::<AudienceFilter>(r#"{"status":["withdrawn"]}"#).is_err());
    }

    #[test]
    fn a_filter_reads_as_it_is_stored() {
        let term = |not, test| Term { not, test };
        let filter = AudienceFilter {
            all: vec![
                Clause {
                    any: vec![
                        term(true, Test::Prefecture(vec![4])),
                        term(false, Test::Attribute { name: "組".into(), values: vec!["a".into()] }),
                    ],
                },
                Clause { any: vec![term(false, Test::NonRespondentsOf(BroadcastId::new(7)))] },
                Clause { any: vec![] },
            ],
        };
        let stored = serde_json::to_string(&filter).expect("JSON");
        assert!(stored.contains(r#"{"not":true,"test":{"prefecture":[4]}}"#), "{stored}");
        assert_eq!(read(&stored), filter);
        assert_eq!(read(r#"{"all":[]}"#), AudienceFilter::default());
        assert!(serde_json::from_str::<AudienceFilter>(r#"{"all":[],"facility":["x"]}"#).is_err());
    }
}
