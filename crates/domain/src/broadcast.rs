//! The life of a broadcast, from draft to done.

use crate::words;

/// Where a broadcast stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BroadcastState {
    /// Being written.
    Draft,
    /// Checked and frozen: snapshot, digest and ledger rows exist.
    Preflighted,
    /// The author asked for signatures, or one of several is given.
    AwaitingApproval,
    /// All signatures are there.
    Approved,
    /// Released: workers send.
    Sending,
    /// A person stopped it; nothing more leaves.
    Stopped,
    /// No row is open any more.
    Completed,
    /// A person ended it for good.
    Cancelled,
    /// Its time passed before it was released.
    Expired,
}

words!(BroadcastState, "broadcast state", {
    Draft => "draft",
    Preflighted => "preflighted",
    AwaitingApproval => "awaiting_approval",
    Approved => "approved",
    Sending => "sending",
    Stopped => "stopped",
    Completed => "completed",
    Cancelled => "cancelled",
    Expired => "expired",
});

/// What happened to a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BroadcastEvent {
    /// Checks passed; snapshot frozen.
    Preflighted,
    /// The author asked for signatures.
    ApprovalRequested,
    /// A signature was given, more are needed.
    SignedPartly,
    /// The last needed signature was given.
    SignedFully,
    /// An approver sent it back, or the author changed it: snapshot and signatures are void.
    Returned,
    /// Released to the workers.
    Released,
    /// Stopped by a person.
    Stopped,
    /// Resumed by an approver with a reason.
    Resumed,
    /// No open row was left.
    Drained,
    /// Unknown rows were ordered to be sent again.
    Reopened,
    /// Rejected by an approver or cancelled by a person.
    Cancelled,
    /// Its time passed before the release.
    Expired,
}

/// The step is not possible now. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a broadcast that is {state} cannot be {event:?}")]
pub struct IllegalBroadcastEvent {
    /// Where it stands.
    pub state: BroadcastState,
    /// What was tried.
    pub event: BroadcastEvent,
}

impl BroadcastState {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalBroadcastEvent`] where the step is not possible.
    pub fn next(self, event: BroadcastEvent) -> Result<Self, IllegalBroadcastEvent> {
        use BroadcastEvent as E;
        match (self, event) {
            (Self::Draft | Self::Preflighted, E::Preflighted) => Ok(Self::Preflighted),
            (Self::Preflighted, E::ApprovalRequested) => Ok(Self::AwaitingApproval),
            // A release that finds the cap reached meanwhile asks for one more signature.
            (Self::Preflighted | Self::AwaitingApproval | Self::Approved, E::SignedPartly) => {
                Ok(Self::AwaitingApproval)
            }
            (Self::Preflighted | Self::AwaitingApproval, E::SignedFully) => Ok(Self::Approved),
            (Self::Preflighted | Self::AwaitingApproval | Self::Approved, E::Returned) => Ok(Self::Draft),
            (Self::Approved, E::Released) => Ok(Self::Sending),
            (Self::Sending, E::Stopped) => Ok(Self::Stopped),
            (Self::Stopped, E::Resumed) => Ok(Self::Sending),
            (Self::Sending, E::Drained) => Ok(Self::Completed),
            (Self::Completed, E::Reopened) => Ok(Self::Sending),
            (Self::Sending | Self::Stopped, E::Reopened) => Ok(self),
            (
                Self::Draft
                | Self::Preflighted
                | Self::AwaitingApproval
                | Self::Approved
                | Self::Sending
                | Self::Stopped,
                E::Cancelled,
            ) => Ok(Self::Cancelled),
            (Self::Draft | Self::Preflighted | Self::AwaitingApproval | Self::Approved, E::Expired) => {
                Ok(Self::Expired)
            }
            (state, event) => Err(IllegalBroadcastEvent { state, event }),
        }
    }

    /// Rows of the ledger exist and must not be thrown away: it was released once.
    #[must_use]
    pub fn is_released(self) -> bool {
        match self {
            Self::Sending | Self::Stopped | Self::Completed => true,
            Self::Draft
            | Self::Preflighted
            | Self::AwaitingApproval
            | Self::Approved
            | Self::Cancelled
            | Self::Expired => false,
        }
    }

    /// Nothing is sent any more, unless a person orders unknown rows to be sent again.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled | Self::Expired => true,
            Self::Draft
            | Self::Preflighted
            | Self::AwaitingApproval
            | Self::Approved
            | Self::Sending
            | Self::Stopped => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_to_sending_but_a_release_after_approval_a_resume_or_a_settled_resend() {
        use BroadcastEvent as E;
        let events = [
            E::Preflighted,
            E::ApprovalRequested,
            E::SignedPartly,
            E::SignedFully,
            E::Returned,
            E::Released,
            E::Stopped,
            E::Resumed,
            E::Drained,
            E::Reopened,
            E::Cancelled,
            E::Expired,
        ];
        for state in BroadcastState::ALL {
            for event in events {
                if state.next(event) == Ok(BroadcastState::Sending) {
                    let allowed = matches!(
                        (state, event),
                        (BroadcastState::Approved, E::Released)
                            | (BroadcastState::Stopped, E::Resumed)
                            | (BroadcastState::Completed | BroadcastState::Sending, E::Reopened)
                    );
                    assert!(allowed, "{state} + {event:?} must not lead to sending");
                }
            }
        }
    }
}
