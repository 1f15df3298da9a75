//! Erasing people for whom that was asked, in both databases, and what was kept long enough.
//!
//! Every step can be repeated: one that failed, or was cut off by the end of the process, is done
//! again by the next look.

use crate::TriageError;
use domain::{Actor, BroadcastId, Clock, Keyring, MemberId, RetentionPeriods, Span, Timestamp};
use replybox::ReplyEraser;
use std::{sync::Arc, time::Duration};
use store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Whoever asked sees it done when they look again.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Periods are counted in days.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// Erasures in one look; the next one goes on.
const ERASURES: u32 = 100;
/// Nobody writes while the file is rewritten: not more than once a day.
const REWRITE_INTERVAL: Duration = Duration::from_secs(24 * 3_600);
/// Answers come in for hours after a notice.
const QUIET: Duration = Duration::from_secs(12 * 3_600);
/// Only a few have left: nobody has to look at it.
const LEAVERS_WITHOUT_A_WORD: u64 = 10;
/// Where more than one in so many would be erased, nobody is.
const LEAVERS_SHARE: u64 = 10;

/// Erases people, and deletes what was kept long enough.
pub struct Retention {
    store: Store,
    replies: ReplyEraser,
    keyring: Keyring,
    periods: RetentionPeriods,
    clock: Arc<dyn Clock>,
}

impl Retention {
    /// For one installation.
    #[must_use]
    pub fn new(
        store: Store,
        replies: ReplyEraser,
        keyring: Keyring,
        periods: RetentionPeriods,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, replies, keyring, periods, clock }
    }

    /// Looks until `shutdown`. A failing database is waited for.
    pub async fn run(self, shutdown: CancellationToken) {
        let (mut swept, mut rewritten): (Option<Instant>, Option<Instant>) = (None, None);
        while !shutdown.is_cancelled() {
            if let Err(problem) = self.erase_due().await {
                error!(
                    error = &problem as &dyn std::error::Error,
                    "people could not be erased; trying again"
                );
            }
            if swept.is_none_or(|at| at.elapsed() >= SWEEP_INTERVAL) {
                swept = Some(Instant::now());
                if let Err(problem) = self.sweep().await {
                    error!(
                        error = &problem as &dyn std::error::Error,
                        "what was kept long enough could not be deleted; trying again in an hour"
                    );
                }
                if rewritten.is_none_or(|at| at.elapsed() >= REWRITE_INTERVAL) {
                    match self.rewrite_file().await {
                        Ok(true) => rewritten = Some(Instant::now()),
                        Ok(false) => {}
                        Err(problem) => error!(
                            error = &problem as &dyn std::error::Error,
                            "the database's file could not be rewritten; it needs room for itself once \
                             more on its disk; trying again in an hour"
                        ),
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Erases everybody whose erasure is due and waits for no broadcast. One who cannot be erased
    /// holds up nobody else.
    ///
    /// # Errors
    /// [`TriageError`] where nobody could be looked for.
    pub async fn erase_due(&self) -> Result<(), TriageError> {
        let now = self.clock.now();
        self.store.withdraw_of_the_returned(now).await?;
        for member in self.store.erasures_due(now, ERASURES).await? {
            if let Err(problem) = self.erase_one(Actor::Scheduler, member).await {
                error!(
                    error = &problem as &dyn std::error::Error,
                    member.id = %member,
                    "a person could not be erased; trying again"
                );
            }
        }
        Ok(())
    }

    /// Erases one member now, in both databases. Gives the broadcasts it has to wait for: none where it
    /// is done.
    ///
    /// # Errors
    /// [`TriageError`], also where nobody asked for it.
    pub async fn erase_one(&self, actor: Actor, member: MemberId) -> Result<Vec<BroadcastId>, TriageError> {
        let now = self.clock.now();
        let waits_for = self.store.erase(actor, &self.keyring, member, now).await?;
        if !waits_for.is_empty() {
            return Ok(waits_for);
        }
        let replies = self.replies.erase_member(member).await?;
        self.store.replies_erased(actor, member, replies, now).await?;
        info!(member.id = %member, "a person was erased");
        Ok(waits_for)
    }

    /// Sees to it that SQLite's file holds nothing of those who were erased; whether there was
    /// anything to do and it was done. It waits for a quiet time.
    ///
    /// # Errors
    /// [`TriageError`].
    pub async fn rewrite_file(&self) -> Result<bool, TriageError> {
        let gone = self.store.erasures_left_in_the_file().await?;
        let now = self.clock.now();
        if gone.is_empty() || !self.store.rewrite_file(now.minus(QUIET)).await? {
            return Ok(false);
        }
        self.store.file_is_rewritten(&gone, now).await?;
        Ok(true)
    }

    /// Deletes what was kept long enough; plans of imports are, after a day.
    ///
    /// # Errors
    /// [`TriageError`].
    pub async fn sweep(&self) -> Result<(), TriageError> {
        let now = self.clock.now();
        self.store.drop_old_imports(now).await?;
        let before = |period: Span| now.minus(period.get());
        if let Some(period) = self.periods.replies {
            self.delete_replies(before(period), now).await?;
        }
        if let Some(period) = self.periods.recipients {
            while self.store.clear_recipients(before(period), now).await? {}
        }
        if let Some(period) = self.periods.left_members {
            self.ask_for_left_members(before(period), now).await?;
        }
        Ok(())
    }

    /// So many who left at once are more likely a roster that somebody forgot than people who left.
    async fn ask_for_left_members(&self, before: Timestamp, now: Timestamp) -> Result<(), TriageError> {
        let (left, all) = self.store.members_who_left(before).await?;
        if left > LEAVERS_WITHOUT_A_WORD && left * LEAVERS_SHARE > all {
            warn!(
                members.left = left,
                members.all = all,
                "more than a tenth of the members would be erased for having left; nobody is: import the present roster, or erase them from their pages"
            );
            return Ok(());
        }
        while self.store.ask_for_left_members(before, now).await? > 0 {}
        Ok(())
    }

    async fn delete_replies(&self, before: Timestamp, now: Timestamp) -> Result<(), TriageError> {
        let mut deleted = 0;
        loop {
            let some = self.replies.erase_some_before(before).await?;
            if some == 0 {
                break;
            }
            deleted += some;
        }
        if deleted > 0 {
            self.store.old_replies_deleted(deleted, now).await?;
            info!(replies = deleted, "old replies deleted");
        }
        Ok(())
    }
}
