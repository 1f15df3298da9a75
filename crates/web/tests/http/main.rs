//! The pages and the JSON interface over real sockets, in front of a real store and desk.

mod api;
mod audiences;
mod doors;
mod imports;
mod membership;
mod pages;
mod privacy;
mod site;
