//! A real installation from `init` to the correction, by the command line alone.

use domain::{BroadcastState, Clock, FiscalCalendar, Timestamp};
use hansho_tests::{Broadcast, PATIENCE, Society};
use rehearsal::{
    relay::{Script, Verdict},
    roster::{RosterExpectation, RosterPlan, write_roster},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use testkit::{SystemClock, TestDatabase, fresh_postgres};

const MEMBERS: usize = 240;
const LEDGER_COLUMNS: &str = "member_no,address,state,attempts,smtp_code,enhanced_code,reply,message_id,relay,\
                              submitted_at,settled_at";
const BODY: &str = "{{name}} 様\n\n{{prefecture}}の{{facility}}について、訓練の報告をお願いします。\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_notice_goes_from_an_office_roster_to_its_correction() {
    from_roster_to_correction(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_notice_goes_from_an_office_roster_to_its_correction_on_postgresql() {
    if let Some(database) = fresh_postgres().await {
        from_roster_to_correction(Some(database)).await;
    }
}

async fn from_roster_to_correction(database: Option<TestDatabase>) {
    let plan = Society::plan();
    let society = match database {
        Some(database) => plan.on(database).found().await,
        None => plan.found().await,
    };
    an_office_roster_is_planned_and_then_imported(&society).await;
    audiences_are_counted(&society).await;
    an_audience_is_renamed_and_deleted_once_nothing_waits_for_it(&society).await;
    let serve = society.serve(&[]).await;
    let start = a_notice_is_checked_signed_and_sent(&society).await;
    the_ledger_is_told_as_promised(&society, &start).await;
    a_stopped_notice_goes_on_with_a_reason(&society).await;
    a_correction_goes_to_those_who_were_reached(&society, &start).await;
    assert_eq!(society.hansho(&["ledger", "verify"]).await.done()["ok"], true);
    assert_eq!(society.hansho(&["audit", "verify"]).await.done()["ok"], true);
    let log = serve.terminate().await.with_code(0).stderr;
    for row in start.ledger().await {
        assert!(!log.contains(&row.address), "an address stands in the log:\n{log}");
    }
}

async fn an_office_roster_is_planned_and_then_imported(society: &Society) {
    let roster = society.path("会員名簿.csv");
    let fiscal_year = FiscalCalendar::JAPAN.year_at(SystemClock.now());
    let plan = RosterPlan { members: MEMBERS, fiscal_year, seed: 2020 };
    let expected: RosterExpectation = write_roster(&roster, &plan).expect("a roster can be written");
    let file = roster.display().to_string();

    let planned = society.hansho(&["member", "import", &file]).await.done();
    assert_eq!((&planned["applied"], &planned["import_id"]), (&json!(false), &Value::Null));
    assert_eq!(society.hansho(&["member", "list"]).await.done()["total"], 0, "a plan changes nothing");

    let done = society.hansho(&["member", "import", &file, "--apply"]).await.done();
    assert_eq!(done["applied"], true);
    assert!(done["import_id"].is_i64(), "{done}");
    for key in ["added", "updated", "unchanged", "left"] {
        assert_eq!(done[key], planned[key], "{key}: what was planned is what was done");
    }
    let rejected = done["rejected"].as_array().expect("a list");
    assert!(rejected.len() > expected.without_number, "{rejected:?}");
    assert!(rejected.iter().all(|row| row["row"].is_u64() && row["reason"].is_string()), "{rejected:?}");
    let all = society.hansho(&["audience", "show", "all"]).await.done();
    assert_eq!(all["count"], expected.mailable, "active, of this year, with an address of their own");
}

async fn audiences_are_counted(society: &Society) {
    let north = ["--where", "都道府県=北海道", "--where", "都道府県=青森県"];
    let created = society.hansho(&[&["audience", "create", "北日本"][..], &north[..]].concat()).await.done();
    assert_eq!(created["name"], "北日本");
    let count = created["count"].as_u64().expect("a count");
    assert!((1..MEMBERS as u64).contains(&count), "{created}");
    let listed = society.hansho(&["audience", "list"]).await.done();
    let names: BTreeSet<&str> =
        listed.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, BTreeSet::from(["all", "北日本"]));
}

async fn an_audience_is_renamed_and_deleted_once_nothing_waits_for_it(society: &Society) {
    let create = async |name: &str, condition: &str| {
        society.hansho(&["audience", "create", name, "--where", condition]).await.done()["conditions"].clone()
    };
    let written = "facility=\"A, B病院\"|\"C|D\"";
    assert_eq!(create("本部", "施設名=A, B病院|\"C|D\"").await, json!([written]));
    assert_eq!(create("写し", written).await, json!([written]), "as it is written it is read again");

    let rename = ["audience", "rename", "本部", "支部"];
    let notice = society.draft("exercise", "本部", "訓練", "本文\n").await;
    for change in [&rename[..], &["audience", "delete", "本部"]] {
        let _onlooker = society.hansho(change).by(&society.viewer).await.refused_by("role");
        let refused = society.hansho(change).await.refused_by("state");
        assert!(refused.stderr.contains(&format!("broadcast {}", notice.id())), "{}", refused.stderr);
    }
    let _cancelled = notice.cancel_by(&society.coordinator, "宛先の誤り").await.done();
    assert_eq!(society.hansho(&rename).await.done()["name"], "支部");
    let delete = ["audience", "delete", "支部"];
    let deleted = society.hansho(&delete).by(&society.coordinator).await.done();
    assert_eq!(deleted, json!({"deleted": "支部", "conditions": [written]}));
    let _gone = society.hansho(&delete).await.with_code(4);
}

async fn a_notice_is_checked_signed_and_sent(society: &Society) -> Broadcast<'_> {
    let notice = society.draft("exercise", "all", "訓練開始のお知らせ", BODY).await;
    assert_eq!(notice.status().await["state"], "draft");
    let preflight = notice.preflight().await;
    preflight_has_its_shape(&preflight);
    assert_eq!((&preflight["ok"], &preflight["recipients"]), (&json!(true), &json!(MEMBERS)), "{preflight}");
    assert_eq!(notice.status().await["state"], "preflighted");

    let _early = notice.send().await.refused_by("approval");
    let _own = notice.approve_by(&society.coordinator).await.refused_by("four-eyes");
    let _wrong_role = notice.approve_by(&society.engineer).await.refused_by("role");
    let signed = notice.approve_by(&society.approver).await.done();
    assert_eq!(signed, json!({"given": 1, "required": 1}));
    let _not_the_approver = notice.ask("send", &[], &society.approver).await.refused_by("role");

    let sent = notice.ask("send", &["--wait"], &society.coordinator).await.done();
    assert_eq!((&sent["state"], &sent["accepted"]), (&json!("completed"), &json!(MEMBERS)), "{sent}");
    assert_eq!(notice.status().await, sent);
    for dot in notice.dots().await {
        assert_eq!((dot.recipients.len(), dot.to.len(), dot.copies_to.len()), (1, 1, 0), "law 1: {dot:?}");
        assert!(dot.subject.starts_with("【訓練】") && dot.text.starts_with("【訓練】"), "law 6: {dot:?}");
    }
    notice
}

