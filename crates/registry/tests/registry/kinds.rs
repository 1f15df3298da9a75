//! Free fields that hold dates and numbers: kept in one writing, said in words, and held back where a
//! cell is neither.

use crate::fresh_registry::{NOW, Registry, YEAR, numbers};
use domain::{Actor, FieldKind, Nature, Refusal, Rule};
use registry::{
    AudienceError, AudienceSpec, Condition, Difference, ImportError, ImportMode, PlanError, RosterFile,
    RowCode, SnapshotMember,
};
use std::{collections::BTreeMap, io::Cursor};
use store::{AudienceFilter, Clause, ImportLines, StoreError, Term, Test};
use testkit::fresh_databases;

/// A registry that knows the field as one of dates.
const DATES: &str = "会員番号,氏名,メールアドレス,更新期限\n\
    1,a,a@example.jp,令和8年4月1日\n2,b,b@example.jp,2026/4/1\n3,c,c@example.jp,Ｒ８．４．１\n";

/// The field's values as the registry keeps them, in the order of numbers; nothing is `-`.
async fn kept(registry: &Registry, field: &str) -> Vec<String> {
    let page = registry.store.members_with_years(domain::MemberId::new(0), 100).await.expect("members");
    let value = |known: &store::MemberWithYears| known.member.data.attributes.get(field).cloned();
    page.iter().map(|known| value(known).unwrap_or_else(|| "-".to_owned())).collect()
}

/// Why a file is not planned.
async fn refused(registry: &Registry, file: &str) -> ImportError {
    let meanings = registry.store.column_meanings().await.expect("meanings");
    let roster = RosterFile::open(Cursor::new(file.to_owned()), "roster.csv", &meanings).expect("a roster");
    let planner = registry.planner(Actor::LocalEngineer);
    match planner.plan(roster, YEAR, ImportMode::Merge, |_| {}).await {
        Err(PlanError::File(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

async fn everybody(registry: &Registry) -> Vec<SnapshotMember> {
    let all = AudienceSpec::Named("all".into());
    registry::resolve(&registry.store, &all, Nature::Exercise, YEAR).await.expect("members")
}

/// What a notice says in the place of a field, in the order of row ids; nothing is `-`.
async fn said(registry: &Registry, field: &str) -> Vec<String> {
    let value = |member: &SnapshotMember| member.fields.get(field).cloned();
    everybody(registry).await.iter().map(|member| value(member).unwrap_or_else(|| "-".to_owned())).collect()
}

#[tokio::test]
async fn a_date_is_kept_in_one_writing_and_said_in_words() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.remember("更新期限", "date").await;
        let report = registry.import(DATES, ImportMode::Merge).await;
        assert_eq!(report.kinds, BTreeMap::from([("更新期限".to_owned(), FieldKind::Date)]));
        assert_eq!((report.notes_total, report.folded["更新期限"]), (0, 3));
        assert_eq!(kept(&registry, "更新期限").await, ["2026-04-01"; 3]);
        assert_eq!(said(&registry, "更新期限").await, ["2026年4月1日"; 3]);
        let known = registry::known_fields(&registry.store).await.expect("fields");
        assert_eq!((known["更新期限"], known["name"]), (FieldKind::Date, FieldKind::Text));
        let again = registry.import(DATES, ImportMode::Full).await;
        assert_eq!((again.updated, again.unchanged), (0, 3), "the same dates are no change");
    }
}

#[tokio::test]
async fn a_number_is_kept_without_what_makes_it_readable() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.remember("会費", "number").await;
        let file = "会員番号,氏名,メールアドレス,会費\n1,a,a@example.jp,\"￥１，２００\"\n\
                    2,b,b@example.jp,-3\n3,c,c@example.jp,1.50\n4,d,d@example.jp,\n";
        let report = registry.import(file, ImportMode::Merge).await;
        assert_eq!(report.notes_total, 0, "a blank cell is no mistake");
        assert_eq!(kept(&registry, "会費").await, ["1200", "-3", "1.5", "-"]);
        assert_eq!(said(&registry, "会費").await, ["1200", "-3", "1.5", "-"]);
    }
}

