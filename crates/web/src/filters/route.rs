//! The table of routes: path, method, door, handler; each boxed, then folded into one filter.

use super::{
    call::{self, Call, Peer, SESSION_COOKIE, Signed},
    form::Form,
    upload::receive_file,
};
use crate::{app::App, handlers::Fault, security};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use std::{convert::Infallible, future::Future, pin::pin, time::Duration};
use tokio::time::{self, Instant};
use tracing::info;
use warp::{
    Filter, Rejection,
    filters::{BoxedFilter, path::FullPath},
    http::{HeaderMap, Method, StatusCode},
    reply::Response,
};

/// A notice has at most some ten thousand characters; percent-encoded Japanese is nine times that.
const BODY_OCTETS_MAX: usize = 512 * 1024;
/// A form is sent in one piece; who needs longer wants to hold the connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Anybody; a personal link's token is the only authority, machines may post.
    Open,
    /// Anybody, but a POST has to come from our own pages.
    Visitor,
    /// A signed-in person; a POST carries the session's form token.
    Staff,
    /// A personal token; no cookies.
    Api,
}

/// One route, for tests that walk them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInfo {
    /// Its name in logs.
    pub name: &'static str,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path with `{…}` for what varies.
    pub pattern: &'static str,
    /// Who may pass.
    pub door: Door,
    /// Its form brings a file along.
    pub takes_file: bool,
}

impl RouteInfo {
    fn matches(&self, path: &str) -> bool {
        let (mut ours, mut theirs) = (self.pattern.split('/'), path.split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(part), Some(given)) if part.starts_with('{') || part == given => {}
                _ => return false,
            }
        }
    }
}

/// A GET also answers HEAD; an event stream does not.
pub(crate) const fn get(name: &'static str, pattern: &'static str, door: Door) -> RouteInfo {
    RouteInfo { name, method: "GET", pattern, door, takes_file: false }
}

/// Something is to be done.
pub(crate) const fn post(name: &'static str, pattern: &'static str, door: Door) -> RouteInfo {
    RouteInfo { name, method: "POST", pattern, door, takes_file: false }
}

/// A signed-in person who may import brings a file.
pub(crate) const fn upload(name: &'static str, pattern: &'static str) -> RouteInfo {
    RouteInfo { name, method: "POST", pattern, door: Door::Staff, takes_file: true }
}

/// Routes under construction.
pub(crate) struct Routes {
    app: App,
    filters: Vec<BoxedFilter<(Response,)>>,
    info: Vec<RouteInfo>,
}

/// All routes.
pub(crate) struct RouteTable {
    pub(crate) filter: BoxedFilter<(Response,)>,
    pub(crate) info: Vec<RouteInfo>,
}

impl Routes {
    pub(crate) fn new(app: &App) -> Self {
        Self { app: app.clone(), filters: Vec::new(), info: Vec::new() }
    }

    /// Adds a route. `path` extracts exactly one value, `()` where nothing varies.
    pub(crate) fn add<P, A, H, F>(&mut self, info: RouteInfo, path: P, handler: H)
    where
        P: Filter<Extract = (A,), Error = Rejection> + Clone + Send + Sync + 'static,
        A: Send + 'static,
        H: Fn(Call, A) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response, Fault>> + Send,
    {
        let app = self.app.clone();
        let filter = path
            .and(method(info.method))
            .and(warp::method())
            .and(warp::header::headers_cloned())
            .and(warp::path::full())
            .and(raw_query())
            .and(warp::ext::optional::<Peer>())
            .and(warp::body::stream())
            .then(
                move |argument: A,
                      method: Method,
                      headers: HeaderMap,
                      path: FullPath,
                      query: String,
                      peer,
                      body| {
                    let (app, handler) = (app.clone(), handler.clone());
                    async move {
                        let began = Instant::now();
                        let lang = call::language(&headers, app.web.settings.language);
                        let mut seen = Call {
                            app,
                            lang,
                            method,
                            headers,
                            path: path.as_str().to_owned(),
                            query: Form::default(),
                            form: Form::default(),
                            body: Bytes::new(),
                            upload: None,
                            signed: None,
                        };
                        let response = match enter(&mut seen, info, &query, body).await {
                            Ok(()) => {
                                let done = handler(seen.clone(), argument).await;
                                done.unwrap_or_else(|fault| fault.into_response(&seen, info.door))
                            }
                            Err(fault) => fault.into_response(&seen, info.door),
                        };
                        log(info, &response, began, peer);
                        response
                    }
                },
            );
        self.filters.push(filter.boxed());
        self.info.push(info);
    }

