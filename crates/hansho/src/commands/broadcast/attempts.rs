//! `broadcast attempts`: everything that was tried for one recipient, the first attempt first.

use crate::{installation::Installation, output::Format};
use anyhow::Result;
use domain::{BroadcastId, MemberNo, Timestamp};
use serde::Serialize;
use store::{Attempt, LedgerFilter, StoreError};

#[derive(Serialize)]
struct AttemptLine {
    attempt: i64,
    state: String,
    smtp_code: Option<i64>,
    enhanced_code: Option<String>,
    reply: Option<String>,
    relay: Option<String>,
    submitted_at: Option<String>,
    settled_at: Option<String>,
}

pub(super) async fn show(
    installation: &Installation,
    id: BroadcastId,
    member_no: &str,
    format: Format,
) -> Result<()> {
    let store = &installation.store;
    let number: MemberNo = member_no.parse()?;
    let member =
        store.member_by_no(&number).await?.ok_or_else(|| StoreError::not_found("member", member_no))?;
    let filter = LedgerFilter { member: Some(member.member.id), ..LedgerFilter::default() };
    if store.ledger_page(id, filter, 0, 1).await?.is_empty() {
        return Err(StoreError::not_found("recipient", format!("{member_no} of broadcast {id}")).into());
    }
    let attempts: Vec<AttemptLine> =
        store.attempts(id, member.member.id).await?.into_iter().map(line).collect();
    format.print(&attempts, |attempts| match attempts.as_slice() {
        [] => "not tried yet".to_owned(),
        some => some.iter().map(sentence).collect(),
    })
}

fn line(attempt: Attempt) -> AttemptLine {
    let time = |ms: i64| Timestamp::from_millis(ms).to_rfc3339();
    AttemptLine {
        attempt: attempt.attempt,
        state: attempt.state,
        smtp_code: attempt.smtp_code,
        enhanced_code: attempt.enhanced_code,
        reply: attempt.reply,
        relay: attempt.relay,
        submitted_at: attempt.submitted_at.map(time),
        settled_at: attempt.settled_at.map(time),
    }
}

fn sentence(line: &AttemptLine) -> String {
    let reply = [
        line.smtp_code.map(|code| code.to_string()),
        line.enhanced_code.clone(),
        line.reply.clone(),
        line.relay.as_ref().map(|relay| format!("({relay})")),
    ];
    let reply: Vec<String> = reply.into_iter().flatten().collect();
    let at = line.submitted_at.as_deref().unwrap_or("");
    format!("{} {at} {} {}\n", line.attempt, line.state, reply.join(" "))
}
