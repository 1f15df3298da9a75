//! The demonstration's captured mail. These pages exist only where there is a capture relay.

use super::{Fault, reply, shell};
use crate::{
    demo::{DemoMail, DemoMailbox},
    filters::Call,
    pages::{DemoMailPage, DemoMailRow, DemoMailsPage, Times, html},
};
use warp::reply::Response;

/// The latest mails.
const ROWS: usize = 100;
/// Header fields that people look at.
const FIELDS: [&str; 5] = ["From", "To", "Reply-To", "Subject", "Date"];

/// The list.
pub(crate) async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    let t = call.texts();
    let rows = mailbox(&call)?.recent(ROWS).into_iter().map(|mail| row(&call, mail)).collect();
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
    let (headers, rest) = full.headers.into_iter().partition(|(name, _)| FIELDS.contains(&name.as_str()));
    let page = DemoMailPage { s, t, mail: row(&call, full.mail), headers, rest, text: full.text };
    Ok(reply::html(html(&page)))
}

fn row(call: &Call, mail: DemoMail) -> DemoMailRow {
    let times = Times { zone: call.app.web.settings.time_zone, texts: call.texts() };
    let DemoMail { seq, at, to, subject, answer } = mail;
    DemoMailRow { seq, subject, to, at: times.exact(at), answer }
}

fn mailbox(call: &Call) -> Result<&dyn DemoMailbox, Fault> {
    call.app.web.demo.as_deref().ok_or(Fault::NotFound)
}
