//! The dashboard, the members' pages and the JSON interface.
//!
//! What is guaranteed here: a GET changes nothing; every POST of a signed-in person carries a
//! token bound to their session and comes from our own pages; every permission is checked where
//! the action happens, not where the button is drawn; every answer, also a 404, carries the
//! strict content security policy; a member's page says that an answer is stored only after it
//! is durable; no token of a personal link reaches a log.
//!
//! Filters extract, handlers decide, pages render.
//!
//! # Security
//! Everything a stranger can send over HTTP arrives here. [`serve`] bounds connections, header
//! time and drain; `filters` bound bodies and parse forms; texts of strangers are escaped by the
//! templates, which never mark them safe.

mod app;
mod assets;
mod demo;
mod filters;
mod handlers;
mod i18n;
mod pages;
pub mod password;
mod security;
mod serve;

pub use app::{Web, WebSettings};
pub use demo::{DemoMail, DemoMailFull, DemoMailbox};
pub use filters::{Door, RouteInfo};
pub use i18n::{Lang, UnknownLang};
pub use serve::{BindError, Bound, bind};
