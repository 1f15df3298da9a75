//! Audiences by roster and by ledger, how people differ from those of an earlier broadcast, and names
//! that stay while something waits for them.

use crate::{
    exercise::inject,
    fresh::{Fresh, NOW, SIGNED, accepted, held, id_of, member, members, rule},
    response::of_every_state,
};
use domain::{
    Answers, AudienceId, BroadcastId, ExerciseState, FiscalYear, Keyring, MemberId, Nature, Rule, TokenKey,
};
use store::{
    AudienceFilter, Clause, Difference, EVERYBODY, Listed, NewBroadcast, NewExercise, NewInject, People,
    Reach, StoreError, Term, Test,
};
use testkit::import_roster;

const YEAR: FiscalYear = FiscalYear::new(2026);

/// Members 1 to `count`: of the year, active, in Miyagi.
async fn registered(fresh: &Fresh, count: u32) {
    let mut file = "会員番号,氏名,メールアドレス,都道府県,施設名\n".to_owned();
    for n in 1..=count {
        file += &format!("{n:05},会員 {n},,宮城県,第{n}病院\n");
    }
    import_roster(&fresh.store, &file, YEAR, NOW).await;
}

fn is(test: Test) -> Term {
    Term { not: false, test }
}

fn is_not(test: Test) -> Term {
    Term { not: true, test }
}

fn any(terms: impl IntoIterator<Item = Term>) -> Clause {
    Clause { any: terms.into_iter().collect() }
}

fn all(clauses: impl IntoIterator<Item = Clause>) -> AudienceFilter {
    AudienceFilter { all: clauses.into_iter().collect() }
}

fn one(term: Term) -> AudienceFilter {
    all([any([term])])
}

async fn found(fresh: &Fresh, filter: &AudienceFilter, reach: Reach) -> Vec<i64> {
    let page = fresh.store.audience_page(filter, reach, MemberId::new(0), 100).await.expect("a page");
    let ids: Vec<i64> = page.iter().map(|member| member.id.get()).collect();
    let count = fresh.store.audience_count(filter, reach).await.expect("counted");
    assert_eq!(count, ids.len() as u64, "count and page agree");
    ids
}

async fn current(fresh: &Fresh, filter: &AudienceFilter) -> Vec<i64> {
    found(fresh, filter, Reach::Current(YEAR)).await
}

#[tokio::test]
async fn no_alternative_lets_in_anybody_of_another_year_or_status() {
    for fresh in Fresh::each().await {
        registered(&fresh, 5).await;
        fresh.tamper("UPDATE member SET status = 'withdrawn' WHERE id = 3").await;
        fresh.tamper("UPDATE membership SET fiscal_year = 2025 WHERE member_id = 4").await;
        let id = of_every_state(&fresh).await;
        let terms = [
            is(Test::Facility(vec!["第3病院".into(), "第4病院".into()])),
            is(Test::Prefecture(vec![4])),
            is_not(Test::Role(vec!["看護師".into()])),
            is(Test::NonRespondentsOf(id)),
            is_not(Test::ReachedBy(id)),
        ];
        assert_eq!(current(&fresh, &all([any(terms.clone())])).await, [1, 2, 5]);
        let each = terms.iter().map(|term| any([is(Test::Facility(vec!["x".into()])), term.clone()]));
        assert_eq!(current(&fresh, &all(each)).await, Vec::<i64>::new());
        let number = "00002".parse().expect("a number");
        fresh.store.add_to_test_roster(fresh.author, &number, NOW).await.expect("added");
        assert_eq!(found(&fresh, &all([any(terms)]), Reach::TestRoster).await, [2]);
    }
}

