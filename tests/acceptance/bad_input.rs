//! Mistakes that people make, and what they are told: the place, the cause, the way on. Never a
//! password, and nothing is changed.

use domain::{Actor, Clock, FiscalYear};
use hansho_tests::{Call, PATIENCE, Society, hansho, until};
use sea_orm::ConnectionTrait;
use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
};
use store::NewImport;
use testkit::SystemClock;

/// Fails, and says all of `hints` on stderr.
async fn fails_saying(call: Call, hints: &[&str]) {
    let answer = call.await.with_code(1);
    for hint in hints {
        assert!(answer.stderr.contains(hint), "{hint:?} is not in: {}", answer.stderr);
    }
    assert_eq!(answer.stdout, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_configuration_is_told_with_its_key_and_place() {
    let society = Society::plan().found().await;
    let look = ["user", "list"];
    let missing = ["--config", "/nonexistent/hansho.toml", "user", "list"];
    fails_saying(hansho(&missing), &["/nonexistent/hansho.toml", "--config", "hansho init"]).await;

    for (variable, value, hints) in [
        ("HANSHO_RELAY__CONECTIONS", "3", &["conections", "connections", "environment"][..]),
        ("HANSHO_RELAY__CONNECTIONS", "many", &["CONNECTIONS", "many", "environment"][..]),
        ("HANSHO_RELAY__RATES", "[\"10 per second\"]", &["10 per second", "RATES", "10/s"][..]),
        ("HANSHO_RELAY__URL", "mail.example.jp", &["relay.url", "smtp://host:25"][..]),
        ("HANSHO_RELAY__URL", "smtp://relay.example.jp:25", &["relay.url", "rehearsal"][..]),
        ("HANSHO_SITE__PUBLIC_URL", "hansho.example.jp", &["site.public_url", "https://"][..]),
        ("HANSHO_BROADCAST__FROM", "訓練本部", &["broadcast.from", "drill@example.jp"][..]),
    ] {
        fails_saying(society.hansho(&look).with(variable, value), hints).await;
    }

    let config = society.path("hansho.toml");
    let text = std::fs::read_to_string(&config).expect("the configuration can be read");
    let wrong = text.replace("daily_cap = 3000", "dayly_cap = 3000");
    std::fs::write(&config, wrong).expect("the configuration can be written");
    fails_saying(society.hansho(&look), &["dayly_cap", "daily_cap", "hansho.toml"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_password_stands_in_a_message() {
    let society = Society::plan().found().await;
    for (variable, value, hint) in [
        ("HANSHO_DATABASE__URL", "postgre://hansho:tamago-kake@db.example.jp/hansho", "database.url"),
        (
            "HANSHO_DATABASE__REPLIES_URL",
            "mysql://hansho:tamago-kake@db.example.jp/r",
            "database.replies_url",
        ),
        ("HANSHO_RELAY__URL", "smtp://hansho:tamago-kake@127.0.0.1:25", "relay.url"),
        ("HANSHO_RELAY__URL", "ftp://hansho:tamago-kake@127.0.0.1", "relay.url"),
    ] {
        let answer = society.hansho(&["user", "list"]).with(variable, value).await.with_code(1);
        assert!(answer.stderr.contains(hint), "{hint} is not named: {}", answer.stderr);
        assert!(!answer.stderr.contains("tamago-kake"), "{}", answer.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_busy_port_stops_the_start_and_nothing_else() {
    let society = Society::plan().found().await;
    let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = busy.local_addr().expect("a listener has an address").to_string();
    for (variable, key) in [("HANSHO_WEB__LISTEN", "web.listen"), ("HANSHO_SINK__LISTEN", "sink.listen")] {
        fails_saying(society.hansho(&["serve"]).with(variable, &address), &[&address, key]).await;
    }
    drop(busy);
    // The failed starts left no lock and no half of a service behind.
    let serve = society.serve(&[]).await;
    let _ended = serve.terminate().await.with_code(0);
    until("its port to be free again", PATIENCE, async || TcpListener::bind(society.sink()).ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_roster_that_is_not_what_it_claims_changes_nothing() {
    let society = Society::of(5).await;
    let registry = async || society.hansho(&["member", "list"]).await.done();
    let before = registry().await;
    let audited = async || society.hansho(&["audit", "verify"]).await.done();
    let entries = audited().await;

    let headings = "会員番号,氏名,メールアドレス\n";
    let damaged = [headings.as_bytes(), "x1,花子,x1@example.jp\nx2,".as_bytes(), b"\xe9\xff,x2@example.jp\n"];
    let rosters: [(&str, Vec<u8>, &str); 6] = [
        ("名簿.csv", b"PK\x03\x04\x14\0\x06\0[Content_Types].xml".to_vec(), "save it again"),
        ("名簿2.csv", b"%PDF-1.7\n".to_vec(), "PDF"),
        ("名簿3.csv", b"<!DOCTYPE html><html></html>".to_vec(), "web page"),
        ("名簿4.csv", damaged.concat(), "row 3"),
        ("名簿5.csv", "番号,氏名,メール\n1,花子,h@example.jp\n".as_bytes().to_vec(), "会員番号"),
        ("名簿6.csv", Vec::new(), "empty"),
    ];
    for (name, bytes, hint) in &rosters {
        let file = society.path(name);
        std::fs::write(&file, bytes).expect("a file can be written");
        refused_import(&society, &file, hint).await;
    }
    refused_import(&society, Path::new("/nonexistent/名簿.csv"), "cannot be read").await;
    assert_eq!(registry().await, before, "the registry is as it was");
    assert_eq!(audited().await, entries, "nothing was done, nothing was recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_plan_whose_reading_was_cut_off_names_the_way_on() {
    let society = Society::of(1).await;
    let new = NewImport {
        file_name: "名簿.csv".into(),
        sha256: "0".repeat(64),
        mode: "merge".into(),
        fiscal_year: FiscalYear::new(2026),
    };
    let begun = society.store().begin_import(Actor::LocalEngineer, &new, SystemClock.now()).await;
    let plan = begun.expect("begun").to_string();
    let silence = "UPDATE import_plan SET touched_at = touched_at - 301000";
    society.store().connection().execute_unprepared(silence).await.expect("the statement runs");
    for step in [&["--apply"][..], &["--confirm"], &[]] {
        let call = [&["member", "import", "--plan", plan.as_str()], step].concat();
        let refused = society.hansho(&call).await.refused_by("state");
        assert!(refused.stderr.contains("was interrupted → import the file again"), "{}", refused.stderr);
    }
}

async fn refused_import(society: &Society, file: &Path, hint: &str) {
    let call = society.hansho(&["member", "import", &file.display().to_string(), "--apply"]);
    let answer = call.await;
    assert!(matches!(answer.code, 1 | 3), "{}: exit code {}", file.display(), answer.code);
    assert!(answer.stderr.contains(hint), "{hint:?} is not in: {}", answer.stderr);
    assert_eq!(answer.stdout, "");
}
