//! A drill written as a TOML file: title, nature and the injects in order.

use domain::{InjectAudience, Nature, Questionnaire, Span, StaffId};
use std::time::Duration;
use store::{NewExercise, NewInject};

/// A timeline longer than this is a typing error.
const INJECTS_MAX: usize = 200;
/// An inject not released within this after its time is missed, unless the file says otherwise.
const GRACE_DEFAULT: Duration = Duration::from_secs(6 * 60 * 60);

/// Why a file is not a drill.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not TOML, or not these keys.
    #[error("the drill file cannot be read: {0}")]
    Syntax(String),
    /// The injects do not fit together.
    #[error("the drill file: {0}")]
    Content(String),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    title: String,
    nature: Nature,
    inject: Vec<InjectFile>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct InjectFile {
    key: String,
    title: String,
    at: Span,
    grace: Option<Span>,
    subject: String,
    body: String,
    audience: Option<String>,
    non_respondents_of: Option<String>,
    questionnaire: Option<Questionnaire>,
}

/// Reads a drill file. Times are lengths after STARTEX, e.g. `at = "24h"`.
///
/// # Errors
/// [`PlanError`] says which inject and why.
pub fn parse_plan(text: &str, author: StaffId, idempotency_key: String) -> Result<NewExercise, PlanError> {
    let file: PlanFile = toml::from_str(text).map_err(|e| PlanError::Syntax(e.to_string()))?;
    if file.inject.is_empty() || file.inject.len() > INJECTS_MAX {
        return Err(PlanError::Content(format!("a drill has 1 to {INJECTS_MAX} injects")));
    }
    let mut injects: Vec<NewInject> = Vec::with_capacity(file.inject.len());
    for inject in file.inject {
        if injects.iter().any(|earlier| earlier.key == inject.key) {
            return Err(PlanError::Content(format!("two injects have the key `{}`", inject.key)));
        }
        injects.push(read_inject(inject, &injects)?);
    }
    injects.sort_by_key(|inject| inject.offset);
    Ok(NewExercise { title: file.title, nature: file.nature, author, idempotency_key, injects })
}

fn read_inject(inject: InjectFile, earlier: &[NewInject]) -> Result<NewInject, PlanError> {
    let audience = match (inject.audience, inject.non_respondents_of) {
        (Some(name), None) => InjectAudience::Audience(name),
        (None, Some(of)) if earlier.iter().any(|e| e.key == of && e.questionnaire.is_some()) => {
            InjectAudience::NonRespondents(of)
        }
        (None, Some(of)) => {
            let problem =
                format!("inject `{}`: `{of}` is no earlier inject with a questionnaire", inject.key);
            return Err(PlanError::Content(problem));
        }
        (Some(_), Some(_)) | (None, None) => {
            let problem = format!("inject `{}` has either audience or non_respondents_of", inject.key);
            return Err(PlanError::Content(problem));
        }
    };
    Ok(NewInject {
        key: inject.key,
        title: inject.title,
        offset: inject.at.get(),
        grace: inject.grace.map_or(GRACE_DEFAULT, Span::get),
        subject: inject.subject,
        body: inject.body,
        audience: serde_json::to_string(&audience).expect("invariant: a name in a small enum"),
        questionnaire: inject.questionnaire,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
title = "総合防災訓練"
nature = "exercise"

[[inject]]
key = "start"
title = "訓練開始"
at = "0s"
subject = "訓練開始"
body = "開始します"
audience = "all"
[inject.questionnaire]
title = "安否"
[[inject.questionnaire.questions]]
key = "safety"
text = "ご無事ですか"
required = true
kind = "choice"
choices = [{ value = "safe", label = "無事" }, { value = "hurt", label = "負傷" }]

[[inject]]
key = "remind"
title = "再通知"
at = "24h"
subject = "再通知"
body = "回答をお願いします"
non_respondents_of = "start"
"#;

    #[test]
    fn a_drill_file_becomes_a_timeline() {
        let plan = parse_plan(PLAN, StaffId::new(1), "k".into()).expect("a drill");
        assert_eq!(plan.injects.len(), 2);
        assert_eq!(plan.injects[1].offset, Duration::from_secs(86_400));
        assert!(plan.injects[0].questionnaire.is_some());
    }

    #[test]
    fn a_reminder_needs_something_to_remind_of() {
        let wrong = PLAN.replace("non_respondents_of = \"start\"", "non_respondents_of = \"nothing\"");
        let refused = parse_plan(&wrong, StaffId::new(1), "k".into()).expect_err("refused").to_string();
        assert!(refused.contains("remind") && refused.contains("nothing"), "{refused}");
        assert!(parse_plan("title = 1", StaffId::new(1), "k".into()).is_err());
    }
}
