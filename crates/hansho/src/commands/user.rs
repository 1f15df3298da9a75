//! `hansho user …`: accounts and personal tokens.

use super::actor::{from_environment, token_hash};
use crate::{cli::UserCommand, entropy, installation::Installation, output::Format};
use anyhow::{Context, Result};
use domain::{Actor, EmailAddress, Refusal, Role, Rule};
use serde::Serialize;
use store::{StaffRow, StoreError};

/// A new or reset account with its password, shown once.
#[derive(Serialize)]
pub(crate) struct Account {
    pub(crate) email: String,
    pub(crate) role: Role,
    pub(crate) password: String,
}

#[derive(Serialize)]
struct Token {
    token: String,
}

#[derive(Serialize)]
struct ListRow {
    email: String,
    name: String,
    role: Role,
    disabled: bool,
}

pub(super) async fn run(installation: &Installation, command: UserCommand, format: Format) -> Result<()> {
    let actor = from_environment(installation).await?;
    match command {
        UserCommand::Add { email, role, name } => {
            may_manage(actor)?;
            may_grant(installation, actor, role).await?;
            let account = add_account(installation, actor, &email, name.as_deref(), role).await?;
            format.print(&account, show)
        }
        UserCommand::Token { email } => {
            may_manage(actor)?;
            let staff = find(installation, &email).await?;
            may_grant(installation, actor, staff.role).await?;
            let token = make_token(installation, actor, &staff).await?;
            format.print(&Token { token }, |answer| answer.token.clone())
        }
        UserCommand::List => {
            let rows: Vec<ListRow> = installation.store.staff().await?.into_iter().map(list_row).collect();
            format.print(&rows, |rows| {
                let line = |row: &ListRow| {
                    let note = if row.disabled { " (disabled)" } else { "" };
                    format!("{:<12} {}{note}\n", row.role, row.email)
                };
                rows.iter().map(line).collect()
            })
        }
        UserCommand::Disable { email } => {
            may_manage(actor)?;
            let staff = find(installation, &email).await?;
            installation.store.disable_staff(actor, staff.id, installation.clock.now()).await?;
            format.print(&list_row(StaffRow { disabled: true, ..staff }), |row| {
                format!("{} is disabled", row.email)
            })
        }
        UserCommand::Reset { email } => {
            may_manage(actor)?;
            let staff = find(installation, &email).await?;
            may_grant(installation, actor, staff.role).await?;
            let password = entropy::password();
            let hash = web::password::hash(&password, &entropy::salt())?;
            installation.store.set_password(actor, staff.id, &hash, installation.clock.now()).await?;
            format.print(&Account { email: staff.email, role: staff.role, password }, show)
        }
    }
}

/// Adds an account with a random password.
pub(crate) async fn add_account(
    installation: &Installation,
    actor: Actor,
    email: &str,
    name: Option<&str>,
    role: Role,
) -> Result<Account> {
    let address = EmailAddress::parse(email.trim()).context("the sign-in name is an e-mail address")?;
    let email = address.key();
    let password = entropy::password();
    let hash = web::password::hash(&password, &entropy::salt())?;
    let name = name.unwrap_or(&email);
    installation.store.add_staff(actor, &email, name, role, &hash, installation.clock.now()).await?;
    Ok(Account { email, role, password })
}

/// Makes a personal token and keeps its hash.
pub(crate) async fn make_token(
    installation: &Installation,
    actor: Actor,
    staff: &StaffRow,
) -> Result<String> {
    let token = entropy::token();
    installation
        .store
        .create_api_token(actor, &token_hash(&token), staff.id, installation.clock.now())
        .await?;
    Ok(token)
}

pub(crate) async fn find(installation: &Installation, email: &str) -> Result<StaffRow> {
    let found = installation.store.staff_by_email(email).await?;
    Ok(found.ok_or_else(|| StoreError::not_found("account", email))?)
}

fn may_manage(actor: Actor) -> Result<(), Refusal> {
    match actor {
        Actor::LocalEngineer | Actor::Staff { role: Role::Engineer, .. } => Ok(()),
        Actor::Staff { .. } | Actor::Scheduler => {
            Err(Refusal::new(Rule::Role, "only an engineer manages accounts", "ask the engineer"))
        }
    }
}

/// Once a broadcast was approved here, one engineer alone can no longer become an approver.
async fn may_grant(installation: &Installation, actor: Actor, role: Role) -> Result<()> {
    let alone = matches!(actor, Actor::LocalEngineer | Actor::Staff { role: Role::Engineer, .. });
    if role.may_approve() && alone && installation.store.any_released().await? {
        return Err(Refusal::new(
            Rule::FourEyes,
            "after the first released broadcast an approver's account, token or password needs a second person",
            "an approver confirms it in the dashboard (not built yet): keep the accounts made before",
        )
        .into());
    }
    Ok(())
}

fn list_row(staff: StaffRow) -> ListRow {
    ListRow { email: staff.email, name: staff.name, role: staff.role, disabled: staff.disabled }
}

fn show(account: &Account) -> String {
    format!("{} ({})\none-time password: {}", account.email, account.role, account.password)
}
