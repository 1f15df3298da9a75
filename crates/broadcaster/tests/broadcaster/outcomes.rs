//! What the relay says and what the ledger then knows.

use crate::office::{Office, addresses, header, relay, settings};
use broadcaster::{Settings, UnknownPolicy};
use domain::Clock;
use rehearsal::relay::{Answer, Cut, Script, Stage, Verdict};
use std::{collections::BTreeSet, time::Duration};
use testkit::SystemClock;

#[tokio::test]
async fn every_recipient_gets_one_mail_in_an_envelope_of_its_own() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all()).await;
        let people = addresses(120, "example.jp");
        let id = office.release(&people).await;
        let running = office.run(settings(&relay.url()));
        let tally = office.completed(id).await;
        assert_eq!((tally.accepted, tally.total()), (120, 120));

        let mails = relay.captured();
        let reached: BTreeSet<String> = mails.iter().flat_map(|mail| mail.recipients.clone()).collect();
        assert_eq!((mails.len(), reached), (120, people.iter().cloned().collect()));
        for mail in &mails {
            assert_eq!(mail.recipients.len(), 1, "one envelope, one recipient");
            let text = String::from_utf8_lossy(&mail.raw);
            let named: Vec<&String> = people.iter().filter(|person| text.contains(person.as_str())).collect();
            assert_eq!(named, [&mail.recipients[0]], "no mail names another member");
            assert!(mail.mail_from.ends_with("@reply.example.jp"), "bounces come to the sink");
        }
        assert!(relay.connections_peak() <= 4);
        let ids: BTreeSet<String> = mails.iter().map(|mail| header(mail, "message-id")).collect();
        let rows = office.rows(id).await;
        assert_eq!(ids, rows.iter().map(|row| row.message_id.clone()).collect());
        assert!(rows.iter().all(|row| row.attempts == 1 && row.smtp_code == Some(250)));
        running.stop().await;
        assert_eq!(relay.connections_open(), 0, "goodbye was said");
    }
}

