//! Rates: the relay's and those of recipient domains.

use crate::office::{Office, addresses, relay, settings};
use broadcaster::{Manners, Settings};
use domain::MemberId;
use rehearsal::relay::{CaptureRelay, Captured, Script, Stage, Verdict};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use store::Engine;

fn limited(relay: &CaptureRelay, rates: &[&str]) -> Settings {
    let mut settings = Settings { connections: 8, ..settings(&relay.url()) };
    settings.limits.relay = rates.iter().map(|rate| rate.parse().expect("a rate")).collect();
    settings
}

/// When the relay saw each dot, in milliseconds.
fn moments(mails: &[Captured]) -> Vec<i64> {
    mails.iter().map(|mail| mail.at.millis()).collect()
}

/// The most dots within any `per` milliseconds.
fn most_within(per: i64, at: &[i64]) -> usize {
    at.iter().map(|start| at.iter().filter(|t| (*start..start + per).contains(*t)).count()).max().unwrap_or(0)
}

#[tokio::test]
async fn the_relay_never_sees_more_than_the_rate_in_any_second() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let id = office.release(&addresses(50, "example.jp")).await;
        let running = office.run(limited(&relay, &["20/s", "1000/h"]));
        office.completed(id).await;
        running.stop().await;
        let at = moments(&relay.captured());
        assert_eq!(at.len(), 50);
        assert!(most_within(1_000, &at) <= 20, "{} in one second", most_within(1_000, &at));
        let took = at.last().expect("dots") - at[0];
        assert!(took < 6_000, "49 intervals of 50 ms took {took} ms: the rate is a limit, not a brake");
    }
}

/// The others go on over the same connection.
#[tokio::test]
async fn a_domain_gets_no_more_mails_over_one_connection_than_it_wants() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let mut audience = addresses(9, "docomo.ne.jp");
        audience.extend(addresses(9, "example.jp"));
        let id = office.release(&audience).await;
        let three = Manners { messages_per_connection: Some(3), ..Manners::default() };
        let manners = [("docomo.ne.jp".to_owned(), three)].into();
        let running = office.run(Settings { connections: 1, manners, ..settings(&relay.url()) });
        office.completed(id).await;
        running.stop().await;
        let mails = relay.captured();
        let over = |connection: u64, domain: &str| {
            let there =
                |mail: &&Captured| mail.connection == connection && mail.recipients[0].ends_with(domain);
            mails.iter().filter(there).count()
        };
        let connections: BTreeSet<u64> = mails.iter().map(|mail| mail.connection).collect();
        let to_docomo: Vec<usize> = connections.iter().map(|each| over(*each, "docomo.ne.jp")).collect();
        assert_eq!(mails.len(), 18);
        assert!(to_docomo.iter().all(|mails| *mails <= 3), "{to_docomo:?}");
        assert!(connections.len() <= 4, "no connection is opened anew for the others: {connections:?}");
    }
}

/// However long the way of each mail takes: the relay counts when it sees it.
#[tokio::test]
async fn a_relay_that_answers_late_sees_no_more_either() {
    for office in Office::each().await {
        let late = Script::accept_all().decide_by(Arc::new(|to: &str| {
            let slow = to.bytes().map(u64::from).sum::<u64>() % 3 == 0;
            slow.then_some(Verdict::AcceptAfter(Duration::from_millis(700)))
        }));
        let relay = relay(late).await;
        let id = office.release(&addresses(40, "example.jp")).await;
        let running = office.run(Settings { connections: 16, ..limited(&relay, &["10/s"]) });
        office.completed(id).await;
        running.stop().await;
        assert!(most_within(1_000, &moments(&relay.captured())) <= 10);
    }
}

#[tokio::test]
async fn two_broadcasters_together_keep_to_one_limit() {
    for office in Office::each().await {
        if office.store.engine() == Engine::Sqlite {
            continue;
        }
        let relay = relay(Script::accept_all()).await;
        let id = office.release(&addresses(90, "example.jp")).await;
        let both = [0, 1].map(|_| {
            let small = Settings { chunk_size: 10, ..limited(&relay, &["20/s", "60/h"]) };
            office.run(small)
        });
        office.wait_for("the hour to be full", async || office.tally(id).await.accepted >= 60).await;
        for running in both {
            running.stop().await;
        }
        let at = moments(&relay.captured());
        assert!(most_within(1_000, &at) <= 20, "{} in one second", most_within(1_000, &at));
        assert_eq!(at.len(), 60, "the hour is not over");
        let workers =
            office.number("SELECT COUNT(DISTINCT lease_id) AS n FROM delivery WHERE state = 'accepted'");
        assert_eq!(workers.await, 2, "both sent");
    }
}