    /// Folds the routes into one; whatever none of them takes is answered with a page, too.
    pub(crate) fn build(self) -> RouteTable {
        let Self { app, filters, info } = self;
        let known = info.clone();
        let last = warp::any()
            .and(warp::header::headers_cloned())
            .and(warp::path::full())
            .then(move |headers: HeaderMap, path: FullPath| {
                let fault = if known.iter().any(|route| route.matches(path.as_str())) {
                    Fault::Method
                } else {
                    Fault::NotFound
                };
                let under = |area| path.as_str().starts_with(area);
                let door = if under("/api/") { Door::Api } else { Door::Open };
                // A personal link's page knows nobody, also when the link is broken.
                let knows_staff = !["/api/", "/r/", "/u/"].into_iter().any(under);
                let lang = call::language(&headers, app.web.settings.language);
                let mut seen = Call {
                    app: app.clone(),
                    lang,
                    method: Method::GET,
                    headers,
                    // Not a place to return to.
                    path: "/".to_owned(),
                    query: Form::default(),
                    form: Form::default(),
                    body: Bytes::new(),
                    upload: None,
                    signed: None,
                };
                async move {
                    if knows_staff {
                        seen.signed = session(&seen).await.ok().flatten();
                    }
                    let door = if seen.signed.is_some() { Door::Staff } else { door };
                    fault.into_response(&seen, door)
                }
            })
            .boxed();
        let folded = filters.into_iter().reduce(|all, next| all.or(next).unify().boxed());
        let filter = match folded {
            Some(all) => all.or(last).unify().boxed(),
            None => last,
        };
        RouteTable { filter, info }
    }
}

/// The last layer: nothing leaves without the protective headers, also not what warp itself
/// refused.
pub(crate) fn seal(routes: BoxedFilter<(Response,)>, https: bool) -> BoxedFilter<(Response,)> {
    routes
        .recover(|_: Rejection| async {
            // A custom rejection would print itself to the client; none gets here, and if one
            // did, it would say nothing.
            let mut response = Response::new("bad request".into());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            Ok::<_, Infallible>(response)
        })
        .unify()
        .map(move |response| security::harden(response, https))
        .boxed()
}

fn method(name: &'static str) -> BoxedFilter<()> {
    if name == "GET" { warp::get().or(warp::head()).unify().boxed() } else { warp::post().boxed() }
}

fn raw_query() -> BoxedFilter<(String,)> {
    warp::query::raw().or(warp::any().map(String::new)).unify().boxed()
}

/// The name of the route, never the path: a personal link's path is its secret.
fn log(info: RouteInfo, response: &Response, began: Instant, peer: Option<Peer>) {
    info!(
        http.route = info.name,
        http.method = info.method,
        http.status = response.status().as_u16(),
        http.ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        http.loopback = peer.is_some_and(|Peer(address)| address.ip().is_loopback()),
        "request answered"
    );
}