#[tokio::test]
async fn a_cell_that_is_no_value_is_noted_and_clears_the_field() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.remember("更新期限", "date").await;
        registry.remember("会費", "number").await;
        registry.import(DATES, ImportMode::Merge).await;
        let file = "会員番号,氏名,メールアドレス,更新期限,会費\n1,a,a@example.jp,来月,無料\n\
                    2,b,b@example.jp,,1200\n";
        let plan = registry.plan(file.as_bytes(), ImportMode::Merge).await;
        let notes: Vec<(u32, RowCode, &str)> =
            plan.notes.iter().map(|note| (note.row, note.code, note.reason.as_str())).collect();
        assert_eq!(
            notes,
            [
                (2, RowCode::UnreadableDate, "the date in 更新期限 cannot be read; the field is left empty"),
                (2, RowCode::UnreadableNumber, "the number in 会費 cannot be read; the field is left empty"),
            ]
        );
        assert_eq!((plan.rejected_total, plan.updated), (0, 2), "the rows are taken");
        assert_eq!((plan.unreadable["更新期限"], plan.unreadable["会費"]), (1, 1));
        let lines = registry.store.import_lines(plan.plan, ImportLines::Members("updated"), -1, 1).await;
        let changes: Vec<Difference> =
            serde_json::from_str(&lines.expect("lines")[0].differences).expect("differences");
        let gone = Difference {
            field: "更新期限".to_owned(),
            before: "2026-04-01".to_owned(),
            after: String::new(),
        };
        assert_eq!(changes, [gone]);
        registry.apply(Actor::LocalEngineer, plan.plan).await.expect("applied");
        assert_eq!(kept(&registry, "更新期限").await, ["-", "2026-04-01", "2026-04-01"]);
        assert_eq!(kept(&registry, "会費").await, ["-", "1200", "-"]);
    }
}

#[tokio::test]
async fn a_kind_that_empties_a_field_of_many_is_looked_at_by_another() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let file = |members: u32| {
            let row = |n: u32| format!("{n},会員 {n},m{n}@example.jp,第{n}班\n");
            format!("会員番号,氏名,メールアドレス,備考\n{}", (1..=members).map(row).collect::<String>())
        };
        registry.import(&file(40), ImportMode::Merge).await;
        registry.remember("備考", "date").await;
        let few = registry.plan(file(10).as_bytes(), ImportMode::Merge).await;
        assert_eq!((few.unreadable["備考"], few.needs_second_person), (10, false));

        let plan = registry.plan(file(11).as_bytes(), ImportMode::Merge).await;
        assert_eq!((plan.unreadable["備考"], plan.needs_second_person), (11, true));
        let refused = registry.apply(Actor::LocalEngineer, plan.plan).await.expect_err("refused");
        assert!(matches!(refused, StoreError::Refused(Refusal { rule: Rule::FourEyes, .. })), "{refused}");
        assert!(refused.to_string().contains("備考 of 11 would be empty"), "{refused}");
        assert_eq!(kept(&registry, "備考").await[0], "第1班");

        registry.remember("備考", "text").await;
        let text = registry.plan(file(11).as_bytes(), ImportMode::Merge).await;
        assert_eq!((text.unreadable.len(), text.needs_second_person), (0, false));
    }
}

#[tokio::test]
async fn a_field_keeps_its_kind_until_somebody_gives_it_another() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.remember("更新期限", "date").await;
        registry.import(DATES, ImportMode::Merge).await;
        registry.remember("更新期限", "").await;
        let file = "会員番号,氏名,メールアドレス,更新期限\n1,a,a@example.jp,来月\n2,b,b@example.jp,R9.3.31\n";
        let report = registry.import(file, ImportMode::Merge).await;
        assert_eq!((report.kinds["更新期限"], report.notes_total), (FieldKind::Date, 1));
        assert_eq!(said(&registry, "更新期限").await, ["-", "2027年3月31日", "2026年4月1日"]);

        registry.remember("更新期限", "text").await;
        let report = registry.import(file, ImportMode::Merge).await;
        assert_eq!((report.kinds.len(), report.notes_total), (0, 0));
        assert_eq!(said(&registry, "更新期限").await, ["来月", "2027-03-31", "2026-04-01"]);

        // Whoever does not stand in the file that gave the kind keeps a text that is no date.
        registry.remember("更新期限", "date").await;
        let two = "会員番号,氏名,メールアドレス,更新期限\n2,b,b@example.jp,2027-03-31\n";
        registry.import(two, ImportMode::Merge).await;
        assert_eq!(kept(&registry, "更新期限").await, ["来月", "2027-03-31", "2026-04-01"]);
        assert_eq!(said(&registry, "更新期限").await, ["-", "2027年3月31日", "2026年4月1日"]);
    }
}

