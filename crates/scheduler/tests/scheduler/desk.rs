//! Decisions at the desk.

use crate::office::{Office, notice, rule, to};
use domain::{Actor, BroadcastState, Clock, DeliveryEvent, MemberNo, Nature, Role, Rule};
use notice::preflight::Level;
use registry::create_audience;
use scheduler::{DeskSettings, NewNotice, PreflightAnswer};
use std::{collections::BTreeMap, time::Duration};
use store::Settlement;
use testkit::SystemClock;

fn blocks(answer: &PreflightAnswer) -> Vec<&str> {
    let blocking = answer.findings.iter().filter(|finding| finding.level == Level::Block);
    blocking.map(|finding| finding.rule).collect()
}

#[tokio::test]
async fn only_a_coordinator_writes_and_only_the_author_changes() {
    for office in Office::each().await {
        let colleague = office.staff("c@example.jp", Role::Coordinator).await;
        let viewer = office.staff("v@example.jp", Role::Viewer).await;
        for actor in [office.approver, viewer, Actor::LocalEngineer, Actor::Scheduler] {
            assert_eq!(rule(office.desk.draft(actor, &notice("a")).await), Rule::Role, "{actor}");
        }
        let id = office.draft(&notice("a")).await;
        assert_eq!(rule(office.desk.edit(colleague, id, &notice("b")).await), Rule::Role);
        office.desk.edit(office.author, id, &notice("b")).await.expect("the author may");
        assert_eq!(office.broadcast(id).await.body, "b");
    }
}

#[tokio::test]
async fn preflight_freezes_what_passes() {
    for office in Office::each().await {
        let id = office.draft(&notice("{{name}} 様")).await;
        let answer = office.preflight(id).await;
        assert!(answer.ok, "{:?}", answer.findings);
        assert_eq!((answer.recipients, answer.held), (4, 0));
        let broadcast = office.broadcast(id).await;
        assert_eq!(broadcast.state, BroadcastState::Preflighted);
        assert_eq!(broadcast.digest.map(|digest| digest.to_string()), answer.digest);
        assert_eq!(office.addressed(id).await, ["001", "002", "003", "004"]);
        assert_eq!(answer.forecast.seconds, 1, "four at ten a second");
        let again = office.preflight(id).await;
        assert_eq!(again.digest, answer.digest, "the same content has the same digest");
    }
}

#[tokio::test]
async fn an_unknown_field_is_refused_while_it_is_written() {
    for office in Office::each().await {
        let wrong = NewNotice { subject: "{{nmae}} {{event}}".into(), ..notice("{{nmae}} 様") };
        let refused = office.desk.draft(office.author, &wrong).await.expect_err("refused");
        let refused = refused.refusal().expect("a refusal");
        assert_eq!(refused.rule, Rule::Preflight);
        assert_eq!(refused.text.matches("{{nmae}} (did you mean {{name}}?)").count(), 1, "{refused}");
        assert!(refused.text.contains("{{event}}") && refused.way_on.contains("{{facility}}"), "{refused}");
        assert_eq!(office.store().broadcasts(10).await.expect("read"), [], "nothing was kept");

        let id = office.draft(&notice("{{name}} 様")).await;
        let changed = office.desk.edit(office.author, id, &notice("{{nmae}} 様")).await;
        assert_eq!(rule(changed), Rule::Preflight);
        assert_eq!(office.broadcast(id).await.body, "{{name}} 様");
        let corrected = office.desk.correct(office.author, id, "訂正", "{{nmae}} 様", "c".into()).await;
        assert_eq!(rule(corrected), Rule::Preflight);
    }
}

#[tokio::test]
async fn an_audience_that_does_not_exist_is_refused_while_it_is_written() {
    for office in Office::each().await {
        let refused = office.desk.draft(office.author, &to("東北", "本文")).await.expect_err("refused");
        let refused = refused.refusal().expect("a refusal");
        assert_eq!(refused.rule, Rule::Preflight);
        assert!(refused.text.contains("東北") && refused.way_on.contains("audience list"), "{refused}");
        assert_eq!(office.store().broadcasts(10).await.expect("read"), [], "nothing was kept");
        let id = office.draft(&notice("本文")).await;
        let changed = office.desk.edit(office.author, id, &to("東北", "本文")).await;
        assert_eq!(rule(changed), Rule::Preflight);
    }
}

