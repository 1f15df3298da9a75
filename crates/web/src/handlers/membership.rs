//! Whether whoever opened a personal link is its member. Carriers hand abandoned addresses to other
//! people: where the policy asks for it, an answer page shows nothing of the member's, and takes no
//! answer, before the end of the member's number was typed.
//!
//! # Security
//! The link is in the hands of whoever reads the mailbox. [`prove`] takes a try before it compares
//! anything, and a member has [`LIMIT`] over all their links: guessing four digits in that way takes
//! weeks. Whoever guesses can make the member wait, too; a page that was let in does not. What it keeps
//! is signed for this link and for a short while, and stands in the page's own address and form: old
//! telephones keep no cookies.

use super::Fault;
use crate::{filters::Call, i18n::Texts, pages::ProofView};
use domain::{MemberNo, RecipientToken};
use std::time::Duration;
use store::ProofLimit;

/// The form's field: nothing that an author would call a question.
pub(super) const FIELD: &str = "hansho-member-no";
/// Whoever mistypes twice, and then looks for the card, gets in; whoever guesses does not.
const LIMIT: ProofLimit = ProofLimit { tries: 5, within: Duration::from_secs(15 * 60) };
/// Enough to read one's answers again and to change them; the telephone may be lent to somebody later.
const PROVEN_FOR: Duration = Duration::from_secs(30 * 60);
/// Of the page's address, and of the form's field.
pub(super) const KEPT: &str = "hansho-proof";

/// Where whoever opened a link stands with showing that they are its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The policy asks for none.
    NotAsked,
    /// Given, now or before on this page.
    Given,
    /// Not given.
    Wanted,
    /// A form came without it.
    Missing,
    /// Another number's.
    Wrong,
    /// Wrong too often: not even looked at.
    TooOften,
}

impl Proof {
    /// The page shows nothing of the member's, and nothing is stored.
    pub(super) fn is_lacking(self) -> bool {
        match self {
            Self::NotAsked | Self::Given => false,
            Self::Wanted | Self::Missing | Self::Wrong | Self::TooOften => true,
        }
    }

    /// The field on the page with what was typed; `None` where nothing is to be typed.
    pub(super) fn view(self, t: Texts, contact: &str, typed: &str) -> Option<ProofView> {
        let mistake = match self {
            Self::NotAsked | Self::Given => return None,
            Self::Wanted => None,
            Self::Missing => Some(t.get("proof-missing")),
            Self::Wrong => Some(t.get("proof-wrong")),
            Self::TooOften => Some(t.with("proof-too-often", "contact", contact)),
        };
        Some(ProofView { name: FIELD, typed: typed.to_owned(), mistake })
    }
}

/// What this page has shown before. `number` is the member's where the policy asks for a proof.
pub(super) fn shown_before(call: &Call, link: RecipientToken, number: Option<&MemberNo>) -> Proof {
    let keyring = &call.app.web.keyring;
    let kept = [call.query.get(KEPT), call.form.get(KEPT)];
    match number {
        None => Proof::NotAsked,
        Some(_) if kept.iter().any(|kept| keyring.is_proof(link, kept, call.app.now())) => Proof::Given,
        Some(_) => Proof::Wanted,
    }
}

/// What the posted form shows; one try is gone unless it is right.
pub(super) async fn prove(
    call: &Call,
    link: RecipientToken,
    number: Option<&MemberNo>,
) -> Result<Proof, Fault> {
    let before = shown_before(call, link, number);
    let (Proof::Wanted, Some(number)) = (before, number) else { return Ok(before) };
    let typed = call.form.get(FIELD);
    if typed.trim().is_empty() {
        return Ok(Proof::Missing);
    }
    let store = &call.app.web.store;
    if !store.take_proof_try(link.member, LIMIT, call.app.now()).await? {
        return Ok(Proof::TooOften);
    }
    if !number.is_shown_by(typed) {
        return Ok(Proof::Wrong);
    }
    store.forget_proof_tries(link.member).await?;
    Ok(Proof::Given)
}

/// What the page keeps of a proof that was given.
pub(super) fn kept(call: &Call, link: RecipientToken) -> String {
    call.app.web.keyring.write_proof(link, call.app.now().plus(PROVEN_FOR))
}