#[tokio::test]
async fn a_field_gets_no_kind_while_others_keep_the_same_values_in_another_writing() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let file = |rows: &str| format!("会員番号,氏名,メールアドレス,会費\n{rows}");
        let both = file("1,a,a@example.jp,\"1,200\"\n2,b,b@example.jp,\"1,200\"\n3,c,c@example.jp,未定\n");
        registry.import(&both, ImportMode::Merge).await;
        registry.remember("会費", "number").await;
        let refused = self::refused(&registry, &file("1,a,a@example.jp,1200\n")).await;
        let in_use = |found: &[&str], people| ImportError::KindInUse {
            name: "会費".to_owned(),
            people,
            found: found.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(refused, in_use(&[], 1));

        let test = Test::Attribute { name: "会費".to_owned(), values: vec!["1,200".to_owned()] };
        let filter = AudienceFilter { all: vec![Clause { any: vec![Term { not: true, test }] }] };
        registry.store.add_audience(Actor::LocalEngineer, "未納", &filter, NOW).await.expect("saved");
        assert_eq!(self::refused(&registry, &both).await, in_use(&["未納"], 0));
        assert_eq!(kept(&registry, "会費").await, ["1,200", "1,200", "未定"]);

        // A blank cell of a merge keeps the value in the new writing, once nobody asks for the old one.
        let unpaid = registry.store.audience("未納").await.expect("read").expect("an audience");
        registry.store.delete_audience(Actor::LocalEngineer, unpaid.id, NOW).await.expect("deleted");
        registry.import(&file("1,a,a@example.jp,\n2,b,b@example.jp,1200\n"), ImportMode::Merge).await;
        assert_eq!(kept(&registry, "会費").await, ["1200", "1200", "未定"]);
    }
}

#[tokio::test]
async fn a_row_of_an_older_year_takes_its_member_along_to_the_new_writing() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        let file = |year: &str| {
            format!("会員番号,氏名,メールアドレス,年度,会費\n1,a,a@example.jp,{year},\"1,200\"\n")
        };
        registry.import(&file("2026"), ImportMode::Merge).await;
        registry.remember("会費", "number").await;
        registry.import(&file("2025"), ImportMode::Merge).await;
        assert_eq!(kept(&registry, "会費").await, ["1200"]);
    }
}

#[tokio::test]
async fn a_condition_finds_a_date_and_a_number_in_any_writing() {
    for database in fresh_databases().await {
        let registry = Registry::on(database).await;
        registry.remember("更新期限", "date").await;
        registry.remember("会費", "number").await;
        let file = "会員番号,氏名,メールアドレス,更新期限,会費\n1,a,a@example.jp,2026/4/1,\"1,200\"\n\
                    2,b,b@example.jp,2027/3/31,800\n";
        registry.import(file, ImportMode::Merge).await;
        for (name, condition, found) in [
            ("a", "更新期限=令和8年4月1日", "1"),
            ("b", "更新期限!=R8.4.1", "2"),
            ("c", "会費=￥１，２００", "1"),
            ("d", "会費!=1200.0", "2"),
        ] {
            let condition: Condition = condition.parse().expect("a condition");
            let saved =
                registry::create_audience(&registry.store, Actor::LocalEngineer, name, &[condition], NOW)
                    .await;
            let saved = saved.expect("an audience");
            let spec = AudienceSpec::Named(saved.name);
            let members = registry::resolve(&registry.store, &spec, Nature::Exercise, YEAR).await;
            assert_eq!(numbers(&members.expect("members")), [found], "{name}: {}", saved.filter);
        }
        let stray: Condition = "更新期限=来月".parse().expect("a condition");
        let refused = registry::filter_from(&registry.store, &[stray]).await.expect_err("refused");
        assert!(matches!(refused, AudienceError::NotOfKind { kind: FieldKind::Date, .. }), "{refused}");
    }
}
