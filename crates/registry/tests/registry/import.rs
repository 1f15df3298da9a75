//! Rosters in: what is taken, what is rejected, and that a bad file changes nothing.

use crate::fresh_registry::{NOW, Registry, YEAR, open};
use domain::{Actor, Refusal, Role, Rule, StaffId};
use encoding_rs::SHIFT_JIS;
use registry::{Difference, ImportError, ImportMode, PlanError, RowCode};
use sea_orm::ConnectionTrait;
use store::{ImportLines, ImportState, StoreError};
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
        assert_eq!(registry.store.verify_audit().await.expect("a chain"), Ok(6));
    }
}

#[tokio::test]
async fn planning_changes_nothing() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let plan = registry.plan(ROSTER.as_bytes(), ImportMode::Merge).await;
        assert_eq!((plan.added, plan.import_id), (8, None));
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
            let report = registry.plan(file, ImportMode::Full).await;
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
        assert_eq!(merged.left, 0);
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
        assert_eq!(plan.left, 29);
        let refused = registry.apply(Actor::LocalEngineer, plan.plan).await;
        assert!(matches!(refused, Err(StoreError::Refused(Refusal { rule: Rule::FourEyes, .. }))));
        assert_eq!(registry.dump().await, before);
    }
}

#[tokio::test]
async fn a_full_roster_that_many_leave_by_is_confirmed_by_somebody_else() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let coordinator = Actor::Staff { id: StaffId::new(7), role: Role::Coordinator };
        let all: Vec<String> = (1..=30).map(|n| format!("{n},m{n},m{n}@example.jp,2026,正会員")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        registry.import(&roster(&all), ImportMode::Merge).await;
        let file = open(roster(&all[..18]).as_bytes()).expect("a roster");
        let planner = registry.planner(coordinator);
        let plan = planner.plan(file, YEAR, ImportMode::Full, |_| {}).await.expect("a plan");
        assert!(plan.needs_second_person);
        let leavers = registry.store.leavers(plan.plan, YEAR, 0, 100).await.expect("leavers");
        assert_eq!((leavers.len(), leavers[0].name.as_str()), (12, "m19"));
        let refused = registry.apply(coordinator, plan.plan).await;
        assert!(matches!(refused, Err(StoreError::Refused(Refusal { rule: Rule::FourEyes, .. }))));
        let viewer = Actor::Staff { id: StaffId::new(8), role: Role::Viewer };
        for (who, rule) in
            [(coordinator, Rule::FourEyes), (Actor::LocalEngineer, Rule::FourEyes), (viewer, Rule::Role)]
        {
            let refused = registry.store.confirm_import(who, plan.plan, NOW).await;
            assert!(matches!(refused, Err(StoreError::Refused(Refusal { rule: by, .. })) if by == rule));
        }
        let approver = Actor::Staff { id: StaffId::new(9), role: Role::Approver };
        registry.store.confirm_import(approver, plan.plan, NOW).await.expect("confirmed");
        let report = registry.apply(coordinator, plan.plan).await.expect("applied");
        assert_eq!(report.left, 12);
        assert_eq!(registry.store.member_counts(YEAR).await.expect("counts").current, 18);
        let again = registry.apply(coordinator, plan.plan).await;
        assert!(matches!(again, Err(StoreError::Refused(Refusal { rule: Rule::State, .. }))));
    }
}

#[tokio::test]
async fn a_shifted_column_is_noticed() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let row = |n: u32, address: u32| format!("{n},会員 {n},m{address}@example.jp,2026,正会員");
        let file = |shift: u32| {
            let rows: Vec<String> = (1..=40).map(|n| row(n, n + shift)).collect();
            roster(&rows.iter().map(String::as_str).collect::<Vec<_>>())
        };
        registry.import(&file(0), ImportMode::Merge).await;
        let before = registry.dump().await;
        let shifted = open(file(1).as_bytes()).expect("a roster");
        let planner = registry.planner(Actor::LocalEngineer);
        let refused = planner.plan(shifted, YEAR, ImportMode::Merge, |_| {}).await;
        let moved = ImportError::AddressesMoved { people: 39 };
        assert!(matches!(refused, Err(PlanError::File(problem)) if problem == moved));
        let last = registry.store.imports(1).await.expect("listed").remove(0);
        assert_eq!(last.state, ImportState::Failed);
        assert_eq!(registry.dump().await, before);
    }
}

