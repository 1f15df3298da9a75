//! One mailbox, one reader: who has to give way where a file says otherwise.

use super::row::RowCode;
use domain::{MemberNo, is_of_one_family};
use store::{MailboxClaim, RowFinding};

/// What becomes of those who claim a mailbox that somebody has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Not taken: another person, or the same one under a second number.
    pub(super) rejected: Vec<(MemberNo, RowFinding)>,
    /// Taken: a family shares the mailbox; with whom, as number or row.
    pub(super) shared: Vec<(MemberNo, String)>,
}

/// Judges claims as the store orders them: by mailbox, and the one who has the best right first.
/// Whoever does not stand in the file cannot give way, and whoever has the mailbox already keeps it.
pub(super) fn judge(claims: &[MailboxClaim]) -> Verdict {
    let mut verdict = Verdict::default();
    for mailbox in claims.chunk_by(|one, other| one.mailbox == other.mailbox) {
        let mut readers: Vec<&MailboxClaim> = Vec::new();
        for claim in mailbox {
            let Some(first) = readers.first().copied() else {
                readers.push(claim);
                continue;
            };
            let is_family = readers.iter().all(|reader| is_of_one_family(&reader.name, &claim.name));
            if claim.line.is_none() || is_family {
                readers.push(claim);
                if claim.line.is_some() {
                    verdict.shared.push((claim.member_no.clone(), place_of(first)));
                }
            } else {
                let finding = RowCode::DuplicateAddress.about(place_of(first));
                verdict.rejected.push((claim.member_no.clone(), finding));
            }
        }
    }
    verdict
}

/// `#3` is a row of the file, all else a member's number.
fn place_of(claim: &MailboxClaim) -> String {
    claim.line.map_or_else(|| claim.member_no.to_string(), |line| format!("#{line}"))
}
