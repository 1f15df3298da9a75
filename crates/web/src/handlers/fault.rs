//! What a handler answers when something cannot be done: a page or a JSON document with the
//! reason and the way on, never the cause's own words.

use super::reply;
use crate::{
    filters::{Call, Door},
    i18n::Lang,
    pages::{FaultPage, html},
};
use domain::{Refusal, Rule};
use replybox::ReplyBoxError;
use report::ReportError;
use scheduler::DeskError;
use std::error::Error;
use store::StoreError;
use tracing::error;
use warp::{
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There is no such page or thing.
    NotFound,
    /// A personal link that we did not sign, or whose notice is gone.
    Link,
    /// The page exists, but not for this method.
    Method,
    /// The role does not allow it.
    Forbidden,
    /// Not from our own pages, or without the session's form token.
    Foreign,
    /// Not a form, not UTF-8, not what was asked for; for the JSON interface with what is wrong.
    BadForm,
    /// A value of a JSON request is not usable.
    BadValue(&'static str),
    /// Over a limit.
    TooLarge,
    /// The body did not come in time.
    Slow,
    /// Too much at once.
    Busy,
    /// Nobody is signed in.
    SignIn,
    /// A safety rule refused.
    Refused(Box<Refusal>),
    /// Something of that name exists.
    Exists,
    /// Our own failure; the cause goes to the log.
    Internal(Box<dyn Error + Send + Sync>),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Refused(Box::new(refusal)),
            StoreError::BroadcastStep(step) => Self::Refused(Box::new(Refusal::new(
                Rule::State,
                step.to_string(),
                "read its present state, then decide again",
            ))),
            StoreError::LedgerStep(step) => Self::Refused(Box::new(Refusal::new(
                Rule::State,
                step.to_string(),
                "read the ledger, then decide again",
            ))),
            StoreError::NotFound { .. } => Self::NotFound,
            StoreError::Exists { .. } => Self::Exists,
            error @ (StoreError::Open { .. } | StoreError::Query { .. } | StoreError::Corrupt { .. }) => {
                Self::Internal(Box::new(error))
            }
        }
    }
}

impl From<DeskError> for Fault {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Store(error) => error.into(),
            error @ (DeskError::Compose(_) | DeskError::Stored { .. }) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<ReportError> for Fault {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Store(error) => error.into(),
            ReportError::ReplyBox(error) => error.into(),
        }
    }
}

impl From<ReplyBoxError> for Fault {
    fn from(error: ReplyBoxError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl Fault {
    /// Status and the stem of the texts' ids.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Self::Link => (StatusCode::NOT_FOUND, "link"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::Foreign => (StatusCode::FORBIDDEN, "foreign"),
            Self::BadForm | Self::BadValue(_) => (StatusCode::BAD_REQUEST, "bad-form"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "slow"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::SignIn => (StatusCode::UNAUTHORIZED, "sign-in"),
            Self::Refused(refusal) if refusal.rule == Rule::Role => (StatusCode::FORBIDDEN, "refused"),
            Self::Refused(refusal) if refusal.rule == Rule::FourEyes => (StatusCode::FORBIDDEN, "refused"),
            Self::Refused(_) => (StatusCode::CONFLICT, "refused"),
            Self::Exists => (StatusCode::CONFLICT, "exists"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// The answer, in the form this door speaks.
    pub(crate) fn into_response(self, call: &Call, door: Door) -> Response {
        if let Self::Internal(cause) = &self {
            error!(error = chain(cause.as_ref()), "a request failed inside");
        }
        if door == Door::Api {
            return self.into_json();
        }
        if matches!(self, Self::SignIn) {
            return reply::see_other(&format!("/login?to={}", reply::encoded(&call.path)));
        }
        let (status, stem) = self.kind();
        let t = call.texts();
        let mut shell = super::shell(call, t.get(&format!("fault-{stem}-title")));
        shell.narrow = true;
        shell.member = matches!(door, Door::Open);
        let (text, way_on, rule) = match &self {
            Self::Refused(refusal) => {
                (t.word("rule", refusal.rule), t.word("rule-way", refusal.rule), cited(call, refusal))
            }
            _ => (t.get(&format!("fault-{stem}")), way_on(call, stem), String::new()),
        };
        let (back, label) = back(call);
        let page = FaultPage { s: shell, t, text, way_on, rule, back, back_label: t.get(label) };
        reply::with_status(reply::html(html(&page)), status)
    }

    fn into_json(self) -> Response {
        let (status, stem) = self.kind();
        let t = crate::i18n::Texts(crate::i18n::Lang::En);
        let (rule, text, way_on) = match &self {
            Self::Refused(refusal) => {
                (refusal.rule.to_string(), refusal.text.clone(), refusal.way_on.clone())
            }
            Self::BadValue(what) => {
                let way_on = "see /api/v1/openapi.json".to_owned();
                (stem.to_owned(), format!("{what} is missing or not usable"), way_on)
            }
            Self::SignIn => (
                stem.to_owned(),
                "a valid personal token is needed".to_owned(),
                "send `Authorization: Bearer TOKEN`; make one with `hansho user token EMAIL`".to_owned(),
            ),
            _ => (stem.to_owned(), t.get(&format!("fault-{stem}")), "see /api/v1/openapi.json".to_owned()),
        };
        let body = serde_json::json!({"error": {"rule": rule, "text": text, "way_on": way_on}});
        let mut response = reply::with_status(reply::json(&body), status);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn way_on(call: &Call, stem: &str) -> String {
    let id = format!("fault-{stem}-way");
    let text = call.texts().get(&id);
    if text == id { String::new() } else { text }
}

/// The rule's stable word; the refusal's own sentence is English and stands on English pages only.
fn cited(call: &Call, refusal: &Refusal) -> String {
    match call.lang {
        Lang::Ja => refusal.rule.to_string(),
        Lang::En => format!("{} ― {}", refusal.rule, refusal.text),
    }
}

/// Where the button leads and the id of its text: a step on a broadcast returns to the broadcast, and so on.
fn back(call: &Call) -> (String, &'static str) {
    let parts: Vec<&str> = call.path.split('/').collect();
    match parts.as_slice() {
        ["", area @ ("audiences" | "broadcasts" | "exercises" | "replies"), id, _step]
            if id.parse::<i64>().is_ok() =>
        {
            (format!("/{area}/{id}"), "go-back")
        }
        _ if call.signed.is_some() => ("/".to_owned(), "go-home"),
        _ => ("/verify".to_owned(), "verify-link"),
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
