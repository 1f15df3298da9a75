//! People who sign in: accounts, sessions, personal tokens.

use crate::{Store, StoreError, entity, sql};
use domain::{Actor, Role, StaffId, Timestamp};
use sea_orm::FromQueryResult;
use std::time::Duration;

/// After this many wrong passwords in a row the account waits.
const FAILED_LOGINS_FREE: i64 = 5;
/// The wait doubles with each further failure, up to this.
const LOCK_MAX: Duration = Duration::from_secs(15 * 60);
const LOCK_FIRST: Duration = Duration::from_secs(30);

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffRow {
    /// Id.
    pub id: StaffId,
    /// Sign-in name, lower case.
    pub email: String,
    /// As shown.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// PHC string.
    pub password_hash: String,
    /// May no longer sign in.
    pub disabled: bool,
    /// Too many wrong passwords: refuse until then.
    pub locked_until: Timestamp,
}

/// Who a session or token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Who.
    pub staff_id: StaffId,
    /// Sign-in name.
    pub email: String,
    /// As shown.
    pub name: String,
    /// Role, read now.
    pub role: Role,
}

impl SessionRow {
    /// For the audit log and permission checks.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Staff { id: self.staff_id, role: self.role }
    }
}

impl TryFrom<entity::staff::Model> for StaffRow {
    type Error = StoreError;

    fn try_from(row: entity::staff::Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: StaffId::new(row.id),
            role: role_from(row.id, &row.role)?,
            email: row.email,
            name: row.name,
            password_hash: row.password_hash,
            disabled: row.disabled,
            locked_until: Timestamp::from_millis(row.locked_until),
        })
    }
}

fn role_from(row: i64, text: &str) -> Result<Role, StoreError> {
    text.parse().map_err(|why: domain::UnknownWord| StoreError::Corrupt {
        table: "staff",
        column: "role",
        row,
        why: why.to_string(),
    })
}

#[derive(FromQueryResult)]
struct SessionColumns {
    staff_id: i64,
    email: String,
    name: String,
    role: String,
}

impl TryFrom<SessionColumns> for SessionRow {
    type Error = StoreError;

    fn try_from(row: SessionColumns) -> Result<Self, StoreError> {
        Ok(Self {
            staff_id: StaffId::new(row.staff_id),
            role: role_from(row.staff_id, &row.role)?,
            email: row.email,
            name: row.name,
        })
    }
}

fn hex(hash: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(hash)
}

impl Store {
    /// Adds an account; `password_hash` is a PHC string.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a sign-in name already taken.
    pub async fn add_staff(
        &self,
        actor: Actor,
        email: &str,
        name: &str,
        role: Role,
        password_hash: &str,
        now: Timestamp,
    ) -> Result<StaffId, StoreError> {
        let email = email.trim().to_lowercase();
        let tx = self.write().await?;
        let id = sql::row::<sql::Number>(
            &*tx,
            "add an account",
            "INSERT INTO staff (email, name, role, password_hash, disabled, failed_logins, locked_until, created_at) \
             VALUES ($1, $2, $3, $4, $5, 0, 0, $6) ON CONFLICT (email) DO NOTHING RETURNING id AS n",
            [
                email.clone().into(),
                name.into(),
                role.as_str().into(),
                password_hash.into(),
                false.into(),
                now.millis().into(),
            ],
        )
        .await?
        .ok_or(StoreError::Exists { what: "account", name: email })?
        .n;
        tx.audit(now, actor, "staff-added", format!("staff:{id}"), role.to_string()).await?;
        tx.commit().await?;
        Ok(StaffId::new(id))
    }

