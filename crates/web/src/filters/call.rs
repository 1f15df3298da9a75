//! One request, parsed.

use super::{form::Form, upload::Upload};
use crate::{
    app::App,
    i18n::{Lang, Texts},
};
use bytes::Bytes;
use domain::{Actor, Role};
use std::net::SocketAddr;
use store::SessionRow;
use warp::http::{HeaderMap, Method, header};

/// Name of the session's cookie.
pub(crate) const SESSION_COOKIE: &str = "hansho_session";
/// Name of the language's cookie.
pub(crate) const LANGUAGE_COOKIE: &str = "hansho_language";

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A signed-in person.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) row: SessionRow,
    /// The session's or personal token itself: for the form token and for ending the session.
    pub(crate) token: String,
}

/// A request with everything a handler may look at.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) app: App,
    pub(crate) lang: Lang,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// As sent; only ever used as a local path to return to.
    pub(crate) path: String,
    pub(crate) query: Form,
    pub(crate) form: Form,
    pub(crate) body: Bytes,
    /// The file that the form brought along.
    pub(crate) upload: Option<Upload>,
    pub(crate) signed: Option<Signed>,
}

impl Call {
    /// The texts of this request's language.
    pub(crate) fn texts(&self) -> Texts {
        Texts(self.lang)
    }

    /// The signed-in person's role; onlooker where nobody is signed in, which no door lets through.
    pub(crate) fn role(&self) -> Role {
        self.signed.as_ref().map_or(Role::Viewer, |signed| signed.row.role)
    }

    /// On whose behalf this request acts.
    pub(crate) fn actor(&self) -> Option<Actor> {
        self.signed.as_ref().map(|signed| signed.row.actor())
    }
}

/// The value of a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(cookie::Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}

/// The language of a request: the person's choice, else the installation's.
pub(crate) fn language(headers: &HeaderMap, otherwise: Lang) -> Lang {
    cookie(headers, LANGUAGE_COOKIE).and_then(|tag| tag.parse().ok()).unwrap_or(otherwise)
}

/// The token of an `Authorization: Bearer …` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim().to_owned())
}

/// Whether the body is declared as what a form of ours sends.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers) == "application/x-www-form-urlencoded"
}

/// Whether the body is declared as JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers) == "application/json"
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}