#[tokio::test]
async fn a_recipient_deferred_at_rcpt_or_after_the_dot_is_tried_again() {
    for office in Office::each().await {
        let script = Script::accept_all()
            .recipient("m1@example.jp", Verdict::Defer { tries: 1, at: Stage::Rcpt })
            .recipient("m2@example.jp", Verdict::Defer { tries: 2, at: Stage::AfterDot });
        let relay = relay(script).await;
        let id = office.release(&addresses(4, "example.jp")).await;
        let running = office.run(settings(&relay.url()));
        assert_eq!(office.completed(id).await.accepted, 4);
        let attempts: Vec<i64> = office.rows(id).await.iter().map(|row| row.attempts).collect();
        assert_eq!(attempts, [2, 3, 1, 1]);
        assert_eq!(relay.refused_at_rcpt().len(), 1);
        let mut dots = relay.captured();
        dots.retain(|mail| mail.recipients[0] == "m2@example.jp");
        let answers: Vec<Answer> = dots.iter().map(|mail| mail.answer).collect();
        assert_eq!(answers, [Answer::Deferred(451), Answer::Deferred(451), Answer::Accepted]);
        let ids: BTreeSet<String> = dots.iter().map(|mail| header(mail, "message-id")).collect();
        assert_eq!(ids.len(), 1, "every attempt has the same Message-ID");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_refused_recipient_is_rejected_for_good_and_holds_up_nobody() {
    for office in Office::each().await {
        let script = Script::accept_all()
            .recipient("m1@example.jp", Verdict::Refuse { at: Stage::Rcpt })
            .recipient("m2@example.jp", Verdict::Refuse { at: Stage::AfterDot });
        let relay = relay(script).await;
        let id = office.release(&addresses(6, "example.jp")).await;
        let running = office.run(Settings { connections: 1, ..settings(&relay.url()) });
        let tally = office.completed(id).await;
        assert_eq!((tally.rejected, tally.accepted), (2, 4));
        let rows = office.rows(id).await;
        for row in &rows[..2] {
            assert_eq!(
                (row.attempts, row.smtp_code, row.enhanced_code.as_deref()),
                (1, Some(550), Some("5.1.1"))
            );
        }
        assert_eq!((relay.count(), relay.refused_at_rcpt().len()), (5, 1), "nobody was tried twice");
        assert_eq!(relay.connections_peak(), 1);
        running.stop().await;
    }
}

/// Old telephones' addresses are no addresses by the standard, and relays differ in how they want
/// them written.
#[tokio::test]
async fn an_old_telephones_address_is_written_as_the_relay_takes_it() {
    for office in Office::each().await {
        let script = Script::accept_all()
            .recipient("\"a..b\"@docomo.ne.jp", Verdict::Misread)
            .recipient("c..d@docomo.ne.jp", Verdict::Misread)
            .recipient("\"e..f\"@docomo.ne.jp", Verdict::Misread)
            .recipient("e..f@docomo.ne.jp", Verdict::Refuse { at: Stage::Rcpt });
        let relay = relay(script).await;
        let people = ["a..b@docomo.ne.jp", "c..d@docomo.ne.jp", "e..f@docomo.ne.jp", "g@docomo.ne.jp"];
        let id = office.release(&people.map(str::to_owned)).await;
        let running = office.run(Settings { connections: 1, ..settings(&relay.url()) });
        let tally = office.completed(id).await;
        running.stop().await;
        let reached: BTreeSet<String> =
            relay.captured().iter().flat_map(|mail| mail.recipients.clone()).collect();
        let expected = ["a..b@docomo.ne.jp", "\"c..d\"@docomo.ne.jp", "g@docomo.ne.jp"];
        assert_eq!(relay.count(), 3, "nobody got two");
        assert_eq!(reached, expected.map(str::to_owned).into());
        assert_eq!((tally.accepted, tally.rejected), (3, 1));
        let rows = office.rows(id).await;
        assert!(rows.iter().all(|row| row.attempts == 1), "it is one attempt");
        assert_eq!(rows[2].smtp_code, Some(550), "what was said of the second spelling counts");
    }
}

#[tokio::test]
async fn a_connection_cut_after_the_dot_leaves_one_unknown_row_that_is_never_sent_again() {
    for office in Office::each().await {
        let script = Script::accept_all().recipient("m3@example.jp", Verdict::CutAfterDot(Cut::Always));
        let relay = relay(script).await;
        let id = office.release(&addresses(8, "example.jp")).await;
        let running = office.run(settings(&relay.url()));
        let tally = office.completed(id).await;
        assert_eq!((tally.unknown, tally.accepted), (1, 7));
        running.stop().await;
        assert_eq!(dots_of(&relay.captured(), "m3@example.jp"), 1);

        // A new process finds the row as it is, and sends something else meanwhile.
        let running = office.run(settings(&relay.url()));
        let other = office.release(&addresses(3, "example.com")).await;
        office.completed(other).await;
        running.stop().await;
        assert_eq!(dots_of(&relay.captured(), "m3@example.jp"), 1, "a person decides");
        assert_eq!(office.tally(id).await.unknown, 1);
    }
}

fn dots_of(mails: &[rehearsal::relay::Captured], address: &str) -> usize {
    mails.iter().filter(|mail| mail.recipients[0] == address).count()
}

#[tokio::test]
async fn a_relay_that_does_not_answer_the_dot_leaves_the_row_unknown_after_the_timeout() {
    for office in Office::each().await {
        let minutes = Verdict::AcceptAfter(Duration::from_secs(300));
        let relay = relay(Script::accept_all().recipient("m1@example.jp", minutes)).await;
        let id = office.release(&addresses(5, "example.jp")).await;
        let hasty = Settings { dot_timeout: Duration::from_millis(300), ..settings(&relay.url()) };
        let running = office.run(hasty);
        let tally = office.completed(id).await;
        assert_eq!((tally.unknown, tally.accepted), (1, 4));
        assert_eq!(relay.count(), 5, "the dot was out, and was not sent again");
        assert_eq!(office.rows(id).await[0].smtp_code, None);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_relay_that_falls_silent_before_the_dot_costs_no_certainty() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all().stop_answering_after(3)).await;
        let id = office.release(&addresses(6, "example.jp")).await;
        let hasty = Settings {
            connections: 1,
            step_timeout: Duration::from_millis(300),
            dot_timeout: Duration::from_millis(300),
            ..settings(&relay.url())
        };
        let running = office.run(hasty);
        office.wait_for("the silence", async || office.tally(id).await.deferred > 0).await;
        let tally = office.tally(id).await;
        assert_eq!((tally.accepted, tally.unknown), (3, 0), "{tally:?}: nothing was lost after a dot");
        relay.set_script(Script::accept_all());
        let tally = office.completed(id).await;
        assert_eq!((tally.accepted, relay.count()), (6, 6), "nobody twice");
        running.stop().await;
    }
}

#[tokio::test]
async fn the_policy_retry_sends_an_unknown_row_again_with_the_same_message_id() {
    for office in Office::each().await {
        // The last row is the one that is cut: nothing else keeps the broadcast open.
        let script = Script::accept_all().recipient("m3@example.jp", Verdict::CutAfterDot(Cut::FirstTry));
        let relay = relay(script).await;
        let id = office.release(&addresses(3, "example.jp")).await;
        let retry = Settings { unknown: UnknownPolicy::Retry, connections: 1, ..settings(&relay.url()) };
        let running = office.run(retry);
        office.wait_for("the second try", async || office.tally(id).await.accepted == 3).await;
        running.stop().await;
        let mut dots = relay.captured();
        dots.retain(|mail| mail.recipients[0] == "m3@example.jp");
        assert_eq!(dots.iter().map(|mail| mail.answer).collect::<Vec<_>>(), [Answer::Cut, Answer::Accepted]);
        assert_eq!(header(&dots[0], "message-id"), header(&dots[1], "message-id"));
        assert_eq!(office.rows(id).await[2].attempts, 2);
    }
}

/// A relay that always breaks off must not flood one person's mailbox.
#[tokio::test]
async fn the_policy_retry_waits_longer_each_time_and_ends_with_the_period_of_retries() {
    for office in Office::each().await {
        let script = Script::accept_all().everyone_else(Verdict::CutAfterDot(Cut::Always));
        let relay = relay(script).await;
        let id = office.release(&addresses(1, "example.jp")).await;
        let retry = Settings {
            unknown: UnknownPolicy::Retry,
            retry_first: Duration::from_millis(200),
            retry_for: Duration::from_millis(2_500),
            ..settings(&relay.url())
        };
        let running = office.run(retry);
        let over = SystemClock.now().plus(Duration::from_millis(3_500));
        office.wait_for("the end of retries", async || SystemClock.now() > over).await;
        let tally = office.completed(id).await;
        running.stop().await;
        assert_eq!(tally.unknown + tally.gave_up, 1, "{tally:?}");
        let dots: Vec<i64> = relay.captured().iter().map(|mail| mail.at.millis()).collect();
        assert!((2..=5).contains(&dots.len()), "{dots:?}");
        let waits: Vec<i64> = dots.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (wait, least) in waits.iter().zip([200, 400, 800, 1_600]) {
            assert!(*wait >= least, "{waits:?}");
        }
    }
}

#[tokio::test]
async fn what_is_still_open_at_the_end_of_a_notice_is_given_up() {
    for office in Office::each().await {
        let relay = relay(Script::accept_all().refuse_connections_after(0)).await;
        let soon = SystemClock.now().plus(Duration::from_millis(700));
        let id = office.release_until(&addresses(3, "example.jp"), Some(soon)).await;
        let running = office.run(settings(&relay.url()));
        let tally = office.completed(id).await;
        assert_eq!((tally.gave_up, tally.total()), (3, 3));
        assert!(SystemClock.now() > soon, "not before its end");
        relay.set_script(Script::accept_all());
        let other = office.release(&addresses(2, "example.com")).await;
        assert_eq!(office.completed(other).await.accepted, 2);
        running.stop().await;
        assert_eq!(relay.count(), 2, "what was given up is not sent later");
    }
}
