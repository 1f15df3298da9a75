//! Subject and body of a notice, with the banner of its nature.
//!
//! Guarantees: a text of an exercise or a test begins with its banner in the subject, and its body's
//! first and last lines say what it is (law 6). A text that claims another nature than its own is
//! refused: a drill's words never go out as the real thing, nor the other way round
//! (incidents.md C, 2023 and 2014).
//!
//! # Security
//! The author's text reaches this module, and with it the registry's values. Controls are refused,
//! so that a subject cannot become a second header.

use crate::template::{Fields, MissingField, Template, TemplateError};
use domain::{HoldReason, Nature};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Beyond this a subject is a body; mail clients show a quarter of it.
const SUBJECT_CHARS_MAX: usize = 200;
/// The field that carries a person's own page.
const LINK: &str = "link";

const EXERCISE_LINE: &str = "【訓練】これは訓練です。実際の災害ではありません。";
const TEST_LINE: &str = "【試験】これは配信システムの試験です。実際の災害ではありません。";
const RULER: &str = "――――――――――――――――";

/// Words that claim a nature, in canonical writing (no spaces, one kind of bracket).
const CLAIMS: [(Nature, &str); 8] = [
    // Any heading that opens with 訓練, such as 【訓練開始】.
    (Nature::Exercise, "【訓練"),
    (Nature::Exercise, "これは訓練です"),
    (Nature::Test, "【試験】"),
    (Nature::Test, "【テスト】"),
    (Nature::Test, "これは試験です"),
    (Nature::Actual, "【実災害】"),
    (Nature::Actual, "これは訓練ではありません"),
    (Nature::Actual, "これは試験ではありません"),
];

/// An author's text: subject and body, still with `{{field}}` places where it is a template.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NoticeText {
    /// One line, without the banner.
    pub subject: String,
    /// Lines, without banner and footer.
    pub body: String,
}

/// Who stands under every notice, so that a recipient can ask and check (incidents.md A).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Name of the organisation.
    pub organization: String,
    /// Where a recipient asks back: a telephone number, a page, a desk.
    pub contact: String,
    /// The page where a recipient checks that a notice is genuine.
    pub verify_url: String,
}

/// Whether the notice asks something on the person's own page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Questions {
    /// It does: the link is added where the author did not place `{{link}}`.
    Asked,
    /// It does not.
    NotAsked,
}

/// Subject or body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The subject.
    Subject,
    /// The body.
    Body,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "subject",
            Self::Body => "body",
        })
    }
}

/// Why a text cannot become a notice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing there but, at most, the banner.
    #[error("the {0} is empty")]
    Empty(Part),
    /// Longer than a subject can be.
    #[error("the subject has more than {SUBJECT_CHARS_MAX} characters")]
    SubjectTooLong,
    /// A control character; in the subject also a line break, or what a mail program would decode
    /// into one.
    #[error("the {0} has a control character or a line break where none can be, written out or encoded")]
    Control(Part),
    /// The text says it is something else than it is.
    #[error("the {part} of a notice of nature `{nature}` contains {found}, which belongs to `{of}`")]
    ForeignBanner {
        /// Where.
        part: Part,
        /// What the notice is.
        nature: Nature,
        /// What was found, in canonical writing.
        found: &'static str,
        /// Whose words these are.
        of: Nature,
    },
}

/// Why an author's text is not usable as a notice's template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// The braces do not match, or the text is too large.
    #[error("the {part} is not a template: {error}")]
    Template {
        /// Where.
        part: Part,
        /// What is wrong.
        error: TemplateError,
    },
    /// The text itself.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A personal link in a subject shows on locked screens and in logs.
    #[error("{{{{link}}}} cannot stand in the subject")]
    LinkInSubject,
}

impl NoticeError {
    /// The preflight rule this breaks.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Template { .. } => "template",
            Self::LinkInSubject => "link-in-subject",
            Self::Text(TextError::Empty(Part::Subject)) => "empty-subject",
            Self::Text(TextError::Empty(Part::Body)) => "empty-body",
            Self::Text(TextError::SubjectTooLong) => "subject-too-long",
            Self::Text(TextError::Control(_)) => "control-characters",
            Self::Text(TextError::ForeignBanner { .. }) => "foreign-banner",
        }
    }

    /// The facts of the message by name, for a page in another language.
    #[must_use]
    pub fn args(&self) -> BTreeMap<&'static str, String> {
        match self {
            Self::Template { part, error } => {
                BTreeMap::from([("part", part.to_string()), ("error", error.to_string())])
            }
            Self::LinkInSubject | Self::Text(TextError::SubjectTooLong) => BTreeMap::new(),
            Self::Text(TextError::Empty(part) | TextError::Control(part)) => {
                BTreeMap::from([("part", part.to_string())])
            }
            Self::Text(TextError::ForeignBanner { part, nature, found, of }) => BTreeMap::from([
                ("part", part.to_string()),
                ("nature", nature.to_string()),
                ("found", (*found).to_owned()),
                ("of", of.to_string()),
            ]),
        }
    }
}

