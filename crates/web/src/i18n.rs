//! Texts of the pages in Japanese and English. Every id exists in both languages and every text
//! formats; tests prove it. A text never carries markup: templates escape what comes out of here.

use fluent_bundle::{FluentArgs, FluentResource, concurrent::FluentBundle};
use std::{fmt, str::FromStr, sync::LazyLock};
use unic_langid::LanguageIdentifier;

const JA: [&str; 4] = [
    include_str!("../locales/ja/frame.ftl"),
    include_str!("../locales/ja/words.ftl"),
    include_str!("../locales/ja/staff.ftl"),
    include_str!("../locales/ja/member.ftl"),
];
const EN: [&str; 4] = [
    include_str!("../locales/en/frame.ftl"),
    include_str!("../locales/en/words.ftl"),
    include_str!("../locales/en/staff.ftl"),
    include_str!("../locales/en/member.ftl"),
];

/// The language of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// 日本語, the default.
    #[default]
    Ja,
    /// English.
    En,
}

impl Lang {
    /// The BCP 47 tag, as in `<html lang>` and the configuration.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Ja => "ja",
            Self::En => "en",
        }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// Not one of the languages there are texts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("known languages are ja and en")]
pub struct UnknownLang;

impl FromStr for Lang {
    type Err = UnknownLang;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ja" => Ok(Self::Ja),
            "en" => Ok(Self::En),
            _ => Err(UnknownLang),
        }
    }
}

struct Bundles {
    ja: FluentBundle<FluentResource>,
    en: FluentBundle<FluentResource>,
}

static BUNDLES: LazyLock<Bundles> =
    LazyLock::new(|| Bundles { ja: bundle("ja", &JA), en: bundle("en", &EN) });

fn bundle(tag: &str, sources: &[&str]) -> FluentBundle<FluentResource> {
    let lang: LanguageIdentifier = tag.parse().expect("invariant: ja and en are language tags");
    let mut bundle = FluentBundle::new_concurrent(vec![lang]);
    // Isolation marks would end up in copied text and in attributes.
    bundle.set_use_isolating(false);
    for source in sources {
        let resource = FluentResource::try_new((*source).to_owned()).unwrap_or_else(|(partial, _)| partial);
        // The first text of an id stands; a test finds doubles.
        let _ = bundle.add_resource(resource);
    }
    bundle
}

/// The texts of one language, for templates and handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Texts(pub(crate) Lang);

impl Texts {
    /// The text of `id`; the id itself where there is none.
    pub(crate) fn get(self, id: &str) -> String {
        self.format(id, &[])
    }

    /// The text of `id` with one variable.
    pub(crate) fn with(self, id: &str, name: &str, value: impl fmt::Display) -> String {
        self.format(id, &[(name, value.to_string())])
    }

    /// The text of `id` with two variables.
    pub(crate) fn with2(
        self,
        id: &str,
        first: &str,
        first_value: impl fmt::Display,
        second: &str,
        second_value: impl fmt::Display,
    ) -> String {
        self.format(id, &[(first, first_value.to_string()), (second, second_value.to_string())])
    }

    /// The text of the stable word of an enum, e.g. `delivery-accepted`.
    pub(crate) fn word(self, family: &str, word: impl fmt::Display) -> String {
        self.get(&format!("{family}-{word}"))
    }

    pub(crate) fn format(self, id: &str, args: &[(&str, String)]) -> String {
        let bundle = match self.0 {
            Lang::Ja => &BUNDLES.ja,
            Lang::En => &BUNDLES.en,
        };
        let Some(pattern) = bundle.get_message(id).and_then(|message| message.value()) else {
            return id.to_owned();
        };
        let mut values = FluentArgs::new();
        for (name, value) in args {
            values.set(*name, value.as_str());
        }
        bundle.format_pattern(pattern, Some(&values), &mut Vec::new()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::Path,
    };

    /// Ids of one language with the variables each uses; also proves that the files parse and
    /// that no id stands twice.
    fn messages(sources: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::new();
        for source in sources {
            FluentResource::try_new((*source).to_owned()).expect("the file parses");
            for line in source.lines() {
                let Some((id, text)) = line.split_once(" = ") else { continue };
                if id.is_empty() || id.starts_with(['#', ' ', '.']) {
                    continue;
                }
                let variables = text
                    .split("{ $")
                    .skip(1)
                    .filter_map(|rest| rest.split_once(" }"))
                    .map(|(v, _)| v.to_owned());
                let before = found.insert(id.to_owned(), variables.collect());
                assert!(before.is_none(), "{id} stands twice");
            }
        }
        found
    }

    #[test]
    fn both_languages_say_the_same_things_with_the_same_variables() {
        let (ja, en) = (messages(&JA), messages(&EN));
        for (id, variables) in &ja {
            assert_eq!(Some(variables), en.get(id), "{id} in en");
        }
        for id in en.keys() {
            assert!(ja.contains_key(id), "{id} is missing in ja");
        }
    }

    #[test]
    fn every_text_formats_with_its_variables_and_without_marks() {
        for (lang, sources) in [(Lang::Ja, &JA), (Lang::En, &EN)] {
            for (id, variables) in messages(sources) {
                let args: Vec<(&str, String)> =
                    variables.iter().map(|v| (v.as_str(), "7".to_owned())).collect();
                let text = Texts(lang).format(&id, &args);
                assert!(!text.is_empty(), "{lang} {id}");
                assert!(
                    !text.contains("{ $") && !text.contains(['\u{2068}', '\u{2069}']),
                    "{lang} {id}: {text}"
                );
            }
        }
    }

    fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of this crate") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { files(&path, found) } else { found.push(path) }
        }
    }

    #[test]
    fn every_id_that_is_used_exists() {
        let known = messages(&JA);
        let mut found = Vec::new();
        for folder in ["src", "templates"] {
            files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
        }
        let mut used = 0;
        for file in found {
            if file.ends_with("i18n.rs") {
                continue;
            }
            let source = fs::read_to_string(&file).expect("a source file");
            for call in ["t.get(\"", "t.with(\"", "t.with2(\"", "t.format(\""] {
                for rest in source.split(call).skip(1) {
                    let id = rest.split('"').next().expect("the rest of the call");
                    assert!(known.contains_key(id), "{id} is used in {} and has no text", file.display());
                    used += 1;
                }
            }
        }
        assert!(used > 100, "the search looks at the right files");
    }

    #[test]
    fn every_word_of_the_house_has_its_text() {
        fn check<W: fmt::Display>(family: &str, all: &[W]) {
            for word in all {
                for lang in [Lang::Ja, Lang::En] {
                    let id = format!("{family}-{word}");
                    assert_ne!(Texts(lang).get(&id), id, "{lang}");
                }
            }
        }
        check("nature", domain::Nature::ALL);
        check("nature-say", domain::Nature::ALL);
        check("role", domain::Role::ALL);
        check("broadcast", domain::BroadcastState::ALL);
        check("delivery", domain::DeliveryState::ALL);
        check("exercise", domain::ExerciseState::ALL);
        check("inject", domain::InjectState::ALL);
        check("reply", domain::ReplyClass::ALL);
        check("rule", domain::Rule::ALL);
        check("member-status", domain::MemberStatus::ALL);
        check("column", domain::FieldKind::ALL);
        check("of-kind", domain::FieldKind::ALL);
    }
}
