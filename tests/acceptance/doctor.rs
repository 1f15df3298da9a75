//! `hansho doctor`: what it finds by daylight, and that its own reply ends where it was put.

use hansho_tests::{Answer, Society};
use hickory_proto::{
    op::{Message, OpCode},
    rr::{Name, RData, Record, rdata},
};
use serde_json::Value;
use std::{net::SocketAddr, os::unix::fs::PermissionsExt};
use testkit::Port;
use tokio::{net::UdpSocket, task::JoinHandle};

/// Each finding of a rule: its level and text.
fn of<'a>(report: &'a Value, rule: &str) -> Vec<(&'a str, &'a str)> {
    let findings = report["findings"].as_array().expect("findings");
    let own = findings.iter().filter(|finding| finding["rule"] == rule);
    own.map(|finding| {
        (finding["level"].as_str().expect("a level"), finding["text"].as_str().expect("a text"))
    })
    .collect()
}

fn levels<'a>(report: &'a Value, rule: &str) -> Vec<&'a str> {
    of(report, rule).into_iter().map(|(level, _)| level).collect()
}

/// Whatever is not good comes with a way on.
fn every_trouble_has_a_remedy(report: &Value) {
    for finding in report["findings"].as_array().expect("findings") {
        assert_eq!(finding["level"] == "info", finding["remedy"].is_null(), "{finding}");
    }
}

fn report(answer: Answer, code: i32) -> Value {
    let report = answer.with_code(code).json();
    every_trouble_has_a_remedy(&report);
    assert_eq!(report["ok"], code == 0, "{report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_healthy_installation_is_found_so_and_the_probe_s_reply_reaches_nobody() {
    let society = Society::of(3).await;
    let _serve = society.serve(&[]).await;
    let report = report(society.hansho(&["doctor"]).await, 0);
    for rule in [
        "config", "keys", "disk", "limits", "dns", "database", "clock", "relay", "people", "capacity", "sink",
    ] {
        assert_eq!(levels(&report, rule), ["info"], "{rule}: {report}");
    }
    assert!(of(&report, "sink")[0].1.contains("nothing was sent"), "{report}");
    assert_eq!(society.relay.count(), 0, "no mail left");
    let replies = society.hansho(&["reply", "list"]).await.done();
    assert_eq!(
        (replies.as_array().map(Vec::len), &replies[0]["class"]),
        (Some(1), &Value::from("auto-reply"))
    );
    let said = society.hansho(&["doctor"]).plainly().await.text();
    assert!(said.contains("0 in the way, 0 to look at"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_stands_in_the_way_is_named_with_its_remedy() {
    let society = Society::of(1).await;
    let key = society.path("hansho.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("rights can be changed");
    let silent = Port::claim();
    let nowhere = format!("smtp://{}", silent.address());
    let seen = society.hansho(&["doctor"]).with("HANSHO_RELAY__URL", &nowhere).await;
    let seen = report(seen, 1);
    assert_eq!(levels(&seen, "relay"), ["block"]);
    assert_eq!(levels(&seen, "keys"), ["warning"]);
    assert_eq!(levels(&seen, "sink"), ["warning"], "nobody serves: {seen}");

    // An open relay in the sink's place: it takes mail for strangers.
    let open = society.relay.addr().to_string();
    let seen = report(society.hansho(&["doctor"]).with("HANSHO_SINK__LISTEN", &open).await, 1);
    assert_eq!(levels(&seen, "sink"), ["block"], "{seen}");
    assert!(of(&seen, "sink")[0].1.contains("everybody@example.invalid"), "{seen}");

    std::fs::remove_file(&key).expect("the key can be lost");
    let seen = report(society.hansho(&["doctor"]).await, 1);
    assert_eq!((levels(&seen, "keys"), levels(&seen, "database")), (vec!["block"], vec!["block"]));
}

/// A name server that knows these records and no others.
async fn name_server(records: Vec<(&'static str, RData)>) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    let address = socket.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..length]).expect("a question");
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            for query in &asked.queries {
                answer.add_query(query.clone());
                let wanted = |(name, data): &&(&str, RData)| {
                    query.name().to_utf8().trim_end_matches('.') == *name
                        && query.query_type() == data.record_type()
                };
                for (_, data) in records.iter().filter(wanted) {
                    answer.add_answer(Record::from_rdata(query.name().clone(), 60, data.clone()));
                }
            }
            socket.send_to(&answer.to_vec().expect("an answer"), from).await.expect("it can be sent");
        }
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_receivers_will_look_up_is_looked_up() {
    let society = Society::of(1).await;
    let text = |text: &str| RData::TXT(rdata::TXT::new(vec![text.to_owned()]));
    let mx: Name = "mx.staff.example.jp.".parse().expect("a name");
    let (known, task) = name_server(vec![
        ("staff.example.jp", text("google-site-verification=1")),
        ("staff.example.jp", text("v=spf1 include:relay.example -all")),
        ("_dmarc.staff.example.jp", text("v=DMARC1; p=quarantine")),
        ("reply.staff.example.jp", RData::MX(rdata::MX::new(10, mx))),
        ("reply.staff.example.jp", text("v=spf1 include:relay.example -all")),
        (
            "mx.staff.example.jp",
            RData::A("192.0.2.25".parse::<std::net::Ipv4Addr>().expect("an address").into()),
        ),
        ("25.2.0.192.in-addr.arpa", RData::PTR(rdata::PTR("mx.staff.example.jp.".parse().expect("a name")))),
    ])
    .await;
    let seen = report(society.hansho(&["doctor", "--dns", &known.to_string()]).await, 0);
    for rule in ["spf", "dmarc", "dkim", "mx", "ptr"] {
        assert_eq!(levels(&seen, rule), ["info"], "{rule}: {seen}");
    }
    assert_eq!(of(&seen, "ptr")[0].1, "192.0.2.25 is mx.staff.example.jp.");
    task.abort();

    let (empty, task) = name_server(vec![("staff.example.jp", text("v=spf1 +all"))]).await;
    let seen = report(society.hansho(&["doctor", "--dns", &empty.to_string()]).await, 0);
    assert_eq!(levels(&seen, "spf"), ["warning", "warning"], "{seen}");
    assert_eq!((levels(&seen, "dmarc"), levels(&seen, "mx")), (vec!["warning"], vec!["warning"]), "{seen}");
    task.abort();
    let seen = report(society.hansho(&["doctor", "--dns", &empty.to_string()]).await, 0);
    assert!(levels(&seen, "dns").contains(&"warning"), "{seen}");
}