#[tokio::test]
async fn whoever_has_no_value_is_among_those_who_do_not_have_it() {
    for fresh in Fresh::each().await {
        registered(&fresh, 4).await;
        fresh.tamper("UPDATE member SET prefecture = NULL WHERE id = 1").await;
        fresh.tamper("UPDATE member SET prefecture = 3 WHERE id = 2").await;
        fresh.tamper(r#"UPDATE member SET attributes = '{"team":"a"}' WHERE id = 3"#).await;
        let team = |value: &str| Test::Attribute { name: "team".into(), values: vec![value.into()] };
        for (filter, wanted) in [
            (one(is(Test::Prefecture(vec![4]))), vec![3, 4]),
            (one(is_not(Test::Prefecture(vec![4]))), vec![1, 2]),
            (one(is_not(Test::Prefecture(vec![4, 3]))), vec![1]),
            (one(is(team("a"))), vec![3]),
            (one(is_not(team("a"))), vec![1, 2, 4]),
            (all([any([is(team("a")), is(Test::Prefecture(vec![3]))])]), vec![2, 3]),
            (all([any([is_not(team("a"))]), any([is(Test::Prefecture(vec![4]))])]), vec![4]),
        ] {
            assert_eq!(current(&fresh, &filter).await, wanted, "{filter}");
        }
    }
}

#[tokio::test]
async fn what_names_nothing_fits_nobody_also_under_not() {
    for fresh in Fresh::each().await {
        registered(&fresh, 2).await;
        let nothing = [
            Test::Prefecture(vec![]),
            Test::Prefecture(vec![0, 48]),
            Test::Facility(vec![]),
            Test::Role(vec![]),
            Test::Attribute { name: "team".into(), values: vec![] },
        ];
        for test in nothing {
            assert_eq!(current(&fresh, &one(is(test.clone()))).await, Vec::<i64>::new(), "{test:?}");
            assert_eq!(current(&fresh, &one(is_not(test.clone()))).await, Vec::<i64>::new(), "{test:?}");
        }
        assert_eq!(current(&fresh, &all([any([])])).await, Vec::<i64>::new());
        assert_eq!(current(&fresh, &all([])).await, [1, 2]);
    }
}

/// Member 1 held, 2 accepted, 3 deferred, 4 rejected, 5 unknown, 6 pending, 7 accepted; 8 is new.
#[tokio::test]
async fn the_ledger_says_who_was_reached_and_who_has_not_answered() {
    for fresh in Fresh::each().await {
        registered(&fresh, 8).await;
        let id = of_every_state(&fresh).await;
        let reached = Test::ReachedBy(id);
        assert_eq!(current(&fresh, &one(is(reached.clone()))).await, [2, 5, 7]);
        assert_eq!(current(&fresh, &one(is_not(reached.clone()))).await, [1, 3, 4, 6, 8]);
        let reminder = reminder_of(&fresh, id, &[2, 3, 5]).await;
        fresh.store.save_response(id, MemberId::new(2), &Answers::new(), NOW).await.expect("stored");
        for (of, open) in [(id, vec![3, 5, 6, 7]), (reminder, vec![3, 5])] {
            let silent: Vec<i64> = fresh
                .store
                .non_respondents(of)
                .await
                .expect("listed")
                .into_iter()
                .map(MemberId::get)
                .collect();
            assert_eq!(silent, open, "{of}");
            assert_eq!(current(&fresh, &one(is(Test::NonRespondentsOf(of)))).await, open, "{of}");
        }
        let silent_though_reached = all([any([is(reached)]), any([is(Test::NonRespondentsOf(id))])]);
        assert_eq!(current(&fresh, &silent_though_reached).await, [5, 7]);
        assert_eq!(
            current(&fresh, &one(is(Test::ReachedBy(BroadcastId::new(999))))).await,
            Vec::<i64>::new()
        );
    }
}

/// A frozen reminder, whose answers are answers to `id`.
async fn reminder_of(fresh: &Fresh, id: BroadcastId, people: &[i64]) -> BroadcastId {
    let notice = NewBroadcast { answers_to: Some(id), ..fresh.notice("reminder") };
    let reminder = fresh.store.create_broadcast(fresh.author, &notice, NOW).await.expect("a draft");
    let rows: Vec<_> = people.iter().map(|n| member(*n)).collect();
    fresh.freeze(reminder, &rows, SIGNED).await;
    reminder
}

fn numbers(listed: &Listed) -> (u64, Vec<String>) {
    let names = listed.first.iter().map(|member| match &member.known_as {
        Some((number, name)) => format!("{number} {name}"),
        None => format!("#{}", member.id),
    });
    (listed.total, names.collect())
}

async fn difference(fresh: &Fresh, people: People<'_>, previous: BroadcastId, limit: u32) -> Difference {
    fresh.store.difference(people, previous, limit).await.expect("compared")
}

#[tokio::test]
async fn who_is_new_who_left_and_who_was_never_mailed_by_name_and_number() {
    for fresh in Fresh::each().await {
        registered(&fresh, 6).await;
        fresh.tamper("DELETE FROM membership WHERE member_id = 6").await;
        let (first, approved) = fresh.sending_as("first", 3).await;
        fresh.send_all(fresh.worker().await, &approved, &accepted()).await;
        let next = fresh.draft("next").await;
        let rows = [member(2), member(4), member(5), held(6), member(9)];
        fresh.freeze(next, &rows, SIGNED).await;

        let found = difference(&fresh, People::Recipients(next), first, 10).await;
        let new = ["00004 会員 4".to_owned(), "00005 会員 5".to_owned()];
        let (total, mut names) = numbers(&found.joined);
        names.sort();
        assert_eq!((total, names), (3, vec!["#9".to_owned(), new[0].clone(), new[1].clone()]));
        assert_eq!(numbers(&found.left), (2, vec!["00001 会員 1".into(), "00003 会員 3".into()]));
        assert_eq!(found.never_mailed, found.joined);
        let short = difference(&fresh, People::Recipients(next), first, 1).await;
        assert_eq!((short.left.total, short.left.first.len()), (2, 1));

        let everybody = all([]);
        let people = People::Fitting(&everybody, Reach::Current(YEAR));
        let found = difference(&fresh, people, first, 10).await;
        assert_eq!(numbers(&found.joined), (2, new.to_vec()));
        assert_eq!(found.left.total, 0);
        let found = difference(&fresh, people, next, 10).await;
        let (_, left) = numbers(&found.left);
        assert_eq!(found.left.total, 2, "also who was held: {left:?}");
        assert_eq!(numbers(&found.joined), (2, vec!["00001 会員 1".into(), "00003 会員 3".into()]));
        assert_eq!(found.never_mailed.total, 0, "the first broadcast reached them");
    }
}

#[tokio::test]
async fn the_last_uses_of_an_audience_are_those_that_were_released() {
    for fresh in Fresh::each().await {
        assert_eq!(fresh.store.last_released(Nature::Exercise).await.expect("looked"), None);
        let (first, _) = fresh.sending_as("first", 1).await;
        let (second, _) = fresh.sending_as("second", 1).await;
        fresh.draft("draft").await;
        fresh
            .tamper(&format!("UPDATE broadcast SET released_at = released_at + 1 WHERE id = {second}"))
            .await;
        let uses = fresh.store.released_to(r#"{"named":"all"}"#, 10).await.expect("listed");
        assert_eq!(uses.iter().map(|used| used.id).collect::<Vec<_>>(), [second, first]);
        assert!(fresh.store.released_to(r#"{"named":"x"}"#, 10).await.expect("listed").is_empty());
        let last = fresh.store.last_released(Nature::Exercise).await.expect("looked").expect("one");
        assert_eq!(last.id, second);
        assert_eq!(fresh.store.last_released(Nature::Actual).await.expect("looked"), None);
    }
}

async fn saved(fresh: &Fresh, name: &str) -> AudienceId {
    fresh.store.add_audience(fresh.author, name, &all([]), NOW).await.expect("saved")
}

/// It is neither renamed nor deleted, nothing is written, and what is in the way is named.
async fn stays(fresh: &Fresh, id: AudienceId, in_the_way: &str) {
    let entries = "SELECT COUNT(*) AS n FROM audit";
    let before = (fresh.store.audiences().await.expect("listed"), fresh.number(entries).await);
    let renamed = fresh.store.rename_audience(fresh.author, id, "x", NOW).await.map(|_| ());
    let deleted = fresh.store.delete_audience(fresh.author, id, NOW).await;
    for refused in [renamed, deleted] {
        let refused = refused.expect_err("refused");
        assert_eq!(rule(&refused), Some(Rule::State), "{refused}");
        assert!(refused.to_string().contains(in_the_way), "{refused}");
    }
    assert_eq!((fresh.store.audiences().await.expect("listed"), fresh.number(entries).await), before);
}

/// What is frozen can be checked anew or returned, and is drawn by the audience's name then.
#[tokio::test]
async fn an_audience_stays_until_the_notice_that_names_it_is_released() {
    for fresh in Fresh::each().await {
        let id = saved(&fresh, "東北6県").await;
        let renamed = fresh.store.rename_audience(fresh.author, id, "東北", NOW).await.expect("renamed");
        assert_eq!(fresh.store.audience("東北").await.expect("read"), Some(renamed));
        let notice = NewBroadcast { audience: r#"{"named":"東北"}"#.into(), ..fresh.notice("n") };
        let broadcast = fresh.store.create_broadcast(fresh.author, &notice, NOW).await.expect("a draft");
        let named = format!("broadcast {broadcast}");
        stays(&fresh, id, &named).await;
        fresh.freeze(broadcast, &members(2), SIGNED).await;
        stays(&fresh, id, &named).await;
        fresh.sign(fresh.approver, broadcast).await.expect("signed");
        stays(&fresh, id, &named).await;
        let _approved = fresh.release(broadcast).await.expect("released");

        let renamed = fresh.store.rename_audience(fresh.author, id, "東北6県", NOW).await;
        let refused = renamed.expect_err("the next notice is compared with this one by the name");
        assert_eq!(rule(&refused), Some(Rule::State));
        assert!(refused.to_string().contains("new audience from the same conditions"), "{refused}");
        assert!(fresh.store.audience("東北").await.expect("read").is_some());
        fresh.store.delete_audience(fresh.author, id, NOW).await.expect("deleted");
        let gone = fresh.store.delete_audience(fresh.author, id, NOW).await;
        assert!(matches!(gone, Err(StoreError::NotFound { .. })));
        assert_eq!(
            fresh.broadcast(broadcast).await.audience,
            notice.audience,
            "what was sent keeps the name"
        );
        let log = fresh.store.audit_entries(0, 1_000).await.expect("read");
        let about = log.iter().filter(|entry| entry.object == format!("audience:{id}"));
        let done: Vec<(&str, &str)> =
            about.map(|entry| (entry.action.as_str(), entry.detail.as_str())).collect();
        let renamed = ("audience-renamed", "from=東北6県 to=東北");
        assert_eq!(done, [("audience-created", ""), renamed, ("audience-deleted", "name=東北")]);
    }
}

#[tokio::test]
async fn an_audience_stays_until_exercises_with_an_inject_to_it_are_over() {
    for fresh in Fresh::each().await {
        let id = saved(&fresh, "東北").await;
        let to_it = NewInject { audience: r#"{"audience":"東北"}"#.into(), ..inject("start", 0, None) };
        let plan = NewExercise {
            title: "総合防災訓練".into(),
            nature: Nature::Exercise,
            author: id_of(fresh.author),
            idempotency_key: "k".into(),
            injects: vec![to_it],
        };
        let exercise = fresh.store.create_exercise(fresh.author, &plan, NOW).await.expect("kept");
        let named = format!("exercise {exercise}");
        stays(&fresh, id, &named).await;
        for state in [ExerciseState::Running, ExerciseState::Stopped, ExerciseState::Running] {
            fresh.store.move_exercise(fresh.author, exercise, state, NOW).await.expect("moved");
            stays(&fresh, id, &named).await;
        }
        fresh.store.move_exercise(fresh.author, exercise, ExerciseState::Stopped, NOW).await.expect("moved");
        fresh.store.end_exercise(fresh.author, exercise, NOW).await.expect("ENDEX");
        fresh.store.delete_audience(fresh.author, id, NOW).await.expect("deleted");
    }
}

#[tokio::test]
async fn everybody_stays_and_no_name_is_given_twice() {
    for fresh in Fresh::each().await {
        let everybody = fresh.store.audience(EVERYBODY).await.expect("read").expect("it exists");
        stays(&fresh, everybody.id, EVERYBODY).await;
        let id = saved(&fresh, "東北").await;
        saved(&fresh, "北陸").await;
        let taken = fresh.store.rename_audience(fresh.author, id, "北陸", NOW).await;
        assert!(matches!(taken, Err(StoreError::Exists { what: "audience", .. })));
        fresh.store.rename_audience(fresh.author, id, "東北", NOW).await.expect("its own");
    }
}

#[tokio::test]
async fn the_rosters_mark_moves_with_those_whom_audiences_can_hold() {
    for fresh in Fresh::each().await {
        registered(&fresh, 3).await;
        let mark = async || fresh.store.roster_mark().await.expect("read");
        let first = mark().await;
        fresh.draft("n").await;
        assert_eq!(mark().await, first, "a notice changes no roster");
        registered(&fresh, 4).await;
        let second = mark().await;
        assert!(second > first, "an import");
        let (keyring, one) = (Keyring::new(TokenKey::new(1, [7; 32]), vec![]), MemberId::new(1));
        assert!(fresh.store.ask_erasure(fresh.author, one, NOW).await.expect("asked"));
        assert_eq!(mark().await, second, "nobody is erased yet");
        let waits_for = fresh.store.erase(fresh.author, &keyring, one, NOW).await.expect("erased");
        assert_eq!(waits_for, []);
        assert!(mark().await > second, "an erasure");
        assert_eq!(current(&fresh, &all([])).await, [2, 3, 4]);
    }
}
