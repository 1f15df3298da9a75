//! Writing a notice: new, changed before its release, or correcting one that was sent.

use super::{Fault, audiences::label, broadcasts::audience_name, of_kind, reply, shell, steps::actor};
use crate::{
    filters::{Call, Form},
    i18n::Texts,
    pages::{NewBroadcastPage, html},
};
use chrono::{NaiveDateTime, TimeZone};
use domain::{BroadcastId, FieldKind, Nature, Role, Timestamp};
use registry::AudienceSpec;
use scheduler::NewNotice;
use std::collections::BTreeMap;
use store::Broadcast;
use warp::reply::Response;

const SUBJECT_CHARS_MAX: usize = 200;
const BODY_CHARS_MAX: usize = 20_000;
/// What `<input type="datetime-local">` sends.
const LOCAL_TIME: &str = "%Y-%m-%dT%H:%M";
/// The form for a new notice.
pub(crate) async fn form(call: Call, (): ()) -> Result<Response, Fault> {
    may_author(&call)?;
    Ok(reply::html(form_page(&call, &Subject::New, Vec::new()).await?))
}

/// Keeps a draft.
pub(crate) async fn create(call: Call, (): ()) -> Result<Response, Fault> {
    may_author(&call)?;
    let about = Subject::New;
    match read_form(&call, &about).await? {
        Ok(notice) => {
            let id = call.app.web.desk.draft(actor(&call)?, &notice).await?;
            Ok(reply::see_other(&format!("/broadcasts/{id}?said=created")))
        }
        Err(mistakes) => again(&call, &about, mistakes).await,
    }
}

/// The form for changing a notice that was not released.
pub(crate) async fn edit_form(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let about = Subject::Edit(Box::new(existing(&call, id).await?));
    Ok(reply::html(form_page(&call, &about, Vec::new()).await?))
}

/// Changes it; snapshot and signatures are void then.
pub(crate) async fn edit(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let about = Subject::Edit(Box::new(existing(&call, id).await?));
    match read_form(&call, &about).await? {
        Ok(notice) => {
            call.app.web.desk.edit(actor(&call)?, id, &notice).await?;
            Ok(reply::see_other(&format!("/broadcasts/{id}?said=created")))
        }
        Err(mistakes) => again(&call, &about, mistakes).await,
    }
}

/// The form for a correction to exactly those whom a notice reached or may have reached.
pub(crate) async fn correct_form(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let about = Subject::Correct(Box::new(existing(&call, id).await?));
    Ok(reply::html(form_page(&call, &about, Vec::new()).await?))
}

/// Keeps the correction's draft.
pub(crate) async fn correct(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let about = Subject::Correct(Box::new(existing(&call, id).await?));
    match read_form(&call, &about).await? {
        Ok(new) => {
            let (desk, key) = (&call.app.web.desk, new.idempotency_key);
            let made = desk.correct(actor(&call)?, id, &new.subject, &new.body, key).await?;
            Ok(reply::see_other(&format!("/broadcasts/{made}?said=created")))
        }
        Err(mistakes) => again(&call, &about, mistakes).await,
    }
}

async fn again(call: &Call, about: &Subject, mistakes: Vec<String>) -> Result<Response, Fault> {
    let page = form_page(call, about, mistakes).await?;
    Ok(reply::unprocessable(page))
}

async fn existing(call: &Call, id: BroadcastId) -> Result<Broadcast, Fault> {
    may_author(call)?;
    call.app.web.store.broadcast(id).await?.ok_or(Fault::NotFound)
}

fn may_author(call: &Call) -> Result<(), Fault> {
    if call.role() == Role::Coordinator { Ok(()) } else { Err(Fault::Forbidden) }
}

/// Which notice a form is about.
enum Subject {
    New,
    Edit(Box<Broadcast>),
    Correct(Box<Broadcast>),
}

impl Subject {
    /// What stands in the fields before anything is typed.
    fn prefill(&self, call: &Call) -> Form {
        let Self::Edit(old) = self else { return Form::default() };
        let zone = call.app.web.settings.time_zone;
        let finish_by =
            old.finish_by.map(|at| at.in_zone(zone).format(LOCAL_TIME).to_string()).unwrap_or_default();
        let audience = match serde_json::from_str(&old.audience) {
            Ok(AudienceSpec::Named(name)) => name,
            _ => String::new(),
        };
        Form::of([
            ("subject", old.subject.clone()),
            ("body", old.body.clone()),
            ("audience", audience),
            ("finish_by", finish_by),
        ])
    }
}