/// Bounds, parsing, session, origin: in this order, so that a stranger costs as little as possible.
async fn enter<B>(
    seen: &mut Call,
    info: RouteInfo,
    query: &str,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<(), Fault>
where
    B: Buf,
{
    seen.query = Form::parse(query.as_bytes()).ok_or(Fault::BadForm)?;
    if info.takes_file {
        return receive(seen, body).await;
    }
    let posts = info.method == "POST";
    if posts {
        if matches!(info.door, Door::Visitor | Door::Staff) {
            let foreign = security::is_foreign(&seen.headers, seen.app.web.settings.origin());
            if foreign || !call::is_form(&seen.headers) {
                return Err(Fault::Foreign);
            }
        }
        seen.body = read(body).await?;
        if call::is_form(&seen.headers) {
            seen.form = Form::parse(&seen.body).ok_or(Fault::BadForm)?;
        }
    }
    match info.door {
        Door::Open => Ok(()),
        Door::Visitor => {
            seen.signed = session(seen).await?;
            Ok(())
        }
        Door::Staff => {
            let signed = session(seen).await?.ok_or(Fault::SignIn)?;
            if posts && !security::is_form_token(&signed.token, seen.form.get("form_token")) {
                return Err(Fault::Foreign);
            }
            seen.signed = Some(signed);
            Ok(())
        }
        Door::Api => {
            seen.signed = Some(personal(seen).await?.ok_or(Fault::SignIn)?);
            if posts && !seen.body.is_empty() && !call::is_json(&seen.headers) {
                return Err(Fault::BadForm);
            }
            Ok(())
        }
    }
}

/// A file of a stranger, or of somebody who brings none, is not even read.
async fn receive<B: Buf>(
    seen: &mut Call,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<(), Fault> {
    if security::is_foreign(&seen.headers, seen.app.web.settings.origin()) {
        return Err(Fault::Foreign);
    }
    let signed = session(seen).await?.ok_or(Fault::SignIn)?;
    if !signed.row.role.may_import() {
        return Err(Fault::Forbidden);
    }
    let uploads = std::sync::Arc::clone(&seen.app.uploads);
    let _slot = uploads.try_acquire().map_err(|_| Fault::Busy)?;
    let is_token = |text: &str| security::is_form_token(&signed.token, text);
    let pieces = body.map(|piece| piece.map(collect));
    (seen.form, seen.upload) = receive_file(&seen.headers, pieces, is_token).await?;
    seen.signed = Some(signed);
    Ok(())
}

async fn session(seen: &Call) -> Result<Option<Signed>, Fault> {
    let Some(token) = call::cookie(&seen.headers, SESSION_COOKIE) else { return Ok(None) };
    let hash = security::token_hash(&token);
    let row = seen.app.web.store.session(&hash, seen.app.now()).await?;
    Ok(row.map(|row| Signed { row, token }))
}

async fn personal(seen: &Call) -> Result<Option<Signed>, Fault> {
    let Some(token) = call::bearer(&seen.headers) else { return Ok(None) };
    let row = seen.app.web.store.staff_by_api_token(&security::token_hash(&token)).await?;
    Ok(row.map(|row| Signed { row, token }))
}

async fn read<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>> + Send) -> Result<Bytes, Fault> {
    let whole = async {
        let mut body = pin!(body);
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| Fault::BadForm)?;
            if bytes.len() + piece.remaining() > BODY_OCTETS_MAX {
                return Err(Fault::TooLarge);
            }
            bytes.extend_from_slice(&collect(piece));
        }
        Ok(bytes.freeze())
    };
    time::timeout(BODY_TIMEOUT, whole).await.map_err(|_| Fault::Slow)?
}

fn collect(mut piece: impl Buf) -> Bytes {
    piece.copy_to_bytes(piece.remaining())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_know_their_paths() {
        let route = get("broadcasts.ledger", "/broadcasts/{id}/ledger", Door::Staff);
        assert!(route.matches("/broadcasts/7/ledger"));
        assert!(!route.matches("/broadcasts/7"));
        assert!(!route.matches("/broadcasts/7/ledger/x"));
        assert!(get("home", "/", Door::Staff).matches("/"));
    }
}
