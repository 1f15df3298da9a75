//! Everything that can go wrong with a relay, at every step, against the real service: what the
//! ledger then says is the table in `docs/fault-matrix.md`, which this test writes
//! (`HANSHO_WRITE_DOCS=1`) and otherwise compares.
//!
//! Each cell is one recipient's first submission. Whatever the cell, the relay's own record decides
//! whether the ledger told the truth.

mod postfix;
mod relay;
mod secured;

use domain::{BroadcastState, MemberId};
use hansho_tests::{Society, until};
use relay::{Cell, Fault, FaultyRelay, Step};
use std::{collections::HashMap, path::Path, time::Duration};

const STEPS: [(Step, &str); 7] = [
    (Step::Connect, "connect"),
    (Step::Greeting, "greeting"),
    (Step::Ehlo, "EHLO"),
    (Step::Mail, "MAIL"),
    (Step::Rcpt, "RCPT"),
    (Step::Data, "DATA"),
    (Step::Dot, "final dot"),
];

const FAULTS: [(Fault, &str); 14] = [
    (Fault::Reply("421 4.3.2 closing"), "421"),
    (Fault::Reply("450 4.2.0 later"), "450"),
    (Fault::Reply("451 4.3.0 later"), "451"),
    (Fault::Reply("452 4.3.1 full"), "452"),
    (Fault::Reply("550 5.1.1 nobody here"), "550"),
    (Fault::Reply("552 5.2.2 mailbox full"), "552"),
    (Fault::Reply("554 5.6.0 not wanted"), "554"),
    (Fault::Garbage, "not SMTP"),
    (Fault::Endless, "a reply without end"),
    (Fault::Dripping, "an octet at a time"),
    (Fault::Stall, "silence"),
    (Fault::Reset, "connection reset"),
    (Fault::Close, "connection closed"),
    (Fault::Late, "the usual reply, late"),
];

/// Every cell waits for its time limits at most; there are about a hundred.
const MATRIX_MAX: Duration = Duration::from_secs(240);
const DOCUMENT: &str = "docs/fault-matrix.md";
const BEGIN: &str = "<!-- written by the test -->\n";

/// The cells, with one that goes well after each: a relay that asked for patience is not asked the
/// next question before it has recovered.
fn cells() -> Vec<Cell> {
    let faulty = STEPS.iter().flat_map(|(step, _)| FAULTS.iter().map(|(fault, _)| (*step, *fault)));
    faulty.filter(|cell| exists(*cell)).flat_map(|cell| [Some(cell), None]).collect()
}

/// Before the greeting there is nothing to say; only to go.
fn exists((step, fault): (Step, Fault)) -> bool {
    step != Step::Connect || fault == Fault::Close
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_relay_does_the_ledger_says_what_is_known() {
    let cells = cells();
    let outcomes = played(&cells, "8BITMIME", "1").await;
    compare(&table(&cells, &outcomes));
}

/// The same where envelopes go ahead with the dot before them (ADR-0006): a failure then meets two
/// mails at once, and which of them it costs an attempt is the relay's timing.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_pipelining_relay_does_the_ledger_says_what_is_known() {
    let _outcomes = played(&cells(), "PIPELINING", "1000").await;
}

