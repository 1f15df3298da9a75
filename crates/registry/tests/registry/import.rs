//! Rosters in: what is taken, what is rejected, and that a bad file changes nothing.

use crate::fresh_registry::{NOW, Registry, YEAR};
use domain::{Actor, Refusal, Role, Rule, StaffId};
use encoding_rs::SHIFT_JIS;
use registry::{ImportError, ImportMode, RowCode};
use store::StoreError;
use testkit::fresh_databases;

const ROSTER: &str = include_str!("fixtures/many_years.csv");
const HEADINGS: &str = "会員番号,氏名,メールアドレス,年度,状態";

/// Like a roster of the year with these rows.
fn roster(rows: &[&str]) -> String {
    format!("{HEADINGS}\n{}\n", rows.join("\n"))
}

#[tokio::test]
async fn the_same_file_twice_changes_nothing() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let first = registry.import(ROSTER, ImportMode::Merge).await;
        assert_eq!((first.added, first.updated, first.unchanged), (8, 0, 0));
        assert!(first.applied && first.rejected.is_empty());
        let before = registry.dump().await;
        for mode in [ImportMode::Merge, ImportMode::Full] {
            let again = registry.import(ROSTER, mode).await;
            assert_eq!((again.added, again.updated, again.unchanged, again.left), (0, 0, 8, 0));
            assert_ne!(again.import_id, first.import_id);
        }
        assert_eq!(registry.dump().await, before);
        assert_eq!(registry.store.verify_audit().await.expect("a chain"), Ok(3));
    }
}

#[tokio::test]
async fn planning_changes_nothing() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let plan = registry.plan(ROSTER.as_bytes(), ImportMode::Merge).await;
        assert_eq!((plan.report().added, plan.report().import_id), (8, None));
        assert_eq!(registry.dump().await, "");
    }
}

#[tokio::test]
async fn the_encodings_of_japanese_offices_give_the_same_registry() {
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(ROSTER.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let files = [
        ROSTER.as_bytes().to_vec(),
        format!("\u{feff}{ROSTER}").into_bytes(),
        SHIFT_JIS.encode(&ROSTER.replace('\n', "\r\n")).0.into_owned(),
        utf16,
    ];
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.import(ROSTER, ImportMode::Merge).await;
        for file in &files {
            let report = registry.plan(file, ImportMode::Full).await.report().clone();
            assert_eq!((report.added, report.updated, report.unchanged), (0, 0, 8), "{}", report.encoding);
        }
    }
}

#[tokio::test]
async fn rows_of_several_years_make_one_member_with_the_latest_data() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.import(ROSTER, ImportMode::Merge).await;
        let known = registry.store.member_by_no(&"100".parse().expect("a number")).await.expect("a query");
        let known = known.expect("a member");
        let years: Vec<i32> = known.years.iter().map(|year| year.get()).collect();
        assert_eq!(years, [2024, 2026]);
        let data = known.member.data;
        assert_eq!(data.address.map(|address| address.reveal()).as_deref(), Some("hanako.new@example.jp"));
        assert_eq!(data.attributes["勤務形態"], "夜勤");
    }
}

#[tokio::test]
async fn an_old_roster_adds_its_year_and_leaves_newer_data_alone() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.import(&roster(&["1,鈴木 花子,new@example.jp,2026,正会員"]), ImportMode::Merge).await;
        let old = roster(&["1,鈴木 花子,old@example.jp,2020,退会"]);
        let report = registry.import(&old, ImportMode::Merge).await;
        assert_eq!((report.updated, report.unchanged), (1, 0));
        assert_eq!(registry.dump().await, "1 鈴木 花子 new@example.jp Active r1 2020+2026\n");
    }
}

#[tokio::test]
async fn a_full_roster_ends_the_year_of_those_not_in_it() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let all = roster(&[
            "1,a,a@example.jp,2026,正会員",
            "2,b,b@example.jp,2026,正会員",
            "3,c,c@example.jp,2026,正会員",
            "3,c,c@example.jp,2025,正会員",
        ]);
        registry.import(&all, ImportMode::Merge).await;
        // Row 3 is in the file, though broken: a slip of the pen makes nobody leave.
        let next = roster(&["1,a,a@example.jp,2026,正会員", "2,b,b＠@example.jp,2026,正会員"]);
        let merged = registry.plan(next.as_bytes(), ImportMode::Merge).await;
        assert_eq!(merged.report().left, 0);
        let report = registry.import(&next, ImportMode::Full).await;
        assert_eq!(
            (report.left, report.rejected[0].row, report.rejected[0].code),
            (1, 3, RowCode::BadAddress)
        );
        assert_eq!(
            registry.dump().await,
            "1 a a@example.jp Active r1 2026\n2 b b@example.jp Active r1 2026\n3 c c@example.jp Active r1 2025\n"
        );
    }
}

