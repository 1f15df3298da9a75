//! Erasing a person, taking one person's data out, and how long things are kept.
//!
//! # Security
//! Nothing here erases by a link: a person who may decide about the roster confirms by name. What
//! leaves is one person's data with address, for those who may see it (law 12).

use super::{
    Fault,
    export::{self, BrokenOff, Pieces},
    may_import, reply, sees_addresses, shell,
};
use crate::{
    filters::{Call, Door, Routes, get, post},
    pages::{ErasePage, ErasureRow, PeriodRow, RetentionPage, Times, grouped, html},
};
use domain::{MemberId, Span};
use report::{PersonalData, PersonalDocument};
use store::{Erasure, Kept};
use warp::{Filter, reply::Response};

/// Far more than wait at any time; those that are done follow.
const ERASURES: u32 = 200;
const DAY_SECONDS: u64 = 86_400;

/// Adds the pages and forms.
pub(super) fn add(routes: &mut Routes) {
    let path = || warp::path!("members" / MemberId / "erase");
    routes.add(get("members.erase.form", "/members/{id}/erase", Door::Staff), path(), confirm);
    routes.add(post("members.erase", "/members/{id}/erase", Door::Staff), path(), erase);
    let path = warp::path!("members" / MemberId / "keep");
    routes.add(post("members.keep", "/members/{id}/keep", Door::Staff), path, keep);
    let path = warp::path!("members" / MemberId / "export");
    routes.add(post("members.export", "/members/{id}/export", Door::Staff), path, take_out);
    let path = warp::path!("retention").map(|| ());
    routes.add(get("retention", "/retention", Door::Staff), path, show);
}

/// Whom it concerns, by name, what goes and what stays.
async fn confirm(call: Call, id: MemberId) -> Result<Response, Fault> {
    let _decides = may_import(&call)?;
    let store = &call.app.web.store;
    let data = store.member(id).await?.ok_or(Fault::NotFound)?.member.data;
    let t = call.texts();
    let mut s = shell(&call, t.get("erase-title"));
    (s.here, s.narrow) = ("members", true);
    let page = ErasePage {
        s,
        t,
        id,
        name: format!("{} {}", data.member_no, data.name),
        waits_for: store.erasure_waits_for(id).await?,
    };
    Ok(reply::html(html(&page)))
}

/// Asks for it: the service erases within a minute, or when the last broadcast is over.
async fn erase(call: Call, id: MemberId) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    call.app.web.store.ask_erasure(actor, id, call.app.now()).await?;
    Ok(reply::see_other("/retention?said=erasure-asked"))
}

/// Takes back an erasure that has not happened; the page is the one where the button stood.
async fn keep(call: Call, id: MemberId) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    let store = &call.app.web.store;
    let path = if store.withdraw_erasure(actor, id, call.app.now()).await? {
        let from_list = call.form.get("from") == "retention";
        if from_list { "/retention?said=kept".to_owned() } else { format!("/members/{id}?said=kept") }
    } else if store.is_erased(id).await? {
        // The member has no page any more.
        "/retention?said=erased-before".to_owned()
    } else {
        format!("/members/{id}?said=kept-before")
    };
    Ok(reply::see_other(&path))
}

/// Why a member is to be erased, and where that stands; for those who may take it back.
pub(super) async fn erasing(call: &Call, id: MemberId) -> Result<Option<(String, String)>, Fault> {
    if !call.role().may_import() {
        return Ok(None);
    }
    let found = call.app.web.store.erasure(id).await?;
    let why = |by_clock| call.texts().get(if by_clock { "erasing-left" } else { "erasing-asked" });
    Ok(found.map(|erasure| (why(erasure.by_clock), state_in_words(call, &erasure))))
}

