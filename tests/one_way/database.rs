//! What somebody could do who reaches the database past the product.

use hansho_tests::Society;
use sea_orm::{ConnectionTrait, Statement};

/// Runs SQL on the core database; it has to touch at least one row.
pub(crate) async fn tamper(society: &Society, sql: &str) {
    let connection = society.store().connection();
    let done = connection.execute_unprepared(sql).await.expect("the SQL is valid");
    assert!(done.rows_affected() > 0, "this changed nothing: {sql}");
}

/// One number from the core database.
pub(crate) async fn number(society: &Society, sql: &str) -> i64 {
    let connection = society.store().connection();
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await.expect("the SQL is valid").expect("a row");
    row.try_get_by_index(0).expect("a number")
}