/// Why a notice cannot be rendered for one person. The person is held, never sent a broken text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrenderable {
    /// A field has no value.
    #[error(transparent)]
    Missing(#[from] MissingField),
    /// With this person's values the text is not what it may be, e.g. claims another nature.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl Unrenderable {
    /// The ledger's reason to hold this recipient.
    #[must_use]
    pub fn hold_reason(&self) -> HoldReason {
        match self {
            Self::Missing(missing) => HoldReason::MissingField(missing.name.clone()),
            // The ledger names the part of the text that no value of this person can fill.
            Self::Text(
                TextError::Empty(part) | TextError::Control(part) | TextError::ForeignBanner { part, .. },
            ) => HoldReason::MissingField(part.to_string()),
            Self::Text(TextError::SubjectTooLong) => HoldReason::MissingField(Part::Subject.to_string()),
        }
    }
}

/// The line that opens and closes the body of a notice of this nature.
#[must_use]
pub fn banner_line(nature: Nature) -> Option<&'static str> {
    match nature {
        Nature::Actual => None,
        Nature::Exercise => Some(EXERCISE_LINE),
        Nature::Test => Some(TEST_LINE),
    }
}

/// A notice as one person will read it, with banner and footer.
///
/// There is one way to make it, and that way puts the banner in. The fields cannot be written:
///
/// ```compile_fail
/// use domain::Nature;
/// use notice::BanneredText;
/// let forged = BanneredText {
///     nature: Nature::Exercise,
///     subject: "Earthquake".to_owned(),
///     body: "Report at once".to_owned(),
/// };
/// ```
///
/// Nor can they be changed afterwards:
///
/// ```compile_fail
/// fn strip(mut text: notice::BanneredText) {
///     text.subject = "Earthquake".to_owned();
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BanneredText {
    nature: Nature,
    subject: String,
    body: String,
}

impl BanneredText {
    /// Puts banner, body, personal link and footer together. `text` is rendered already; `link`
    /// stands on a line of its own, so that telephones make it tappable.
    ///
    /// # Errors
    /// [`TextError`] where the text is empty, has controls, or claims another nature.
    pub fn compose(
        nature: Nature,
        text: &NoticeText,
        footer: &Footer,
        link: Option<&str>,
    ) -> Result<Self, TextError> {
        let body = normal_newlines(&text.body);
        if let Some(error) = text_errors(nature, &text.subject, &body).into_iter().next() {
            return Err(error);
        }
        let subject = match nature.banner() {
            Some(banner) => format!("{banner}{}", without_leading(&text.subject, banner)),
            None => text.subject.trim().to_owned(),
        };
        Ok(Self { nature, subject, body: lay_out(nature, &body, footer, link) })
    }

    /// What the notice is.
    #[must_use]
    pub fn nature(&self) -> Nature {
        self.nature
    }

    /// The whole subject, banner first.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The whole body: lines ended by `\n`, banner first and last.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}

impl fmt::Debug for BanneredText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BanneredText({}, {} bytes)", self.nature, self.body.len())
    }
}

/// An author's text, checked and ready to be rendered for each recipient.
#[derive(Debug, Clone)]
pub struct NoticeTemplate {
    nature: Nature,
    subject: Template,
    body: Template,
    footer: Footer,
    appended_link: Option<Template>,
}

impl NoticeTemplate {
    /// Checks an author's text once, before anyone's values are put in.
    ///
    /// # Errors
    /// The first of [`NoticeTemplate::problems`].
    pub fn new(
        nature: Nature,
        text: &NoticeText,
        footer: Footer,
        questions: Questions,
    ) -> Result<Self, NoticeError> {
        if let Some(problem) = Self::problems(nature, text).into_iter().next() {
            return Err(problem);
        }
        let subject = parse_part(Part::Subject, &text.subject)?;
        let body = parse_part(Part::Body, &text.body)?;
        let appended_link = match questions {
            Questions::Asked if !body.fields().contains(LINK) => Some(parse_part(Part::Body, "{{link}}")?),
            Questions::Asked | Questions::NotAsked => None,
        };
        Ok(Self { nature, subject, body, footer, appended_link })
    }

