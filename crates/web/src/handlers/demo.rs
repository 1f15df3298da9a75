//! The demonstration's captured mail. These pages exist only where there is a capture relay.

use super::{Fault, reply, shell};
use crate::{
    demo::DemoMailbox,
    filters::Call,
    pages::{DemoMailPage, DemoMailsPage, html},
};
use warp::reply::Response;

/// The latest mails.
const ROWS: usize = 100;

/// The list.
pub(crate) async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    let t = call.texts();
    let rows = mailbox(&call)?.recent(ROWS);
    let mut s = shell(&call, t.get("demo-title"));
    s.here = "demo";
    Ok(reply::html(html(&DemoMailsPage { s, t, rows })))
}

/// One mail.
pub(crate) async fn show(call: Call, seq: u64) -> Result<Response, Fault> {
    let t = call.texts();
    let full = mailbox(&call)?.get(seq).ok_or(Fault::NotFound)?;
    let mut s = shell(&call, full.mail.subject.clone());
    s.here = "demo";
    let page = DemoMailPage { s, t, mail: full.mail, headers: full.headers, text: full.text };
    Ok(reply::html(html(&page)))
}

fn mailbox(call: &Call) -> Result<&dyn DemoMailbox, Fault> {
    call.app.web.demo.as_deref().ok_or(Fault::NotFound)
}
