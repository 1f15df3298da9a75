//! The registry on real databases: rosters in, audiences out.

mod audience;
mod fresh_registry;
mod import;
mod kinds;
