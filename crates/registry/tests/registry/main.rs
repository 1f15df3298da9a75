//! The registry on real databases: rosters in, audiences out.

mod audience;
mod common;
mod import;
