//! Room in the rate windows of the relay and of recipient domains, counted in the database:
//! exact over the sum of all processes, and a restart forgets nothing (ADR-0005).
//!
//! A submission takes its room in the transaction that makes its intent durable and counts until
//! one window after the transaction that makes its outcome durable. The relay saw the mail at some
//! moment in between, whatever the way there took: no window of the relay's holds more than the
//! limit. Times are the database's.

use super::ClaimedRow;
use crate::{Store, StoreError, WriteTx, sql};
use domain::{BroadcastId, Rate, Timestamp};
use sea_orm::Value;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// A window that is filled by submissions under way has room as soon as one of them has ended.
const UNDER_WAY_LOOK: Duration = Duration::from_millis(10);
/// Ends are rounded up to the millisecond, so that rounding never opens a window early.
const ROUNDING: Duration = Duration::from_millis(1);

/// What the relay and the recipients' domains allow; all hold at once, over all processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// The relay's.
    pub relay: Vec<Rate>,
    /// Those of recipient domains.
    pub domains: BTreeMap<String, Rate>,
}

impl Limits {
    /// As fast as the relay takes it.
    pub const NONE: Self = Self { relay: Vec::new(), domains: BTreeMap::new() };

    pub(super) fn is_none(&self) -> bool {
        self.relay.is_empty() && self.domains.is_empty()
    }

    fn longest(&self) -> Option<Duration> {
        self.relay.iter().chain(self.domains.values()).map(|rate| rate.per()).max()
    }
}

/// There is no room; ask again after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// For nobody.
    Relay(Duration),
    /// Not for this domain.
    Domain(Duration),
}

/// How many more fit, and how long it takes until there is room again.
#[derive(Clone, Copy)]
struct Room {
    left: usize,
    wait: Duration,
}

impl Room {
    const ENDLESS: Self = Self { left: usize::MAX, wait: Duration::ZERO };

    fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
        // Who comes next waits for those that have just sat down.
        self.wait = self.wait.max(UNDER_WAY_LOOK);
    }
}

/// Room that one submission takes.
pub(super) struct Seat<'a> {
    /// The ledger's row; below zero a mail to staff.
    pub(super) row: i64,
    /// Tells one submission of a row from another.
    pub(super) attempt: i64,
    pub(super) domain: &'a str,
    /// It may last until then.
    pub(super) until: Timestamp,
}

/// The room that one transaction has to give; nobody else gives any before it ends.
pub(super) struct Seats<'a> {
    tx: &'a WriteTx,
    limits: &'a Limits,
    now: Timestamp,
    /// Rows of a repeated turn may have sat down in its first try.
    own: Vec<i64>,
    relay: Room,
    domains: HashMap<String, Room>,
}

impl<'a> Seats<'a> {
    /// Waits for other processes' transactions that give room.
    pub(super) async fn open(
        tx: &'a WriteTx,
        limits: &'a Limits,
        now: Timestamp,
        own: impl Iterator<Item = i64>,
    ) -> Result<Self, StoreError> {
        let mut seats =
            Self { tx, limits, now, own: Vec::new(), relay: Room::ENDLESS, domains: HashMap::new() };
        if !limits.is_none() {
            tx.exclusive("pace").await?;
            seats.own = own.collect();
            seats.relay = seats.room_in(&limits.relay, None).await?;
        }
        Ok(seats)
    }

    /// One seat for a recipient at `domain`.
    pub(super) async fn take(&mut self, domain: &str) -> Result<Result<(), Full>, StoreError> {
        if self.limits.is_none() {
            return Ok(Ok(()));
        }
        if self.relay.left == 0 {
            return Ok(Err(Full::Relay(self.relay.wait)));
        }
        if let Some(rate) = self.limits.domains.get(domain) {
            let mut room = match self.domains.get(domain) {
                Some(room) => *room,
                None => self.room_in(&[*rate], Some(domain)).await?,
            };
            if room.left == 0 {
                return Ok(Err(Full::Domain(room.wait)));
            }
            room.take();
            self.domains.insert(domain.to_owned(), room);
        }
        self.relay.take();
        Ok(Ok(()))
    }

    /// Keeps the seats of submissions.
    pub(super) async fn keep(&self, taken: impl Iterator<Item = Seat<'_>>) -> Result<(), StoreError> {
        if self.limits.is_none() {
            return Ok(());
        }
        let values: Vec<Value> = taken
            .flat_map(|seat| {
                [Value::from(seat.row), seat.attempt.into(), seat.domain.into(), seat.until.millis().into()]
            })
            .collect();
        if values.is_empty() {
            return Ok(());
        }
        let tuple = |n: usize| format!("({})", sql::placeholders(4 * n + 1, 4));
        let tuples: Vec<String> = (0..values.len() / 4).map(tuple).collect();
        let text = format!(
            "INSERT INTO pace (delivery_id, attempt, domain, ended_at) VALUES {} \
             ON CONFLICT (delivery_id, attempt) DO NOTHING",
            tuples.join(", ")
        );
        sql::run(&**self.tx, "keep seats", &text, values).await.map(|_| ())
    }

