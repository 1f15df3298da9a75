//! September 2020, two and a half hours after the end notice. Seventeen members replied; the
//! sender was a mailing list, so each reply went to all: some 68,000 copies, and with them
//! seventeen people's addresses and details.

use domain::BroadcastState;
use hansho_tests::{Dot, PATIENCE, Post, Society, member_address};
use std::collections::BTreeSet;

const MEMBERS: usize = 40;
const REPLIES: usize = 17;

#[tokio::test(flavor = "multi_thread")]
async fn seventeen_replies_are_kept_and_not_one_is_passed_on() {
    let society = Society::of(MEMBERS).await;
    let _service = society.serve(&[]).await;
    let notice = society.released("訓練終了のお知らせ").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let mails = notice.dots().await;
    assert_eq!(mails.len(), MEMBERS);

    // Each of them replies to all. Then, that was one address for 4,000 people. Now, "all" is the
    // member's own address at the sink; whatever else is tried, the sink says no.
    for (index, mail) in mails.iter().take(REPLIES).enumerate() {
        let mut server = society.post().await;
        offers_nothing_but_their_own_address(&society, &mut server, mail, &mails[index + 1]).await;
        let answer = server.deliver(&mail.to[0], &mail.reply_to, &reply_to_all(mail)).await;
        assert!(answer.starts_with("250"), "the reply is kept: {answer}");
    }

    let kept = society.hansho(&["reply", "list"]).await.done();
    let kept = kept.as_array().expect("a list of replies");
    assert_eq!(kept.len(), REPLIES);
    assert!(kept.iter().all(|reply| reply["class"] == "human-reply"), "{kept:?}");
    let members: BTreeSet<i64> = kept.iter().filter_map(|reply| reply["member"].as_i64()).collect();
    assert_eq!(members.len(), REPLIES, "each is filed under who wrote it");

    // Nothing left. To have waited long enough for that, the society sends another notice: all
    // that the relay sees until it is through is this notice.
    let next = society.released("お礼").await;
    next.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(society.relay.count(), 2 * MEMBERS as u64);
    assert_eq!(next.dots().await.len(), MEMBERS);
    assert!(society.dots().iter().all(|mail| !mail.answers_another));
    assert!(society.dots().iter().all(|mail| !mail.raw.contains(SECRET)));
}

/// What a member writes to the staff and to nobody else.
const SECRET: &str = "090-0000-0000";

fn reply_to_all(mail: &Dot) -> String {
    let (from, to) = (&mail.to[0], &mail.reply_to);
    format!(
        "From: <{from}>\nTo: <{to}>\nCc: <drill-members@reply.staff.example.jp>, <{other}>\n\
         Subject: Re: {subject}\nIn-Reply-To: {id}\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\nI was at work. Call me: {SECRET}\n",
        other = member_address(MEMBERS),
        subject = "notice",
        id = mail.message_id,
    )
}

async fn offers_nothing_but_their_own_address(society: &Society, server: &mut Post, own: &Dot, other: &Dot) {
    let sink_domain = own.reply_to.rsplit_once('@').expect("an address").1;
    let token = own.reply_to.split('@').next().expect("a token");
    let answer_token = own.text.split("/r/").nth(1).map_or("", |rest| &rest[..52]);
    server.say("EHLO member.example.jp").await;
    server.say(&format!("MAIL FROM:<{}>", own.to[0])).await;
    for address in [
        other.to[0].clone(),
        member_address(MEMBERS),
        society.coordinator.email.clone(),
        format!("all@{sink_domain}"),
        format!("members@{sink_domain}"),
        format!("drill-ml@{sink_domain}"),
        format!("owner-drill@{sink_domain}"),
        format!("drill@{}", sink_domain.trim_start_matches("reply.")),
        format!("{token}+all@{sink_domain}"),
        format!("{answer_token}@{sink_domain}"),
        format!("{}%{sink_domain}@{sink_domain}", other.to[0].replace('@', "%")),
        format!("@{sink_domain}:{}", other.to[0]),
        format!("{}@elsewhere.example.jp", token),
    ] {
        let answer = server.say(&format!("RCPT TO:<{address}>")).await;
        assert!(answer.starts_with('5'), "{address} was not refused: {answer}");
    }
    server.say("RSET").await;
}
