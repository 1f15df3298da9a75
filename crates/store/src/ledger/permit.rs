//! The evidence that an intent is durable, and what became of it.

use super::ClaimedRow;
use domain::{AttemptNo, Delivery, DeliveryEvent, IllegalEvent, Timestamp};

/// Permission for exactly one submission of one row. Minted by [`crate::Store::turn`] after the
/// intent's commit has returned; spent by turning it into an [`Outcome`].
///
/// Nobody else can make one:
///
/// ```compile_fail
/// use store::{ClaimedRow, SubmitPermit};
/// fn forge(row: ClaimedRow) -> SubmitPermit {
///     SubmitPermit { row }
/// }
/// ```
///
/// And it cannot be used twice:
///
/// ```compile_fail
/// use store::SubmitPermit;
/// fn copy(permit: SubmitPermit) -> (SubmitPermit, SubmitPermit) {
///     (permit.clone(), permit)
/// }
/// ```
#[must_use = "a permit that is not spent leaves its row submitting until the lease ends"]
#[derive(Debug)]
pub struct SubmitPermit {
    row: ClaimedRow,
}

impl SubmitPermit {
    /// Only for the commit that has just made the intent durable.
    pub(crate) fn mint(mut row: ClaimedRow, intent: Delivery) -> Self {
        row.delivery = intent;
        Self { row }
    }

    /// What may be submitted, and to whom.
    #[must_use]
    pub fn row(&self) -> &ClaimedRow {
        &self.row
    }

    /// Which attempt this is.
    #[must_use]
    pub fn attempt(&self) -> AttemptNo {
        self.row.attempts()
    }

    /// Spends the permit: what the relay said, to be made durable by the connection's next turn.
    ///
    /// # Errors
    /// [`IllegalEvent`] for an event that cannot follow a submission.
    pub fn outcome(self, event: &DeliveryEvent, relay: &str, at: Timestamp) -> Result<Outcome, IllegalEvent> {
        let attempt = self.row.attempts();
        let after = self.row.delivery.next(event)?;
        Ok(Outcome { row: self.row.id, attempt, after, relay: relay.to_owned(), at })
    }
}

/// A finished submission that is not durable yet.
#[must_use = "an outcome that is not written makes its row unknown"]
#[derive(Debug, Clone)]
pub struct Outcome {
    pub(crate) row: domain::DeliveryId,
    pub(crate) attempt: AttemptNo,
    pub(crate) after: Delivery,
    pub(super) relay: String,
    pub(crate) at: Timestamp,
}

impl Outcome {
    /// The state the row will have.
    #[must_use]
    pub fn after(&self) -> &Delivery {
        &self.after
    }
}