#[tokio::test]
async fn who_would_no_longer_be_active_is_looked_at_by_another() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let file = |status: &str| {
            let rows: Vec<String> =
                (1..=40).map(|n| format!("{n},会員 {n},m{n}@example.jp,2026,{status}")).collect();
            roster(&rows.iter().map(String::as_str).collect::<Vec<_>>())
        };
        registry.import(&file("正会員"), ImportMode::Merge).await;
        let plan = registry.plan(file("退会").as_bytes(), ImportMode::Merge).await;
        assert_eq!((plan.deactivated, plan.needs_second_person), (40, true));
        let refused = registry.apply(Actor::LocalEngineer, plan.plan).await;
        assert!(matches!(refused, Err(StoreError::Refused(Refusal { rule: Rule::FourEyes, .. }))));
    }
}

#[tokio::test]
async fn a_row_of_another_year_keeps_nobody_in_this_one() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let both = ["1,a,a@example.jp,2026,正会員", "2,b,b@example.jp,2026,正会員"];
        registry.import(&roster(&both), ImportMode::Merge).await;
        let next = ["1,a,a@example.jp,2026,正会員", "2,b,b@example.jp,2025,正会員"];
        let report = registry.import(&roster(&next), ImportMode::Full).await;
        assert_eq!(report.left, 1);
        assert_eq!(registry.store.member_counts(YEAR).await.expect("counts").current, 1);
    }
}

#[tokio::test]
async fn a_plan_that_lost_a_row_or_is_old_is_not_written() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.import(&roster(&["1,a,a@example.jp,2026,正会員"]), ImportMode::Merge).await;
        let plan =
            registry.plan(roster(&["1,a,x@example.jp,2026,正会員"]).as_bytes(), ImportMode::Full).await;
        let late = NOW.plus(std::time::Duration::from_secs(25 * 3_600));
        let old = registry::apply(&registry.store, Actor::LocalEngineer, plan.plan, late, |_| {}).await;
        assert!(matches!(old, Err(StoreError::Refused(Refusal { rule: Rule::State, .. }))));
        let statement = "DELETE FROM import_row";
        registry.store.connection().execute_unprepared(statement).await.expect("deleted");
        let lost = registry.apply(Actor::LocalEngineer, plan.plan).await;
        assert!(matches!(lost, Err(StoreError::Refused(Refusal { rule: Rule::Import, .. }))), "{lost:?}");
        assert_eq!(registry.store.member_counts(YEAR).await.expect("counts").current, 1);
    }
}

#[tokio::test]
async fn a_plan_says_field_by_field_what_changes() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let file = |row: &str| format!("会員番号,氏名,メールアドレス,施設名,都道府県,部署\n{row}\n");
        registry.import(&file("1,鈴木 花子,a@example.jp,第一病院,宮城県,救急"), ImportMode::Merge).await;
        let next = file("1,鈴木 花子,b@example.jp,第一病院,岩手,");
        let plan = registry.plan(next.as_bytes(), ImportMode::Full).await;
        let lines = registry.store.import_lines(plan.plan, ImportLines::Members("updated"), -1, 10).await;
        let lines = lines.expect("lines");
        let changes: Vec<Difference> = serde_json::from_str(&lines[0].differences).expect("differences");
        let told: Vec<(&str, &str, &str)> = changes
            .iter()
            .map(|change| (change.field.as_str(), change.before.as_str(), change.after.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("address", "a@example.jp", "b@example.jp"),
                ("prefecture", "宮城県", "岩手県"),
                ("部署", "救急", ""),
            ]
        );
        registry.apply(Actor::LocalEngineer, plan.plan).await.expect("applied");
        let left = registry.store.import_lines(plan.plan, ImportLines::Members("updated"), -1, 10).await;
        assert!(left.expect("lines").is_empty(), "nobody's data stays in a plan that was written");
    }
}

#[tokio::test]
async fn a_family_may_share_a_mailbox_and_a_person_cannot_stand_there_twice() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let report = registry
            .import(
                &roster(&[
                    "1,鈴木 花子,home@example.jp,2026,正会員",
                    "2,鈴木 一郎,HOME@example.jp,2026,正会員",
                    "3,鈴木　花子,home@example.jp,2026,正会員",
                    "4,佐藤 次郎,home@example.jp,2026,正会員",
                ]),
                ImportMode::Merge,
            )
            .await;
        assert_eq!((report.added, report.shared_addresses), (2, 1));
        let rows: Vec<(u32, RowCode)> = report.rejected.iter().map(|row| (row.row, row.code)).collect();
        assert_eq!(rows, [(4, RowCode::DuplicateAddress), (5, RowCode::DuplicateAddress)]);
        // Later, too: the family is in the registry, and stays.
        let later =
            roster(&["5,鈴木 三郎,home@example.jp,2026,正会員", "6,田中 花,home@example.jp,2026,正会員"]);
        let report = registry.import(&later, ImportMode::Merge).await;
        assert_eq!((report.added, report.shared_addresses, report.rejected.len()), (1, 1, 1));
    }
}