    async fn room_in(&self, rates: &[Rate], domain: Option<&str>) -> Result<Room, StoreError> {
        let mut room = Room::ENDLESS;
        for rate in rates {
            let found = self.room_in_window(*rate, domain).await?;
            room = Room { left: room.left.min(found.left), wait: room.wait.max(found.wait) };
        }
        Ok(room)
    }

    async fn room_in_window(&self, rate: Rate, domain: Option<&str>) -> Result<Room, StoreError> {
        let mut values: Vec<Value> = vec![
            self.now.minus(rate.per()).millis().into(),
            self.now.plus(ROUNDING).millis().into(),
            i64::from(rate.count()).into(),
        ];
        values.extend(self.own.iter().map(|id| Value::from(*id)));
        let own = sql::placeholders(4, self.own.len());
        let mut text = format!(
            "SELECT ended_at AS n FROM pace WHERE ended_at >= $1 AND (ended_at <= $2 OR delivery_id NOT IN ({own}))"
        );
        if let Some(domain) = domain {
            values.push(domain.into());
            text += &format!(" AND domain = ${}", values.len());
        }
        text += " ORDER BY ended_at DESC LIMIT $3";
        let taken: Vec<sql::Number> = sql::rows(&**self.tx, "count seats", &text, values).await?;
        let left = (rate.count() as usize).saturating_sub(taken.len());
        let Some(oldest) = taken.last().filter(|_| left == 0) else {
            return Ok(Room { left, wait: Duration::ZERO });
        };
        let free = Timestamp::from_millis(oldest.n).plus(rate.per() + ROUNDING);
        let under_way = oldest.n > self.now.plus(ROUNDING).millis();
        Ok(Room { left, wait: if under_way { UNDER_WAY_LOOK } else { free.since(self.now) } })
    }
}

impl WriteTx {
    /// Of these rows, those that are not being submitted have ended by `now`: their seats are free
    /// one window later.
    pub(super) async fn leave_seats(&self, deliveries: &[i64], now: Timestamp) -> Result<(), StoreError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let ids = sql::placeholders(2, deliveries.len());
        let text = format!(
            "UPDATE pace SET ended_at = $1 WHERE delivery_id IN ({ids}) AND ended_at > $1 AND NOT EXISTS \
             (SELECT 1 FROM delivery WHERE delivery.id = pace.delivery_id AND delivery.state = 'submitting')"
        );
        let values = [now.plus(ROUNDING).millis().into()];
        let values = values.into_iter().chain(deliveries.iter().map(|id| Value::from(*id)));
        sql::run(&**self, "leave seats", &text, values).await.map(|_| ())
    }
}

impl Store {
    /// A seat for a mail to staff, in the same windows as everybody's; it may last for `submission_max`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seat_staff_mail(
        &self,
        mail: i64,
        domain: &str,
        limits: &Limits,
        submission_max: Duration,
    ) -> Result<Result<(), Full>, StoreError> {
        if limits.is_none() {
            return Ok(Ok(()));
        }
        let tx = self.write().await?;
        let now = sql::database_now(&*tx).await?;
        // Below zero: no delivery has such an id.
        let mut seats = Seats::open(&tx, limits, now, std::iter::once(-mail)).await?;
        if let Err(full) = seats.take(domain).await? {
            return Ok(Err(full));
        }
        let seat = Seat { row: -mail, attempt: now.millis(), domain, until: now.plus(submission_max) };
        seats.keep(std::iter::once(seat)).await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// The submission of a mail to staff has ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unseat_staff_mail(&self, mail: i64) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let now = sql::database_now(&*tx).await?;
        tx.leave_seats(&[-mail], now).await?;
        tx.commit().await
    }

    /// Forgets submissions that no window of these limits counts any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_seats(&self, limits: &Limits) -> Result<(), StoreError> {
        let now = self.now().await?;
        let oldest = now.minus(limits.longest().unwrap_or_default()).minus(ROUNDING);
        let some = "SELECT ended_at AS n FROM pace WHERE ended_at < $1 LIMIT 1";
        let found: Option<sql::Number> =
            sql::row(&self.connection, "look for old seats", some, [oldest.millis().into()]).await?;
        if found.is_none() {
            return Ok(());
        }
        let tx = self.write().await?;
        sql::run(&*tx, "forget seats", "DELETE FROM pace WHERE ended_at < $1", [oldest.millis().into()])
            .await?;
        tx.commit().await
    }
}

/// The broadcasts' rows among `intents` that may sit down, and those that may not yet.
pub(super) async fn seat(
    seats: &mut Seats<'_>,
    sending: &[BroadcastId],
    intents: Vec<ClaimedRow>,
) -> Result<(Vec<ClaimedRow>, Vec<(ClaimedRow, Full)>), StoreError> {
    let (mut seated, mut full) = (Vec::with_capacity(intents.len()), Vec::new());
    for row in intents {
        // Who is refused for another reason takes no seat.
        let taken =
            if sending.contains(&row.broadcast) { seats.take(row.address.domain()).await? } else { Ok(()) };
        match taken {
            Ok(()) => seated.push(row),
            Err(reason) => full.push((row, reason)),
        }
    }
    Ok((seated, full))
}
