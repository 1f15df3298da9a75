//! The audit log (law 11).

use crate::fresh::{Fresh, NOW};
use domain::Actor;
use store::AuditProblem;

/// A few audited actions.
async fn with_history() -> Vec<Fresh> {
    let all = Fresh::each().await;
    for fresh in &all {
        fresh.sending(2).await;
    }
    all
}

#[tokio::test]
async fn an_untouched_chain_verifies() {
    for fresh in with_history().await {
        let entries = fresh.number("SELECT COUNT(*) AS n FROM audit").await.unsigned_abs();
        assert!(entries >= 8);
        assert_eq!(fresh.store.verify_audit().await.expect("walked"), Ok(entries));
        let log = fresh.store.audit_entries(0, 1_000).await.expect("read");
        let last = log.last().expect("entries");
        assert_eq!((last.action.as_str(), last.actor.as_str()), ("broadcast-released", "staff:1"));
        assert!(log.iter().all(|entry| !entry.detail.contains('@') && !entry.object.contains('@')));
    }
}

#[tokio::test]
async fn an_edited_entry_breaks_the_chain() {
    for column in ["at = at + 1", "actor = 'scheduler'", "action = 'x'", "object = 'x'", "detail = 'x'"] {
        for fresh in with_history().await {
            fresh.tamper(&format!("UPDATE audit SET {column} WHERE id = 5")).await;
            assert_eq!(
                fresh.store.verify_audit().await.expect("walked"),
                Err(AuditProblem { id: 5 }),
                "{column}"
            );
        }
    }
}

#[tokio::test]
async fn a_removed_or_inserted_entry_breaks_the_chain() {
    for fresh in with_history().await {
        fresh.tamper("UPDATE audit SET id = -id WHERE id = 5").await;
        fresh.tamper("DELETE FROM audit WHERE id < 0").await;
        assert_eq!(fresh.store.verify_audit().await.expect("walked"), Err(AuditProblem { id: 6 }));
    }
    for fresh in with_history().await {
        fresh.tamper("DELETE FROM audit WHERE id = 1").await;
        assert_eq!(
            fresh.store.verify_audit().await.expect("walked"),
            Err(AuditProblem { id: 2 }),
            "the first"
        );
    }
    for fresh in with_history().await {
        fresh
            .tamper(
                "INSERT INTO audit (at, actor, action, object, detail, previous_hash, hash) \
                 SELECT at, actor, action, object, detail, previous_hash, hash FROM audit WHERE id = 3",
            )
            .await;
        assert!(fresh.store.verify_audit().await.expect("walked").is_err(), "a copy of an entry");
    }
}

/// Writers on several machines append to one chain.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_keep_one_chain() {
    for fresh in Fresh::each().await {
        let machines = if fresh.is_postgres() {
            vec![fresh.store.clone(), fresh.another_process().await, fresh.another_process().await]
        } else {
            vec![fresh.store.clone()]
        };
        let writers: Vec<_> = (0..40)
            .map(|n| {
                let store = machines[n % machines.len()].clone();
                tokio::spawn(async move {
                    let tx = store.write().await.expect("a write begins");
                    tx.audit(NOW, Actor::LocalEngineer, "tested", format!("n:{n}"), String::new())
                        .await
                        .expect("appended");
                    tx.commit().await.expect("committed");
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("no panic");
        }
        assert_eq!(fresh.store.verify_audit().await.expect("walked"), Ok(43), "forty and three accounts");
    }
}

#[tokio::test]
async fn an_action_that_is_not_committed_leaves_no_entry() {
    for fresh in Fresh::each().await {
        let before = fresh.number("SELECT COUNT(*) AS n FROM audit").await;
        let tx = fresh.store.write().await.expect("a write begins");
        tx.audit(NOW, Actor::LocalEngineer, "tested", String::new(), String::new()).await.expect("appended");
        drop(tx);
        assert_eq!(fresh.number("SELECT COUNT(*) AS n FROM audit").await, before);
        fresh.draft("after").await;
        assert!(matches!(fresh.store.verify_audit().await, Ok(Ok(_))));
    }
}
