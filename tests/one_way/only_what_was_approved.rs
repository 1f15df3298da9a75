//! Law 5: a signature covers text, nature, audience, window and limits. Whatever changes after it,
//! by the product or behind its back, nothing of it is sent.

use crate::{
    dashboard::{Session, percent},
    database::{number, tamper},
};
use domain::{BroadcastState, Tally};
use hansho_tests::{Broadcast, PATIENCE, Society};
use hyper::Method;
use rehearsal::browser::Browser;
use serde_json::json;

const MEMBERS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn law_5_editing_after_approval_voids_snapshot_and_signatures() {
    let society = Society::of(MEMBERS as usize).await;
    let _service = society.serve(&[]).await;
    let notice = society.approved("集合は9時").await;
    let signed = digest_of(&society, &notice).await;

    let author = Session::of(&society, &society.coordinator).await;
    let (page, fields) = (format!("/broadcasts/{}/edit", notice.id()), edited("集合は10時", "all"));
    assert_eq!(author.submit(&page, &page, &fields).await.status, 303);
    assert_eq!(notice.state().await, BroadcastState::Draft);
    assert_eq!(notice.tally().await, Tally::default(), "no row of it is left to be sent");
    assert_eq!(signatures(&society, &notice).await, 0);
    let _refused = notice.send().await.refused_by("approval");

    // Checked again it is something else, and the old signature is none for it.
    assert_eq!(notice.preflight().await["ok"], true);
    assert_ne!(digest_of(&society, &notice).await, signed);
    let _refused = notice.send().await.refused_by("approval");
    assert_eq!(approve_seen(&society, &notice, &signed).await, 409, "nobody signs what they did not read");
    let _refused = notice.send().await.refused_by("approval");
    assert_eq!(society.relay.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_a_notice_sent_back_has_to_be_signed_anew_even_if_nothing_changed() {
    let society = Society::of(MEMBERS as usize).await;
    let notice = society.approved("訓練開始").await;
    let signed = digest_of(&society, &notice).await;
    let without_reason = notice.ask("return", &[], &society.approver).await;
    let _refused = without_reason.refused_by("reason");
    let _returned = notice.ask("return", &["--reason", "宛先を確かめて"], &society.approver).await.done();
    assert_eq!(signatures(&society, &notice).await, 0);
    assert_eq!(notice.preflight().await["ok"], true);
    assert_eq!(digest_of(&society, &notice).await, signed, "the very same content");
    let _refused = notice.send().await.refused_by("approval");
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_what_was_changed_in_the_database_is_not_released() {
    let society = Society::of(MEMBERS as usize).await;
    for change in [
        "UPDATE delivery SET address = 'somebody@else.example' WHERE broadcast_id = $ AND member_no = 'm0002'",
        "UPDATE delivery SET fields = replace(fields, 'm0003', '総理') WHERE broadcast_id = $ AND member_no = 'm0003'",
        "UPDATE delivery SET member_no = 'm9999' WHERE broadcast_id = $ AND member_no = 'm0003'",
        "UPDATE delivery SET state = 'held', held_reason = 'no-address' WHERE broadcast_id = $ AND member_no = 'm0001'",
        "DELETE FROM delivery WHERE broadcast_id = $ AND member_no = 'm0005'",
        "UPDATE broadcast SET body = body || '振込先: 0000000' WHERE id = $",
        "UPDATE broadcast SET subject = '至急' WHERE id = $",
        "UPDATE broadcast SET nature = 'actual' WHERE id = $",
        "UPDATE broadcast SET terms = replace(terms, '総合防災訓練', '振込') WHERE id = $",
        "UPDATE broadcast SET audience = replace(audience, 'all', 'none') WHERE id = $",
        "UPDATE broadcast SET finish_by = 4102444800000 WHERE id = $",
        "UPDATE broadcast SET recipients = 0 WHERE id = $",
        "UPDATE broadcast SET digest = replace(digest, substr(digest, 1, 8), '00000000') WHERE id = $",
    ] {
        let notice = society.approved("訓練開始").await;
        tamper(&society, &change.replace('$', &notice.id().to_string())).await;
        let refused = notice.send().await;
        assert_eq!(refused.code, 3, "{change}: {}", refused.stderr);
        let _refused = refused.refused_by("digest");
        assert!(!notice.state().await.is_released(), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_a_changed_configuration_is_not_what_was_signed() {
    let society = Society::of(MEMBERS as usize).await;
    let notice = society.approved("訓練開始").await;
    for (key, value) in [
        ("HANSHO_BROADCAST__FROM", "別の差出人 <other@staff.example.jp>"),
        ("HANSHO_BROADCAST__DAILY_CAP", "100000"),
        ("HANSHO_RELAY__RATES", r#"["1000/s"]"#),
        ("HANSHO_RELAY__CONNECTIONS", "100"),
        ("HANSHO_SITE__PUBLIC_URL", "https://phishing.example"),
        ("HANSHO_SITE__CONTACT", "03-0000-0000"),
        ("HANSHO_SINK__DOMAIN", "reply.elsewhere.example"),
    ] {
        let id = notice.id().to_string();
        let send = society.hansho(&["broadcast", "send", &id]).by(&society.coordinator).with(key, value);
        let _refused = send.await.refused_by("digest");
    }
    let _released = notice.send().await.done();
}

/// Between the release and the first mail the rows are verified once more, by the sender.
#[tokio::test(flavor = "multi_thread")]
async fn law_5_what_was_changed_after_the_release_is_not_sent() {
    let society = Society::of(MEMBERS as usize).await;
    let notice = society.released("訓練開始").await;
    tamper(
        &society,
        &format!(
            "UPDATE delivery SET address = 'somebody@else.example' WHERE broadcast_id = {} AND member_no = 'm0002'",
            notice.id()
        ),
    )
    .await;
    let untouched = society.released("二つ目のお知らせ").await;

    let mut service = society.serve(&[]).await;
    service.logs("is not what was approved; nothing is sent").await;
    untouched.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(notice.dots().await.len(), 0);
    assert_eq!(society.relay.count(), MEMBERS, "the other notice, and no more");
    let stopped = notice.stop_by(&society.coordinator).await.done();
    assert_eq!((&stopped["accepted"], &stopped["prevented"]), (&0.into(), &MEMBERS.into()));
}

fn edited(subject: &str, audience: &str) -> String {
    let (subject, body) = (percent(subject), percent("{{name}} 様\n\n本文を変えました。\n"));
    // A form that claims another nature as well: what is fixed does not come from a form.
    format!("nature=actual&subject={subject}&body={body}&audience={audience}&finish_by=")
}

async fn digest_of(society: &Society, notice: &Broadcast<'_>) -> String {
    let found = society.store().broadcast(notice.id()).await.expect("it can be read").expect("it exists");
    found.digest.expect("it is frozen").to_string()
}

async fn signatures(society: &Society, notice: &Broadcast<'_>) -> i64 {
    let id = notice.id();
    number(society, &format!("SELECT COUNT(*) FROM signature WHERE broadcast_id = {id}")).await
}

/// Signs `digest` over the JSON interface; the status.
async fn approve_seen(society: &Society, notice: &Broadcast<'_>, digest: &str) -> u16 {
    let url = format!("{}/api/v1/broadcasts/{}/approve", society.url(), notice.id());
    let body = json!({ "digest": digest }).to_string();
    let (status, _) =
        Browser::new().call(Method::POST, &url, &society.approver.token, body).await.expect("an answer");
    status.as_u16()
}
