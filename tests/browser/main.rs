//! What people see and press, in a real Chromium against the real service: every button by the
//! words that stand on it, every figure as it stands on the page.
//!
//! The pages must work without their script, keep within their own content security policy, fit
//! a phone, and run nothing that a stranger wrote.

mod chrome;
mod hostile;
mod live;
mod member;
mod natures;
mod opening;
mod policy;
mod registry;
mod scene;
mod scriptless;
mod signing;
mod stopping;
mod window;