#[tokio::test]
async fn no_file_brings_back_a_person_who_was_erased() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let (store, engineer) = (&registry.store, Actor::LocalEngineer);
        registry.import(&roster(&["1,鈴木 花子,a@example.jp,2026,正会員"]), ImportMode::Merge).await;
        let member = store.member_by_no(&"1".parse().expect("a number")).await.expect("a query");
        let member = member.expect("a member").member.id;
        let rows = ["1,鈴木 花子,new@example.jp,2026,正会員", "2,鈴木 花子,A@example.jp,2026,正会員"];
        let before = registry.plan(roster(&rows).as_bytes(), ImportMode::Merge).await;
        store.ask_erasure(engineer, member, NOW).await.expect("asked");
        assert!(store.erase(engineer, &registry.keyring, member, NOW).await.expect("erased").is_empty());
        let stale = registry.apply(engineer, before.plan).await;
        assert!(matches!(stale, Err(StoreError::Refused(Refusal { rule: Rule::Import, .. }))), "{stale:?}");
        let all = roster(&[rows[0], rows[1], "3,b,b@example.jp,2026,"]);
        let report = registry.import(&all, ImportMode::Merge).await;
        let codes: Vec<(u32, RowCode)> = report.rejected.iter().map(|row| (row.row, row.code)).collect();
        assert_eq!((report.added, codes), (2, vec![(2, RowCode::Erased)]));
        let notes: Vec<(u32, RowCode)> = report.notes.iter().map(|note| (note.row, note.code)).collect();
        assert_eq!(notes, [(3, RowCode::ErasedMailbox)], "somebody else may have the address now");
        let keys = registry.keyring.erased_numbers(&"1".parse().expect("a number"));
        store.readmit(engineer, &keys, NOW).await.expect("readmitted");
        let report = registry.import(&roster(&rows), ImportMode::Merge).await;
        assert_eq!((report.added, report.rejected.len()), (1, 0));
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
        let stale = registry.apply(Actor::LocalEngineer, plan.plan).await;
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
            let refused = registry.apply(actor, plan.plan).await;
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
        let refused = registry.apply(Actor::LocalEngineer, plan.plan).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))));
    }
}

#[test]
fn files_that_are_not_rosters_say_what_they_are() {
    let read = |bytes: &[u8]| open(bytes).expect_err("refused");
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

#[tokio::test]
async fn a_plan_whose_reader_is_not_heard_of_any_more_is_interrupted() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let (store, planner) = (&registry.store, registry.planner(Actor::LocalEngineer));
        let file = || open(ROSTER.as_bytes()).expect("a roster");
        let plan = planner.begin(&file(), YEAR, ImportMode::Merge).await.expect("begun");
        let state = async || store.import(plan).await.expect("read").expect("there").state;
        assert_eq!(state().await, ImportState::Reading);
        let early = registry.apply(Actor::LocalEngineer, plan).await.expect_err("it is still read");
        assert!(early.to_string().ends_with("is still being read → wait until it has been read"), "{early}");
        let silence = "UPDATE import_plan SET touched_at = touched_at - 301000";
        store.connection().execute_unprepared(silence).await.expect("the statement runs");
        assert_eq!(state().await, ImportState::Interrupted);
        assert_eq!(store.imports(1).await.expect("listed")[0].state, ImportState::Interrupted);
        let refused =
            registry.apply(Actor::LocalEngineer, plan).await.expect_err("there is nothing to write");
        assert!(refused.to_string().ends_with("was interrupted → import the file again"), "{refused}");
        registry.import(&roster(&["1,a,a@example.jp,2026,正会員"]), ImportMode::Merge).await;

        // The reader was only slow: what it reads is heard again, and its plan is whole.
        let complete = planner.complete(plan, file(), YEAR, ImportMode::Merge, |_| {}).await;
        assert_eq!(complete.expect("a plan").added, 8);
        assert_eq!(state().await, ImportState::Planned);
    }
}

#[tokio::test]
async fn a_reader_stops_where_its_plan_was_dropped() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let planner = registry.planner(Actor::LocalEngineer);
        let file = || open(ROSTER.as_bytes()).expect("a roster");
        let plan = planner.begin(&file(), YEAR, ImportMode::Merge).await.expect("begun");
        registry.store.drop_import(Actor::LocalEngineer, plan, NOW).await.expect("dropped");
        let stopped = planner.complete(plan, file(), YEAR, ImportMode::Merge, |_| {}).await;
        assert!(matches!(stopped, Err(PlanError::Store(StoreError::NotFound { .. }))), "{stopped:?}");
        assert!(registry.store.import(plan).await.expect("read").is_none());
    }
}
