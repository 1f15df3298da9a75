//! What every request passes before a handler sees it: bounds, form parsing, session, language,
//! origin. A handler gets a [`Call`] and nothing else.
//!
//! # Security
//! Hostile requests arrive here first. Bodies are counted while they are read and have a
//! deadline; forms have a bounded number of fields; a POST through [`Door::Staff`] without the
//! session's form token, from a foreign origin or of another content type is answered with 403
//! before any handler runs.

mod call;
mod form;
mod route;
mod upload;

pub(crate) use call::{Call, LANGUAGE_COOKIE, Peer, SESSION_COOKIE};
pub(crate) use form::Form;
pub use route::{Door, RouteInfo};
pub(crate) use route::{RouteTable, Routes, get, post, seal, upload};
pub(crate) use upload::Upload;
