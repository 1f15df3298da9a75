//! The schemas of the two databases. Only executables (and tests) run them; a daemon that finds
//! an old schema refuses to start.

pub mod core;
pub mod replies;
