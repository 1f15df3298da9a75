//! One process on a SQLite file, killed again and again while it sends.

use crate::evidence::{Evidence, the_books_hold};
use domain::BroadcastState;
use hansho_tests::{Broadcast, PATIENCE, Serve, Society, until};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::time::Duration;

const MEMBERS: usize = 2_000;
const CONNECTIONS: usize = 8;
const KILLS: usize = 16;
/// Mails between two kills: all kills together come before the last mail.
const MAILS_BETWEEN: std::ops::RangeInclusive<u64> = 1..=120;
const SEED: u64 = 4_000;
const SENDING_MAX: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_at_any_moment_leaves_no_one_out_and_mails_no_one_twice() {
    let society = Society::of(MEMBERS).await;
    let notice = society.released("訓練開始のお知らせ").await;
    let mut moments = StdRng::seed_from_u64(SEED);
    for kill in 1..=KILLS {
        let serve = society.serve(&["broadcaster"]).await;
        killed_after(&society, serve, moments.random_range(MAILS_BETWEEN)).await;
        let evidence = Evidence::of(&society, &notice).await;
        evidence.shows_no_mailed_row_as_unsent();
        let submitting = evidence.submitting();
        assert!(submitting <= CONNECTIONS, "kill {kill}: {submitting} rows on {CONNECTIONS} connections");
        assert_eq!(notice.status().await["total"], MEMBERS);
    }

    let serve = society.serve(&["broadcaster"]).await;
    notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
    let evidence = Evidence::of(&society, &notice).await;
    evidence.shows_everyone_mailed_once_but_the_unknown();
    let unknown = evidence.addresses("unknown").len();
    assert!((1..=KILLS * CONNECTIONS).contains(&unknown), "{unknown} unknown rows after {KILLS} kills");
    assert_eq!(notice.status().await["total"], MEMBERS);

    resending_the_unknown_mails_them_alone(&society, &notice, &evidence).await;
    let _ended = serve.terminate().await.with_code(0);
    the_books_hold(&society).await;
}

/// Kills the process once so many more mails have left, and waits until the relay has read what
/// was still on its way.
async fn killed_after(society: &Society, serve: Serve, mails: u64) {
    let moment = society.relay.count() + mails;
    assert!(society.relay.wait_for(moment, PATIENCE).await, "mail {moment} leaves");
    serve.kill_9();
    until("the relay to see the connections gone", PATIENCE, async || {
        (society.relay.connections_open() == 0).then_some(())
    })
    .await;
}

async fn resending_the_unknown_mails_them_alone(
    society: &Society,
    notice: &Broadcast<'_>,
    before: &Evidence,
) {
    let unknown = before.addresses("unknown");
    let _refused = notice.settle_by(&society.approver, "resend", &[]).await.refused_by("role");
    let settled = notice.settle_by(&society.coordinator, "resend", &[]).await.done();
    assert_eq!(settled["settled"], unknown.len());
    notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
    let after = Evidence::of(society, notice).await;
    assert_eq!(after.addresses("accepted").len(), MEMBERS, "everybody is accounted for");
    let (old, new) = (before.counts(), after.counts());
    for (address, mails) in new {
        let extra = mails - old.get(&address).copied().unwrap_or(0);
        assert_eq!(extra, usize::from(unknown.contains(&address)), "{address}: mails after the settlement");
    }
}
