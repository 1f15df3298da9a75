//! Nobody twice, nothing unapproved, nothing after a stop.

use crate::office::{Office, addresses, relay, settings};
use broadcaster::Settings;
use rehearsal::relay::{CaptureRelay, Script, Verdict};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use testkit::{Port, SystemClock};

#[tokio::test]
async fn without_a_relay_every_row_stays_pending() {
    for office in Office::each().await {
        let (_port, url) = quiet_relay();
        let id = office.release(&addresses(3, "example.jp")).await;
        let running = office.run(settings(&url));
        office.wait_for("a claim", async || office.number(LEASED).await > 0).await;
        running.stop().await;
        let tally = office.tally(id).await;
        assert_eq!((tally.pending, tally.total()), (3, 3));
        assert!(office.rows(id).await.iter().all(|row| row.attempts == 0), "no attempt was counted");
        assert_eq!(office.number(LEASED).await, 0, "a drained worker gives its rows back");
    }
}

const LEASED: &str = "SELECT COUNT(*) AS n FROM delivery WHERE lease_id > 0";

/// While the relay is away leases end and rows are claimed again, by the same process: copies of a
/// row wait at several connections. Once the relay is back, one of them may send.
#[tokio::test]
async fn an_outage_longer_than_a_lease_sends_nobody_twice() {
    for office in Office::each().await {
        let (port, url) = quiet_relay();
        let people = addresses(3, "example.jp");
        let id = office.release(&people).await;
        let patient =
            Settings { connections: 12, chunk_budget: Duration::from_millis(150), ..settings(&url) };
        let running = office.run(patient);
        let claimed = "SELECT MAX(lease_until) AS n FROM delivery";
        for _ in 0..5 {
            let before = office.number(claimed).await;
            office.wait_for("the next claim", async || office.number(claimed).await > before).await;
        }
        // Slow answers keep the submissions open for long enough to meet each other.
        let script = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(400)));
        let relay = CaptureRelay::start(port.address(), script, Arc::new(SystemClock))
            .await
            .expect("the relay is back");
        assert_eq!(office.completed(id).await.accepted, 3);
        running.stop().await;
        let mut mails: BTreeMap<String, u32> = BTreeMap::new();
        for mail in relay.captured() {
            *mails.entry(mail.recipients[0].clone()).or_default() += 1;
        }
        assert_eq!(mails, people.into_iter().map(|address| (address, 1)).collect());
    }
}

/// A relay that does not listen yet.
fn quiet_relay() -> (Port, String) {
    let port = Port::claim();
    let url = format!("smtp://{}", port.address());
    (port, url)
}

#[tokio::test]
async fn rows_changed_after_the_approval_are_not_sent() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let tampered = office.release(&addresses(2, "example.jp")).await;
        office.tamper("UPDATE delivery SET address = 'stranger@example.org' WHERE member_no = '00001'").await;
        let terms = office.release(&addresses(2, "example.net")).await;
        office
            .tamper(&format!(
                "UPDATE broadcast SET terms = replace(terms, '開始', '変更') WHERE id = {terms}"
            ))
            .await;
        let unsigned = office.release(&addresses(2, "example.edu")).await;
        office.tamper(&format!("DELETE FROM signature WHERE broadcast_id = {unsigned}")).await;
        let honest = office.release(&addresses(2, "example.com")).await;
        let running = office.run(settings(&relay.url()));
        office.completed(honest).await;
        running.stop().await;
        for id in [tampered, terms, unsigned] {
            let tally = office.tally(id).await;
            assert_eq!((tally.pending, tally.total()), (2, 2), "nothing of broadcast {id} left");
        }
        let mails = relay.captured();
        assert!(mails.iter().all(|mail| mail.recipients[0].ends_with("@example.com")) && mails.len() == 2);
    }
}

#[tokio::test]
async fn a_stop_lets_at_most_one_mail_per_connection_complete() {
    for office in Office::each().await {
        let script = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(20)));
        let relay = relay(script).await;
        let id = office.release(&addresses(400, "example.jp")).await;
        let running = office.run(settings(&relay.url()));
        assert!(relay.wait_for(40, Duration::from_secs(30)).await, "it sends");
        let before = relay.count();
        office.stop_broadcast(id).await;
        let at_stop = relay.count();
        office.wait_for("the last open mails", async || office.tally(id).await.submitting == 0).await;
        let tally = office.tally(id).await;
        assert!(
            relay.count() <= at_stop + 4,
            "{before} before, {at_stop} at, {} after the stop",
            relay.count()
        );
        assert_eq!((tally.accepted, tally.total()), (relay.count(), 400), "{tally:?}");
        assert!(tally.pending > 300);
        running.stop().await;
        assert_eq!(office.tally(id).await.accepted, relay.count(), "and nothing afterwards");
    }
}

/// Several processes share one PostgreSQL ledger.
#[tokio::test]
async fn two_processes_at_once_send_nobody_twice() {
    for office in Office::each().await {
        if office.store.engine() == store::Engine::Sqlite {
            continue;
        }
        let relay = relay(Script::accept_all()).await;
        let id = office.release(&addresses(150, "example.jp")).await;
        let few = || Settings { chunk_size: 10, ..settings(&relay.url()) };
        let (one, other) = (office.run(few()), office.run(few()));
        assert_eq!(office.completed(id).await.accepted, 150);
        one.stop().await;
        other.stop().await;
        assert_eq!(relay.count(), 150);
        let workers = office.number("SELECT COUNT(DISTINCT lease_id) AS n FROM delivery").await;
        assert_eq!(workers, 2, "both had their share");
    }
}
