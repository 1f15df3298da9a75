//! September 2020. A society of 4,000 wrote to its members; after 3,000 the server timed out.
//! Nobody knew which 3,000. An engineer sent again to those *believed* not to have been reached.

use domain::BroadcastState;
use hansho_tests::{Broadcast, Dot, PATIENCE, Society, member_address};
use rehearsal::relay::{Cut, Script, Verdict};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const MEMBERS: u64 = 4_000;
const REACHED: u64 = 3_000;
const CONNECTIONS: u64 = 8;
/// The page that was pressed in 2020 worked for five minutes before it failed.
const PAGE_MAX: Duration = Duration::from_secs(5);
/// A debug build on two busy cores.
const RUN_MAX: Duration = Duration::from_secs(120);

/// 4,000 members and a relay that loses one connection on the way and falls silent after 3,000
/// mails.
async fn the_society() -> Society {
    let relay = Script::accept_all()
        .everyone_else(Verdict::AcceptAfter(Duration::from_millis(5)))
        .recipient(&member_address(1_500), Verdict::CutAfterDot(Cut::Always))
        .stop_answering_after(REACHED);
    Society::plan()
        .members(MEMBERS as usize)
        .set("HANSHO_BROADCAST__DAILY_CAP", "4000")
        .set("HANSHO_RELAY__STEP_TIMEOUT", "1s")
        .set("HANSHO_RELAY__DOT_TIMEOUT", "2s")
        .relay(relay)
        .found()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_3000_of_4000_nobody_has_to_guess() {
    let society = the_society().await;
    let _service = society.serve(&[]).await;
    let notice = society.approved("安否確認のお願い").await;

    // Then, the page itself did the sending. Now, pressing the button only enqueues.
    let pressed = Instant::now();
    let _released = notice.send().await.done();
    assert!(pressed.elapsed() < PAGE_MAX, "the button's answer took {:?}", pressed.elapsed());
    assert!(society.relay.count() < REACHED, "nobody waited for the mails");

    // Then, "about" 3,000 had been reached. Now it is known who, by name.
    notice
        .counts("3,000 taken and no mail on the line", RUN_MAX, |tally| {
            tally.accepted == REACHED && tally.submitting == 0
        })
        .await;
    let unknown = everyone_is_accounted_for(&society, &notice).await;
    let reached = recipients(&society.dots(), Dot::accepted);

    // Then, an engineer sent again by hand. Now the run goes on by itself as soon as the relay
    // answers, and writes to nobody who was reached or may have been.
    let silence = society.relay.count();
    society.relay.set_script(Script::accept_all());
    notice.becomes(BroadcastState::Completed, RUN_MAX).await;
    let tally = notice.tally().await;
    assert_eq!((tally.accepted, tally.unknown), (MEMBERS - unknown.len() as u64, unknown.len() as u64));
    let after = society.dots().split_off(silence as usize);
    let written_to = recipients(&after, |_| true);
    assert_eq!(written_to.len(), after.len(), "each of them got one mail");
    assert!(written_to.is_disjoint(&reached), "none of the 3,000 got a second one");
    assert!(written_to.is_disjoint(&unknown), "and no program guessed about the unknown ones");

    // Whose mail was on the line when the relay fell silent is the one question left. A person
    // answers it, and whoever has it already can tell by the Message-ID.
    let settled = notice.settle_by(&society.coordinator, "resend", &[]).await.done();
    assert_eq!(settled["settled"], unknown.len());
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(notice.tally().await.accepted, MEMBERS);
    assert_eq!(handed_over_again(&society), unknown);
}

/// The ledger, the relay's own record and arithmetic agree; gives those whose outcome is unknown.
async fn everyone_is_accounted_for(society: &Society, notice: &Broadcast<'_>) -> BTreeSet<String> {
    let status = notice.status().await;
    assert_eq!((&status["total"], &status["accepted"]), (&MEMBERS.into(), &REACHED.into()), "{status}");
    let tally = notice.tally().await;
    let lost = 1..=1 + CONNECTIONS;
    assert!(lost.contains(&tally.unknown), "the one cut, and at most one for each connection: {tally:?}");
    assert_eq!(tally.pending + tally.deferred + tally.unknown, MEMBERS - REACHED, "{tally:?}");

    let (dots, ledger) = (society.dots(), notice.ledger().await);
    let rows = |state: &str| -> BTreeSet<String> {
        ledger.iter().filter(|row| row.state == state).map(|row| row.address.clone()).collect()
    };
    assert_eq!(rows("accepted"), recipients(&dots, Dot::accepted), "those reached, by name");
    let unknown = rows("unknown");
    assert_eq!(unknown, recipients(&dots, |dot| !dot.accepted()), "those whose dot got no answer, by name");
    unknown
}

/// Who was handed to the relay more than once; under one Message-ID each.
fn handed_over_again(society: &Society) -> BTreeSet<String> {
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for dot in society.dots() {
        ids.entry(dot.recipients.concat()).or_default().push(dot.message_id);
    }
    ids.retain(|_, ids| ids.len() > 1);
    assert!(ids.values().all(|ids| ids.iter().all(|id| *id == ids[0])), "the Message-ID stays");
    ids.into_keys().collect()
}

fn recipients(dots: &[Dot], chosen: impl Fn(&Dot) -> bool) -> BTreeSet<String> {
    dots.iter().filter(|dot| chosen(dot)).flat_map(|dot| dot.recipients.clone()).collect()
}
