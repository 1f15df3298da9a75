//! What tests of several crates need and no product code may: clocks that obey the test, and
//! fresh databases of both kinds with the schema in place.
//!
//! A dev-dependency only; the architecture test fails where a product crate depends on it.

mod clock;
mod databases;

pub use clock::{ManualClock, SystemClock};
pub use databases::{DatabaseKind, Outage, TestDatabase, fresh_databases, fresh_postgres, fresh_sqlite};
