//! Running one statement: the few lines that every function of this crate needs.

use crate::{Engine, StoreError, connection::engine_of};
use domain::Timestamp;
use futures_util::TryStreamExt;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, FromQueryResult, Statement, StreamTrait, Value};
use serde::de::DeserializeOwned;

/// All rows of a query.
pub(crate) async fn rows<T: FromQueryResult>(
    connection: &impl ConnectionTrait,
    operation: &'static str,
    text: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<T>, StoreError> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
    let found = connection.query_all_raw(statement).await.map_err(StoreError::query(operation))?;
    found
        .iter()
        .map(|row| T::from_query_result(row, ""))
        .collect::<Result<_, _>>()
        .map_err(StoreError::query(operation))
}

/// Shows the rows of a query as they come.
pub(crate) async fn each<T: FromQueryResult>(
    connection: &DatabaseConnection,
    operation: &'static str,
    text: &str,
    values: impl IntoIterator<Item = Value>,
    mut show: impl FnMut(T),
) -> Result<(), StoreError> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
    let mut rows = connection.stream_raw(statement).await.map_err(StoreError::query(operation))?;
    while let Some(row) = rows.try_next().await.map_err(StoreError::query(operation))? {
        show(T::from_query_result(&row, "").map_err(StoreError::query(operation))?);
    }
    Ok(())
}

/// All rows of a query for many: `SELECT columns rest`, the columns in the order of `T`'s fields. SQLite
/// hands rows over one by one, each waking whoever waits for it; as one text they come at once.
pub(crate) async fn page<T: FromQueryResult + DeserializeOwned>(
    connection: &impl ConnectionTrait,
    operation: &'static str,
    columns: &str,
    rest: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<T>, StoreError> {
    match engine_of(connection) {
        Engine::Postgres => rows(connection, operation, &format!("SELECT {columns} {rest}"), values).await,
        Engine::Sqlite => {
            // No column of ours is called like this: an ORDER BY would take it for the column.
            let text = format!(
                "SELECT '[' || string_agg(row_of_page, ',') || ']' AS text \
                 FROM (SELECT json_array({columns}) AS row_of_page {rest})"
            );
            let found: Option<Text> = row(connection, operation, &text, values).await?;
            let Some(page) = found.and_then(|found| found.text) else { return Ok(Vec::new()) };
            // The reader's own words would repeat what stands there.
            serde_json::from_str(&page).map_err(|_| {
                StoreError::query(operation)(DbErr::Json("a page is not as expected".to_owned()))
            })
        }
    }
}

/// The first row of a query.
pub(crate) async fn row<T: FromQueryResult>(
    connection: &impl ConnectionTrait,
    operation: &'static str,
    text: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<T>, StoreError> {
    Ok(rows(connection, operation, text, values).await?.into_iter().next())
}

/// Executes a statement; how many rows it touched.
pub(crate) async fn run(
    connection: &impl ConnectionTrait,
    operation: &'static str,
    text: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, StoreError> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
    let done = connection.execute_raw(statement).await.map_err(StoreError::query(operation))?;
    Ok(done.rows_affected())
}

/// One number.
#[derive(FromQueryResult)]
pub(crate) struct Number {
    pub(crate) n: i64,
}

/// One text.
#[derive(FromQueryResult)]
pub(crate) struct Text {
    pub(crate) text: Option<String>,
}

/// A query whose one row has one column `n`.
pub(crate) async fn number(
    connection: &impl ConnectionTrait,
    operation: &'static str,
    text: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<i64, StoreError> {
    Ok(row::<Number>(connection, operation, text, values).await?.map_or(0, |found| found.n))
}

/// The database's clock as an SQL expression in milliseconds.
pub(crate) fn now_expression(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        Engine::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    }
}

pub(crate) async fn database_now(connection: &impl ConnectionTrait) -> Result<Timestamp, StoreError> {
    let text = format!("SELECT {} AS n", now_expression(engine_of(connection)));
    number(connection, "read the clock", &text, []).await.map(Timestamp::from_millis)
}

/// `$from, $from+1, …` for an IN list.
pub(crate) fn placeholders(from: usize, count: usize) -> String {
    (from..from + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// What follows FROM to read a JSON array of arrays, given as parameter `$n`, as rows: column `i`
/// is `row.value ->> i`. One text for any number of rows, and one parameter.
pub(crate) fn json_rows(engine: Engine, n: usize) -> String {
    match engine {
        Engine::Sqlite => format!("json_each(${n}) AS row"),
        Engine::Postgres => format!("jsonb_array_elements(CAST(${n} AS jsonb)) AS row(value)"),
    }
}

/// The same for rows of many columns. SQLite would write a row's text anew for every column that is read
/// from it; behind a LIMIT it is written once.
pub(crate) fn json_wide_rows(engine: Engine, n: usize) -> String {
    match engine {
        Engine::Sqlite => format!("(SELECT value FROM json_each(${n}) LIMIT -1) AS row"),
        Engine::Postgres => json_rows(engine, n),
    }
}

/// A parameter for [`json_rows`].
pub(crate) fn json(rows: &[impl serde::Serialize]) -> Value {
    serde_json::to_string(rows).expect("invariant: rows of numbers and texts are JSON").into()
}
