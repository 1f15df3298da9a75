//! Rates: the relay's and those of recipient domains.

use crate::office::{Office, addresses, relay, settings};
use broadcaster::Settings;
use rehearsal::relay::Script;
use std::time::{Duration, Instant};

/// The most dots within any `per` milliseconds.
fn most_within(per: i64, at: &[i64]) -> usize {
    at.iter().map(|start| at.iter().filter(|t| (*start..start + per).contains(*t)).count()).max().unwrap_or(0)
}

#[tokio::test]
async fn the_relay_never_sees_more_than_the_rate_in_any_second() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let id = office.release(&addresses(50, "example.jp")).await;
        let rates = vec!["20/s".parse().expect("a rate"), "1000/h".parse().expect("a rate")];
        let running = office.run(Settings { rates, connections: 8, ..settings(&relay.url()) });
        office.completed(id).await;
        running.stop().await;
        let at: Vec<i64> = relay.captured().iter().map(|mail| mail.at.millis()).collect();
        assert_eq!(at.len(), 50);
        let most = most_within(1_000, &at);
        assert!(most <= 20, "{most} in one second, as the relay saw them");
        let took = at.last().expect("dots") - at[0];
        assert!(took < 6_000, "49 intervals of 50 ms took {took} ms: the rate is a limit, not a brake");
    }
}

#[tokio::test]
async fn a_counted_window_is_not_forgotten_by_a_restart() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let hourly = || Settings { rates: vec!["10/h".parse().expect("a rate")], ..settings(&relay.url()) };
        let first = office.release(&addresses(6, "example.jp")).await;
        let running = office.run(hourly());
        office.completed(first).await;
        running.stop().await;
        let second = office.release(&addresses(6, "example.com")).await;
        let running = office.run(hourly());
        office.wait_for("the rest of the window", async || office.tally(second).await.accepted == 4).await;
        let open = office.tally(second).await;
        running.stop().await;
        assert_eq!((open.pending, relay.count()), (2, 10), "ten in an hour, whoever sent them");
    }
}

#[tokio::test]
async fn a_slow_domain_does_not_hold_up_the_others() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let people = [addresses(5, "slow.example.jp"), addresses(80, "example.jp")].concat();
        let id = office.release(&people).await;
        let mut slow = settings(&relay.url());
        slow.per_domain.insert("slow.example.jp".into(), "4/s".parse().expect("a rate"));
        let running = office.run(slow);
        assert_eq!(office.completed(id).await.accepted, 85);
        running.stop().await;
        let mails = relay.captured();
        let is_slow = |mail: &rehearsal::relay::Captured| mail.recipients[0].ends_with("@slow.example.jp");
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
        let rates = vec!["10/s".parse().expect("a rate")];
        let short = Settings { rates, chunk_budget: Duration::from_millis(500), ..settings(&relay.url()) };
        let start = Instant::now();
        let running = office.run(short);
        assert_eq!(office.completed(id).await.accepted, 20);
        let took = start.elapsed();
        running.stop().await;
        assert_eq!(relay.count(), 20);
        assert!(took < Duration::from_secs(6), "two seconds' worth of mail took {took:?}");
    }
}
