//! A look at the relays without a mail: connect, secure, say hello, sign in, say goodbye.

use crate::{Settings, relay::RelayUrl, relays::Relays, session::Session, stream::Tcp};
use std::{error::Error, sync::Arc};

/// Each relay of `settings`, in order of preference, with why there is no session, if so. No
/// envelope is spoken, so nothing can leave.
pub async fn greet(settings: &Settings) -> Vec<(RelayUrl, Result<(), String>)> {
    let mut greeted = Vec::with_capacity(settings.relays.len());
    for relay in &settings.relays {
        let only = Arc::new(Relays::new(vec![relay.clone()]));
        let mut session = Session::new(settings, only, Tcp);
        let opened = session.open().await.map_err(|problem| with_causes(&problem));
        session.close().await;
        greeted.push((relay.clone(), opened));
    }
    greeted
}

fn with_causes(problem: &dyn Error) -> String {
    match problem.source() {
        Some(cause) => format!("{problem}: {}", with_causes(cause)),
        None => problem.to_string(),
    }
}
