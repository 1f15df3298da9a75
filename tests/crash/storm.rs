//! Twenty thousand recipients and fifty kills at random moments.

use crate::evidence::{Evidence, the_books_hold};
use domain::BroadcastState;
use hansho_tests::{PATIENCE, Plan, Serve, Society};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::time::Duration;
use testkit::fresh_postgres;

const MEMBERS: usize = 20_000;
const KILLS: usize = 50;
const CONNECTIONS: usize = 8;
/// All kills together come before the last mail, on however many workers.
const MAILS_BETWEEN: std::ops::RangeInclusive<u64> = 1..=350;
const SEED: u64 = 50_000;
const SENDING_MAX: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_kills_of_one_process_on_sqlite() {
    storm(Society::plan(), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_kills_among_two_workers_on_postgresql() {
    let Some(database) = fresh_postgres().await else { return };
    storm(Society::plan().on(database), 2).await;
}

async fn storm(plan: Plan, workers: usize) {
    let cap = (2 * MEMBERS).to_string();
    let society = plan.members(MEMBERS).set("HANSHO_BROADCAST__DAILY_CAP", &cap).found().await;
    let notice = society.released("訓練開始のお知らせ").await;
    let mut moments = StdRng::seed_from_u64(SEED);
    let mut serving: Vec<Serve> = Vec::new();
    for kill in 1..=KILLS {
        while serving.len() < workers {
            serving.push(society.serve(&["broadcaster"]).await);
        }
        let moment = society.relay.count() + moments.random_range(MAILS_BETWEEN);
        assert!(society.relay.wait_for(moment, PATIENCE).await, "mail {moment} leaves");
        serving.swap_remove(moments.random_range(0..workers)).kill_9();
        let tally = society.store().tally(notice.id()).await.expect("the ledger can be counted");
        let most = (CONNECTIONS * (workers + kill)) as u64;
        assert!(tally.submitting <= most, "kill {kill}: {} rows are submitting", tally.submitting);
        assert_eq!(tally.total(), MEMBERS as u64, "kill {kill}");
    }
    Evidence::of(&society, &notice).await.shows_no_mailed_row_as_unsent();

    serving.push(society.serve(&["broadcaster"]).await);
    notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
    let evidence = Evidence::of(&society, &notice).await;
    evidence.shows_everyone_mailed_once_but_the_unknown();
    let unknown = evidence.addresses("unknown").len();
    assert!((1..=KILLS * CONNECTIONS).contains(&unknown), "{unknown} unknown rows after {KILLS} kills");
    println!(
        "{KILLS} kills, {MEMBERS} recipients, {workers} at work: {unknown} unknown, no one left out or mailed twice"
    );
    for serve in serving {
        let _ended = serve.terminate().await.with_code(0);
    }
    the_books_hold(&society).await;
}