#[tokio::test]
async fn a_window_is_not_forgotten_by_a_restart() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let first = office.release(&addresses(6, "example.jp")).await;
        let running = office.run(limited(&relay, &["10/h"]));
        office.completed(first).await;
        running.stop().await;
        let second = office.release(&addresses(6, "example.com")).await;
        let running = office.run(limited(&relay, &["10/h"]));
        office.wait_for("the rest of the window", async || office.tally(second).await.accepted == 4).await;
        let open = office.tally(second).await;
        running.stop().await;
        assert_eq!((open.pending, relay.count()), (2, 10), "ten in an hour, whoever sent them");
    }
}

/// A retry is a mail to the relay like any other.
#[tokio::test]
async fn every_attempt_counts_and_is_kept() {
    for office in Office::each().await {
        let twice = Verdict::Defer { tries: 2, at: Stage::AfterDot };
        let relay = relay(Script::accept_all().recipient("m1@example.jp", twice)).await;
        let id = office.release(&addresses(4, "example.jp")).await;
        let running = office.run(limited(&relay, &["5/h"]));
        office.wait_for("five mails", async || relay.captured().len() == 5).await;
        let tally = office.tally(id).await;
        running.stop().await;
        assert_eq!(tally.accepted + tally.deferred + tally.submitting + tally.pending, 4);
        assert!(tally.accepted < 4, "four recipients took six mails, and five may go");
        office.tamper("DELETE FROM pace").await;
        let running = office.run(limited(&relay, &["5/h"]));
        office.completed(id).await;
        running.stop().await;
        let attempts = office.store.attempts(id, MemberId::new(1)).await.expect("attempts");
        let told: Vec<(i64, &str, Option<i64>)> =
            attempts.iter().map(|a| (a.attempt, a.state.as_str(), a.smtp_code)).collect();
        assert_eq!(
            told,
            [(1, "deferred", Some(451)), (2, "deferred", Some(451)), (3, "accepted", Some(250))]
        );
        assert!(attempts.windows(2).all(|pair| pair[0].settled_at <= pair[1].submitted_at));
    }
}

#[tokio::test]
async fn a_slow_domain_does_not_hold_up_the_others() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let people = [addresses(5, "slow.example.jp"), addresses(80, "example.jp")].concat();
        let id = office.release(&people).await;
        let mut slow = settings(&relay.url());
        slow.limits.domains.insert("slow.example.jp".into(), "4/s".parse().expect("a rate"));
        let running = office.run(slow);
        assert_eq!(office.completed(id).await.accepted, 85);
        running.stop().await;
        let mails = relay.captured();
        let is_slow = |mail: &Captured| mail.recipients[0].ends_with("@slow.example.jp");
        let slow: Vec<i64> = mails.iter().filter(|mail| is_slow(mail)).map(|mail| mail.at.millis()).collect();
        let last_fast = mails.iter().rfind(|mail| !is_slow(mail)).expect("fast ones").at.millis();
        assert!(last_fast < slow[4], "the others were done while the slow domain waited");
        assert!(most_within(1_000, &slow) <= 4, "{slow:?}");
    }
}

/// A claim lasts a while, and at a slow rate not every row of it can leave in time. A row whose
/// lease is over must not cost a grant: the pace would go into nothing.
#[tokio::test]
async fn rows_that_waited_too_long_cost_no_grant() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let id = office.release(&addresses(20, "example.jp")).await;
        let short = Settings { chunk_budget: Duration::from_millis(500), ..limited(&relay, &["10/s"]) };
        let start = Instant::now();
        let running = office.run(short);
        assert_eq!(office.completed(id).await.accepted, 20);
        let took = start.elapsed();
        running.stop().await;
        assert_eq!(relay.count(), 20);
        assert!(took < Duration::from_secs(6), "two seconds' worth of mail took {took:?}");
    }
}