#[tokio::test]
async fn a_full_roster_that_is_the_wrong_file_is_refused() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let rows: Vec<String> = (1..=30).map(|n| format!("{n},m{n},m{n}@example.jp,2026,正会員")).collect();
        registry
            .import(&roster(&rows.iter().map(String::as_str).collect::<Vec<_>>()), ImportMode::Merge)
            .await;
        let before = registry.dump().await;
        let plan =
            registry.plan(roster(&["1,m1,m1@example.jp,2026,正会員"]).as_bytes(), ImportMode::Full).await;
        assert_eq!(plan.report().left, 29);
        let refused = registry::apply(&registry.store, Actor::LocalEngineer, &plan, NOW).await;
        assert!(matches!(refused, Err(StoreError::Refused(Refusal { rule: Rule::Import, .. }))));
        assert_eq!(registry.dump().await, before);
    }
}

#[tokio::test]
async fn one_mailbox_has_one_holder() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry
            .import(
                &roster(&["1,a,a@example.jp,2026,正会員", "2,b,b@example.jp,2026,正会員"]),
                ImportMode::Merge,
            )
            .await;
        let report = registry
            .import(
                &roster(&[
                    "9,wants what 1 keeps,A@Example.jp,2026,正会員",
                    "1,a,a@example.jp,2026,正会員",
                    "2,b moves and frees a mailbox,b2@example.jp,2026,正会員",
                    "3,takes it,b@example.jp,2026,正会員",
                    "4,too late,b@example.jp,2026,正会員",
                ]),
                ImportMode::Merge,
            )
            .await;
        let rejected: Vec<(u32, RowCode, &str)> =
            report.rejected.iter().map(|row| (row.row, row.code, row.reason.as_str())).collect();
        assert_eq!(
            rejected,
            [
                (2, RowCode::DuplicateAddress, "the same address as row 3"),
                (6, RowCode::DuplicateAddress, "the same address as row 5"),
            ]
        );
        // In a second file the holder may not even be named; and a rejected move frees nothing.
        let report = registry
            .import(
                &roster(&[
                    "5,x,a@example.jp,2026,正会員",
                    "2,b,b@example.jp,2026,正会員",
                    "6,y,b2@example.jp,2026,正会員",
                    "7,z,free@example.jp,2026,正会員",
                ]),
                ImportMode::Merge,
            )
            .await;
        let rows: Vec<u32> = report.rejected.iter().map(|row| row.row).collect();
        assert_eq!(rows, [2, 3, 4]);
        assert!(report.rejected.iter().all(|row| !row.reason.contains('@')));
    }
}

#[tokio::test]
async fn a_person_who_left_can_come_back_under_a_new_number() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.import(&roster(&["1,a,a@example.jp,2025,退会"]), ImportMode::Merge).await;
        let report = registry.import(&roster(&["2,a,a@example.jp,2026,正会員"]), ImportMode::Merge).await;
        assert_eq!((report.added, report.rejected.len()), (1, 0));
    }
}

#[tokio::test]
async fn the_same_member_in_the_same_year_is_taken_once() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let rows = ["1,a,a@example.jp,2026,正会員", "１,other,b@example.jp,令和8年度,正会員"];
        let report = registry.import(&roster(&rows), ImportMode::Merge).await;
        assert_eq!((report.added, report.rejected.len()), (1, 1));
        assert_eq!((report.rejected[0].row, report.rejected[0].code), (3, RowCode::DuplicateMember));
    }
}

#[tokio::test]
async fn a_member_is_not_taken_from_an_old_row_when_the_new_one_is_broken() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let rows = ["1,a,old@example.jp,2024,正会員", "1,a,new@@example.jp,2026,正会員", "2,b,,2026,正会員"];
        let report = registry.import(&roster(&rows), ImportMode::Merge).await;
        let codes: Vec<(u32, RowCode)> = report.rejected.iter().map(|row| (row.row, row.code)).collect();
        assert_eq!(codes, [(2, RowCode::LaterRowRejected), (3, RowCode::BadAddress)]);
        assert_eq!(
            report.notes.iter().map(|note| (note.row, note.code)).collect::<Vec<_>>(),
            [(4, RowCode::NoAddress)]
        );
    }
}