fn preflight_has_its_shape(preflight: &Value) {
    for key in ["ok", "recipients", "held", "digest", "findings", "forecast"] {
        assert!(!preflight[key].is_null(), "{key} is missing: {preflight}");
    }
    let digest = preflight["digest"].as_str().expect("a digest");
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    for finding in preflight["findings"].as_array().expect("a list") {
        assert!(["rule", "level", "text"].iter().all(|key| finding[key].is_string()), "{finding}");
    }
    let forecast = &preflight["forecast"];
    let finish_at = forecast["finish_at"].as_str().map(Timestamp::parse_rfc3339);
    assert!(forecast["seconds"].is_u64() && matches!(finish_at, Some(Ok(_))), "{forecast}");
}

async fn the_ledger_is_told_as_promised(society: &Society, notice: &Broadcast<'_>) {
    let id = notice.id().to_string();
    let text = society.hansho(&["broadcast", "ledger", &id]).plainly().await.text();
    assert_eq!(text.lines().next(), Some(LEDGER_COLUMNS));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("a CSV");
    assert_eq!(rows.len(), MEMBERS);
    for row in &rows {
        assert_eq!((&row[2], &row[3], &row[4]), ("accepted", "1", "250"), "{row:?}");
        for time in [&row[9], &row[10]] {
            let read = Timestamp::parse_rfc3339(time).expect("RFC 3339");
            assert_eq!(read.to_rfc3339(), time, "in milliseconds");
        }
    }
    let lines = society.hansho(&["broadcast", "ledger", &id, "--format", "jsonl"]).plainly().await.text();
    let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    let keys: BTreeSet<&str> = first.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, LEDGER_COLUMNS.split(',').collect());
    assert_eq!(lines.lines().count(), MEMBERS);
    let nobody_held = society.hansho(&["broadcast", "held", &id]).plainly().await.text();
    assert_eq!(nobody_held, "member_no,name,facility,prefecture,reason\n");
}

