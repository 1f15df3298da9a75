//! The sink's promises, kept against raw sockets.

mod generated;
mod intake;
mod peer;
mod session;
mod smuggling;
mod starttls;
