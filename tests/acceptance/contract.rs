//! The contract of the command line: one JSON document, exit codes, who acts.

use hansho_tests::{Society, hansho};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn json_is_exactly_one_document_on_stdout() {
    let society = Society::of(3).await;
    let notice = society.approved("訓練開始のお知らせ").await;
    let id = notice.id().to_string();
    let calls: [&[&str]; 12] = [
        &["migrate", "status"],
        &["user", "list"],
        &["member", "list"],
        &["member", "show", "m0001"],
        &["member", "test", "list"],
        &["audience", "list"],
        &["broadcast", "list"],
        &["broadcast", "status", &id],
        &["drill", "list"],
        &["reply", "list"],
        &["audit", "verify"],
        &["ledger", "verify"],
    ];
    for call in calls {
        let answer = society.hansho(call).await.with_code(0);
        // Panics for anything but one document.
        assert!(!answer.json().is_null(), "{call:?}");
        let plain = society.hansho(call).plainly().await.with_code(0);
        assert!(serde_json::from_str::<Value>(&plain.stdout).is_err(), "{call:?} speaks to people");
    }
    for call in [&["broadcast", "status", "999"][..], &["broadcast", "stop", &id][..]] {
        let failed = society.hansho(call).await;
        assert_ne!(failed.code, 0, "{call:?}");
        assert_eq!(failed.stdout, "", "{call:?}: what went wrong stands on stderr");
        assert!(failed.stderr.contains("hansho: "), "{}", failed.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exit_codes_tell_done_failed_usage_refused_and_not_found() {
    let society = Society::of(1).await;
    let coordinator = &society.coordinator;
    let draft = society.draft("exercise", "all", "訓練", "本文\n").await;
    let id = draft.id().to_string();
    let text = society.text("本文\n");
    let unknown_audience = [
        "broadcast",
        "create",
        "--nature",
        "exercise",
        "--subject",
        "訓練",
        "--body-file",
        &text,
        "--audience",
        "誰か",
    ];

    let _done = society.hansho(&["broadcast", "status", &id]).await.with_code(0);
    let _failed = society.hansho(&["broadcast", "list"]).with("HANSHO_TOKEN", "nonsense").await.with_code(1);
    for usage in [&["broadcast"][..], &["broadcast", "status", "first"][..], &["--nonsense"][..]] {
        let _usage = society.hansho(usage).await.with_code(2);
    }
    let _refused =
        society.hansho(&["broadcast", "approve", &id]).by(&society.approver).await.refused_by("state");
    let _refused = society.hansho(&["broadcast", "stop", &id]).by(coordinator).await.with_code(3);
    for missing in [
        &["broadcast", "status", "999"][..],
        &["broadcast", "ledger", "999"][..],
        &["broadcast", "held", "999"][..],
        &["broadcast", "send", "999"][..],
        &["member", "show", "m9999"][..],
        &["audience", "show", "誰か"][..],
        &["audience", "rename", "誰か", "別の誰か"][..],
        &["audience", "delete", "誰か"][..],
        &["reply", "show", "999"][..],
        &["user", "token", "nobody@staff.example.jp"][..],
    ] {
        let call = society.hansho(missing);
        let call = if missing.contains(&"send") { call.by(coordinator) } else { call };
        let answer = call.await.with_code(4);
        assert!(answer.stderr.contains("does not exist"), "{missing:?}: {}", answer.stderr);
    }
    let refused = society.hansho(&unknown_audience).by(coordinator).await.refused_by("preflight");
    let named = refused.stderr.contains("誰か") && refused.stderr.contains("hansho audience list");
    assert!(named, "{}", refused.stderr);
}

/// To an audience of this name.
fn drill_to(audience: &str) -> String {
    format!(
        "title = \"訓練\"\nnature = \"exercise\"\n[[inject]]\nkey = \"start\"\ntitle = \"開始\"\nat = \"0s\"\n\
         subject = \"開始\"\nbody = \"本文\"\naudience = \"{audience}\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_exercise_needs_an_audience_that_exists_and_is_ended_for_good() {
    let society = Society::of(1).await;
    let coordinator = &society.coordinator;
    let file = society.text(&drill_to("誰か"));
    let refused = society.hansho(&["drill", "create", &file]).by(coordinator).await.refused_by("preflight");
    assert!(refused.stderr.contains("hansho audience list"), "{}", refused.stderr);

    let file = society.text(&drill_to("all"));
    let id = society.hansho(&["drill", "create", &file]).by(coordinator).await.done()["id"].to_string();
    let end = ["drill", "end", &id];
    let _onlooker = society.hansho(&end).by(&society.viewer).await.refused_by("role");
    assert_eq!(society.hansho(&end).by(coordinator).await.done()["state"], "ended");
    let _ended = society.hansho(&["drill", "start", &id]).by(coordinator).await.refused_by("state");
    let _missing = society.hansho(&["drill", "end", "999"]).by(coordinator).await.with_code(4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_local_engineer_sets_up_looks_and_stops_but_decides_nothing() {
    let society = Society::of(2).await;
    let notice = society.approved("訓練開始のお知らせ").await;
    let (id, text) = (notice.id().to_string(), society.text("本文\n"));
    let create = [
        "broadcast",
        "create",
        "--nature",
        "exercise",
        "--subject",
        "訓練",
        "--body-file",
        &text,
        "--audience",
        "all",
    ];
    for decision in [
        &create[..],
        &["broadcast", "preflight", &id][..],
        &["broadcast", "approve", &id][..],
        &["broadcast", "send", &id][..],
        &["broadcast", "settle", &id, "--as", "resend"][..],
    ] {
        let _refused = society.hansho(decision).await.refused_by("role");
    }
    let _released = notice.send().await.done();
    let _stopped = society.hansho(&["broadcast", "stop", "--all"]).await.done();
    assert_eq!(notice.status().await["state"], "stopped");
    let resume = ["broadcast", "resume", &id, "--reason", "早く"];
    let _refused = society.hansho(&resume).await.refused_by("role");

    // Nor can one person become the second pair of eyes after the fact.
    let accomplice = ["user", "add", "accomplice@staff.example.jp", "--role", "approver"];
    let _refused = society.hansho(&accomplice).await.refused_by("four-eyes");
    let token = ["user", "token", &society.approver.email];
    let _refused = society.hansho(&token).await.refused_by("four-eyes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_configuration_is_found_by_its_variable_and_init_overwrites_nothing() {
    let society = Society::of(1).await;
    let config = society.path("hansho.toml").display().to_string();
    let found = hansho(&["member", "list"]).with("HANSHO_CONFIG", &config).await.done();
    assert_eq!(found["total"], 1);

    let before = std::fs::read(&config).expect("the configuration can be read");
    let folder = society.path("").display().to_string();
    let again = ["init", "--dir", &folder, "--organization", "別の会", "--admin", "x@example.jp"];
    let refused = hansho(&again).await.with_code(1);
    assert!(refused.stderr.contains("exists already; nothing was changed"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&config).expect("the configuration can be read"), before);
}

/// Needs no installation: an engineer asks what a mail in their own mailbox would count as.
#[tokio::test]
async fn classifying_mails_prints_a_table_and_needs_no_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let mails = [
        ("human.eml", "From: a@example.jp\r\nSubject: Re: drill\r\n\r\n無事です。\r\n", "human-reply"),
        (
            "away.eml",
            "From: a@example.jp\r\nAuto-Submitted: auto-replied\r\nSubject: away\r\n\r\n不在です。\r\n",
            "auto-reply",
        ),
    ];
    let mut arguments = vec!["reply".to_owned(), "classify".to_owned()];
    let mut expected = "path,label\n".to_owned();
    for (name, raw, label) in mails {
        let path = folder.path().join(name);
        std::fs::write(&path, raw).expect("a mail can be written");
        expected += &format!("{},{label}\n", path.display());
        arguments.push(path.display().to_string());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(hansho(&arguments).plainly().await.text(), expected);
}
