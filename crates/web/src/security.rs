//! Headers that every answer carries, and the checks that a POST comes from our own pages.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use warp::{
    http::{
        HeaderMap, HeaderValue,
        header::{self, HeaderName},
    },
    reply::Response,
};

/// Nothing from elsewhere, nothing inline, no frames.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// `same-origin`, not `no-referrer`: with the latter browsers send `Origin: null` with our own
/// forms. Nothing leaves the origin either way, so personal links stay here.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // A personal link that somebody published must not be found by its text.
    (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()",
    ),
];

/// Adds the protective headers. A stricter policy that is already there stays; pages are never
/// cached, assets say themselves how long they keep.
pub(crate) fn harden(mut response: Response, https: bool) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if https {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

/// What is kept of a session or personal token: the SHA-256 of its text.
pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The hidden field of every form of a session. Knowing it does not reveal the session's token,
/// and another session's is worth nothing here.
pub(crate) fn form_token(session_token: &str) -> String {
    HEXLOWER.encode(&form_mac(session_token).finalize().into_bytes())
}

/// Whether a form carries this session's token; compared in constant time.
pub(crate) fn is_form_token(session_token: &str, given: &str) -> bool {
    form_token(session_token).as_bytes().ct_eq(given.as_bytes()).into()
}

fn form_mac(session_token: &str) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(session_token.as_bytes())
        .expect("invariant: HMAC takes a key of any length");
    mac.update(b"hansho form token v1");
    mac
}

/// Whether the browser says that the request began on another site. Clients that are no
/// browsers say nothing; for them the form token alone decides.
pub(crate) fn is_foreign(headers: &HeaderMap, public_origin: &str) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site"))
        && !matches!(site, "same-origin" | "none")
    {
        return true;
    }
    match text(header::ORIGIN) {
        None => false,
        Some(origin) if origin == public_origin => false,
        // An attacker's page cannot choose the Host header, so this is our own page reached
        // under another of our names.
        Some(origin) => {
            let host = text(header::HOST).unwrap_or("");
            origin.split_once("://").is_none_or(|(_, authority)| host.is_empty() || authority != host)
        }
    }
}

/// The origin of a URL: scheme and authority.
pub(crate) fn origin_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    &url[..end]
}

/// A path on this site to return to, or `/`. Everything that a browser could read as another
/// site is refused.
pub(crate) fn local_path(text: &str) -> &str {
    let rest = text.strip_prefix('/');
    let safe = rest.is_some_and(|rest| !rest.starts_with(['/', '\\']))
        && text.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if safe { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn a_page_of_another_site_cannot_post() {
        let ours = "https://drill.example.jp";
        for (pairs, foreign) in [
            (vec![], false),
            (vec![("origin", "https://drill.example.jp")], false),
            (vec![("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")], false),
            (vec![("origin", "https://evil.example"), ("host", "drill.example.jp")], true),
            (vec![("origin", "null"), ("host", "drill.example.jp")], true),
            (vec![("origin", "https://")], true),
            (vec![("sec-fetch-site", "cross-site")], true),
            (vec![("sec-fetch-site", "same-site")], true),
            (vec![("sec-fetch-site", "same-origin")], false),
        ] {
            assert_eq!(is_foreign(&headers(&pairs), ours), foreign, "{pairs:?}");
        }
    }

    #[test]
    fn a_form_token_is_bound_to_its_session() {
        let token = form_token("session one");
        assert!(is_form_token("session one", &token));
        assert!(!is_form_token("session two", &token));
        assert!(!is_form_token("session one", ""));
    }

    #[test]
    fn one_returns_only_to_this_site() {
        for bad in ["", "//evil", "/\\evil", "https://evil", "/a\nb", "/a b", "javascript:x", "/a\\b"] {
            assert_eq!(local_path(bad), "/", "{bad:?}");
        }
        assert_eq!(local_path("/broadcasts/3?ok=stopped"), "/broadcasts/3?ok=stopped");
    }

    #[test]
    fn a_stricter_policy_stays() {
        let mut raw = Response::default();
        raw.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        assert_eq!(harden(raw, false).headers()[header::CONTENT_SECURITY_POLICY], "sandbox");
        let page = harden(Response::default(), true);
        assert_eq!(page.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
        assert_eq!(page.headers()[header::CACHE_CONTROL], "no-store");
        assert!(page.headers().contains_key(header::STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn an_origin_is_scheme_and_authority() {
        assert_eq!(origin_of("https://drill.example.jp/base/"), "https://drill.example.jp");
        assert_eq!(origin_of("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
    }
}
