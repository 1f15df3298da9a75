//! The schema.

use migrations::{core::Migrator as CoreMigrator, replies::Migrator as RepliesMigrator};
use sea_orm_migration::MigratorTrait;

use crate::fresh::Fresh;

#[tokio::test]
async fn migrating_again_changes_nothing() {
    for fresh in Fresh::each().await {
        let connection = fresh.store.connection();
        for _ in 0..2 {
            CoreMigrator::up(connection, None).await.expect("the core schema is there");
            RepliesMigrator::up(connection, None).await.expect("the reply schema fits beside it");
        }
        assert_eq!(fresh.store.audiences().await.expect("audiences").len(), 1, "`all`, once");
        assert_eq!(fresh.number("SELECT COUNT(*) AS n FROM lock_row").await, 3);
        assert_eq!(fresh.store.staff().await.expect("staff").len(), 3, "nobody was lost");
    }
}