/// The first outcome of each cell's recipient, compared with what the relay saw.
async fn played(cells: &[Cell], extensions: &'static str, per_connection: &str) -> HashMap<usize, String> {
    let relay = FaultyRelay::start(cells.to_vec(), extensions).await;
    let plan = Society::plan()
        .members(cells.len())
        .set("HANSHO_RELAY__CONNECTIONS", "1")
        .set("HANSHO_RELAY__MESSAGES_PER_CONNECTION", per_connection)
        // Long enough for the steps that go well on a busy machine.
        .set("HANSHO_RELAY__STEP_TIMEOUT", "2s")
        .set("HANSHO_RELAY__DOT_TIMEOUT", "3s")
        // What is deferred by the relay's word stays as it is.
        .set("HANSHO_BROADCAST__RETRY_FIRST", "2h");
    let society = plan.found().await;
    let notice = society.released("訓練開始のお知らせ").await;
    let serve = society.serve_with(&["broadcaster"], &[("HANSHO_RELAY__URL", &relay.url())]).await;
    notice.counts("every first attempt to end", MATRIX_MAX, |now| now.pending + now.submitting == 0).await;
    until("rows lost before the dot to be sent again", MATRIX_MAX, async || {
        let rows = notice.ledger().await;
        let open = rows.iter().any(|row| row.state == "deferred" && row.smtp_code.is_none());
        (!open).then_some(())
    })
    .await;
    let state = notice.state().await;
    assert_eq!(state, BroadcastState::Sending, "deferred rows keep it open");
    let _ended = serve.terminate().await.with_code(0);

    let record = relay.record();
    let mut outcomes: HashMap<usize, String> = HashMap::new();
    // Whoever was refused at MAIL was never named; they come in the ledger's order, as they were tried.
    let mut unnamed = (0..cells.len()).filter(|cell| record.cells.values().all(|named| named != cell));
    for row in notice.ledger().await {
        let named = record.cells.get(&row.address).copied();
        let cell = named.or_else(|| unnamed.next()).expect("every recipient was tried");
        let first = society.store().attempts(notice.id(), MemberId::new(row.member_id)).await;
        let first = first.expect("attempts").swap_remove(0);
        let (dots, taken) = record.dots.get(&cell).copied().unwrap_or_default();
        tells_the_truth(cells[cell], &row.state, dots, taken);
        let reply = first.smtp_code.map(|code| format!(" {code}")).unwrap_or_default();
        outcomes.insert(cell, format!("{}{reply}", first.state));
    }
    assert_eq!(unnamed.next(), None, "no cell was left out");
    outcomes
}

/// The laws, for one recipient: accepted means that the relay said so; where the dot was out and
/// nothing was said, nobody knows; whoever was surely not reached is not unknown; nobody gets two.
fn tells_the_truth(cell: Cell, state: &str, dots: u32, taken: u32) {
    assert!(taken <= 1 && dots <= 1, "{cell:?}: {dots} mails left for one recipient");
    assert_eq!(state == "accepted", taken == 1, "{cell:?}: the relay took {taken}, the ledger says {state}");
    match cell {
        None | Some((_, Fault::Late)) => assert_eq!(state, "accepted", "{cell:?}"),
        Some((Step::Dot, Fault::Reply(_))) => assert_ne!(state, "unknown", "{cell:?}: the relay said no"),
        Some((Step::Dot, _)) => assert_eq!(state, "unknown", "{cell:?}: the dot was out"),
        Some((Step::Connect | Step::Greeting | Step::Ehlo, _)) => {
            assert_eq!(state, "accepted", "{cell:?}: no recipient pays for a failed session");
        }
        Some((Step::Mail, _)) => {
            assert!(["accepted", "deferred"].contains(&state), "{cell:?}: nobody's own refusal, but {state}");
        }
        Some((Step::Rcpt | Step::Data, _)) => assert_ne!(state, "unknown", "{cell:?}: no dot was out"),
    }
}

fn table(cells: &[Cell], outcomes: &HashMap<usize, String>) -> String {
    let heads: Vec<&str> = STEPS.iter().map(|(_, name)| *name).collect();
    let mut table = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(STEPS.len()));
    for (fault, name) in FAULTS {
        let outcome = |step: Step| {
            let at = cells.iter().position(|cell| *cell == Some((step, fault)));
            at.map_or("–", |at| outcomes[&at].as_str())
        };
        let row: Vec<&str> = STEPS.iter().map(|(step, _)| outcome(*step)).collect();
        table += &format!("| {name} | {} |\n", row.join(" | "));
    }
    table
}

fn compare(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(DOCUMENT);
    let text = std::fs::read_to_string(&path).expect("the document can be read");
    let (before, written) = text.split_once(BEGIN).expect("the document has a place for the table");
    if std::env::var_os("HANSHO_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}")).expect("the document can be written");
        return;
    }
    assert_eq!(written, table, "{DOCUMENT} is not what happens; HANSHO_WRITE_DOCS=1 writes it anew");
}
