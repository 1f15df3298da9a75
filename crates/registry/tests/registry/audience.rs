//! Audiences out: nobody who does not belong in one, whatever was imported (incidents.md B).

use crate::fresh_registry::{NOW, Registry, YEAR, numbers};
use domain::{Actor, Answers, BroadcastId, ContentDigest, FiscalYear, Nature, Role, Rule};
use registry::{AudienceError, AudienceSpec, Condition, ImportMode};
use store::{FreezeRow, MemberQuery, NewBroadcast, Snapshot, Store, StoreError};
use testkit::fresh_databases;

const ROSTER: &str = include_str!("fixtures/many_years.csv");
const ENGINEER: Actor = Actor::LocalEngineer;

async fn filled(database: testkit::TestDatabase) -> Registry {
    let registry = Registry::on(database).await;
    registry.import(ROSTER, ImportMode::Merge).await;
    registry
}

fn conditions(texts: &[&str]) -> Vec<Condition> {
    texts.iter().map(|text| text.parse().expect("a condition")).collect()
}

/// A coordinator's notice to this audience.
async fn draft(store: &Store, audience: &AudienceSpec) -> (Actor, BroadcastId) {
    let author = store.add_staff(ENGINEER, "c@example.jp", "c", Role::Coordinator, "x", NOW).await;
    let author = author.expect("an author");
    let actor = Actor::Staff { id: author, role: Role::Coordinator };
    let new = NewBroadcast {
        nature: Nature::Exercise,
        author,
        subject: "開始".into(),
        body: "本文".into(),
        audience: serde_json::to_string(audience).expect("JSON"),
        questionnaire: None,
        answers_to: None,
        finish_by: None,
        idempotency_key: "k".into(),
    };
    (actor, store.create_broadcast(actor, &new, NOW).await.expect("a draft"))
}

#[tokio::test]
async fn nobody_of_another_year_withdrawn_suspended_or_dead_is_in_an_audience() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        assert_eq!(registry.audience("all", Nature::Exercise).await, ["100", "200", "800"]);
        assert_eq!(registry.audience("all", Nature::Actual).await, ["100", "200", "800"]);
        for (name, wanted) in [
            ("東京", &["prefecture=東京都"][..]),
            ("本郷", &["施設名=本郷病院"]),
            ("全部", &["prefecture=東京都", "prefecture=宮城", "prefecture=岩手県", "prefecture=沖縄"]),
        ] {
            registry::create_audience(&registry.store, ENGINEER, name, &conditions(wanted), NOW)
                .await
                .expect("an audience");
        }
        assert_eq!(registry.audience("東京", Nature::Exercise).await, Vec::<String>::new());
        assert_eq!(registry.audience("本郷", Nature::Exercise).await, Vec::<String>::new());
        assert_eq!(registry.audience("全部", Nature::Exercise).await, ["100", "200", "800"]);
    }
}

#[tokio::test]
async fn next_years_first_day_empties_the_audiences_until_the_roster_comes() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        let all = AudienceSpec::Named("all".into());
        let next = FiscalYear::new(2027);
        let members =
            registry::resolve(&registry.store, &all, Nature::Actual, next).await.expect("an audience");
        assert!(members.is_empty());
    }
}

#[tokio::test]
async fn conditions_under_one_key_are_alternatives_and_keys_narrow_each_other() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        for (name, wanted, found) in [
            ("a", &["prefecture=宮城県", "prefecture=岩手"][..], &["100", "200"][..]),
            ("b", &["prefecture=宮城県", "役割=災害支援ナース"], &["100"]),
            ("c", &["prefecture=岩手県", "role=災害支援ナース"], &[]),
            ("d", &["勤務形態=日勤"], &["800"]),
            ("e", &["勤務形態=日勤", "勤務形態=夜勤"], &["100", "800"]),
            ("f", &["施設名=仙台中央病院"], &["100"]),
        ] {
            let conditions = conditions(wanted);
            let saved = registry::create_audience(&registry.store, ENGINEER, name, &conditions, NOW).await;
            let saved = saved.expect("an audience");
            assert_eq!(registry.audience(name, Nature::Exercise).await, found, "{name}");
            let view = registry::show_audience(&registry.store, name, YEAR).await.expect("a view");
            assert_eq!((view.count, view.sample.len()), (found.len() as u64, found.len()));
            assert_eq!(view.audience, saved);
        }
    }
}

#[tokio::test]
async fn conditions_know_and_or_and_not() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        registry.import("会員番号,氏名,メールアドレス,状態\n900,小林 九,,正会員\n", ImportMode::Merge).await;
        for (name, wanted, found) in [
            ("a", &["prefecture=宮城県|岩手"][..], &["100", "200"][..]),
            ("b", &["都道府県！＝宮城｜岩手"], &["800", "900"]),
            ("c", &["prefecture=宮城県 or 施設名=那覇病院"], &["100", "800"]),
            ("d", &["prefecture=宮城県 or 勤務形態=日勤", "勤務形態!=夜勤"], &["800"]),
            ("e", &["施設名=本郷病院 or 役割!=医師 or 勤務形態=日勤"], &["100", "200", "800", "900"]),
            ("f", &["施設名=本郷病院 or prefecture=東京都"], &[]),
        ] {
            let conditions = conditions(wanted);
            let saved = registry::create_audience(&registry.store, ENGINEER, name, &conditions, NOW).await;
            let written = saved.expect("an audience").filter.to_string();
            assert_eq!(registry.audience(name, Nature::Exercise).await, found, "{name}: {written}");
        }
    }
}