#[tokio::test]
async fn a_blank_cell_keeps_in_a_merge_and_clears_in_a_full_roster() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let facility =
            |value: &str| format!("会員番号,氏名,メールアドレス,施設名,部署\n1,a,a@example.jp,{value},\n");
        let here = async || {
            let known = registry.store.member_by_no(&"1".parse().expect("a number")).await.expect("a query");
            known.expect("a member").member.data.facility
        };
        registry.import(&facility("病院"), ImportMode::Merge).await;
        registry.import(&facility(""), ImportMode::Merge).await;
        registry.import("会員番号,氏名,メールアドレス\n1,a,a@example.jp\n", ImportMode::Full).await;
        assert_eq!(here().await, "病院");
        registry.import(&facility(""), ImportMode::Full).await;
        assert_eq!(here().await, "");
    }
}

#[tokio::test]
async fn a_blank_status_brings_back_nobody_who_withdrew() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry
            .import(&roster(&["1,a,a@example.jp,2026,退会", "2,b,b@example.jp,2026,"]), ImportMode::Merge)
            .await;
        for mode in [ImportMode::Merge, ImportMode::Full] {
            registry.import(&roster(&["1,a,a@example.jp,2026,", "2,b,b@example.jp,2026,"]), mode).await;
        }
        assert_eq!(
            registry.dump().await,
            "1 a a@example.jp Withdrawn r1 2026\n2 b b@example.jp Active r1 2026\n"
        );
    }
}

#[tokio::test]
async fn a_plan_made_on_another_registry_is_refused_whole() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.import(&roster(&["1,a,a@example.jp,2026,正会員"]), ImportMode::Merge).await;
        let rows = ["8,new,new@example.jp,2026,正会員", "1,a,mine@example.jp,2026,正会員"];
        let plan = registry.plan(roster(&rows).as_bytes(), ImportMode::Merge).await;
        registry.import(&roster(&["1,a,theirs@example.jp,2026,正会員"]), ImportMode::Merge).await;
        let before = registry.dump().await;
        let stale = registry::apply(&registry.store, Actor::LocalEngineer, &plan, NOW).await;
        assert!(matches!(stale, Err(StoreError::Refused(Refusal { rule: Rule::Import, .. }))));
        assert_eq!(registry.dump().await, before, "not even the new member of that plan was added");
    }
}

#[tokio::test]
async fn who_may_not_import_imports_nothing() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let plan = registry.plan(ROSTER.as_bytes(), ImportMode::Merge).await;
        for actor in [Actor::Scheduler, Actor::Staff { id: StaffId::new(1), role: Role::Approver }] {
            let refused = registry::apply(&registry.store, actor, &plan, NOW).await;
            assert!(matches!(refused, Err(StoreError::Refused(Refusal { rule: Rule::Role, .. }))));
        }
        assert_eq!(registry.dump().await, "");
    }
}

#[tokio::test]
async fn a_file_whose_rows_are_all_broken_is_refused() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let plan = registry.plan(roster(&["1,a,@,2026,正会員"]).as_bytes(), ImportMode::Full).await;
        let refused = registry::apply(&registry.store, Actor::LocalEngineer, &plan, NOW).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))));
    }
}

#[test]
fn files_that_are_not_rosters_say_what_they_are() {
    let read = |bytes: &[u8]| registry::read_roster(bytes, "x").expect_err("refused");
    assert!(read(b"PK\x03\x04rest").to_string().contains("Excel"));
    assert_eq!(read(b""), ImportError::Empty);
    assert!(matches!(read("日付,件名\n1,2\n".as_bytes()), ImportError::MissingColumn { .. }));
    let mut broken = ROSTER.as_bytes().to_vec();
    broken.truncate(broken.len() - 20);
    broken.extend_from_slice(b"\xe6\x97");
    assert!(matches!(read(&broken), ImportError::Encoding { .. }));
}

#[tokio::test]
async fn a_large_roster_is_written_in_batches() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let rows: Vec<String> =
            (1..=2_345).map(|n| format!("{n:05},m{n},m{n}@example.jp,{},正会員", 2025 + n % 2)).collect();
        let file = roster(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        let report = registry.import(&file, ImportMode::Merge).await;
        assert_eq!(report.added, 2_345);
        let counts = registry.store.member_counts(YEAR).await.expect("counts");
        assert_eq!(counts.current, 1_173);
    }
}

#[tokio::test]
async fn the_report_has_the_shape_scripts_rely_on() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let report = registry
            .import(&roster(&["1,a,a@example.jp,2026,正会員", "2,b,@,2026,正会員"]), ImportMode::Merge)
            .await;
        let json: serde_json::Value = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["import_id"], 1);
        assert_eq!(json["applied"], true);
        assert_eq!([&json["added"], &json["updated"], &json["unchanged"], &json["left"]], [1, 0, 0, 0]);
        assert_eq!(json["rejected"][0]["row"], 3);
        assert_eq!(json["rejected"][0]["code"], "bad-address");
        assert!(json["rejected"][0]["reason"].is_string());
    }
}