async fn form_page(call: &Call, about: &Subject, mistakes: Vec<String>) -> Result<String, Fault> {
    let t = call.texts();
    let typed = if call.form.is_empty() { about.prefill(call) } else { call.form.clone() };
    let (title, action, say) = match about {
        Subject::New => (t.get("broadcast-new"), "/broadcasts".to_owned(), None),
        Subject::Edit(old) => {
            (t.get("edit-title"), format!("/broadcasts/{}/edit", old.id), Some(t.get("edit-say")))
        }
        Subject::Correct(old) => (
            t.get("correct-title"),
            format!("/broadcasts/{}/correct", old.id),
            Some(t.with("correct-say", "subject", &old.subject)),
        ),
    };
    let (fixed_nature, fixed_audience) = match about {
        Subject::New => (None, None),
        Subject::Edit(old) => (Some(old.nature), fixed_audience(t, old)),
        Subject::Correct(old) => (Some(old.nature), Some(t.with("audience-reached", "id", old.id))),
    };
    let key = typed.get("idempotency_key").to_owned();
    let mut s = shell(call, title);
    (s.here, s.nature, s.narrow) = ("home", fixed_nature, true);
    Ok(html(&NewBroadcastPage {
        s,
        t,
        action,
        say,
        fixed_nature,
        fixed_audience,
        key: if key.is_empty() { call.app.random_token() } else { key },
        natures: Nature::ALL,
        nature: typed.get("nature").to_owned(),
        subject: typed.get("subject").to_owned(),
        body: typed.get("body").to_owned(),
        free: places(t, &call.app.web.store.member_fields().await?),
        audiences: audiences(call).await?,
        audience: typed.get("audience").to_owned(),
        finish_by: typed.get("finish_by").to_owned(),
        mistakes,
    }))
}

/// An audience that is not a saved one stays what it is.
fn fixed_audience(t: Texts, broadcast: &Broadcast) -> Option<String> {
    match serde_json::from_str(&broadcast.audience) {
        Ok(AudienceSpec::Named(_)) => None,
        _ => Some(audience_name(t, &broadcast.audience)),
    }
}

/// Names and labels of the saved audiences.
pub(super) async fn audiences(call: &Call) -> Result<Vec<(String, String)>, Fault> {
    let t = call.texts();
    let saved = call.app.web.store.audiences().await?;
    Ok(saved
        .into_iter()
        .map(|audience| {
            let label = label(t, &audience.name);
            (audience.name, label)
        })
        .collect())
}

/// Reads the form; what is fixed comes from the notice and not from the form.
async fn read_form(call: &Call, about: &Subject) -> Result<Result<NewNotice, Vec<String>>, Fault> {
    let t = call.texts();
    let mut mistakes = Vec::new();
    let nature = match about {
        Subject::New => call.form.get("nature").parse::<Nature>().ok(),
        Subject::Edit(old) | Subject::Correct(old) => Some(old.nature),
    };
    if nature.is_none() {
        mistakes.push(t.get("mistake-nature"));
    }
    let subject = call.form.get("subject").trim().to_owned();
    if subject.is_empty() || subject.chars().count() > SUBJECT_CHARS_MAX {
        mistakes.push(t.get("mistake-subject"));
    }
    let body = call.form.get("body").replace("\r\n", "\n");
    if body.trim().is_empty() || body.chars().count() > BODY_CHARS_MAX {
        mistakes.push(t.get("mistake-body"));
    }
    if let Some(fields) = call.app.web.desk.stray_fields(&subject, &body).await? {
        let known = places(t, &fields.known);
        for field in &fields.stray {
            let place = format!("{{{{{}}}}}", field.name);
            mistakes.push(t.with2("mistake-field", "field", place, "known", known.as_str()));
        }
    }
    let audience = read_audience(call, about).await?;
    if audience.is_none() {
        mistakes.push(t.get("mistake-audience"));
    }
    let finish_by = local_time(call, call.form.get("finish_by"));
    if finish_by.is_err() {
        mistakes.push(t.get("mistake-finish-by"));
    }
    let key = call.form.get("idempotency_key").to_owned();
    let (Some(nature), Some(audience), Ok(finish_by), true) =
        (nature, audience, finish_by, mistakes.is_empty())
    else {
        return Ok(Err(mistakes));
    };
    let questionnaire = match about {
        Subject::Edit(old) => old.questionnaire,
        Subject::New | Subject::Correct(_) => None,
    };
    Ok(Ok(NewNotice {
        nature,
        subject,
        body,
        audience,
        questionnaire,
        finish_by,
        idempotency_key: if key.is_empty() { call.app.random_token() } else { key },
    }))
}

/// Fields as an author writes them.
fn places(t: Texts, fields: &BTreeMap<String, FieldKind>) -> String {
    let place = |(name, kind): (&String, &FieldKind)| of_kind(t, &format!("{{{{{name}}}}}"), *kind);
    fields.iter().map(place).collect::<Vec<_>>().join(" ")
}

async fn read_audience(call: &Call, about: &Subject) -> Result<Option<AudienceSpec>, Fault> {
    match about {
        Subject::Correct(old) => return Ok(Some(AudienceSpec::ReachedOrUnknown { of: old.id })),
        Subject::Edit(old) => match serde_json::from_str(&old.audience) {
            Ok(AudienceSpec::Named(_)) | Err(_) => {}
            Ok(fixed) => return Ok(Some(fixed)),
        },
        Subject::New => {}
    }
    let name = call.form.get("audience");
    let known = call.app.web.store.audience(name).await?;
    Ok(known.map(|audience| AudienceSpec::Named(audience.name)))
}

/// A time as typed, in the site's zone; empty is none.
fn local_time(call: &Call, text: &str) -> Result<Option<Timestamp>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let naive = NaiveDateTime::parse_from_str(text, LOCAL_TIME).map_err(|_| ())?;
    let local = call.app.web.settings.time_zone.from_local_datetime(&naive).earliest().ok_or(())?;
    Ok(Some(Timestamp::from_millis(local.timestamp_millis())))
}