    /// Everything that keeps a text from being a notice of this nature, for the author to read.
    #[must_use]
    pub fn problems(nature: Nature, text: &NoticeText) -> Vec<NoticeError> {
        let mut problems: Vec<NoticeError> = text_errors(nature, &text.subject, &normal_newlines(&text.body))
            .into_iter()
            .map(NoticeError::Text)
            .collect();
        match parse_part(Part::Subject, &text.subject) {
            Ok(subject) if subject.fields().contains(LINK) => problems.push(NoticeError::LinkInSubject),
            Ok(_) => {}
            Err(error) => problems.push(error),
        }
        problems.extend(parse_part(Part::Body, &text.body).err());
        problems
    }

    /// Every field a recipient needs, the personal `link` included where it is added.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<String> {
        let mut fields: BTreeSet<String> = self.subject.fields().union(self.body.fields()).cloned().collect();
        if self.appended_link.is_some() {
            fields.insert(LINK.to_owned());
        }
        fields
    }

    /// The notice for one person. `fields` holds the person's values and, under `link`, the
    /// personal page.
    ///
    /// # Errors
    /// [`Unrenderable`]; its [`hold_reason`](Unrenderable::hold_reason) goes to the ledger.
    pub fn render(&self, fields: &Fields) -> Result<BanneredText, Unrenderable> {
        let text = NoticeText { subject: self.subject.render(fields)?, body: self.body.render(fields)? };
        let link = self.appended_link.as_ref().map(|link| link.render(fields)).transpose()?;
        Ok(BanneredText::compose(self.nature, &text, &self.footer, link.as_deref())?)
    }
}

fn parse_part(part: Part, text: &str) -> Result<Template, NoticeError> {
    Template::parse(text).map_err(|error| NoticeError::Template { part, error })
}

fn normal_newlines(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

fn text_errors(nature: Nature, subject: &str, body: &str) -> Vec<TextError> {
    let mut errors = Vec::new();
    for (part, text) in [(Part::Subject, subject), (Part::Body, body)] {
        if own_words(nature, text).next().is_none() {
            errors.push(TextError::Empty(part));
        }
        let allowed = |c: char| part == Part::Body && matches!(c, '\n' | '\t');
        let break_or_override = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let control = text.chars().any(|c| (c.is_control() || break_or_override(c)) && !allowed(c));
        if control || (part == Part::Subject && holds_encoded_word(text)) {
            errors.push(TextError::Control(part));
        }
        errors.extend(foreign_claim(nature, part, text));
    }
    if subject.chars().count() > SUBJECT_CHARS_MAX {
        errors.push(TextError::SubjectTooLong);
    }
    errors
}

/// RFC 2047 §2: `=?charset?encoding?text?=`. The message builder leaves ASCII as it is, so a
/// recipient's program would decode it, line breaks included.
fn holds_encoded_word(text: &str) -> bool {
    text.split_once("=?").is_some_and(|(_, rest)| rest.contains("?="))
}

/// The lines an author wrote, apart from blank ones and the banner in any of its two forms.
fn own_words(nature: Nature, text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(move |line| !is_banner_or_blank(nature, line))
}

fn is_banner_or_blank(nature: Nature, line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || Some(line) == nature.banner() || Some(line) == banner_line(nature)
}

fn foreign_claim(nature: Nature, part: Part, text: &str) -> Option<TextError> {
    let canonical = canonical(text);
    CLAIMS
        .iter()
        .find(|(of, words)| *of != nature && canonical.contains(words))
        .map(|(of, found)| TextError::ForeignBanner { part, nature, found, of: *of })
}

/// Without spaces and invisible signs, and with one kind of square bracket: `[ 訓練 ]` is 【訓練】.
fn canonical(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}' | '\u{feff}')
        })
        .map(|c| match c {
            '[' | '［' | '〔' | '〖' => '【',
            ']' | '］' | '〕' | '〗' => '】',
            other => other,
        })
        .collect()
}

fn without_leading<'a>(text: &'a str, banner: &str) -> &'a str {
    let mut rest = text.trim();
    while let Some(shorter) = rest.strip_prefix(banner) {
        rest = shorter.trim_start();
    }
    rest
}

/// The author's lines without a banner of their own at either end: it is put there anyway.
fn author_lines<'a>(nature: Nature, body: &'a str) -> Vec<&'a str> {
    let lines: Vec<&'a str> = body.lines().collect();
    let ours = |line: &&&str| is_banner_or_blank(nature, line);
    let from = lines.iter().take_while(ours).count();
    let behind = lines[from..].iter().rev().take_while(ours).count();
    let mut lines = lines[from..lines.len() - behind].to_vec();
    if let (Some(first), Some(banner)) = (lines.first_mut(), nature.banner())
        && first.trim_start().starts_with(banner)
    {
        *first = without_leading(first, banner);
    }
    lines
}

