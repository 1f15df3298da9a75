//! Law 5, the people: the author never signs, nobody signs twice, nobody becomes their own second
//! person, and twenty who press at once are still the people they are.

use crate::database::number;
use hansho_tests::{Broadcast, Person, Society};
use hyper::Method;
use rehearsal::browser::Browser;
use testkit::fresh_databases;

const AT_ONCE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn law_5_twenty_approvals_at_once_are_one_signature_of_each_person() {
    for database in fresh_databases().await {
        // Over the cap with a single recipient: two people have to sign.
        let society =
            Society::plan().members(3).set("HANSHO_BROADCAST__DAILY_CAP", "1").on(database).found().await;
        let _web = society.serve(&["web"]).await;
        let notice = society.draft("exercise", "all", "訓練開始", "{{name}} 様\n").await;
        assert_eq!(notice.preflight().await["ok"], true);

        let alone: Vec<Answer> = at_once(&society, &notice, &[&society.approver]).await;
        assert!(alone.iter().all(|answer| answer.status == 200 && answer.given == 1), "{alone:?}");
        let _refused = notice.send().await.refused_by("approval");

        let everyone = [&society.second_approver, &society.coordinator, &society.approver, &society.viewer];
        let all = at_once(&society, &notice, &everyone).await;
        for (index, answer) in all.iter().enumerate() {
            let may = index % everyone.len() % 2 == 0;
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{answer:?}");
            assert!(answer.given <= 2, "{answer:?}");
        }
        let signed = format!("SELECT COUNT(*) FROM signature WHERE broadcast_id = {}", notice.id());
        assert_eq!(number(&society, &signed).await, 2);
        let _released = notice.send().await.done();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_only_an_approver_who_is_not_the_author_signs() {
    let society = Society::of(3).await;
    let notice = society.draft("exercise", "all", "訓練開始", "{{name}} 様\n").await;
    assert_eq!(notice.preflight().await["ok"], true);
    let _refused = notice.approve_by(&society.coordinator).await.refused_by("four-eyes");
    let _refused = notice.approve_by(&society.viewer).await.refused_by("role");
    let _refused = notice.approve_by(&society.engineer).await.refused_by("role");
    let id = notice.id().to_string();
    let _refused = society.hansho(&["broadcast", "approve", &id]).await.refused_by("role");
    let _refused = notice.send().await.refused_by("approval");

    // A signature of somebody who was disabled since is none.
    let _signed = notice.approve_by(&society.approver).await.done();
    let disable = ["user", "disable", society.approver.email.as_str()];
    let _disabled = society.hansho(&disable).by(&society.engineer).await.done();
    let refused = notice.send().await;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(!notice.state().await.is_released());
}

/// A second account would be a second person on paper only.
#[tokio::test(flavor = "multi_thread")]
async fn law_5_after_the_first_release_nobody_makes_an_approver_alone() {
    let society = Society::of(3).await;
    let _released = society.released("訓練開始").await;
    for actor in [None, Some(&society.engineer)] {
        for arguments in [
            ["user", "add", "alias@staff.example.jp", "--role", "approver"].as_slice(),
            &["user", "token", &society.approver.email],
            &["user", "reset", &society.approver.email],
        ] {
            let call = society.hansho(arguments);
            let call = match actor {
                Some(person) => call.by(person),
                None => call,
            };
            let _refused = call.await.refused_by("four-eyes");
        }
    }
    // Nor does anybody else manage accounts.
    for person in [&society.coordinator, &society.approver, &society.viewer] {
        let add = ["user", "add", "alias@staff.example.jp", "--role", "approver"];
        let _refused = society.hansho(&add).by(person).await.refused_by("role");
    }
    let ours = "SELECT COUNT(*) FROM staff WHERE role = 'approver'";
    assert_eq!(number(&society, ours).await, 2);
}

#[derive(Debug)]
struct Answer {
    status: u16,
    given: u64,
}

/// All press at the same moment, in turn one of `people`.
async fn at_once(society: &Society, notice: &Broadcast<'_>, people: &[&Person]) -> Vec<Answer> {
    let url = format!("{}/api/v1/broadcasts/{}/approve", society.url(), notice.id());
    let presses = (0..AT_ONCE).map(|index| {
        let (url, token) = (url.clone(), people[index % people.len()].token.clone());
        tokio::spawn(async move {
            let answered = Browser::new().call(Method::POST, &url, &token, "{}".to_owned()).await;
            let (status, text) = answered.expect("an answer");
            let said: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            Answer { status: status.as_u16(), given: said["given"].as_u64().unwrap_or(0) }
        })
    });
    let mut answers = Vec::new();
    for press in presses.collect::<Vec<_>>() {
        answers.push(press.await.expect("no panic"));
    }
    answers
}
