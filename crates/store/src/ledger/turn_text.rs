//! The statement of a turn, for any number of rows.

use crate::{Engine, sql};
use std::sync::LazyLock;

static FIRST: LazyLock<String> = LazyLock::new(|| moving(Engine::Sqlite, INTENT_MAY));
static SQLITE: LazyLock<String> = LazyLock::new(|| text_for(Engine::Sqlite));
static POSTGRES: LazyLock<String> = LazyLock::new(|| text_for(Engine::Postgres));

/// Parameters: `$1` worker, `$2` milliseconds that a submission's lease adds to its claim's, `$3`
/// outcomes and `$4` intents as JSON. Gives `id` and `lease_until` of every row that stands as
/// wanted: it moved now, or an earlier try of the same turn moved it.
pub(super) fn turn_text(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => &SQLITE,
        Engine::Postgres => &POSTGRES,
    }
}

/// On SQLite, a turn that was not tried before: rows come one by one from its thread, and where as
/// many moved as were given, their number says it all.
pub(super) fn first_turn_text() -> &'static str {
    &FIRST
}

/// An outcome ends a submission of this worker's.
const OUTCOME_MAY: &str = "delivery.attempts = moved.attempts AND (delivery.state = 'submitting' \
                           OR (delivery.state = moved.state AND delivery.settled_at = moved.settled_at))";
/// An intent that an earlier try made durable. A submission's lease continues the lease of its
/// claim: so a stale claim of the same row by the same worker is told from the one that is being
/// submitted.
const INTENT_STANDS: &str = "delivery.state = 'submitting' AND delivery.attempts = moved.attempts \
                             AND delivery.lease_until = moved.claimed_until + $2";
/// A claimed row of a broadcast that is sending, while its lease lasts.
const INTENT_MAY: &str = "moved.state = 'submitting' AND delivery.state IN ('pending', 'deferred') \
                          AND delivery.attempts = moved.attempts - 1 \
                          AND delivery.lease_until = moved.claimed_until AND delivery.lease_until > clock.now";

fn text_for(engine: Engine) -> String {
    let moving = moving(engine, &format!("({INTENT_STANDS}) OR ({INTENT_MAY})"));
    format!("{moving} RETURNING delivery.id, delivery.lease_until")
}

fn moving(engine: Engine, intent_may: &str) -> String {
    let clock = sql::now_expression(engine);
    let text = |n: usize| format!("row.value ->> {n}");
    let number = |n: usize| format!("CAST(row.value ->> {n} AS BIGINT)");
    let (state, enhanced, reply, relay) = (text(2), text(5), text(6), text(7));
    let (id, attempts, due_at, code, at) = (number(0), number(1), number(3), number(4), number(8));
    let (claimed_until, broadcast) = (number(2), number(3));
    let (done, wanted) = (sql::json_rows(engine, 3), sql::json_rows(engine, 4));
    // What is asked of broadcasts is asked of the few wanted rows: asked of the ledger's,
    // PostgreSQL goes through all of a broadcast's. A stopped one's row can only have been made
    // `submitting` by an earlier try. Its permit was never given out, so nothing was sent: it ends
    // as after a connection that was lost before the dot.
    //
    // The worker is cast: compared to a bare parameter, SQLite's planner looks at its value and plans
    // the statement anew at every turn.
    //
    // `moved` is materialized: where a row has just been changed by another session, PostgreSQL
    // looks at it again, and finds only the first of the others if `moved` is computed again too.
    format!(
        "WITH clock AS (SELECT {clock} AS now), \
         wanted AS (SELECT {id} AS id, {attempts} + 1 AS attempts, {claimed_until} AS claimed_until, \
           {broadcast} IN (SELECT b.id FROM broadcast b, clock WHERE b.state = 'sending' \
             AND (b.finish_by IS NULL OR b.finish_by > clock.now)) AS sending FROM {wanted}), \
         moved AS MATERIALIZED (\
           SELECT {id} AS id, {attempts} AS attempts, CAST(NULL AS BIGINT) AS claimed_until, {state} AS state, \
             CAST(0 AS BIGINT) AS lease_until, {due_at} AS due_at, {code} AS code, {enhanced} AS enhanced, \
             {reply} AS reply, {relay} AS relay, {at} AS settled_at FROM {done} \
           UNION ALL \
           SELECT id, attempts, claimed_until, CASE WHEN sending THEN 'submitting' ELSE 'deferred' END, \
             CASE WHEN sending THEN claimed_until + $2 ELSE 0 END, clock.now, NULL, NULL, NULL, NULL, \
             CASE WHEN sending THEN NULL ELSE clock.now END FROM wanted, clock) \
         UPDATE delivery SET state = moved.state, attempts = moved.attempts, lease_until = moved.lease_until, \
           due_at = moved.due_at, smtp_code = moved.code, enhanced_code = moved.enhanced, \
           reply = moved.reply, relay = moved.relay, settled_at = moved.settled_at, \
           submitted_at = CASE moved.state WHEN 'submitting' THEN clock.now ELSE delivery.submitted_at END \
         FROM moved, clock WHERE delivery.id = moved.id AND delivery.lease_id = CAST($1 AS BIGINT) AND \
           CASE WHEN moved.claimed_until IS NULL THEN {OUTCOME_MAY} \
                ELSE {intent_may} END"
    )
}
