//! What tests of several crates need and no product code may: clocks that obey the test, fresh
//! databases of both kinds with the schema in place, ports of one's own, and a broadcast that was
//! released.
//!
//! A dev-dependency only; the architecture test fails where a product crate depends on it.

mod clock;
mod databases;
mod port;
mod release;
mod roster;

pub use clock::{ManualClock, SystemClock};
pub use databases::{
    DatabaseKind, Outage, TestDatabase, fresh_databases, fresh_postgres, fresh_postgres_to_crash,
    fresh_sqlite,
};
pub use port::Port;
pub use release::{exercise_notice, release};
pub use roster::import_roster;
