//! Mail to staff: alerts with compiled-in texts, over a connection of its own, within the same
//! rate windows. Its ledger is the table `staff_mail`; no permit of the members' ledger is involved,
//! because no member can be addressed: addresses come from accounts and operators only.

use crate::{
    Broadcaster,
    session::{Patience, Session, Submitted},
    stream::Tcp,
};
use domain::BroadcastId;
use notice::{
    ComposeError, Dkim, Envelope, Letter, MessageId, RenderError, SenderAddress, SenderAddressError, Terms,
    cap_alert, first_copy,
};
use std::time::Duration;
use store::{Full, StaffMail, StaffMailKind, StoreError, WorkerTerms};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("`broadcast.from` is not usable")]
    From(#[from] SenderAddressError),
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Dkim(#[from] notice::DkimError),
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("broadcast {0} has no terms to copy from")]
    Terms(BroadcastId),
    #[error("a first copy goes to `broadcast.operators` only, and this address is none of them")]
    NoOperator,
    #[error("the alert's Message-ID is not usable")]
    MessageId(#[from] notice::MessageIdError),
}

/// Sends mail to staff until `shutdown`.
pub async fn run(broadcaster: Broadcaster, shutdown: CancellationToken) {
    let terms = broadcaster.settings.worker_terms();
    let mut session = Session::new(&broadcaster.settings, broadcaster.relays.clone(), broadcaster.dial);
    while !shutdown.is_cancelled() {
        let sent = match broadcaster.ledger.next_staff_mail().await {
            Ok(Some(mail)) => {
                send(&broadcaster, &terms, &mut session, &mail, &shutdown).await;
                true
            }
            Ok(None) => false,
            Err(problem) => {
                error!(error = &problem as &dyn std::error::Error, "staff mail cannot be read");
                false
            }
        };
        if !sent {
            session.close().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

async fn send(
    broadcaster: &Broadcaster,
    terms: &WorkerTerms,
    session: &mut Session<Tcp>,
    mail: &StaffMail,
    shutdown: &CancellationToken,
) {
    let letter = match letter(broadcaster, mail).await {
        Ok(letter) => letter,
        Err(problem) => {
            error!(
                staff_mail.id = mail.id,
                error = &problem as &dyn std::error::Error,
                "mail to staff cannot be written"
            );
            return;
        }
    };
    if !session.is_ready(mail.address.domain())
        && let Err(problem) = session.open().await
    {
        warn!(
            staff_mail.id = mail.id,
            error = &problem as &dyn std::error::Error,
            "mail to staff waits for the relay"
        );
        return;
    }
    if !seated(broadcaster, terms, mail, shutdown).await {
        return;
    }
    let submitted = session.submit(&letter, None, || true).await;
    if let Err(problem) = broadcaster.ledger.unseat_staff_mail(mail.id).await {
        error!(error = &problem as &dyn std::error::Error, "an alert's seat in the rate windows stays taken");
    }
    match submitted {
        Submitted::Accepted(_) => {
            info!(staff_mail.id = mail.id, kind = %mail.kind, "mail to staff sent");
            let noted = broadcaster.ledger.staff_mail_sent(mail.id, broadcaster.clock.now()).await;
            if let Err(problem) = noted {
                error!(error = &problem as &dyn std::error::Error, "a sent mail to staff could not be noted");
            }
        }
        Submitted::NotTaken(Some(reply), Patience::Relay) if session.turn_away(&reply) => {
            warn!(staff_mail.id = mail.id, "the relay does not want it; another one is tried");
            if let Err(problem) = broadcaster.ledger.staff_mail_again(mail.id).await {
                error!(error = &problem as &dyn std::error::Error, "mail to staff waits for its next turn");
            }
        }
        Submitted::NotTaken(..) | Submitted::Rejected(_) | Submitted::Lost => {
            warn!(staff_mail.id = mail.id, "mail to staff not taken; it is tried again");
        }
    }
}

/// Waits for room in the rate windows; false where there was none to be had.
async fn seated(
    broadcaster: &Broadcaster,
    terms: &WorkerTerms,
    mail: &StaffMail,
    shutdown: &CancellationToken,
) -> bool {
    let (store, domain) = (&broadcaster.ledger, mail.address.domain());
    loop {
        match store.seat_staff_mail(mail.id, domain, &terms.limits, terms.submission_max).await {
            Ok(Ok(())) => return true,
            Ok(Err(Full::Relay(wait) | Full::Domain(wait))) => tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => return false,
            },
            Err(problem) => {
                error!(
                    error = &problem as &dyn std::error::Error,
                    "an alert has no seat in the rate windows"
                );
                return false;
            }
        }
    }
}

async fn letter(broadcaster: &Broadcaster, mail: &StaffMail) -> Result<Letter, PostError> {
    let from: SenderAddress = broadcaster.settings.from.parse()?;
    let message_id: MessageId = format!("<s{}@{}>", mail.id, from.address.domain()).parse()?;
    let raw = match mail.kind {
        StaffMailKind::CapAlert => cap_alert(
            &from,
            &mail.address,
            &message_id,
            broadcaster.clock.now(),
            mail.broadcast,
            &broadcaster.settings.public_url,
            &mail.args,
        )?,
        StaffMailKind::FirstCopy => copy(broadcaster, mail, &message_id).await?,
    };
    let raw = Dkim::sign_by(broadcaster.settings.dkim.as_deref(), raw)?;
    let envelope = Envelope { return_path: from.address, to: mail.address.clone() };
    Ok(Letter { envelope, raw })
}

async fn copy(
    broadcaster: &Broadcaster,
    mail: &StaffMail,
    message_id: &MessageId,
) -> Result<String, PostError> {
    if !broadcaster.settings.operators.contains(&mail.address) {
        return Err(PostError::NoOperator);
    }
    let broadcast = broadcaster.ledger.broadcast(mail.broadcast).await?;
    let broadcast = broadcast.ok_or(PostError::Terms(mail.broadcast))?;
    let terms: Terms =
        serde_json::from_str(&broadcast.terms).map_err(|_| PostError::Terms(mail.broadcast))?;
    let now = broadcaster.clock.now();
    Ok(first_copy(&terms, &mail.address, message_id, now, mail.broadcast, broadcast.recipients)?)
}
