//! Law 4: a row is durably `submitting` before its final dot can be sent, and its outcome is
//! durable before that connection's next dot.

use domain::{BroadcastState, DeliveryState};
use hansho_tests::{PATIENCE, Society, until};
use rehearsal::relay::{Script, Verdict};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use store::{LedgerFilter, Store};
use testkit::fresh_databases;
use tokio::{runtime::Handle, task::block_in_place};

#[tokio::test(flavor = "multi_thread")]
async fn law_4_whoever_is_on_the_line_stands_in_the_ledger_already() {
    // A relay that takes every dot and hesitates to answer.
    let hesitates = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_secs(3_600)));
    let society = Society::plan().members(100).relay(hesitates).found().await;
    let service = society.serve(&[]).await;
    let notice = society.released("安否確認").await;
    until("a dot on each connection", PATIENCE, async || (society.relay.count() == 8).then_some(())).await;
    let on_the_line: BTreeSet<String> = society.dots().into_iter().flat_map(|dot| dot.recipients).collect();
    assert_eq!(in_state(&society, &notice, DeliveryState::Submitting).await, on_the_line);

    // So after the worst, these and no others are in doubt.
    service.kill_9();
    let _again = society.serve(&["broadcaster"]).await;
    assert_eq!(in_state(&society, &notice, DeliveryState::Unknown).await, on_the_line);
    let tally = notice.tally().await;
    assert_eq!(tally.unknown + tally.pending + tally.submitting, 100, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn law_4_each_outcome_is_durable_before_the_next_dot() {
    for database in fresh_databases().await {
        let society =
            Society::plan().members(60).set("HANSHO_RELAY__CONNECTIONS", "1").on(database).found().await;
        let _service = society.serve(&[]).await;
        let notice = society.approved("安否確認").await;
        let watch = Arc::new(Watch {
            store: society.store().clone(),
            broadcast: notice.id(),
            broken: Mutex::default(),
            looks: Mutex::default(),
        });
        let (seen, relay) = (watch.clone(), society.relay.record());
        let look = Arc::new(move |address: &str| seen.look(address, relay.count()));
        society.relay.set_script(Script::accept_all().watch_dots(look));
        let _released = notice.send().await.done();
        notice.becomes(BroadcastState::Completed, PATIENCE).await;
        assert_eq!(*watch.broken.lock().expect("no panic"), Vec::<String>::new());
        assert!(*watch.looks.lock().expect("no panic") >= 60);
    }
}

/// Looks into the ledger from within the relay.
struct Watch {
    store: Store,
    broadcast: domain::BroadcastId,
    broken: Mutex<Vec<String>>,
    looks: Mutex<u64>,
}

impl Watch {
    /// On one connection every earlier dot has its outcome, and this recipient its intent.
    fn look(&self, address: &str, earlier: u64) {
        let rows = block_in_place(|| {
            Handle::current().block_on(self.store.ledger_page(
                self.broadcast,
                LedgerFilter::default(),
                0,
                100,
            ))
        });
        let rows = rows.expect("the ledger can be read");
        let accepted = rows.iter().filter(|row| row.state == "accepted").count() as u64;
        let own = rows.iter().find(|row| row.address == address).map(|row| row.state.as_str());
        *self.looks.lock().expect("no panic") += 1;
        if accepted != earlier || own != Some("submitting") {
            let broken = format!("{earlier} dots, {accepted} accepted, {address} is {own:?}");
            self.broken.lock().expect("no panic").push(broken);
        }
    }
}

async fn in_state(
    society: &Society,
    notice: &hansho_tests::Broadcast<'_>,
    state: DeliveryState,
) -> BTreeSet<String> {
    let filter = LedgerFilter { state: Some(state), ..LedgerFilter::default() };
    let rows =
        society.store().ledger_page(notice.id(), filter, 0, 1_000).await.expect("the ledger can be read");
    rows.into_iter().map(|row| row.address).collect()
}