fn lay_out(nature: Nature, body: &str, footer: &Footer, link: Option<&str>) -> String {
    let banner = banner_line(nature);
    let mut lines: Vec<&str> = Vec::new();
    if let Some(banner) = banner {
        lines.extend([banner, ""]);
    }
    lines.extend(author_lines(nature, body));
    lines.push("");
    if let Some(link) = link {
        lines.extend(["ご回答はこちらのページから（あなた専用です。転送しないでください）", link, ""]);
    }
    let [organization, contact, verify] = [
        format!("{} 配信システム", footer.organization),
        format!("お問い合わせ: {}", footer.contact),
        format!("このお知らせが本物かどうかの確認: {}", footer.verify_url),
    ];
    lines.extend([RULER, &organization, &contact, &verify]);
    lines.extend(banner);
    let mut out = lines.join("\n");
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn footer() -> Footer {
        Footer {
            organization: "災害看護の会".into(),
            contact: "03-0000-0000".into(),
            verify_url: "https://drill.example.jp/verify".into(),
        }
    }

    fn text(subject: &str, body: &str) -> NoticeText {
        NoticeText { subject: subject.into(), body: body.into() }
    }

    fn compose(nature: Nature, subject: &str, body: &str) -> Result<BanneredText, TextError> {
        BanneredText::compose(nature, &text(subject, body), &footer(), None)
    }

    #[test]
    fn an_exercise_is_marked_in_subject_and_at_both_ends_of_the_body() {
        let notice = compose(Nature::Exercise, "開始のお知らせ", "本日13時に開始します。").expect("a notice");
        assert_eq!(notice.subject(), "【訓練】開始のお知らせ");
        let lines: Vec<&str> = notice.body().lines().collect();
        assert_eq!(lines.first(), Some(&EXERCISE_LINE));
        assert_eq!(lines.last(), Some(&EXERCISE_LINE));
    }

    #[test]
    fn every_banner_line_begins_with_the_banner_of_its_nature() {
        for nature in Nature::ALL {
            match (nature.banner(), banner_line(*nature)) {
                (Some(banner), Some(line)) => assert!(line.starts_with(banner)),
                (banner, line) => assert_eq!((banner, line), (None, None)),
            }
            assert_eq!(
                banner_line(*nature).and_then(|line| foreign_claim(*nature, Part::Body, line)),
                None,
                "a banner line makes no claim but its own"
            );
        }
    }

    #[test]
    fn an_actual_notice_carries_no_banner() {
        let notice =
            compose(Nature::Actual, "参集のお願い", "震度6強。参集してください。").expect("a notice");
        assert_eq!(notice.subject(), "参集のお願い");
        assert!(!notice.body().contains('【'));
    }

    #[test]
    fn a_banner_the_author_typed_is_not_doubled() {
        for (subject, body) in [
            ("【訓練】開始", "【訓練】\n本文"),
            (" 【訓練】 【訓練】開始", "【訓練】 本文\n\n【訓練】"),
            (
                "【訓練】開始",
                "【訓練】これは訓練です。実際の災害ではありません。\n\n本文\n\n【訓練】これは訓練です。実際の災害ではありません。",
            ),
        ] {
            let notice = compose(Nature::Exercise, subject, body).expect("a notice");
            assert_eq!(notice.subject(), "【訓練】開始");
            assert_eq!(notice.body().matches("【訓練】").count(), 2, "{}", notice.body());
        }
    }

    #[test]
    fn a_text_that_claims_another_nature_is_refused() {
        for (nature, subject, body) in [
            (Nature::Actual, "【訓練】開始", "本文"),
            (Nature::Actual, "開始", "1行目\n[ 訓練 ] 2行目"),
            (Nature::Actual, "【訓練開始】", "本文"),
            (Nature::Actual, "開始", "これは訓練です。"),
            (Nature::Actual, "【試験】配信", "本文"),
            (Nature::Exercise, "【試験】配信", "本文"),
            (Nature::Exercise, "開始", "【実災害】至急"),
            (Nature::Exercise, "開始", "これは訓練ではありません。"),
            (Nature::Test, "【訓練】開始", "本文"),
            (Nature::Test, "［訓\u{200b}練］開始", "本文"),
        ] {
            let refused = compose(nature, subject, body);
            assert!(matches!(refused, Err(TextError::ForeignBanner { .. })), "{nature} {subject} {body}");
        }
        assert!(
            compose(Nature::Actual, "訓練の中止", "訓練は中止します。これは訓練ではありません。").is_ok()
        );
    }

    #[test]
    fn empty_texts_and_controls_are_refused() {
        assert_eq!(compose(Nature::Exercise, "【訓練】", "x").err(), Some(TextError::Empty(Part::Subject)));
        assert_eq!(compose(Nature::Exercise, "x", "【訓練】\n").err(), Some(TextError::Empty(Part::Body)));
        let encoded = "a =?utf-8?Q?=0D=0ABcc:_x@y.jp?= b";
        for subject in ["a\r\nBcc: x@y.jp", "a\nb", "a\0", "a\u{2028}b", "a\u{202e}b", encoded] {
            let refused = compose(Nature::Exercise, subject, "x").err();
            assert_eq!(refused, Some(TextError::Control(Part::Subject)), "{subject:?}");
        }
        assert_eq!(compose(Nature::Exercise, "x", "a\u{1b}[2J").err(), Some(TextError::Control(Part::Body)));
        assert!(compose(Nature::Exercise, "x", "a\r\nb\rc\td").is_ok());
        assert!(compose(Nature::Exercise, "1+1=? 2?", encoded).is_ok(), "no encoded word in a header");
    }

    fn template(body: &str, questions: Questions) -> NoticeTemplate {
        NoticeTemplate::new(Nature::Exercise, &text("{{name}}様", body), footer(), questions)
            .expect("a notice template")
    }

    fn person() -> Fields {
        [("name", "鈴木"), ("link", "https://drill.example.jp/r/abc")]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn the_personal_link_stands_on_its_own_line_exactly_once() {
        let url = "https://drill.example.jp/r/abc";
        let own_line = |notice: &BanneredText| notice.body().lines().filter(|line| *line == url).count();
        let appended = template("本文", Questions::Asked).render(&person()).expect("a notice");
        assert_eq!((own_line(&appended), appended.body().matches(url).count()), (1, 1));
        let placed = template("本文\n{{link}}\n", Questions::Asked).render(&person()).expect("a notice");
        assert_eq!((own_line(&placed), placed.body().matches(url).count()), (1, 1));
        let none = template("本文", Questions::NotAsked).render(&person()).expect("a notice");
        assert_eq!(none.body().matches(url).count(), 0);
    }

    #[test]
    fn a_person_without_a_value_is_held_and_not_written_to() {
        let notice = template("{{facility}} の皆様", Questions::Asked);
        let unrenderable = notice.render(&person()).expect_err("held");
        assert_eq!(unrenderable.hold_reason(), HoldReason::MissingField("facility".into()));
        let mut no_link = person();
        no_link.remove(LINK);
        let unrenderable = template("本文", Questions::Asked).render(&no_link).expect_err("held");
        assert_eq!(unrenderable.hold_reason(), HoldReason::MissingField("link".into()));
    }

    #[test]
    fn a_value_cannot_turn_the_real_thing_into_a_drill() {
        let notice = NoticeTemplate::new(
            Nature::Actual,
            &text("【{{facility}}】参集", "{{name}}様"),
            footer(),
            Questions::NotAsked,
        )
        .expect("a notice template");
        let mut fields = person();
        fields.insert("facility".into(), "中央病院".into());
        assert!(notice.render(&fields).is_ok());
        fields.insert("facility".into(), "訓練".into());
        let unrenderable = notice.render(&fields).expect_err("held");
        assert_eq!(unrenderable.hold_reason(), HoldReason::MissingField("subject".into()));
    }

    #[test]
    fn all_problems_of_a_text_are_told_at_once() {
        let problems = NoticeTemplate::problems(Nature::Actual, &text("{{link}}", "【訓練】 {{name"));
        let rules: Vec<&str> = problems.iter().map(NoticeError::rule).collect();
        assert_eq!(rules, ["foreign-banner", "link-in-subject", "template"]);
    }

    proptest! {
        #[test]
        fn no_accepted_text_is_without_its_banner(
            subject in "[【】訓練試験 a-z]{0,12}",
            body in "([【】訓練試験a-z]{0,8}\n){0,4}",
            which in 0..2usize,
        ) {
            let nature = [Nature::Exercise, Nature::Test][which];
            let banner = nature.banner().expect("a banner");
            if let Ok(notice) = compose(nature, &subject, &body) {
                prop_assert!(notice.subject().starts_with(banner));
                prop_assert_eq!(notice.body().lines().next(), banner_line(nature));
                prop_assert_eq!(notice.body().lines().last(), banner_line(nature));
            }
        }
    }
}
