//! The few forms an answer takes.

use bytes::Bytes;
use serde::Serialize;
use std::{error::Error, fmt::Write as _};
use tokio_stream::Stream;
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

/// A page.
pub(crate) fn html(text: String) -> Response {
    typed(text, "text/html; charset=utf-8")
}

/// A page once more, with what has to be put right.
pub(crate) fn unprocessable(page: String) -> Response {
    with_status(html(page), StatusCode::UNPROCESSABLE_ENTITY)
}

/// A JSON document.
pub(crate) fn json(value: &impl Serialize) -> Response {
    typed(serde_json::to_string(value).unwrap_or_default(), "application/json")
}

/// Plain text, for machines.
pub(crate) fn plain(text: impl Into<String>) -> Response {
    typed(text.into(), "text/plain; charset=utf-8")
}

/// Any text with its type.
pub(crate) fn typed(text: String, content_type: &'static str) -> Response {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A file to be saved. A browser neither renders it nor guesses its type; should it be opened
/// all the same, it is sandboxed.
pub(crate) fn download(body: Bytes, name: &str, content_type: &'static str) -> Response {
    saved(Response::new(body.into()), name, content_type)
}

/// The same, of a file that is written while it is read. An error breaks the download off.
pub(crate) fn download_stream<E>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + Sync + 'static,
    name: &str,
    content_type: &'static str,
) -> Response
where
    E: Error + Send + Sync + 'static,
{
    saved(warp::reply::stream(pieces).into_response(), name, content_type)
}

fn saved(mut response: Response, name: &str, content_type: &'static str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    response
}

/// After a POST: look here. The path is ours.
pub(crate) fn see_other(path: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SEE_OTHER;
    let place = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, place);
    response
}

/// The same answer under another status.
pub(crate) fn with_status(mut response: Response, status: StatusCode) -> Response {
    *response.status_mut() = status;
    response
}

/// Adds a cookie.
pub(crate) fn set_cookie(mut response: Response, cookie: &cookie::Cookie<'_>) -> Response {
    if let Ok(value) = HeaderValue::try_from(cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// Text as a value in a query string.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
