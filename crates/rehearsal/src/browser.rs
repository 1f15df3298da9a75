//! A simulated person's browser: opens a page, posts a form, calls the JSON interface.
//!
//! # Security
//! Takes URLs from mails. Only `http` to a loopback host is followed, redirects are not, and a
//! page is read up to [`PAGE_OCTETS_MAX`].

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{net::IpAddr, time::Duration};

/// An answer page is a few dozen kilobytes.
const PAGE_OCTETS_MAX: usize = 1024 * 1024;
/// People give up on a page that takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a page was not opened or a form not taken. Names no link: it is a member's own.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// Another host, or not http.
    #[error("the link does not lead to this machine")]
    NotLoopback,
    /// No connection, or it broke.
    #[error("requesting the page")]
    Request(#[source] hyper_util::client::legacy::Error),
    /// Too large, or it broke off.
    #[error("reading the page")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not what was hoped for.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// Longer than people wait.
    #[error("the server took too long")]
    TooSlow,
}

/// One browser; keeps connections, no cookies.
pub struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// A browser without a past.
    #[must_use]
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// The page's text.
    ///
    /// # Errors
    /// [`BrowserError`], also for any status but 2xx.
    pub async fn open(&self, url: &str) -> Result<String, BrowserError> {
        let (status, page) = self.fetch(Request::get(loopback(url)?), Bytes::new()).await?;
        if status.is_success() { Ok(page) } else { Err(BrowserError::Status(status)) }
    }

    /// Posts `fields` as a form; 2xx and 3xx count as taken.
    ///
    /// # Errors
    /// [`BrowserError`], also for other statuses.
    pub async fn post(&self, url: &str, fields: &[(String, String)]) -> Result<(), BrowserError> {
        let uri = loopback(url)?;
        let mut request =
            Request::post(uri.clone()).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(origin) = origin(&uri) {
            request = request.header(header::ORIGIN, origin);
        }
        let (status, _) = self.fetch(request, form(fields).into()).await?;
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(BrowserError::Status(status))
        }
    }

    /// Calls the JSON interface as the owner of `token`; the status and what it said.
    ///
    /// # Errors
    /// [`BrowserError`]; a refusal is an answer, not an error.
    pub async fn call(
        &self,
        method: Method,
        url: &str,
        token: &str,
        json: String,
    ) -> Result<(StatusCode, String), BrowserError> {
        let request = Request::builder()
            .method(method)
            .uri(loopback(url)?)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.fetch(request, json.into()).await
    }

    async fn fetch(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<(StatusCode, String), BrowserError> {
        let request = request.body(Full::new(body)).map_err(|_| BrowserError::NotLoopback)?;
        let answer = async {
            let response = self.client.request(request).await.map_err(BrowserError::Request)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), PAGE_OCTETS_MAX);
            let page = body.collect().await.map_err(BrowserError::Body)?.to_bytes();
            Ok((status, String::from_utf8_lossy(&page).into_owned()))
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Err(BrowserError::TooSlow))
    }
}

fn loopback(url: &str) -> Result<Uri, BrowserError> {
    let uri: Uri = url.parse().map_err(|_| BrowserError::NotLoopback)?;
    let here = uri.host().is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    let http = uri.scheme_str() == Some("http");
    if here && http { Ok(uri) } else { Err(BrowserError::NotLoopback) }
}

/// What a browser sends along with a form: servers check it against forged requests.
fn origin(uri: &Uri) -> Option<header::HeaderValue> {
    header::HeaderValue::from_str(&format!("http://{}", uri.authority()?)).ok()
}

fn form(fields: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
    pairs.join("&")
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_visited() {
        for url in ["http://127.0.0.1:8080/r/a", "http://localhost/r/a", "http://[::1]:1/r/a"] {
            assert!(loopback(url).is_ok(), "{url}");
        }
        for url in [
            "http://example.jp/r/a",
            "https://127.0.0.1/r/a",
            "http://127.0.0.1@example.jp/r/a",
            "http://127.0.0.1.example.jp/r/a",
            "http://192.0.2.1/r/a",
            "/r/a",
            "",
        ] {
            assert!(loopback(url).is_err(), "{url}");
        }
    }

    #[test]
    fn forms_are_encoded_as_browsers_do() {
        let fields = [("a b".to_owned(), "無事&=".to_owned()), ("c".to_owned(), String::new())];
        assert_eq!(form(&fields), "a+b=%E7%84%A1%E4%BA%8B%26%3D&c=");
    }
}
