//! Accounts, sessions and personal tokens.

use crate::fresh::{Fresh, NOW, id_of};
use domain::{Actor, Role, StaffId};
use std::time::Duration;
use store::StoreError;

const HOUR: Duration = Duration::from_secs(3_600);
const KEY: [u8; 32] = [1; 32];
const OTHER_KEY: [u8; 32] = [2; 32];

async fn signed_in(fresh: &Fresh, email: &str) -> StaffId {
    let staff = id_of(fresh.staff(email, Role::Coordinator).await);
    fresh.store.create_session(&KEY, staff, NOW, NOW.plus(HOUR)).await.expect("a session");
    fresh.store.create_api_token(Actor::LocalEngineer, &OTHER_KEY, staff, NOW).await.expect("a token");
    assert!(has_session(fresh).await && has_token(fresh).await);
    staff
}

async fn has_session(fresh: &Fresh) -> bool {
    fresh.store.session(&KEY, NOW).await.expect("looked up").is_some()
}

async fn has_token(fresh: &Fresh) -> bool {
    fresh.store.staff_by_api_token(&OTHER_KEY).await.expect("looked up").is_some()
}

#[tokio::test]
async fn a_session_lasts_until_its_time_or_its_end() {
    for fresh in Fresh::each().await {
        let staff = signed_in(&fresh, "a@example.jp").await;
        let found = fresh.store.session(&KEY, NOW).await.expect("looked up").expect("a session");
        assert_eq!(found.actor(), Actor::Staff { id: staff, role: Role::Coordinator });
        let last = NOW.plus(HOUR - Duration::from_millis(1));
        assert!(fresh.store.session(&KEY, last).await.expect("looked up").is_some());
        assert!(fresh.store.session(&KEY, NOW.plus(HOUR)).await.expect("looked up").is_none());
        fresh.store.delete_session(&KEY).await.expect("ended");
        assert!(!has_session(&fresh).await);
        assert!(has_token(&fresh).await, "signing out ends the session, not the token");
    }
}

#[tokio::test]
async fn a_new_password_ends_every_session_and_token() {
    for fresh in Fresh::each().await {
        let staff = signed_in(&fresh, "a@example.jp").await;
        fresh.store.set_password(Actor::LocalEngineer, staff, "new", NOW).await.expect("set");
        assert!(!has_session(&fresh).await && !has_token(&fresh).await);
        let row = fresh.store.staff_by_email("A@Example.JP").await.expect("found").expect("an account");
        assert_eq!(row.password_hash, "new");
    }
}

#[tokio::test]
async fn a_disabled_account_is_out_at_once() {
    for fresh in Fresh::each().await {
        let staff = signed_in(&fresh, "a@example.jp").await;
        fresh.store.disable_staff(Actor::LocalEngineer, staff, NOW).await.expect("disabled");
        assert!(!has_session(&fresh).await && !has_token(&fresh).await);
        // Even a session that is begun in the same moment gives nothing.
        fresh.store.create_session(&KEY, staff, NOW, NOW.plus(HOUR)).await.expect("written");
        fresh.store.create_api_token(Actor::LocalEngineer, &OTHER_KEY, staff, NOW).await.expect("written");
        assert!(!has_session(&fresh).await && !has_token(&fresh).await);
    }
}

#[tokio::test]
async fn a_changed_role_ends_the_session() {
    for fresh in Fresh::each().await {
        let staff = signed_in(&fresh, "a@example.jp").await;
        fresh.tamper(&format!("UPDATE staff SET role = 'viewer' WHERE id = {staff}")).await;
        assert!(!has_session(&fresh).await);
        let token = fresh.store.staff_by_api_token(&OTHER_KEY).await.expect("looked up").expect("a token");
        assert_eq!(token.role, Role::Viewer, "a token carries the role of now");
    }
}

#[tokio::test]
async fn the_sixth_wrong_password_locks_and_each_further_one_doubles_the_wait() {
    for fresh in Fresh::each().await {
        let staff = id_of(fresh.staff("a@example.jp", Role::Viewer).await);
        let mut waits = Vec::new();
        for _ in 0..13 {
            fresh.store.note_failed_login(staff, NOW).await.expect("noted");
            let row = fresh.store.staff_by_email("a@example.jp").await.expect("found").expect("an account");
            waits.push(row.locked_until.since(NOW).as_secs());
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]);
        fresh.store.note_login(staff, NOW).await.expect("noted");
        fresh.store.note_failed_login(staff, NOW).await.expect("noted");
        let row = fresh.store.staff_by_email("a@example.jp").await.expect("found").expect("an account");
        assert_eq!(row.locked_until.millis(), 0, "a right password starts the count again");
    }
}

#[tokio::test]
async fn many_people_sign_in_at_the_same_moment() {
    for fresh in Fresh::each().await {
        let staff = id_of(fresh.author);
        let logins = (0..30).map(|_| {
            let store = fresh.store.clone();
            tokio::spawn(async move { store.note_login(staff, NOW).await })
        });
        for login in logins.collect::<Vec<_>>() {
            login.await.expect("no panic").expect("noted");
        }
    }
}

#[tokio::test]
async fn a_sign_in_name_is_taken_in_any_letter_case() {
    for fresh in Fresh::each().await {
        fresh.staff("a@example.jp", Role::Viewer).await;
        let again =
            fresh.store.add_staff(Actor::LocalEngineer, " A@EXAMPLE.jp ", "A", Role::Approver, "h", NOW);
        let refused = again.await.expect_err("the name is taken");
        assert!(matches!(refused, StoreError::Exists { what: "account", .. }), "{refused}");
    }
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_not_changed_silently() {
    for fresh in Fresh::each().await {
        let nobody = StaffId::new(999);
        let entries = fresh.number("SELECT COUNT(*) AS n FROM audit").await;
        let set = fresh.store.set_password(Actor::LocalEngineer, nobody, "x", NOW).await;
        assert!(matches!(set, Err(StoreError::NotFound { .. })), "{set:?}");
        let disabled = fresh.store.disable_staff(Actor::LocalEngineer, nobody, NOW).await;
        assert!(matches!(disabled, Err(StoreError::NotFound { .. })), "{disabled:?}");
        assert_eq!(fresh.number("SELECT COUNT(*) AS n FROM audit").await, entries, "nothing was done");
    }
}