    /// All accounts, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn staff(&self) -> Result<Vec<StaffRow>, StoreError> {
        let text = "SELECT * FROM staff ORDER BY id";
        let rows: Vec<entity::staff::Model> = sql::rows(&self.connection, "list accounts", text, []).await?;
        rows.into_iter().map(StaffRow::try_from).collect()
    }

    /// An account by sign-in name, in any letter case.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn staff_by_email(&self, email: &str) -> Result<Option<StaffRow>, StoreError> {
        let text = "SELECT * FROM staff WHERE email = $1";
        let row: Option<entity::staff::Model> =
            sql::row(&self.connection, "find an account", text, [email.trim().to_lowercase().into()]).await?;
        row.map(StaffRow::try_from).transpose()
    }

    /// Sets a new password and ends all sessions and tokens of the account.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown account.
    pub async fn set_password(
        &self,
        actor: Actor,
        staff: StaffId,
        password_hash: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let changed = sql::run(
            &*tx,
            "set a password",
            "UPDATE staff SET password_hash = $2, failed_logins = 0, locked_until = 0 WHERE id = $1",
            [staff.get().into(), password_hash.into()],
        )
        .await?;
        if changed == 0 {
            return Err(StoreError::not_found("account", staff));
        }
        end_access(&tx, staff).await?;
        tx.audit(now, actor, "staff-password-set", format!("staff:{staff}"), String::new()).await?;
        tx.commit().await
    }

    /// Takes an account out of use; its sessions and tokens end at once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown account.
    pub async fn disable_staff(
        &self,
        actor: Actor,
        staff: StaffId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let values = [staff.get().into(), true.into()];
        let text = "UPDATE staff SET disabled = $2 WHERE id = $1";
        if sql::run(&*tx, "disable an account", text, values).await? == 0 {
            return Err(StoreError::not_found("account", staff));
        }
        end_access(&tx, staff).await?;
        tx.audit(now, actor, "staff-disabled", format!("staff:{staff}"), String::new()).await?;
        tx.commit().await
    }

    /// Begins a session; only the token's hash is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_session(
        &self,
        token_hash: &[u8; 32],
        staff: StaffId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        sql::run(
            &*tx,
            "drop old sessions",
            "DELETE FROM session WHERE expires_at < $1",
            [now.millis().into()],
        )
        .await?;
        sql::run(
            &*tx,
            "begin a session",
            "INSERT INTO session (token_hash, staff_id, role, created_at, expires_at) \
             SELECT $1, id, role, $3, $4 FROM staff WHERE id = $2",
            [hex(token_hash).into(), staff.get().into(), now.millis().into(), expires_at.millis().into()],
        )
        .await?;
        tx.commit().await
    }

    /// Whose session this is; none when expired, the account is disabled or its role changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session(
        &self,
        token_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<SessionRow>, StoreError> {
        let row: Option<SessionColumns> = sql::row(
            &self.connection,
            "find a session",
            "SELECT s.staff_id, p.email, p.name, p.role FROM session s JOIN staff p ON p.id = s.staff_id \
             WHERE s.token_hash = $1 AND s.expires_at > $2 AND p.disabled = $3 AND p.role = s.role",
            [hex(token_hash).into(), now.millis().into(), false.into()],
        )
        .await?;
        row.map(SessionRow::try_from).transpose()
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_session(&self, token_hash: &[u8; 32]) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let values = [hex(token_hash).into()];
        sql::run(&*tx, "end a session", "DELETE FROM session WHERE token_hash = $1", values).await?;
        tx.commit().await
    }

    /// Counts a wrong password; from the sixth in a row on, the account waits longer each time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_failed_login(&self, staff: StaffId, now: Timestamp) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let failed = sql::number(
            &*tx,
            "count a failed login",
            "UPDATE staff SET failed_logins = failed_logins + 1 WHERE id = $1 RETURNING failed_logins AS n",
            [staff.get().into()],
        )
        .await?;
        if failed > FAILED_LOGINS_FREE {
            let doublings = u32::try_from(failed - FAILED_LOGINS_FREE - 1).unwrap_or(u32::MAX).min(10);
            let wait = LOCK_FIRST.saturating_mul(1 << doublings).min(LOCK_MAX);
            let values = [staff.get().into(), now.plus(wait).millis().into()];
            sql::run(&*tx, "lock an account", "UPDATE staff SET locked_until = $2 WHERE id = $1", values)
                .await?;
        }
        tx.commit().await
    }

    /// A right password: the count of wrong ones starts again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_login(&self, staff: StaffId, now: Timestamp) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let text = "UPDATE staff SET failed_logins = 0, locked_until = 0 WHERE id = $1 RETURNING *";
        let row: entity::staff::Model = sql::row(&*tx, "note a login", text, [staff.get().into()])
            .await?
            .ok_or(StoreError::not_found("account", staff))?;
        let role = role_from(row.id, &row.role)?;
        tx.audit(now, Actor::Staff { id: staff, role }, "signed-in", format!("staff:{staff}"), String::new())
            .await?;
        tx.commit().await
    }

    /// Keeps the hash of a new personal token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_api_token(
        &self,
        actor: Actor,
        token_hash: &[u8; 32],
        staff: StaffId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        sql::run(
            &*tx,
            "keep a token",
            "INSERT INTO api_token (token_hash, staff_id, created_at) VALUES ($1, $2, $3)",
            [hex(token_hash).into(), staff.get().into(), now.millis().into()],
        )
        .await?;
        tx.audit(now, actor, "token-created", format!("staff:{staff}"), String::new()).await?;
        tx.commit().await
    }

    /// Whose personal token this is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn staff_by_api_token(&self, token_hash: &[u8; 32]) -> Result<Option<SessionRow>, StoreError> {
        let row: Option<SessionColumns> = sql::row(
            &self.connection,
            "find a token",
            "SELECT t.staff_id, p.email, p.name, p.role FROM api_token t JOIN staff p ON p.id = t.staff_id \
             WHERE t.token_hash = $1 AND p.disabled = $2",
            [hex(token_hash).into(), false.into()],
        )
        .await?;
        row.map(SessionRow::try_from).transpose()
    }
}

async fn end_access(tx: &crate::WriteTx, staff: StaffId) -> Result<(), StoreError> {
    let id = [staff.get().into()];
    sql::run(&**tx, "end sessions", "DELETE FROM session WHERE staff_id = $1", id.clone()).await?;
    sql::run(&**tx, "end tokens", "DELETE FROM api_token WHERE staff_id = $1", id).await?;
    Ok(())
}
