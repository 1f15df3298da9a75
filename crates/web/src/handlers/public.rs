//! Members' pages: answer, unsubscribe, verify. No login, no name, nothing changes by GET.
//!
//! # Security
//! The token in the path was signed by us for one broadcast and one member; where the policy asks
//! for it, the end of the member's number has to be shown besides (`membership`). What the token
//! names is still checked against the ledger: a signed link to a notice that was never sent opens
//! nothing. Mail scanners open every link: a GET or HEAD reads only.

use super::{
    Fault,
    membership::{self, Proof},
    reply, shell,
};
use crate::{
    filters::Call,
    pages::{AnswerPage, ChoiceView, PlainPage, QuestionView, Times, VerifyPage, VerifyRow, html},
};
use domain::{
    AnswerError, Answers, BroadcastId, MemberNo, Nature, Question, QuestionKind, Questionnaire,
    RecipientToken, RequestKind, TokenKind,
};
use std::collections::BTreeMap;
use store::{Broadcast, LedgerFilter, NewRequest};
use warp::{http::StatusCode, reply::Response};

/// As many recent notices as fit a telephone's screen twice.
const VERIFY_ROWS: i64 = 20;

struct Opened {
    link: RecipientToken,
    /// The member's number as it was frozen, where the policy asks for a proof of membership.
    number: Option<MemberNo>,
    nature: Nature,
    subject: String,
    /// The broadcast whose answers are collected: the earlier one, for a reminder.
    collects: BroadcastId,
    sheet: Option<Questionnaire>,
}

/// The answer page.
pub(crate) async fn show_answer(call: Call, token: String) -> Result<Response, Fault> {
    let opened = open(&call, TokenKind::Answer, &token).await?;
    let proof = membership::shown_before(&call, opened.link, opened.number.as_ref());
    answer_page(&call, &opened, proof, None, &[]).await.map(reply::html)
}

/// Stores the answers, then says so.
pub(crate) async fn answer(call: Call, token: String) -> Result<Response, Fault> {
    let opened = open(&call, TokenKind::Answer, &token).await?;
    let sheet = opened.sheet.as_ref().ok_or(Fault::NotFound)?;
    let typed = call.form.by_name();
    let proof = membership::prove(&call, opened.link, opened.number.as_ref()).await?;
    match sheet.check(&typed) {
        Ok(answers) if !proof.is_lacking() => {
            let now = call.app.now();
            // Durable before the page says so (law 10).
            call.app.web.store.save_response(opened.collects, opened.link.member, &answers, now).await?;
            // Whoever comes back sees what was stored: the proof stands in the address.
            let page = match proof {
                Proof::Given => {
                    format!("{}?{}={}", call.path, membership::KEPT, membership::kept(&call, opened.link))
                }
                _ => call.path.clone(),
            };
            Ok(reply::see_other(&page))
        }
        checked => {
            let mistakes = checked.err().unwrap_or_default();
            let page = answer_page(&call, &opened, proof, Some(&typed), &mistakes).await?;
            let too_often = proof == Proof::TooOften;
            let status =
                if too_often { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::UNPROCESSABLE_ENTITY };
            Ok(reply::with_status(reply::html(page), status))
        }
    }
}

/// Asks whether the wish is meant.
pub(crate) async fn show_unsubscribe(call: Call, token: String) -> Result<Response, Fault> {
    open(&call, TokenKind::Unsubscribe, &token).await?;
    let t = call.texts();
    let mut page = plain(&call, t.get("unsubscribe-title"), t.get("unsubscribe-say"));
    page.button = Some((call.path.clone(), t.get("unsubscribe-do")));
    page.quiet =
        Some((format!("{}/erasure", call.path), t.get("erasure-wish-do"), t.get("erasure-wish-say")));
    Ok(reply::html(html(&page)))
}

/// Records the wish; also the one-click form of RFC 8058, which has no cookies and may repeat.
pub(crate) async fn unsubscribe(call: Call, token: String) -> Result<Response, Fault> {
    record_wish(&call, RequestKind::Unsubscribe, &token).await
}

/// Records the wish to be erased; whoever holds the link erases nobody.
pub(crate) async fn wish_erasure(call: Call, token: String) -> Result<Response, Fault> {
    record_wish(&call, RequestKind::Erasure, &token).await
}

async fn record_wish(call: &Call, kind: RequestKind, token: &str) -> Result<Response, Fault> {
    let RecipientToken { broadcast, member, .. } = read_token(call, TokenKind::Unsubscribe, token)?;
    let wish = NewRequest { kind, broadcast, member, reply: None };
    if !call.app.web.store.open_request(wish, call.app.now()).await? {
        return Err(Fault::Link);
    }
    let t = call.texts();
    Ok(reply::html(html(&plain(call, t.get("unsubscribe-done-title"), t.get("unsubscribe-done")))))
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
    let row = store.ledger_page(broadcast.id, filter, 0, 1).await?.pop();
    let row = row.filter(|_| broadcast.released_at.is_some()).ok_or(Fault::Link)?;
    let asked = call.app.web.settings.prove_membership.contains(&broadcast.nature);
    let number = asked.then(|| row.member_no.parse::<MemberNo>()).transpose();
    let number = number.map_err(|error| Fault::Internal(Box::new(error)))?;
    if store.is_erased(token.member).await? {
        return Err(Fault::Link);
    }
    let sheet = match broadcast.questionnaire {
        Some(id) => store.questionnaire(id).await?,
        None => None,
    };
    Ok(Opened {
        link: token,
        number,
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
    proof: Proof,
    typed: Option<&BTreeMap<String, String>>,
    mistakes: &[AnswerError],
) -> Result<String, Fault> {
    let t = call.texts();
    let settings = &call.app.web.settings;
    let times = Times { zone: settings.time_zone, texts: t };
    let stored = if proof.is_lacking() {
        None
    } else {
        call.app.web.store.response(opened.collects, opened.link.member).await?
    };
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
    let kept = (proof == Proof::Given).then(|| (membership::KEPT, membership::kept(call, opened.link)));
    let proof = proof.view(t, &settings.contact, call.form.get(membership::FIELD));
    let wrong = views.iter().filter(|view| view.wrong).map(|view| view.mistake.clone());
    let mistakes = wrong.chain(proof.iter().filter_map(|proof| proof.mistake.clone())).collect();
    let page = AnswerPage {
        s,
        t,
        action: call.path.clone(),
        folded: stored.is_some() && typed.is_none(),
        answered_at: stored.map(|stored| times.short(stored.answered_at)),
        given: given(questions, &answers),
        kept,
        open: !views.is_empty(),
        questions: views,
        proof,
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

fn plain(call: &Call, title: String, line: String) -> PlainPage {
    let t = call.texts();
    let mut s = shell(call, title);
    (s.member, s.narrow) = (true, true);
    PlainPage { s, t, lines: vec![line], button: None, quiet: None }
}
