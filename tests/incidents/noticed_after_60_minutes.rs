//! July 2022. Sending began at 07:25 and was noticed at 08:25; it was stopped at 09:20. Reading
//! the mail server's logs took until the evening, and the apology left at 18:10. Now the stop's own
//! answer says how many, the ledger says who, and the correction is addressed from it.

use domain::BroadcastState;
use hansho_tests::{Broadcast, Dot, PATIENCE, Society, member_address};
use rehearsal::relay::{Cut, Script, Stage, Verdict};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const MEMBERS: u64 = 1_500;
/// Then: eight hours and fifty minutes.
const LEDGER_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_mail_is_stopped_counted_and_corrected_in_one_breath() {
    let society = a_society_with_a_moody_relay().await;
    let _service = society.serve(&[]).await;
    let wrong = society.released("ご予約の確認").await;
    wrong
        .counts("a part of it to be out, and one outcome lost", PATIENCE, |tally| {
            tally.accepted >= 200 && tally.unknown >= 1
        })
        .await;

    // Whoever notices it stops it; here the engineer, with no one's approval.
    let stopped = wrong.stop_by(&society.engineer).await.done();
    let part = |name: &str| stopped[name].as_u64().expect("a count");
    let parts = ["accepted", "prevented", "unknown", "rejected", "held", "gave_up"].map(part);
    assert_eq!((parts.iter().sum(), part("total")), (MEMBERS, MEMBERS), "{stopped}");
    assert!(part("prevented") > 0 && part("unknown") >= 1, "{stopped}");

    // Then, a day of reading logs. Now, a query: those reached, by name, with the relay's own word.
    let asked = Instant::now();
    let names = reached_by_the_exported_ledger(&wrong, &society).await;
    assert!(asked.elapsed() < LEDGER_MAX, "the ledger took {:?}", asked.elapsed());
    let reached = recipients(&society.dots(), |dot| dot.accepted());
    assert_eq!(names, reached, "the ledger names those whom the relay took mail for");
    assert_eq!(names.len() as u64, part("accepted"));

    the_correction_reaches_exactly_them(&society, &wrong).await;
}

/// One member's outcome is lost on the line, one is refused, the others take their time.
async fn a_society_with_a_moody_relay() -> Society {
    let slowly = Verdict::AcceptAfter(Duration::from_millis(10));
    let moody = Script::accept_all()
        .everyone_else(slowly)
        .recipient(&member_address(7), Verdict::CutAfterDot(Cut::Always))
        .recipient(&member_address(8), Verdict::Refuse { at: Stage::Rcpt });
    Society::plan()
        .members(MEMBERS as usize)
        .set("HANSHO_RELAY__RATES", r#"["200/s"]"#)
        .relay(moody)
        .found()
        .await
}

async fn reached_by_the_exported_ledger(wrong: &Broadcast<'_>, society: &Society) -> BTreeSet<String> {
    let export = wrong.ask("ledger", &["--format", "jsonl"], &society.coordinator).await.text();
    let rows: Vec<serde_json::Value> =
        export.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert_eq!(rows.len() as u64, MEMBERS);
    let accepted = rows.iter().filter(|row| row["state"] == "accepted");
    accepted
        .map(|row| {
            assert_eq!(row["smtp_code"], 250, "{row}");
            assert!(row["submitted_at"].is_string() && row["settled_at"].is_string(), "{row}");
            row["address"].as_str().expect("an address").to_owned()
        })
        .collect()
}

/// The one who was refused and those prevented know of nothing, and hear of nothing.
async fn the_correction_reaches_exactly_them(society: &Society, wrong: &Broadcast<'_>) {
    let rows = wrong.ledger().await;
    let concerned: BTreeSet<String> = rows
        .iter()
        .filter(|row| row.state == "accepted" || row.state == "unknown")
        .map(|row| row.address.clone())
        .collect();
    assert!(concerned.contains(&member_address(7)), "whose outcome is unknown is told, too");
    assert!(!concerned.contains(&member_address(8)));

    society.relay.set_script(Script::accept_all());
    let before = society.relay.count() as usize;
    let correction = wrong
        .correct("【訂正】先ほどのお知らせについて", "{{name}} 様\n\n誤りでした。お詫びします。\n")
        .await;
    let preflight = correction.preflight().await;
    assert_eq!(preflight["recipients"], concerned.len(), "{preflight}");
    // A correction is a notice: it is signed like one.
    let _refused = correction.send().await.refused_by("approval");
    let _signed = correction.approve_by(&society.approver).await.done();
    let _released = correction.send().await.done();
    correction.becomes(BroadcastState::Completed, PATIENCE).await;
    let mails = society.dots().split_off(before);
    assert_eq!(recipients(&mails, |_| true), concerned);
    assert_eq!(mails.len(), concerned.len(), "once each");
    assert_eq!(wrong.state().await, BroadcastState::Stopped, "the wrong one stays stopped");
}

fn recipients(dots: &[Dot], chosen: impl Fn(&Dot) -> bool) -> BTreeSet<String> {
    dots.iter().filter(|dot| chosen(dot)).flat_map(|dot| dot.recipients.clone()).collect()
}
