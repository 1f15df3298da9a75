//! For machines: health, metrics, assets.

use super::{Fault, reply};
use crate::{assets, filters::Call};
use domain::{BroadcastState, DeliveryState, Nature, Tally};
use std::fmt::Write as _;
use warp::{
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

/// The process answers.
pub(crate) async fn healthy(_: Call, (): ()) -> Result<Response, Fault> {
    Ok(reply::plain("ok\n"))
}

/// The databases answer, too.
pub(crate) async fn ready(call: Call, (): ()) -> Result<Response, Fault> {
    let web = &call.app.web;
    if web.store.ping().await.is_err() {
        return Ok(not_ready("the core database does not answer\n"));
    }
    if let Some(replies) = &web.replybox
        && replies.check_schema().await.is_err()
    {
        return Ok(not_ready("the reply database does not answer\n"));
    }
    Ok(reply::plain("ready\n"))
}

/// Counts in Prometheus' text form. Numbers of rows only: no subjects, no names.
pub(crate) async fn metrics(call: Call, (): ()) -> Result<Response, Fault> {
    let web = &call.app.web;
    let mut text =
        String::from("# HELP hansho_build_info The running version.\n# TYPE hansho_build_info gauge\n");
    let _ = writeln!(text, "hansho_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    text.push_str("# HELP hansho_deliveries Ledger rows of broadcasts that are not finished.\n");
    text.push_str("# TYPE hansho_deliveries gauge\n");
    for nature in Nature::ALL {
        let mut sum = Tally::default();
        for state in [BroadcastState::Sending, BroadcastState::Stopped] {
            for broadcast in web.store.broadcasts_in(state).await? {
                if broadcast.nature == *nature {
                    let tally = web.store.tally(broadcast.id).await?;
                    DeliveryState::ALL.iter().for_each(|state| sum.add(*state, tally.of(*state)));
                }
            }
        }
        for state in DeliveryState::ALL {
            let count = sum.of(*state);
            let _ = writeln!(text, "hansho_deliveries{{nature=\"{nature}\",state=\"{state}\"}} {count}");
        }
    }
    if let Some(replies) = &web.replybox {
        text.push_str("# HELP hansho_replies Stored replies by class.\n# TYPE hansho_replies gauge\n");
        for (class, count) in replies.counts().await? {
            let _ = writeln!(text, "hansho_replies{{class=\"{class}\"}} {count}");
        }
    }
    Ok(reply::typed(text, "text/plain; version=0.0.4; charset=utf-8"))
}

/// One compiled-in file.
pub(crate) async fn asset(call: Call, name: String) -> Result<Response, Fault> {
    let asset = assets::find(&name).ok_or(Fault::NotFound)?;
    let seen = call.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if seen.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == asset.etag)) {
        reply::with_status(Response::default(), StatusCode::NOT_MODIFIED)
    } else {
        Response::new(asset.body.clone().into())
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    // Asked again each time, answered with 304: a new version is never mixed with an old style.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::try_from(&asset.etag) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

fn not_ready(text: &str) -> Response {
    reply::with_status(reply::plain(text), StatusCode::SERVICE_UNAVAILABLE)
}
