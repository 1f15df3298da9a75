//! The queue of mail to staff.

use crate::fresh::{CAP, Fresh, NOW};
use domain::Actor;
use std::collections::BTreeSet;
use store::{ReleasePolicy, StaffMailKind};

#[tokio::test]
async fn a_cap_alert_goes_once_to_every_approver_and_operator() {
    for fresh in Fresh::each().await {
        let operators = vec!["ops@example.jp".to_owned(), "approver@example.jp".to_owned()];
        let policy = ReleasePolicy { operators, ..ReleasePolicy::capped_at(CAP) };
        let id = fresh.draft("a").await;
        fresh.freeze(id, &crate::fresh::members(3_001), crate::fresh::SIGNED).await;
        fresh.store.request_approval(fresh.author, id, &policy, NOW).await.expect("asked");
        let sign = fresh.store.sign(fresh.approver, id, crate::fresh::SIGNED, &policy, NOW);
        sign.await.expect("signed");
        assert_eq!(fresh.store.alerts(id).await.expect("counted"), (3, 0), "nobody twice");

        let mut addresses = BTreeSet::new();
        while let Some(mail) = fresh.store.next_staff_mail().await.expect("taken") {
            assert_eq!((mail.kind, mail.broadcast), (StaffMailKind::CapAlert, id));
            assert_eq!(mail.args.get("recipients").map(String::as_str), Some("3001"));
            assert_eq!(mail.args.get("cap").map(String::as_str), Some("3000"));
            assert!(addresses.insert(mail.address.reveal()), "a mail is taken by one sender at a time");
            if addresses.len() < 3 {
                fresh.store.staff_mail_sent(mail.id, NOW).await.expect("noted");
            }
        }
        let expected = ["approver@example.jp", "ops@example.jp", "second@example.jp"];
        assert_eq!(addresses, expected.map(str::to_owned).into());
        assert_eq!(fresh.store.alerts(id).await.expect("counted"), (3, 2));
    }
}

#[tokio::test]
async fn a_mail_that_did_not_leave_comes_back_but_not_forever() {
    for fresh in Fresh::each().await {
        let id = fresh.awaiting("big", 3_001).await;
        let mut tries = 0;
        while let Some(mail) = fresh.store.next_staff_mail().await.expect("taken") {
            assert_eq!(mail.broadcast, id);
            tries += 1;
            fresh.tamper("UPDATE staff_mail SET due_at = 0").await;
            assert!(tries <= 16, "it has to end");
        }
        assert_eq!(tries, 16, "two approvers, eight times each");
        assert_eq!(fresh.store.alerts(id).await.expect("counted"), (2, 0), "the queue remembers");
    }
}

#[tokio::test]
async fn a_disabled_approver_gets_no_alert() {
    for fresh in Fresh::each().await {
        let gone = crate::fresh::id_of(fresh.second);
        fresh.store.disable_staff(Actor::LocalEngineer, gone, NOW).await.expect("disabled");
        let id = fresh.awaiting("big", 3_001).await;
        assert_eq!(fresh.store.alerts(id).await.expect("counted"), (1, 0));
    }
}
