//! The one-way reply sink: SMTP or LMTP in, read, classify, store. Here replies end.
//!
//! What this crate guarantees:
//! - It accepts mail only for addresses whose token our key signed (law 2); everything else is
//!   refused inside the session, so no bounce is ever owed to anybody.
//! - It generates no mail and opens no outgoing socket; it has no code that could.
//! - A mail is durable, byte for byte, before its 250 (law 10), one row for each recipient, all
//!   or none.
//! - Only `CRLF . CRLF` ends a mail: one DATA is one mail, whatever stands in it.
//!
//! # Security
//! Everything here is hostile input: commands, envelopes, headers, MIME. Each size, count, depth
//! and time has a named limit. What is read in a mail decides only how a row is labelled; a forged
//! sender changes nothing.

pub mod classify;
mod command;
mod intake;
mod server;
mod session;
mod tls;
mod wire;

pub use server::{Protocol, Sink, SinkError, SinkSettings};
pub use tls::{TlsError, TlsFiles};
