//! Questions a member answers through a personal link, and the answers.

use std::collections::BTreeMap;

/// A member's answers: question key to stored value.
pub type Answers = BTreeMap<String, String>;

/// A titled list of questions.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Questionnaire {
    /// Shown above the questions.
    pub title: String,
    /// In the order asked.
    pub questions: Vec<Question>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Question {
    /// Stable name of the answer, e.g. `safety`.
    pub key: String,
    /// The question as asked.
    pub text: String,
    /// Must be answered.
    #[serde(default)]
    pub required: bool,
    /// How it is answered.
    #[serde(flatten)]
    pub kind: QuestionKind,
}

/// How a question is answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QuestionKind {
    /// One of the choices.
    Choice {
        /// At least two.
        choices: Vec<Choice>,
    },
    /// Free text, at most [`Questionnaire::TEXT_CHARS_MAX`] characters.
    Text,
}

/// One choice.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Choice {
    /// Stored value, e.g. `safe`.
    pub value: String,
    /// As shown, e.g. 無事.
    pub label: String,
}

/// Why an answer sheet was not taken; names the question by its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A required question has no answer.
    #[error("the question `{0}` has to be answered")]
    Missing(String),
    /// Not one of the choices.
    #[error("the answer to `{0}` is none of its choices")]
    NotAChoice(String),
    /// Too long.
    #[error("the answer to `{0}` is longer than {max} characters", max = Questionnaire::TEXT_CHARS_MAX)]
    TooLong(String),
}

impl Questionnaire {
    /// A free text holds a few paragraphs; more belongs in a mail.
    pub const TEXT_CHARS_MAX: usize = 2_000;

    /// Takes from a submitted form what the questions ask for; foreign keys are ignored.
    ///
    /// # Errors
    /// Every question that is wrong, in order.
    pub fn check(&self, form: &BTreeMap<String, String>) -> Result<Answers, Vec<AnswerError>> {
        let mut answers = Answers::new();
        let mut errors = Vec::new();
        for question in &self.questions {
            match question.check(form.get(&question.key).map_or("", |value| value.trim())) {
                Ok(Some(value)) => {
                    answers.insert(question.key.clone(), value);
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(answers) } else { Err(errors) }
    }
}

impl Question {
    fn check(&self, given: &str) -> Result<Option<String>, AnswerError> {
        if given.is_empty() {
            return if self.required { Err(AnswerError::Missing(self.key.clone())) } else { Ok(None) };
        }
        match &self.kind {
            QuestionKind::Choice { choices } if choices.iter().any(|choice| choice.value == given) => {
                Ok(Some(given.to_owned()))
            }
            QuestionKind::Choice { .. } => Err(AnswerError::NotAChoice(self.key.clone())),
            QuestionKind::Text if given.chars().count() > Questionnaire::TEXT_CHARS_MAX => {
                Err(AnswerError::TooLong(self.key.clone()))
            }
            QuestionKind::Text => Ok(Some(given.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_to_what_was_asked_are_taken() {
        let sheet = Questionnaire {
            title: "安否".into(),
            questions: vec![
                Question {
                    key: "safety".into(),
                    text: "ご無事ですか".into(),
                    required: true,
                    kind: QuestionKind::Choice {
                        choices: vec![
                            Choice { value: "safe".into(), label: "無事".into() },
                            Choice { value: "hurt".into(), label: "負傷".into() },
                        ],
                    },
                },
                Question {
                    key: "note".into(),
                    text: "連絡事項".into(),
                    required: false,
                    kind: QuestionKind::Text,
                },
            ],
        };
        let form = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        assert_eq!(sheet.check(&form(&[("safety", "safe"), ("evil", "x")])).map(|a| a.len()), Ok(1));
        assert_eq!(sheet.check(&form(&[])), Err(vec![AnswerError::Missing("safety".into())]));
        assert_eq!(
            sheet.check(&form(&[("safety", "fine")])),
            Err(vec![AnswerError::NotAChoice("safety".into())])
        );
    }
}
