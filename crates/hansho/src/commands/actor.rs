//! Who acts on the command line: the owner of `$HANSHO_TOKEN`, or the local engineer.

use crate::installation::Installation;
use anyhow::{Context, Result};
use domain::Actor;
use sha2::{Digest, Sha256};

/// The owner of the token in the environment; without one, the local engineer.
pub(crate) async fn from_environment(installation: &Installation) -> Result<Actor> {
    match std::env::var("HANSHO_TOKEN") {
        Ok(token) => {
            let owner = installation.store.staff_by_api_token(&token_hash(token.trim())).await?;
            let owner = owner
                .context("HANSHO_TOKEN is not a valid token; make one with `hansho user token EMAIL`")?;
            Ok(owner.actor())
        }
        Err(_) => Ok(Actor::LocalEngineer),
    }
}

/// What is kept of a personal token.
pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
