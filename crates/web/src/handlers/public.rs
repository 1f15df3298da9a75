//! Members' pages: answer, unsubscribe, verify. No login, no name, nothing changes by GET.
//!
//! # Security
//! The token in the path is the only authority; it was signed by us for one broadcast and one
//! member. What it names is still checked against the ledger: a signed link to a notice that was
//! never sent opens nothing. Mail scanners open every link: a GET or HEAD reads only.

use super::{Fault, reply, shell};
use crate::{
    filters::Call,
    pages::{AnswerPage, ChoiceView, PlainPage, QuestionView, Times, VerifyPage, VerifyRow, html},
};
use domain::{
    AnswerError, Answers, BroadcastId, MemberId, Nature, Question, QuestionKind, Questionnaire,
    RecipientToken, RequestKind, TokenKind,
};
use std::collections::BTreeMap;
use store::{Broadcast, LedgerFilter, NewRequest};
use warp::{http::StatusCode, reply::Response};

/// As many recent notices as fit a telephone's screen twice.
const VERIFY_ROWS: i64 = 20;

struct Opened {
    member: MemberId,
    nature: Nature,
    subject: String,
    /// The broadcast whose answers are collected: the earlier one, for a reminder.
    collects: BroadcastId,
    sheet: Option<Questionnaire>,
}

/// The answer page.
pub(crate) async fn show_answer(call: Call, token: String) -> Result<Response, Fault> {
    let opened = open(&call, TokenKind::Answer, &token).await?;
    answer_page(&call, &opened, None, &[]).await.map(reply::html)
}

/// Stores the answers, then says so.
pub(crate) async fn answer(call: Call, token: String) -> Result<Response, Fault> {
    let opened = open(&call, TokenKind::Answer, &token).await?;
    let sheet = opened.sheet.as_ref().ok_or(Fault::NotFound)?;
    let typed = call.form.by_name();
    match sheet.check(&typed) {
        Ok(answers) => {
            let now = call.app.now();
            // Durable before the page says so (law 10).
            call.app.web.store.save_response(opened.collects, opened.member, &answers, now).await?;
            Ok(reply::see_other(&call.path))
        }
        Err(mistakes) => {
            let page = answer_page(&call, &opened, Some(&typed), &mistakes).await?;
            Ok(reply::with_status(reply::html(page), StatusCode::UNPROCESSABLE_ENTITY))
        }
    }
}

/// Asks whether the wish is meant.
pub(crate) async fn show_unsubscribe(call: Call, token: String) -> Result<Response, Fault> {
    open(&call, TokenKind::Unsubscribe, &token).await?;
    let t = call.texts();
    let button = Some((call.path.clone(), t.get("unsubscribe-do")));
    let lines = vec![t.get("unsubscribe-say")];
    Ok(plain_page(&call, t.get("unsubscribe-title"), lines, button))
}

/// Records the wish; also the one-click form of RFC 8058, which has no cookies and may repeat.
pub(crate) async fn unsubscribe(call: Call, token: String) -> Result<Response, Fault> {
    let token = read_token(&call, TokenKind::Unsubscribe, &token)?;
    let RecipientToken { broadcast, member, .. } = token;
    let wish = NewRequest { kind: RequestKind::Unsubscribe, broadcast, member, reply: None };
    if !call.app.web.store.open_request(wish, call.app.now()).await? {
        return Err(Fault::Link);
    }
    let t = call.texts();
    Ok(plain_page(&call, t.get("unsubscribe-done-title"), vec![t.get("unsubscribe-done")], None))
}

/// How to tell a genuine notice, and what was sent lately.
pub(crate) async fn verify(call: Call, (): ()) -> Result<Response, Fault> {
    let t = call.texts();
    let settings = &call.app.web.settings;
    let times = Times { zone: settings.time_zone, texts: t };
    let sent = call.app.web.store.broadcasts(VERIFY_ROWS).await?;
    let rows = sent
        .iter()
        .filter(|broadcast| broadcast.nature != Nature::Test)
        .filter_map(|broadcast| {
            broadcast.released_at.map(|at| VerifyRow {
                id: broadcast.id,
                nature: broadcast.nature,
                subject: bannered(broadcast),
                at: times.long(at),
            })
        })
        .collect();
    let mut s = shell(&call, t.get("verify-title"));
    (s.narrow, s.member) = (true, call.signed.is_none());
    let page = VerifyPage {
        s,
        t,
        from: call.app.web.desk.settings().from.clone(),
        url: settings.public_url.clone(),
        rows,
    };
    Ok(reply::html(html(&page)))
}

fn read_token(call: &Call, kind: TokenKind, token: &str) -> Result<RecipientToken, Fault> {
    call.app.web.keyring.read_as(kind, token).map_err(|_| Fault::Link)
}