#[tokio::test]
async fn an_audience_that_is_gone_blocks() {
    for office in Office::each().await {
        let saved = create_audience(office.store(), office.author, "東北", &[], office.start).await;
        let id = office.draft(&to("東北", "本文")).await;
        let saved = saved.expect("saved").id;
        office.tamper(&format!("DELETE FROM audience WHERE id = {saved}")).await;
        let answer = office.preflight(id).await;
        assert_eq!((answer.ok, blocks(&answer)), (false, vec!["audience-gone"]));
        assert!(answer.findings.iter().any(|finding| finding.text.contains("東北")));
        assert_eq!(office.state(id).await, BroadcastState::Draft);
        office.desk.edit(office.author, id, &notice("本文")).await.expect("another was chosen");
        assert!(office.preflight(id).await.ok);
    }
}

#[tokio::test]
async fn a_text_that_is_no_template_blocks_and_nothing_is_frozen() {
    for office in Office::each().await {
        let id = office.draft(&notice("{{name 様")).await;
        let answer = office.preflight(id).await;
        assert!(!answer.ok && answer.digest.is_none());
        let broadcast = office.broadcast(id).await;
        assert_eq!((broadcast.state, broadcast.digest), (BroadcastState::Draft, None));
        assert!(!blocks(&answer).is_empty() && broadcast.findings.contains("block"), "the page shows why");
        assert_eq!(office.rows(id).await, []);
        assert_eq!(rule(office.desk.request_approval(office.author, id).await), Rule::State);
    }
}

#[tokio::test]
async fn an_audience_of_nobody_blocks() {
    for office in Office::each().await {
        let condition = ["prefecture=沖縄県".parse().expect("a condition")];
        create_audience(office.store(), office.author, "okinawa", &condition, office.start)
            .await
            .expect("saved");
        let id = office.draft(&to("okinawa", "本文")).await;
        let answer = office.preflight(id).await;
        assert_eq!((answer.ok, blocks(&answer)), (false, vec!["no-recipients"]));
        assert_eq!(office.state(id).await, BroadcastState::Draft);
    }
}

#[tokio::test]
async fn members_who_cannot_be_written_to_are_held_with_the_reason() {
    for office in Office::each().await {
        office
            .import(
                "会員番号,氏名,フリガナ,メールアドレス,都道府県,施設名,役割,年度,状態\n\
                 005,伊藤 蒼,イトウ アオイ,,東京都,東病院,保健師,YEAR,正会員\n\
                 006,渡辺 樹,ワタナベ イツキ,m6@example.jp,東京都,東病院,保健師,YEAR,正会員\n\
                 007,山本 凛,ヤマモト リン,m7@example.jp,東京都,null,保健師,YEAR,正会員\n",
            )
            .await;
        office.tamper("UPDATE member SET address = 'M1@example.jp' WHERE member_no = '006'").await;
        let id = office.draft(&notice("{{facility}} の {{name}} 様")).await;
        let answer = office.preflight(id).await;
        assert!(answer.ok, "{:?}", answer.findings);
        assert_eq!((answer.recipients, answer.held), (3, 4));
        let rows = office.rows(id).await;
        let held: Vec<(&str, &str)> = rows
            .iter()
            .filter_map(|row| Some((row.member_no.as_str(), row.held_reason.as_deref()?)))
            .collect();
        let expected = [
            ("004", "missing-field:facility"),
            ("005", "no-address"),
            ("006", "shared-address"),
            ("007", "missing-field:facility"),
        ];
        assert_eq!(held, expected);
        office.desk.request_approval(office.author, id).await.expect("asked");
        office.approve(id).await;
        office.desk.send(office.author, id).await.expect("released");
        office.deliver(id).await;
        let tally = office.store().tally(id).await.expect("counted");
        assert_eq!((tally.accepted, tally.held), (3, 4), "the held ones stay held to the end");
    }
}

