//! Room in rate windows, as in `ledger::pace`: from intent until one window after the outcome.

use super::{Books, LedgerBug};
use crate::{Full, Limits};
use domain::{DeliveryId, LeaseId, Rate, Timestamp};
use std::time::Duration;

/// As in `ledger::pace`.
const UNDER_WAY_LOOK: Duration = Duration::from_millis(10);
const ROUNDING: Duration = Duration::from_millis(1);

/// One submission's place in the windows.
pub(super) struct Seat {
    row: DeliveryId,
    attempt: i32,
    worker: LeaseId,
    domain: String,
    ended_at: Timestamp,
}

impl Books {
    /// A seat for one attempt, or how long there is none. A repeated try finds its own.
    pub(super) fn take_seat(
        &mut self,
        limits: &Limits,
        worker: LeaseId,
        (row, attempt, domain): (DeliveryId, i32, &str),
        until: Timestamp,
    ) -> Result<(), Full> {
        if limits.relay.is_empty() && limits.domains.is_empty() {
            return Ok(());
        }
        self.seats.retain(|seat| (seat.row, seat.attempt) != (row, attempt));
        let wait = limits.relay.iter().map(|rate| self.wait_for(*rate, worker, |_| true)).max();
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return Err(Full::Relay(wait));
        }
        if let Some(rate) = limits.domains.get(domain) {
            let wait = self.wait_for(*rate, worker, |seat| seat.domain == domain);
            if !wait.is_zero() {
                return Err(Full::Domain(wait));
            }
        }
        let ended_at = if self.bug == Some(LedgerBug::WindowCountsIntents) { self.now() } else { until };
        self.seats.push(Seat { row, attempt, worker, domain: domain.to_owned(), ended_at });
        Ok(())
    }

    pub(super) fn leave_seats(&mut self, rows: &[DeliveryId]) {
        let end = self.now().plus(ROUNDING);
        for seat in self.seats.iter_mut().filter(|seat| rows.contains(&seat.row)) {
            seat.ended_at = seat.ended_at.min(end);
        }
    }

    pub(super) fn forget_seats(&mut self, limits: &Limits) {
        let longest = limits.relay.iter().chain(limits.domains.values()).map(|rate| rate.per()).max();
        let oldest = self.now().minus(longest.unwrap_or_default()).minus(ROUNDING);
        self.seats.retain(|seat| seat.ended_at >= oldest);
    }

    /// Zero where there is room.
    fn wait_for(&self, rate: Rate, worker: LeaseId, counts: impl Fn(&Seat) -> bool) -> Duration {
        let now = self.now();
        let per_worker = self.bug == Some(LedgerBug::LimitPerWorker);
        let mut ends: Vec<Timestamp> = self
            .seats
            .iter()
            .filter(|seat| counts(seat) && seat.ended_at >= now.minus(rate.per()))
            .filter(|seat| !per_worker || seat.worker == worker)
            .map(|seat| seat.ended_at)
            .collect();
        ends.sort_unstable();
        let count = rate.count() as usize;
        let Some(oldest) = ends.len().checked_sub(count).and_then(|at| ends.get(at)) else {
            return Duration::ZERO;
        };
        if *oldest > now.plus(ROUNDING) {
            return UNDER_WAY_LOOK;
        }
        oldest.plus(rate.per() + ROUNDING).since(now).max(ROUNDING)
    }
}