/// One person's data as a file. It is an action: it stands in the log.
async fn take_out(call: Call, id: MemberId) -> Result<Response, Fault> {
    sees_addresses(&call)?;
    let actor = call.actor().ok_or(Fault::Forbidden)?;
    let web = &call.app.web;
    let now = call.app.now();
    let data = PersonalData::read(&web.store, web.replybox.as_ref(), id, now).await?;
    let data = data.ok_or(Fault::NotFound)?;
    web.store.record(actor, "member-exported", format!("member:{id}"), now).await?;
    let name = format!("member-{id}.json");
    Ok(export::file(&name, "application/json", |pieces| write_out(call, data, pieces)))
}

async fn write_out(call: Call, data: PersonalData, pieces: Pieces) -> Result<(), BrokenOff> {
    let mut document = PersonalDocument::new(&data, call.app.web.replybox.as_ref());
    while let Some(piece) = document.next_piece().await? {
        pieces.add(piece).await;
    }
    Ok(())
}

/// How long things are kept, what was last deleted, and whom nobody may find any more.
async fn show(call: Call, (): ()) -> Result<Response, Fault> {
    sees_addresses(&call)?;
    let t = call.texts();
    let periods = call.app.web.settings.retention;
    let mut rows = Vec::new();
    for (kept, what, period) in [
        (Kept::Replies, "retention-replies", periods.replies),
        (Kept::Recipients, "retention-recipients", periods.recipients),
        (Kept::LeftMembers, "retention-left-members", periods.left_members),
    ] {
        rows.push(period_row(&call, kept, what, period).await?);
    }
    let erasures = call.app.web.store.erasures(ERASURES).await?;
    let under_way = call.app.web.store.erasures_under_way().await?;
    let mut s = shell(&call, t.get("retention-title"));
    s.here = "requests";
    let page = RetentionPage {
        s,
        t,
        periods: rows,
        under_way: (under_way > 0).then(|| t.with("erasures-under-way", "n", grouped(under_way))),
        erasures: erasures.into_iter().map(|erasure| erasure_row(&call, erasure)).collect(),
    };
    Ok(reply::html(html(&page)))
}

async fn period_row(call: &Call, kept: Kept, what: &str, period: Option<Span>) -> Result<PeriodRow, Fault> {
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let last = match call.app.web.store.last_deleted(kept).await? {
        Some((at, rows)) => t.with2("retention-last", "n", grouped(rows), "at", times.long(at)),
        None => t.get("retention-never"),
    };
    let kept = match period {
        Some(period) => t.with("retention-days", "n", grouped(period.get().as_secs() / DAY_SECONDS)),
        None => t.get("retention-off"),
    };
    Ok(PeriodRow { what: t.get(what), kept, last })
}

fn state_in_words(call: &Call, erasure: &Erasure) -> String {
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    if erasure.files_done_at.is_some() {
        t.get("erasure-done")
    } else if erasure.replies_done_at.is_some() {
        t.get("erasure-files")
    } else if erasure.core_done_at.is_some() {
        t.get("erasure-replies")
    } else if !erasure.waits_for.is_empty() {
        t.get("erasure-waits")
    } else if erasure.due_at > call.app.now() {
        t.with("erasure-on", "at", times.short(erasure.due_at))
    } else {
        t.get("erasure-next")
    }
}

fn erasure_row(call: &Call, erasure: Erasure) -> ErasureRow {
    let times = Times { zone: call.app.web.settings.time_zone, texts: call.texts() };
    let waits = erasure.core_done_at.is_none() && call.role().may_import();
    ErasureRow {
        state: state_in_words(call, &erasure),
        done: erasure.files_done_at.is_some(),
        keep: waits.then_some(erasure.member),
        member: erasure.known_as.as_ref().map(|_| erasure.member),
        name: erasure.known_as.map_or_else(
            || format!("erased-{}", erasure.member),
            |(number, name)| format!("{number} {name}"),
        ),
        asked: times.long(erasure.asked_at),
        waits_for: erasure.waits_for,
    }
}
