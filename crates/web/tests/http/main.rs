//! The pages and the JSON interface over real sockets, in front of a real store and desk.

mod api;
mod doors;
mod pages;
mod site;
