//! A member's browser: opens a page, posts a form.
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
pub(super) enum BrowserError {
    #[error("the link does not lead to this machine")]
    NotLoopback,
    #[error("requesting the page")]
    Request(#[source] hyper_util::client::legacy::Error),
    #[error("reading the page")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the server took too long")]
    TooSlow,
}

pub(super) struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Browser {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// The page's text.
    pub(super) async fn open(&self, url: &str) -> Result<String, BrowserError> {
        let (status, page) = self.fetch(Method::GET, url, Bytes::new()).await?;
        if status.is_success() { Ok(page) } else { Err(BrowserError::Status(status)) }
    }

    /// Posts `fields` as a form; 2xx and 3xx count as taken.
    pub(super) async fn post(&self, url: &str, fields: &[(String, String)]) -> Result<(), BrowserError> {
        let (status, _) = self.fetch(Method::POST, url, form(fields).into()).await?;
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(BrowserError::Status(status))
        }
    }

    async fn fetch(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
    ) -> Result<(StatusCode, String), BrowserError> {
        let uri = loopback(url)?;
        let mut request = Request::new(Full::new(body));
        if method == Method::POST {
            let headers = request.headers_mut();
            headers.insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static("application/x-www-form-urlencoded"),
            );
            if let Some(origin) = origin(&uri) {
                headers.insert(header::ORIGIN, origin);
            }
        }
        *request.method_mut() = method;
        *request.uri_mut() = uri;
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