#[tokio::test]
async fn a_date_is_frozen_in_words_and_whoever_has_none_is_held_by_the_name_of_the_field() {
    for office in Office::each().await {
        let meanings = BTreeMap::from([("更新期限".to_owned(), "date".to_owned())]);
        office.store().remember_columns(office.author, &meanings, office.start).await.expect("remembered");
        office
            .import(
                "会員番号,氏名,メールアドレス,更新期限\n\
                 001,鈴木 花子,m1@example.jp,令和8年4月1日\n002,佐藤 太郎,m2@example.jp,来月\n",
            )
            .await;
        let refused = office.desk.draft(office.author, &notice("{{更新期日}}")).await.expect_err("refused");
        let way_on = refused.refusal().expect("a refusal").way_on;
        assert!(way_on.contains("{{更新期限}} (date)") && way_on.contains("{{facility}} {{"), "{way_on}");

        let id = office.draft(&notice("{{name}} 様 {{更新期限}}まで")).await;
        let answer = office.preflight(id).await;
        assert!(answer.ok, "{:?}", answer.findings);
        assert_eq!((answer.recipients, answer.held), (1, 3));
        let rows = office.rows(id).await;
        let reasons: Vec<&str> = rows.iter().filter_map(|row| row.held_reason.as_deref()).collect();
        assert_eq!(reasons, ["missing-field:更新期限"; 3]);
        let said = "SELECT COUNT(*) AS n FROM delivery WHERE fields LIKE '%2026年4月1日%'";
        assert_eq!(office.number(said).await, 1);
    }
}

/// Two people read one mailbox: who of them is suppressed does not matter to it.
#[tokio::test]
async fn a_mailbox_that_nothing_goes_to_is_not_reached_under_a_neighbours_name() {
    for office in Office::each().await {
        office.tamper("UPDATE member SET address = 'm1@example.jp' WHERE member_no = '002'").await;
        let whole = office.draft(&notice("{{name}} 様")).await;
        let before = office.preflight(whole).await;
        let number: MemberNo = "001".parse().expect("a number");
        let first = office.store().member_by_no(&number).await.expect("read").expect("known").member.id;
        office.store().suppress(office.author, first, SystemClock.now()).await.expect("suppressed");
        let id = office.draft(&notice("{{name}} 様、こんにちは")).await;
        let answer = office.preflight(id).await;
        assert_eq!(answer.recipients, before.recipients - 1, "neither of the two");
        let held: Vec<(String, String)> = office
            .rows(id)
            .await
            .into_iter()
            .filter_map(|row| Some((row.member_no, row.held_reason?)))
            .filter(|(_, reason)| reason.starts_with("suppressed"))
            .collect();
        let reason = "suppressed:office".to_owned();
        assert_eq!(held, [("001".to_owned(), reason.clone()), ("002".to_owned(), reason)]);
    }
}

#[tokio::test]
async fn whoever_is_to_be_erased_is_frozen_nowhere_any_more() {
    for office in Office::each().await {
        let number: MemberNo = "001".parse().expect("a number");
        let first = office.store().member_by_no(&number).await.expect("read").expect("known").member.id;
        office.store().ask_erasure(office.author, first, SystemClock.now()).await.expect("asked");
        let id = office.draft(&notice("{{name}} 様")).await;
        assert!(office.preflight(id).await.ok);
        assert_eq!(office.addressed(id).await, ["002", "003", "004"], "not even held");
    }
}

#[tokio::test]
async fn a_preflight_that_blocks_takes_back_the_one_that_passed() {
    for office in Office::each().await {
        let id = office.draft(&notice("{{name}} 様")).await;
        assert!(office.preflight(id).await.ok);
        office.tamper("UPDATE member SET status = 'withdrawn'").await;
        assert!(!office.preflight(id).await.ok);
        let broadcast = office.broadcast(id).await;
        assert_eq!((broadcast.state, broadcast.digest), (BroadcastState::Draft, None));
        assert_eq!(rule(office.desk.request_approval(office.author, id).await), Rule::State);
    }
}

#[tokio::test]
async fn a_test_reaches_the_test_roster_and_nobody_else() {
    for office in Office::each().await {
        let test = NewNotice { nature: Nature::Test, ..notice("試験です") };
        let id = office.draft(&test).await;
        assert!(!office.preflight(id).await.ok, "the test roster is empty");
        let number = "003".parse().expect("a number");
        office.store().add_to_test_roster(office.author, &number, office.start).await.expect("added");
        assert!(office.preflight(id).await.ok);
        assert_eq!(office.addressed(id).await, ["003"]);
    }
}

