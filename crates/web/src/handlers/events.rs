//! Live pages: fragments rendered here, sent when they changed, at most once a second.
//!
//! What is guaranteed here: a stream ends with the session it was opened with, and with the
//! service; at most 200 are open at once.

use super::{Fault, reply};
use crate::{filters::Call, security};
use bytes::Bytes;
use std::{collections::HashMap, convert::Infallible, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{self, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use warp::{
    Reply,
    http::{HeaderName, HeaderValue, Method},
    reply::Response,
    sse::Event,
};

/// Faster than anyone reads figures.
const TICK: Duration = Duration::from_secs(1);
/// Proves that the line is open; the script calls it lost after three of these.
const BEATS_EVERY: u32 = 15;
/// A reader that does not read is dropped, not buffered for.
const QUEUE: usize = 8;

/// What a live page consists of at one moment.
pub(super) struct Moment {
    /// When it changes, other buttons are due and the page is loaded anew.
    pub(super) stamp: String,
    /// Name of the part and its HTML.
    pub(super) parts: Vec<(&'static str, String)>,
}

/// Opens a stream of what `look` gives.
pub(super) fn stream<L, F>(call: Call, look: L) -> Result<Response, Fault>
where
    L: Fn(Call) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Moment, Fault>> + Send,
{
    if call.method == Method::HEAD {
        return Ok(reply::typed(String::new(), "text/event-stream"));
    }
    let slot = Arc::clone(&call.app.streams).try_acquire_owned().map_err(|_| Fault::Busy)?;
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(QUEUE);
    tokio::spawn(async move {
        let stop = call.app.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = feed(call, look, &sender) => {}
        }
        drop(slot);
    });
    let mut response = warp::sse::reply(ReceiverStream::new(receiver)).into_response();
    // Buffering proxies would hold the fragments back.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

async fn feed<L, F>(call: Call, look: L, sender: &mpsc::Sender<Result<Event, Infallible>>)
where
    L: Fn(Call) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Moment, Fault>> + Send,
{
    let mut seen: HashMap<&'static str, Bytes> = HashMap::new();
    let mut tick = time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0u32.. {
        tick.tick().await;
        if !still_signed_in(&call).await {
            return;
        }
        let Ok(moment) = look(call.clone()).await else { return };
        let state = ("state", moment.stamp);
        let changed = moment.parts.into_iter().chain([state]).filter(|(name, html)| {
            let new = seen.get(name).is_none_or(|old| old != html.as_bytes());
            if new {
                seen.insert(name, Bytes::copy_from_slice(html.as_bytes()));
            }
            new
        });
        let beat = (turn % BEATS_EVERY == 0).then(|| ("beat", String::new()));
        for (name, html) in changed.chain(beat) {
            // A full queue means a reader that has gone away without saying so.
            if sender.try_send(Ok(Event::default().event(name).data(html))).is_err() {
                return;
            }
        }
    }
}

async fn still_signed_in(call: &Call) -> bool {
    let Some(signed) = &call.signed else { return false };
    let hash = security::token_hash(&signed.token);
    matches!(call.app.web.store.session(&hash, call.app.now()).await, Ok(Some(_)))
}