#[tokio::test]
async fn an_audience_of_the_first_shape_finds_whom_it_found() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        let stored = r#"{"prefecture":[4,3],"attributes":{"勤務形態":["夜勤"]}}"#;
        let filter = serde_json::from_str(stored).expect("a filter of the first shape");
        registry::save_audience(&registry.store, ENGINEER, "old", filter, NOW).await.expect("saved");
        assert_eq!(registry.audience("old", Nature::Exercise).await, ["100"]);
    }
}

#[tokio::test]
async fn an_audience_gets_another_name_once_no_notice_waits_for_it() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        let store = &registry.store;
        let miyagi = conditions(&["prefecture=宮城県"]);
        let made = registry::create_audience(store, ENGINEER, "北", &miyagi, NOW).await;
        let id = made.expect("an audience").id;
        let rename = async |name: &str| registry::rename_audience(store, ENGINEER, id, name, NOW).await;
        let long = "x".repeat(61);
        for name in [" ", "a\u{7}", long.as_str()] {
            assert!(matches!(rename(name).await, Err(AudienceError::Name)), "{name:?}");
        }
        let (coordinator, broadcast) = draft(store, &AudienceSpec::Named("北".into())).await;
        let refused = rename("南").await;
        let Err(AudienceError::Store(StoreError::Refused(refusal))) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal.rule, Rule::State);
        assert!(refusal.text.contains(&format!("broadcast {broadcast}")), "{refusal}");
        store.cancel_broadcast(coordinator, broadcast, "x", NOW).await.expect("cancelled");

        assert_eq!(rename(" 南 ").await.expect("renamed").name, "南");
        assert_eq!(registry.audience("南", Nature::Exercise).await, ["100"]);
        let before = registry::show_audience(store, "北", YEAR).await;
        assert!(matches!(before, Err(StoreError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_broadcast_that_does_not_exist_is_no_condition() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        for condition in ["non-respondents-of=12", "prefecture=宮城県 or reached-by!=12"] {
            let conditions = conditions(&[condition]);
            let refused = registry::create_audience(&registry.store, ENGINEER, "x", &conditions, NOW).await;
            assert!(matches!(refused, Err(AudienceError::UnknownBroadcast(id)) if id.get() == 12));
        }
    }
}

#[tokio::test]
async fn conditions_that_would_fit_nobody_or_widen_are_refused() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        let create = async |name: &str, wanted: &[&str]| {
            registry::create_audience(&registry.store, ENGINEER, name, &conditions(wanted), NOW).await
        };
        assert!(matches!(create("x", &["prefecture=江戸"]).await, Err(AudienceError::Prefecture(_))));
        assert!(matches!(create("x", &["status=withdrawn"]).await, Err(AudienceError::Implied(_))));
        assert!(matches!(create("x", &["年度=2024"]).await, Err(AudienceError::Implied(_))));
        assert!(matches!(create("x", &["shift=day"]).await, Err(AudienceError::UnknownField { .. })));
        assert!(matches!(create("x", &["link=1"]).await, Err(AudienceError::UnknownField { .. })));
        assert!(matches!(create(" ", &[]).await, Err(AudienceError::Name)));
        assert!(matches!(
            create("all", &[]).await,
            Err(AudienceError::Store(StoreError::Exists { what: "audience", .. }))
        ));
        for text in ["prefecture", "=x", "x=", ""] {
            assert!(text.parse::<Condition>().is_err(), "{text:?}");
        }
        let names: Vec<String> =
            registry.store.audiences().await.expect("a list").into_iter().map(|a| a.name).collect();
        assert_eq!(names, ["all"]);
    }
}