#[tokio::test]
async fn a_configuration_changed_after_the_signature_refuses_the_release() {
    let changes: [fn(&mut DeskSettings); 6] = [
        |settings| settings.contact = "別の連絡先".into(),
        |settings| settings.from = "drill@example.org".into(),
        |settings| settings.rates.clear(),
        |settings| settings.policy.daily_cap = 100_000,
        |settings| settings.public_url = "https://evil.example.org".into(),
        |settings| settings.sink_domain = "other.example.jp".into(),
    ];
    for office in Office::each().await {
        let id = office.approved(&notice("本文")).await;
        for change in changes {
            let sent = office.desk_with(change).send(office.author, id).await;
            assert_eq!(rule(sent), Rule::Digest);
            assert_eq!(office.state(id).await, BroadcastState::Approved);
        }
        office.desk.send(office.author, id).await.expect("under the configuration that was signed");
    }
}

#[tokio::test]
async fn rows_changed_after_the_signature_refuse_the_release() {
    for office in Office::each().await {
        let changes = [
            "UPDATE delivery SET address = 'x@example.org' WHERE member_no = '001'",
            "UPDATE delivery SET fields = '{}' WHERE member_no = '001'",
            "UPDATE delivery SET held_reason = 'no-address' WHERE member_no = '001'",
            "DELETE FROM delivery WHERE member_no = '001'",
        ];
        for (n, change) in changes.iter().enumerate() {
            let id = office.approved(&notice(&format!("本文{n}"))).await;
            office.tamper(&format!("{change} AND broadcast_id = {id}")).await;
            assert_eq!(rule(office.desk.send(office.author, id).await), Rule::Digest, "{change}");
            assert_eq!(office.state(id).await, BroadcastState::Approved);
        }
    }
}

#[tokio::test]
async fn an_actual_notice_wants_its_word_and_an_exercise_none() {
    for office in Office::each().await {
        let actual = NewNotice { nature: Nature::Actual, ..notice("避難してください") };
        let id = office.awaiting(&actual).await;
        for words in [vec![], vec![""], vec!["訓練"], vec!["実災害です", "yes"]] {
            let confirmed: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let signed = office.desk.approve(office.approver, id, None, &confirmed).await;
            assert_eq!(rule(signed), Rule::Confirmation, "{words:?}");
        }
        assert_eq!(office.state(id).await, BroadcastState::AwaitingApproval);
        let answer =
            office.desk.approve(office.approver, id, None, &[" 実災害 ".to_owned()]).await.expect("signed");
        assert_eq!((answer.given, answer.required), (1, 1));
        office.approved(&notice("訓練です")).await;
    }
}

#[tokio::test]
async fn what_was_seen_is_what_is_signed() {
    for office in Office::each().await {
        let id = office.awaiting(&notice("前")).await;
        let seen = office.broadcast(id).await.digest;
        office.desk.edit(office.author, id, &notice("後")).await.expect("edited");
        let unsigned = office.desk.approve(office.approver, id, None, &[]).await;
        assert_eq!(rule(unsigned), Rule::State, "a draft has nothing to sign");
        assert!(office.preflight(id).await.ok);
        office.desk.request_approval(office.author, id).await.expect("asked");
        assert_eq!(rule(office.desk.approve(office.approver, id, seen, &[]).await), Rule::Digest);
        let now = office.broadcast(id).await.digest;
        office.desk.approve(office.approver, id, now, &[]).await.expect("signed");
    }
}

