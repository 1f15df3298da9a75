//! Two processes on PostgreSQL: one dies or hangs, the other takes over, and nobody gets two mails.

use crate::evidence::{Evidence, the_books_hold};
use domain::BroadcastState;
use hansho_tests::{PATIENCE, Plan, Serve, Society, until};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rehearsal::relay::{Script, Verdict};
use std::time::{Duration, Instant};
use testkit::fresh_postgres;

const MEMBERS: usize = 1_600;
const CONNECTIONS: usize = 8;
const KILLS: usize = 8;
const MAILS_BETWEEN: std::ops::RangeInclusive<u64> = 20..=120;
const SEED: u64 = 68_000;
/// The last victim's submissions are declared unknown when their lease is over: the sum of the
/// timeouts below and the broadcaster's margin of 30 seconds.
const SENDING_MAX: Duration = Duration::from_secs(120);

fn with_short_leases(plan: Plan) -> Plan {
    plan.set("HANSHO_BROADCAST__CHUNK_BUDGET", "3s")
        .set("HANSHO_BROADCAST__CHUNK_SIZE", "60")
        .set("HANSHO_RELAY__STEP_TIMEOUT", "500ms")
        .set("HANSHO_RELAY__DOT_TIMEOUT", "5s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_worker_is_taken_over_and_no_one_is_left_out_or_mailed_twice() {
    let Some(database) = fresh_postgres().await else { return };
    // Slowly enough for every kill to come before the last mail.
    let slowly = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(80)));
    let plan = with_short_leases(Society::plan()).on(database).members(MEMBERS).relay(slowly);
    let society = plan.found().await;
    let notice = society.released("訓練開始のお知らせ").await;
    let survivor = society.serve(&["broadcaster"]).await;
    let mut moments = StdRng::seed_from_u64(SEED);
    for kill in 1..=KILLS {
        let victim = society.serve(&["broadcaster"]).await;
        let moment = society.relay.count() + moments.random_range(MAILS_BETWEEN);
        assert!(society.relay.wait_for(moment, PATIENCE).await, "mail {moment} leaves");
        victim.kill_9();
        let evidence = Evidence::of(&society, &notice).await;
        evidence.shows_no_mailed_row_as_unsent();
        // The survivor's own, and what each victim left until its lease is over.
        let (submitting, most) = (evidence.submitting(), CONNECTIONS * (1 + kill));
        assert!(submitting <= most, "kill {kill}: {submitting} rows are submitting");
        assert_eq!(notice.status().await["total"], MEMBERS);
    }
    society.relay.set_script(Script::accept_all());
    notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
    let evidence = Evidence::of(&society, &notice).await;
    evidence.shows_everyone_mailed_once_but_the_unknown();
    let unknown = evidence.addresses("unknown").len();
    assert!((1..=KILLS * CONNECTIONS).contains(&unknown), "{unknown} unknown rows after {KILLS} kills");
    let _ended = survivor.terminate().await.with_code(0);
    the_books_hold(&society).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_hung_past_its_lease_submits_nothing_that_another_took() {
    const ALL_IN_ONE_CHUNK: usize = 60;
    let Some(database) = fresh_postgres().await else { return };
    let society = with_short_leases(Society::plan()).on(database).members(ALL_IN_ONE_CHUNK).found().await;
    let notice = society.released("訓練開始のお知らせ").await;
    let hanging = frozen_on_the_way(&society).await;

    // The other one takes the rows when the claim is over, and is held at its first mails: these
    // are the rows that the hanging worker would submit next.
    let seen = society.relay.count();
    let slowly = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_secs(3)));
    society.relay.set_script(slowly);
    let other = society.serve(&["broadcaster"]).await;
    let taken = seen + CONNECTIONS as u64;
    assert!(society.relay.wait_for(taken, PATIENCE).await, "the other worker takes over");
    hanging.thaw();
    society.relay.set_script(Script::accept_all());

    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let evidence = Evidence::of(&society, &notice).await;
    evidence.shows_everyone_mailed_once_but_the_unknown();
    assert!(evidence.addresses("unknown").is_empty(), "every lease held, nothing became unknown");
    for serve in [hanging, other] {
        let _ended = serve.terminate().await.with_code(0);
    }
    the_books_hold(&society).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_hangs_inside_a_commit_holds_up_neither_the_others_nor_a_stop() {
    const HANGS: usize = 5;
    /// What the database waits for a session that hangs inside a transaction, and a busy machine.
    const STOP_MAX: Duration = Duration::from_secs(8);
    let Some(database) = fresh_postgres().await else { return };
    let society = with_short_leases(Society::plan()).on(database).members(2_500).found().await;
    let notice = society.released("訓練開始のお知らせ").await;
    let hanging = society.serve(&["broadcaster"]).await;
    let other = society.serve(&["broadcaster"]).await;
    // The relay answers at once, so a worker spends its time in commits: that is where it hangs.
    for hang in 1..=HANGS {
        let moment = society.relay.count() + 30;
        assert!(society.relay.wait_for(moment, PATIENCE).await, "mail {moment} leaves");
        hanging.freeze();
        let moment = society.relay.count() + 90;
        assert!(society.relay.wait_for(moment, PATIENCE).await, "hang {hang}: the other worker goes on");
        if hang == HANGS {
            let pressed = Instant::now();
            let _stopped = notice.stop_by(&society.engineer).await.done();
            assert!(pressed.elapsed() < STOP_MAX, "the stop took {:?}", pressed.elapsed());
        }
        hanging.thaw();
    }
    assert!(notice.tally().await.open() > 0, "the stop came on the way: {:?}", notice.tally().await);
    let _resumed = notice.resume_by(&society.approver, "止まった機械を直した").await.done();
    notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
    let evidence = Evidence::of(&society, &notice).await;
    evidence.shows_everyone_mailed_once_but_the_unknown();
    let unknown = evidence.addresses("unknown").len();
    assert!(unknown <= HANGS * CONNECTIONS, "{unknown} unknown rows after {HANGS} hangs");
    for serve in [hanging, other] {
        let _ended = serve.terminate().await.with_code(0);
    }
}

/// A worker that has claimed every row and is stopped in its tracks after a few mails.
async fn frozen_on_the_way(society: &Society) -> Serve {
    let steadily = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(200)));
    society.relay.set_script(steadily);
    let hanging = society.serve(&["broadcaster"]).await;
    assert!(society.relay.wait_for(CONNECTIONS as u64, PATIENCE).await, "mails leave");
    hanging.freeze();
    // What it had on the wire is read before the other one is counted.
    let quiet_since = Duration::from_millis(300);
    until("the relay to hear nothing more", PATIENCE, async || {
        let before = society.relay.count();
        tokio::time::sleep(quiet_since).await;
        (society.relay.count() == before).then_some(())
    })
    .await;
    hanging
}