async fn open(call: &Call, kind: TokenKind, token: &str) -> Result<Opened, Fault> {
    let token = read_token(call, kind, token)?;
    let store = &call.app.web.store;
    let broadcast = store.broadcast(token.broadcast).await?.ok_or(Fault::Link)?;
    let filter = LedgerFilter { member: Some(token.member), ..LedgerFilter::default() };
    if broadcast.released_at.is_none() || store.ledger_page(broadcast.id, filter, 0, 1).await?.is_empty() {
        return Err(Fault::Link);
    }
    let sheet = match broadcast.questionnaire {
        Some(id) => store.questionnaire(id).await?,
        None => None,
    };
    Ok(Opened {
        member: token.member,
        nature: broadcast.nature,
        subject: bannered(&broadcast),
        collects: broadcast.collects_for(),
        sheet,
    })
}

/// The subject as recipients saw it; a subject with merge fields is shown without them.
fn bannered(broadcast: &Broadcast) -> String {
    let banner = broadcast.nature.banner().unwrap_or("");
    let subject = broadcast.subject.trim();
    let subject = subject.strip_prefix(banner).unwrap_or(subject);
    let plain = subject
        .split("{{")
        .map(|part| part.split_once("}}").map_or(part, |(_, rest)| rest))
        .collect::<Vec<_>>()
        .join("…");
    format!("{banner}{plain}")
}

async fn answer_page(
    call: &Call,
    opened: &Opened,
    typed: Option<&BTreeMap<String, String>>,
    mistakes: &[AnswerError],
) -> Result<String, Fault> {
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let stored = call.app.web.store.response(opened.collects, opened.member).await?;
    let answers = stored.as_ref().map(|stored| stored.answers.clone()).unwrap_or_default();
    let title = match &opened.sheet {
        Some(sheet) => sheet.title.clone(),
        None => t.get("answer-title"),
    };
    let mut s = shell(call, title);
    (s.nature, s.member, s.narrow) = (Some(opened.nature), true, true);
    let questions: &[Question] = opened.sheet.as_ref().map_or(&[], |sheet| &sheet.questions);
    let shown = typed.unwrap_or(&answers);
    let views: Vec<QuestionView> =
        questions.iter().map(|question| view(call, question, shown, mistakes)).collect();
    let mistakes = views.iter().filter(|view| view.wrong).map(|view| view.mistake.clone()).collect();
    let page = AnswerPage {
        s,
        t,
        action: call.path.clone(),
        folded: stored.is_some() && typed.is_none(),
        answered_at: stored.map(|stored| times.short(stored.answered_at)),
        given: given(questions, &answers),
        open: !views.is_empty(),
        questions: views,
        mistakes,
        subject: opened.subject.clone(),
    };
    Ok(html(&page))
}

fn given(questions: &[Question], answers: &Answers) -> Vec<(String, String)> {
    questions
        .iter()
        .filter_map(|question| {
            let value = answers.get(&question.key)?;
            let label = match &question.kind {
                QuestionKind::Choice { choices } => choices
                    .iter()
                    .find(|choice| choice.value == *value)
                    .map_or(value.clone(), |choice| choice.label.clone()),
                QuestionKind::Text => value.clone(),
            };
            Some((question.text.clone(), label))
        })
        .collect()
}

fn view(
    call: &Call,
    question: &Question,
    shown: &BTreeMap<String, String>,
    mistakes: &[AnswerError],
) -> QuestionView {
    let t = call.texts();
    let value = shown.get(&question.key).cloned().unwrap_or_default();
    let choices = match &question.kind {
        QuestionKind::Choice { choices } => choices
            .iter()
            .map(|choice| ChoiceView {
                value: choice.value.clone(),
                label: choice.label.clone(),
                chosen: choice.value == value,
            })
            .collect(),
        QuestionKind::Text => Vec::new(),
    };
    let mistake = mistakes.iter().find_map(|mistake| match mistake {
        AnswerError::Missing(key) => {
            (*key == question.key).then(|| t.with("mistake-missing", "question", &question.text))
        }
        AnswerError::NotAChoice(key) => {
            (*key == question.key).then(|| t.with("mistake-choice", "question", &question.text))
        }
        AnswerError::TooLong(key) => {
            (*key == question.key).then(|| t.with("mistake-long", "question", &question.text))
        }
    });
    QuestionView {
        key: question.key.clone(),
        text: question.text.clone(),
        required: question.required,
        choices,
        value,
        wrong: mistake.is_some(),
        mistake: mistake.unwrap_or_default(),
    }
}

fn plain_page(call: &Call, title: String, lines: Vec<String>, button: Option<(String, String)>) -> Response {
    let t = call.texts();
    let mut s = shell(call, title);
    (s.member, s.narrow) = (true, true);
    reply::html(html(&PlainPage { s, t, lines, button }))
}
