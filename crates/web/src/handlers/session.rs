//! Signing in and out, and the language.
//!
//! # Security
//! An unknown address costs the same hash as a known one and gets the same answer. The session's
//! token is 256 random bits, made new at every sign-in; the database keeps its hash.

use super::{Fault, reply, shell};
use crate::{
    filters::{Call, LANGUAGE_COOKIE, SESSION_COOKIE},
    i18n::Lang,
    pages::{LoginPage, html},
    password, security,
};
use cookie::{Cookie, SameSite};
use std::{sync::Arc, time::Duration};
use store::StaffRow;
use tokio::{task, time};
use tracing::info;
use warp::{http::StatusCode, reply::Response};

/// A working day.
const SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// The person's choice of language stays for a year.
const LANGUAGE: cookie::time::Duration = cookie::time::Duration::days(365);
/// Who waits longer for a hash is better told so.
const HASH_WAIT: Duration = Duration::from_secs(5);
/// RFC 5321 allows no longer address.
const EMAIL_OCTETS_MAX: usize = 254;

/// The sign-in form.
pub(crate) async fn form(call: Call, (): ()) -> Result<Response, Fault> {
    if call.signed.is_some() {
        return Ok(reply::see_other(security::local_path(call.query.get("to"))));
    }
    Ok(reply::html(page(&call, call.query.get("to"), "", None)))
}

/// Signs in.
pub(crate) async fn sign_in(call: Call, (): ()) -> Result<Response, Fault> {
    let (email, typed) = (call.form.get("email").trim(), call.form.get("password"));
    let now = call.app.now();
    let account =
        if email.len() <= EMAIL_OCTETS_MAX { call.app.web.store.staff_by_email(email).await? } else { None };
    let right = matches(&call, account.as_ref(), typed).await?;
    match account.filter(|row| !row.disabled && row.locked_until <= now) {
        Some(row) if right => {
            call.app.web.store.note_login(row.id, now).await?;
            begin(&call, &row).await
        }
        Some(row) => {
            call.app.web.store.note_failed_login(row.id, now).await?;
            Ok(refused(&call, email))
        }
        None => Ok(refused(&call, email)),
    }
}

/// Ends the session.
pub(crate) async fn sign_out(call: Call, (): ()) -> Result<Response, Fault> {
    if let Some(signed) = &call.signed {
        call.app.web.store.delete_session(&security::token_hash(&signed.token)).await?;
    }
    let mut gone = session_cookie(&call, String::new());
    gone.set_max_age(cookie::time::Duration::ZERO);
    Ok(reply::set_cookie(reply::see_other("/login"), &gone))
}

/// Chooses the language and returns.
pub(crate) async fn language(call: Call, lang: Lang) -> Result<Response, Fault> {
    let cookie = Cookie::build((LANGUAGE_COOKIE, lang.tag()))
        .path("/")
        .same_site(SameSite::Lax)
        .http_only(true)
        .secure(call.app.web.settings.is_https())
        .max_age(LANGUAGE);
    let to = if call.form.get("to").is_empty() { call.query.get("to") } else { call.form.get("to") };
    Ok(reply::set_cookie(reply::see_other(security::local_path(to)), &cookie.build()))
}

async fn begin(call: &Call, row: &StaffRow) -> Result<Response, Fault> {
    let now = call.app.now();
    if let Some(old) = &call.signed {
        call.app.web.store.delete_session(&security::token_hash(&old.token)).await?;
    }
    let token = call.app.random_token();
    call.app.web.store.create_session(&security::token_hash(&token), row.id, now, now.plus(SESSION)).await?;
    info!(staff.id = %row.id, "signed in");
    let to = security::local_path(call.form.get("to"));
    Ok(reply::set_cookie(reply::see_other(to), &session_cookie(call, token)))
}

fn session_cookie(call: &Call, token: String) -> Cookie<'static> {
    Cookie::build((SESSION_COOKIE, token))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(call.app.web.settings.is_https())
        .build()
}

/// Compares on a thread of its own, a few at once; an unknown account costs the same.
async fn matches(call: &Call, account: Option<&StaffRow>, typed: &str) -> Result<bool, Fault> {
    let slot = time::timeout(HASH_WAIT, Arc::clone(&call.app.hashes).acquire_owned());
    let slot = slot.await.map_err(|_| Fault::Busy)?.map_err(|_| Fault::Busy)?;
    let hash = account.map_or_else(|| call.app.nobodys_hash.clone(), |row| row.password_hash.clone());
    let (known, typed) = (account.is_some(), typed.to_owned());
    let compared = task::spawn_blocking(move || {
        let _slot = slot;
        password::verify(&typed, &hash)
    });
    let right = compared.await.map_err(|error| Fault::Internal(Box::new(error)))?;
    Ok(right && known)
}

fn refused(call: &Call, email: &str) -> Response {
    let t = call.texts();
    let text = page(call, call.form.get("to"), email, Some(t.get("login-wrong")));
    reply::with_status(reply::html(text), StatusCode::UNAUTHORIZED)
}

fn page(call: &Call, to: &str, email: &str, mistake: Option<String>) -> String {
    let t = call.texts();
    let mut s = shell(call, t.get("login-title"));
    s.narrow = true;
    s.path = format!("/login?to={}", reply::encoded(security::local_path(to)));
    html(&LoginPage {
        s,
        t,
        to: security::local_path(to).to_owned(),
        email: email.chars().take(EMAIL_OCTETS_MAX).collect(),
        mistake,
    })
}