#[tokio::test]
async fn a_test_reaches_the_test_roster_and_nobody_else() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        assert_eq!(registry.audience("all", Nature::Test).await, Vec::<String>::new());
        let number = |text: &str| text.parse().expect("a number");
        for (no, added) in [("300", true), ("300", false), ("100", true), ("500", true)] {
            let done = registry.store.add_to_test_roster(ENGINEER, &number(no), NOW).await;
            assert_eq!(done.expect("done"), added, "{no}");
        }
        // 300 is a member of 2024 only, which a test does not mind; 500 withdrew.
        assert_eq!(registry.audience("all", Nature::Test).await, ["100", "300"]);
        assert_eq!(registry.audience("all", Nature::Exercise).await, ["100", "200", "800"]);
        assert!(registry.store.remove_from_test_roster(ENGINEER, &number("300"), NOW).await.expect("done"));
        assert!(!registry.store.remove_from_test_roster(ENGINEER, &number("300"), NOW).await.expect("done"));
        let roster = registry.store.test_roster().await.expect("a roster");
        assert_eq!(roster.len(), 2);
        let unknown = registry.store.add_to_test_roster(ENGINEER, &number("999"), NOW).await;
        assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_snapshot_has_the_values_a_template_needs_and_no_empty_ones() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        let all = AudienceSpec::Named("all".into());
        let members =
            registry::resolve(&registry.store, &all, Nature::Exercise, YEAR).await.expect("members");
        let hanako = &members[0];
        let fields: Vec<(&str, &str)> =
            hanako.fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            fields,
            [
                ("facility", "仙台中央病院"),
                ("kana", "スズキ ハナコ"),
                ("member_no", "100"),
                ("name", "鈴木 花子"),
                ("prefecture", "宮城県"),
                ("role", "災害支援ナース"),
                ("勤務形態", "夜勤"),
            ]
        );
        assert!(!members[1].fields.contains_key("role"));
        assert_eq!(members[2].address, None);
        let known = registry::known_fields(&registry.store).await.expect("fields");
        assert!(known.contains_key("勤務形態") && known.contains_key("link"));
    }
}

#[tokio::test]
async fn a_reminder_goes_to_members_of_today_who_have_not_answered() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        let store = &registry.store;
        let all = AudienceSpec::Named("all".into());
        let (actor, id) = draft(store, &all).await;
        let members = registry::resolve(store, &all, Nature::Exercise, YEAR).await.expect("members");
        let rows: Vec<FreezeRow> = members
            .iter()
            .map(|member| FreezeRow {
                member: member.member,
                member_no: member.member_no.to_string(),
                address: member.address.clone(),
                prefecture: member.prefecture.map(domain::Prefecture::code),
                fields: "{}".into(),
                message_id: format!("<{}@example.jp>", member.member),
                held: None,
            })
            .collect();
        let digest = ContentDigest::new([1; 32]);
        store
            .freeze(
                actor,
                id,
                &Snapshot {
                    rows: &rows,
                    digest,
                    terms: "{}",
                    findings: "[]",
                    change: None,
                    registry_revision: store.registry_revision().await.expect("read"),
                },
                NOW,
            )
            .await
            .expect("frozen");
        store.save_response(id, members[1].member, &Answers::new(), NOW).await.expect("stored");
        registry.import("会員番号,氏名,メールアドレス,状態\n800,中村 八重,,退会\n", ImportMode::Merge).await;

        let reminder = AudienceSpec::NonRespondents { of: id };
        let found = registry::resolve(store, &reminder, Nature::Exercise, YEAR).await.expect("members");
        assert_eq!(numbers(&found), ["100"], "200 answered, 800 withdrew meanwhile");
        let test = registry::resolve(store, &reminder, Nature::Test, YEAR).await.expect("members");
        assert!(test.is_empty());
        let correction = AudienceSpec::ReachedOrUnknown { of: id };
        let reached = registry::resolve(store, &correction, Nature::Exercise, YEAR).await.expect("members");
        assert!(reached.is_empty(), "nothing was sent yet");
    }
}

#[tokio::test]
async fn specs_read_as_they_are_stored() {
    for (spec, json) in [
        (AudienceSpec::Named("all".into()), r#"{"named":"all"}"#),
        (AudienceSpec::NonRespondents { of: domain::BroadcastId::new(7) }, r#"{"non_respondents":{"of":7}}"#),
    ] {
        assert_eq!(serde_json::to_string(&spec).expect("JSON"), json);
        assert_eq!(serde_json::from_str::<AudienceSpec>(json).expect("a spec"), spec);
    }
}

#[tokio::test]
async fn members_are_found_by_any_part_of_what_people_know() {
    for database in fresh_databases().await {
        let registry = filled(database).await;
        let find = async |text: &str| {
            registry.search(MemberQuery { text, limit: 50, ..MemberQuery::default() }).await.0
        };
        assert_eq!(find("鈴木花子").await, ["100"]);
        assert_eq!(find("サトウ　ジ").await, ["200"]);
        assert_eq!(find("本郷").await, ["300", "400", "500", "600", "700"]);
        assert_eq!(find("80").await, ["800"]);
        assert_eq!(find("%").await, Vec::<String>::new());
        assert_eq!(find("_").await, Vec::<String>::new());
        assert_eq!(find("'; DROP TABLE member; --").await, Vec::<String>::new());
        let page = |offset| MemberQuery { text: "", offset, limit: 3, ..MemberQuery::default() };
        assert_eq!(registry.search(page(0)).await, (vec!["100".into(), "200".into(), "300".into()], 8));
        assert_eq!(registry.search(page(6)).await, (vec!["700".into(), "800".into()], 8));
        let current = MemberQuery {
            status: Some(domain::MemberStatus::Active),
            fiscal_year: Some(YEAR),
            limit: 50,
            ..MemberQuery::default()
        };
        assert_eq!(registry.search(current).await.1, 3);
        let counts = registry.store.member_counts(YEAR).await.expect("counts");
        assert_eq!(counts.current, 3);
        assert_eq!(counts.by_status.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [5, 1, 1, 1]);
    }
}
