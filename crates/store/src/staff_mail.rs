//! Mail to staff: a small ledger of its own. Texts are compiled in (crate `notice`), addresses
//! are those of accounts and configured operators; there is no free text and no way round the laws.

use crate::{Engine, Store, StoreError, WriteTx, sql};
use domain::{BroadcastId, EmailAddress, Timestamp};
use sea_orm::FromQueryResult;
use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

/// Tried this often, then given up: staff see the same on the dashboard.
const ATTEMPTS_MAX: i64 = 8;
/// One mail at a time; others wait this long before they may take over.
const LEASE: Duration = Duration::from_secs(120);

/// Which compiled-in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaffMailKind {
    /// A release would go over the daily cap: a second approver is needed.
    CapAlert,
    /// What members are about to get.
    FirstCopy,
}

impl StaffMailKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CapAlert => "cap-alert",
            Self::FirstCopy => "first-copy",
        }
    }
}

impl fmt::Display for StaffMailKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StaffMailKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::CapAlert, Self::FirstCopy]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("unknown kind {text}"))
    }
}

/// One mail to one member of staff.
#[derive(Debug, Clone)]
pub struct StaffMail {
    /// Row.
    pub id: i64,
    /// Which text.
    pub kind: StaffMailKind,
    /// About which broadcast.
    pub broadcast: BroadcastId,
    /// Where to.
    pub address: EmailAddress,
    /// Numbers for the text.
    pub args: BTreeMap<String, String>,
}

#[derive(FromQueryResult)]
struct StaffMailColumns {
    id: i64,
    kind: String,
    broadcast_id: i64,
    address: String,
    args: String,
}

impl WriteTx {
    /// Enqueues one alert to every approver and operator, once per broadcast.
    pub(crate) async fn alert_staff(
        &self,
        kind: StaffMailKind,
        broadcast: BroadcastId,
        args: &[(&str, String)],
        operators: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        #[derive(FromQueryResult)]
        struct Email {
            email: String,
        }
        let text = "SELECT email FROM staff WHERE role = 'approver' AND disabled = $1";
        let approvers: Vec<Email> = sql::rows(&**self, "find approvers", text, [false.into()]).await?;
        let args: BTreeMap<&str, &str> = args.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let args = serde_json::to_string(&args).expect("invariant: a map of texts");
        let addresses = approvers.into_iter().map(|row| row.email).chain(operators.iter().cloned());
        for address in addresses {
            self.enqueue_staff_mail(kind, broadcast, &address, &args, now).await?;
        }
        Ok(())
    }

    /// Once per kind, broadcast and address.
    pub(crate) async fn enqueue_staff_mail(
        &self,
        kind: StaffMailKind,
        broadcast: BroadcastId,
        address: &str,
        args: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let text = "INSERT INTO staff_mail (kind, broadcast_id, address, args, state, attempts, due_at, created_at) \
                    VALUES ($1, $2, $3, $4, 'pending', 0, 0, $5) \
                    ON CONFLICT (kind, broadcast_id, address) DO NOTHING";
        let values =
            [kind.as_str().into(), broadcast.get().into(), address.into(), args.into(), now.millis().into()];
        sql::run(&**self, "enqueue a staff mail", text, values).await.map(|_| ())
    }
}

impl Store {
    /// Takes the next staff mail that is due. It comes back by itself unless settled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next_staff_mail(&self) -> Result<Option<StaffMail>, StoreError> {
        let tx = self.write().await?;
        let now = sql::database_now(&*tx).await?;
        let lock = match tx.engine() {
            Engine::Sqlite => "",
            Engine::Postgres => "FOR UPDATE SKIP LOCKED",
        };
        let text = format!(
            "UPDATE staff_mail SET attempts = attempts + 1, due_at = $2 WHERE id IN (\
             SELECT id FROM staff_mail WHERE state = 'pending' AND due_at <= $1 AND attempts < {ATTEMPTS_MAX} \
             ORDER BY id LIMIT 1 {lock}) RETURNING id, kind, broadcast_id, address, args"
        );
        let values = [now.millis().into(), now.plus(LEASE).millis().into()];
        let row: Option<StaffMailColumns> = sql::row(&*tx, "take a staff mail", &text, values).await?;
        tx.commit().await?;
        row.map(read).transpose()
    }

    /// A staff mail was taken by the relay.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn staff_mail_sent(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let text = "UPDATE staff_mail SET state = 'sent', settled_at = $2 WHERE id = $1";
        sql::run(&*tx, "settle a staff mail", text, [id.into(), now.millis().into()]).await?;
        tx.commit().await
    }

    /// A staff mail was refused by a relay that is not used now: it is due again at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn staff_mail_again(&self, id: i64) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let text = "UPDATE staff_mail SET due_at = 0 WHERE id = $1 AND state = 'pending'";
        sql::run(&*tx, "bring a staff mail forward", text, [id.into()]).await?;
        tx.commit().await
    }

    /// How many alerts about a broadcast were enqueued, and how many left.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alerts(&self, broadcast: BroadcastId) -> Result<(u64, u64), StoreError> {
        let count = async |state: &str| {
            let text = "SELECT COUNT(*) AS n FROM staff_mail \
                        WHERE broadcast_id = $1 AND kind = $2 AND state LIKE $3";
            let values = [broadcast.get().into(), StaffMailKind::CapAlert.as_str().into(), state.into()];
            sql::number(&self.connection, "count alerts", text, values).await
        };
        Ok((count("%").await?.unsigned_abs(), count("sent").await?.unsigned_abs()))
    }
}

fn read(row: StaffMailColumns) -> Result<StaffMail, StoreError> {
    let corrupt = |column: &'static str, why: String| StoreError::Corrupt {
        table: "staff_mail",
        column,
        row: row.id,
        why,
    };
    Ok(StaffMail {
        id: row.id,
        kind: row.kind.parse().map_err(|e| corrupt("kind", e))?,
        broadcast: BroadcastId::new(row.broadcast_id),
        address: EmailAddress::parse(&row.address).map_err(|e| corrupt("address", e.to_string()))?,
        args: serde_json::from_str(&row.args).map_err(|e| corrupt("args", e.to_string()))?,
    })
}
