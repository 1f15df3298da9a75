//! A look at the relays without a mail: connect, secure, say hello, sign in, say goodbye.

use crate::{
    Settings,
    relay::RelayUrl,
    relays::{Relays, in_full},
    session::Session,
    stream::Tcp,
};
use std::sync::Arc;

/// Each relay of `settings`, in order of preference, with why there is no session, if so. No
/// envelope is spoken, so nothing can leave.
pub async fn greet(settings: &Settings) -> Vec<(RelayUrl, Result<(), String>)> {
    let mut greeted = Vec::with_capacity(settings.relays.len());
    for relay in &settings.relays {
        let only = Arc::new(Relays::new(vec![relay.clone()]));
        let mut session = Session::new(settings, only, Tcp);
        let opened = session.open().await.map_err(|problem| in_full(&problem));
        session.close().await;
        greeted.push((relay.clone(), opened));
    }
    greeted
}
