//! Law 7: the cap is reserved in the transaction that releases. However many press at once, in
//! however many processes, the releases of 24 hours are never over it with one signature each.

use crate::database::number;
use domain::BroadcastState;
use hansho_tests::{Broadcast, Society};
use std::sync::Arc;
use testkit::fresh_databases;

const MEMBERS: usize = 10;
const NOTICES: usize = 20;
/// Half of the notices fit.
const CAP: usize = MEMBERS * NOTICES / 2;

#[tokio::test(flavor = "multi_thread")]
async fn law_7_twenty_releases_at_once_are_never_over_the_cap() {
    for database in fresh_databases().await {
        let cap = CAP.to_string();
        let society = Society::plan()
            .members(MEMBERS)
            .set("HANSHO_BROADCAST__DAILY_CAP", &cap)
            .on(database)
            .found()
            .await;
        // Each one alone is far below the cap, so one signature was enough for each.
        let mut notices = Vec::new();
        for index in 0..NOTICES {
            notices.push(society.approved(&format!("お知らせ その{index}")).await);
        }
        let codes = send_at_once(&society, &notices).await;
        let done = codes.iter().filter(|code| **code == 0).count();
        assert_eq!(done, NOTICES / 2, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == 3).count(), NOTICES - done, "{codes:?}");
        assert_eq!(released(&society).await, CAP as i64);

        // The others wait for a second person, and each alert was enqueued with the refusal.
        let waiting = waiting(&notices).await;
        assert_eq!(waiting.len(), NOTICES - done);
        let alerts = number(&society, "SELECT COUNT(*) FROM staff_mail").await;
        assert_eq!(alerts, 2 * waiting.len() as i64, "one to each approver");
        let again = send_at_once(&society, &waiting).await;
        assert!(again.iter().all(|code| *code == 3), "{again:?}");
        for notice in &waiting[..2] {
            let signed = notice.approve_by(&society.second_approver).await.done();
            assert_eq!((&signed["given"], &signed["required"]), (&2.into(), &2.into()));
            let _released = notice.send().await.done();
        }
        assert_eq!(released(&society).await, (CAP + 2 * MEMBERS) as i64);
        let alone = "SELECT CAST(COALESCE(SUM(recipients), 0) AS BIGINT) FROM broadcast \
                     WHERE released_at IS NOT NULL AND signatures_required = 1";
        assert!(number(&society, alone).await <= CAP as i64);
    }
}

/// Twenty processes, as on as many machines; the exit codes.
async fn send_at_once(society: &Society, notices: &[Broadcast<'_>]) -> Vec<i32> {
    let start = Arc::new(tokio::sync::Barrier::new(notices.len()));
    let presses = notices.iter().map(|notice| {
        let id = notice.id().to_string();
        let call = society.hansho(&["broadcast", "send", &id]).by(&society.coordinator);
        let start = start.clone();
        tokio::spawn(async move {
            start.wait().await;
            call.await.code
        })
    });
    let mut codes = Vec::new();
    for press in presses.collect::<Vec<_>>() {
        codes.push(press.await.expect("no panic"));
    }
    codes
}

async fn waiting<'a>(notices: &[Broadcast<'a>]) -> Vec<Broadcast<'a>> {
    let mut waiting = Vec::new();
    for notice in notices {
        if notice.state().await == BroadcastState::AwaitingApproval {
            waiting.push(*notice);
        }
    }
    waiting
}

async fn released(society: &Society) -> i64 {
    let sum =
        "SELECT CAST(COALESCE(SUM(recipients), 0) AS BIGINT) FROM broadcast WHERE released_at IS NOT NULL";
    number(society, sum).await
}