async fn a_stopped_notice_goes_on_with_a_reason(society: &Society) {
    let slowly = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(100)));
    society.relay.set_script(slowly);
    let notice = society.released("安否報告のお願い").await;
    notice.counts("the first mails to be out", PATIENCE, |tally| tally.accepted >= 10).await;
    let _onlooker = notice.stop_by(&society.viewer).await.refused_by("role");

    // By whoever is at the machine: a stop asks for no token.
    let id = notice.id().to_string();
    let stopped = society.hansho(&["broadcast", "stop", &id]).await.done();
    let parts = ["accepted", "prevented", "unknown", "rejected", "held", "gave_up"];
    let sum: u64 = parts.iter().map(|key| stopped[key].as_u64().expect("a count")).sum();
    assert_eq!((&stopped["total"], sum), (&json!(MEMBERS), MEMBERS as u64), "{stopped}");
    assert!(stopped["prevented"].as_u64() > Some(0), "the stop came on the way: {stopped}");
    let left = society.relay.count();
    assert_eq!(notice.status().await["state"], "stopped");

    let _no_reason = notice.resume_by(&society.approver, "").await.refused_by("reason");
    let _author = notice.resume_by(&society.coordinator, "続ける").await.refused_by("four-eyes");
    assert_eq!(society.relay.count(), left, "nothing left after the stop's answer");
    society.relay.set_script(Script::accept_all());
    let resumed = notice.resume_by(&society.approver, "文面を確認した").await.done();
    assert_eq!(resumed["id"], notice.id().get());
    notice.becomes(domain::BroadcastState::Completed, PATIENCE).await;
    let recipients: BTreeSet<String> =
        notice.dots().await.into_iter().flat_map(|dot| dot.recipients).collect();
    assert_eq!(recipients.len(), MEMBERS);
    assert_eq!(notice.dots().await.len(), MEMBERS, "everybody once");
}

async fn a_correction_goes_to_those_who_were_reached(society: &Society, wrong: &Broadcast<'_>) {
    let correction = wrong.correct("訂正のお知らせ", "{{name}} 様\n\n先ほどの日時は誤りでした。\n").await;
    let preflight = correction.preflight().await;
    assert_eq!(preflight["ok"], true, "{preflight}");
    let _signed = correction.approve_by(&society.approver).await.done();
    let sent = correction.ask("send", &["--wait"], &society.coordinator).await.done();
    assert_eq!(sent["accepted"], MEMBERS, "{sent}");
    let addresses = async |notice: &Broadcast<'_>| -> BTreeSet<String> {
        notice.ledger().await.into_iter().map(|row| row.address).collect()
    };
    assert_eq!(addresses(&correction).await, addresses(wrong).await, "exactly those, nobody else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_has_both_databases_and_half_of_one_is_none() {
    let society = Society::of(3).await;
    let _serve = society.serve(&[]).await;
    let notice = society.released("訓練開始のお知らせ").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let mail = notice.dots().await.swap_remove(0);
    let text = format!("From: <{}>\nSubject: kept\n\n無事です。\n", mail.to[0]);
    let answer = society.post().await.deliver(&mail.to[0], &mail.reply_to, &text).await;
    assert!(answer.starts_with("250"), "{answer}");

    let copy = society.path("copy.db").display().to_string();
    let _copied = society.hansho(&["db", "backup", &copy]).await.done();
    let moved = [
        ("HANSHO_DATABASE__URL", format!("sqlite://{copy}")),
        ("HANSHO_DATABASE__REPLIES_URL", format!("sqlite://{copy}.replies")),
    ];
    let look = |command: [&str; 2]| {
        let call = society.hansho(&command);
        moved.iter().fold(call, |call, (variable, value)| call.with(variable, value))
    };
    assert_eq!(look(["member", "list"]).await.done()["total"], 3);
    assert_eq!(look(["reply", "list"]).await.done()[0]["subject"], "kept");
    let again = society.hansho(&["db", "backup", &copy]).await.with_code(1);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
}