#[tokio::test]
async fn only_an_approver_returns_or_rejects_and_says_why() {
    for office in Office::each().await {
        let id = office.awaiting(&notice("a")).await;
        assert_eq!(rule(office.desk.return_to_author(office.author, id, "理由").await), Rule::Role);
        assert_eq!(rule(office.desk.reject(Actor::LocalEngineer, id, "理由").await), Rule::Role);
        assert_eq!(rule(office.desk.return_to_author(office.approver, id, " ").await), Rule::Reason);
        assert_eq!(rule(office.desk.reject(office.approver, id, "").await), Rule::Reason);
        assert_eq!(office.state(id).await, BroadcastState::AwaitingApproval);
        office.desk.return_to_author(office.approver, id, "日付が違う").await.expect("returned");
        assert_eq!(office.state(id).await, BroadcastState::Draft);
        office.desk.reject(office.approver, id, "不要").await.expect("rejected");
        assert_eq!(office.state(id).await, BroadcastState::Cancelled);
        let sent = office.sending(&notice("b")).await;
        assert_eq!(rule(office.desk.reject(office.approver, sent, "遅い").await), Rule::State);
    }
}

#[tokio::test]
async fn nothing_is_released_without_its_signatures() {
    for office in Office::each().await {
        let id = office.awaiting(&notice("a")).await;
        assert_eq!(rule(office.desk.send(office.author, id).await), Rule::Approval);
        office.approve(id).await;
        for actor in [office.approver, Actor::LocalEngineer] {
            assert_eq!(rule(office.desk.send(actor, id).await), Rule::Role);
        }
        office.desk.send(office.author, id).await.expect("released");
        assert_eq!(rule(office.desk.send(office.author, id).await), Rule::Approval, "once");
    }
}

#[tokio::test]
async fn a_stop_answers_with_parts_that_sum_to_the_total() {
    for office in Office::each().await {
        let id = office.sending(&notice("a")).await;
        let viewer = office.staff("v@example.jp", Role::Viewer).await;
        assert_eq!(rule(office.desk.stop(viewer, id).await), Rule::Role);
        let answer = office.desk.stop(Actor::LocalEngineer, id).await.expect("stopped");
        assert_eq!((answer.prevented, answer.total), (4, 4));
        assert_eq!(rule(office.desk.stop(office.author, id).await), Rule::State, "it is stopped");
        office.desk.resume(office.approver, id, "確認した").await.expect("resumed");
        office.deliver(id).await;
    }
}

/// A row that stays in flight is counted as unknown, and the answer does not wait for it.
#[tokio::test]
async fn a_stop_answers_within_its_second_although_a_mail_is_in_flight() {
    for office in Office::each().await {
        let id = office.sending(&notice("a")).await;
        office.tamper("UPDATE delivery SET state = 'submitting' WHERE member_no = '002'").await;
        let asked = std::time::Instant::now();
        let answer = office.desk.stop(office.author, id).await.expect("stopped");
        let took = asked.elapsed();
        assert_eq!((answer.unknown, answer.prevented, answer.total), (1, 3, 4));
        assert!((Duration::from_secs(1)..Duration::from_millis(1_500)).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn a_correction_is_drafted_to_exactly_those_reached_or_unknown() {
    for office in Office::each().await {
        let id = office.sending(&notice("誤り")).await;
        office
            .tamper("UPDATE delivery SET state = 'rejected', smtp_code = 550 WHERE member_no = '001'")
            .await;
        office.tamper("UPDATE delivery SET state = 'accepted' WHERE member_no = '002'").await;
        office.tamper("UPDATE delivery SET state = 'unknown' WHERE member_no = '003'").await;
        office.desk.stop(office.author, id).await.expect("stopped");
        // Whoever got the error is owed its correction, also after leaving.
        office.tamper("UPDATE member SET status = 'withdrawn' WHERE member_no = '002'").await;
        let correction = office
            .desk
            .correct(office.author, id, "訂正", "先ほどの通知は誤りです", "k".into())
            .await
            .expect("drafted");
        assert!(office.preflight(correction).await.ok);
        assert_eq!(office.addressed(correction).await, ["002", "003"]);
        assert_eq!(office.broadcast(correction).await.nature, Nature::Exercise);
    }
}

#[tokio::test]
async fn only_a_coordinator_settles() {
    for office in Office::each().await {
        let id = office.sending(&notice("a")).await;
        office.deliver_as(id, &DeliveryEvent::OutcomeLost).await;
        let settle = office.desk.settle(office.approver, id, Settlement::Resend, &[]).await;
        assert_eq!(rule(settle), Rule::Role);
        let settled = office.desk.settle(office.author, id, Settlement::Accepted, &["001".into()]).await;
        assert_eq!(settled.expect("settled"), 1);
    }
}
