//! The judge of a run. It knows the plan, the relay's record and the exported ledger, and nothing
//! of how the broadcaster came to them.

use crate::{
    network::Dot,
    scenario::{Evidence, RETRY_FIRST},
};
use domain::{BroadcastState, Delivery, DeliveryState, Rate, SmtpReply};
use std::{collections::BTreeMap, time::Duration};
use store::model::ModelRow;
use tokio::time::Instant;

/// The first promise that a run broke.
pub(crate) fn check(evidence: &Evidence) -> Result<(), String> {
    for dot in &evidence.record.dots {
        evidence.was_approved(dot)?;
    }
    for row in &evidence.ledger {
        evidence.is_true(row)?;
        evidence.was_mailed_once(row)?;
        evidence.was_given_time(row)?;
        evidence.came_to_an_end(row)?;
    }
    evidence.no_limit_was_broken()?;
    evidence.nothing_began_after_a_stop()?;
    evidence.few_are_unknown()?;
    evidence.patience_was_shown()?;
    let most = evidence.plan.connections as usize;
    if evidence.most_submitting > most {
        return Err(format!("{} rows were submitting on {most} connections", evidence.most_submitting));
    }
    Ok(())
}

fn address(row: &ModelRow) -> String {
    row.frozen.address.as_ref().map(domain::EmailAddress::to_wire).unwrap_or_default()
}

impl Evidence {
    fn dots_of(&self, row: &ModelRow) -> Vec<&Dot> {
        let address = address(row);
        self.record.dots.iter().filter(|dot| dot.rcpt == address).collect()
    }

    /// Laws 1 and 5: to a frozen recipient, its own mail, and only if nothing was changed since.
    fn was_approved(&self, dot: &Dot) -> Result<(), String> {
        if self.plan.tampered {
            return Err(format!("the audience was changed after it was signed, and {} got a mail", dot.rcpt));
        }
        let Some(row) = self.ledger.iter().find(|row| address(row) == dot.rcpt) else {
            return Err(format!("{} is no recipient", dot.rcpt));
        };
        if dot.message_id != row.frozen.message_id || dot.to != dot.rcpt {
            return Err(format!("{} got the mail {} to {}", dot.rcpt, dot.message_id, dot.to));
        }
        if dot.mail_from.is_empty() { Err("no return path".into()) } else { Ok(()) }
    }

    /// Law 3: what the ledger says is what the relay said.
    fn is_true(&self, row: &ModelRow) -> Result<(), String> {
        let (who, dots) = (address(row), self.dots_of(row));
        let said = |reply: &SmtpReply| {
            let number = reply.text.rsplit(' ').next().and_then(|number| number.parse::<u32>().ok());
            self.record
                .replies
                .iter()
                .any(|(n, code, rcpt)| Some(*n) == number && *code == reply.code && *rcpt == who)
        };
        match &row.delivery {
            Delivery::Accepted { reply: None, .. } => Err(format!("{who}: accepted, and nobody said so")),
            Delivery::Accepted { reply: Some(reply), .. } => {
                let dot = dots.iter().any(|dot| dot.taken && dot.answer.is_some_and(|(code, _)| code == 250));
                if said(reply) && dot {
                    Ok(())
                } else {
                    Err(format!("{who}: accepted by {reply:?}, which was no answer"))
                }
            }
            Delivery::Rejected { reply, .. } if !said(reply) => {
                Err(format!("{who}: rejected by {reply:?}, which was not said to it"))
            }
            Delivery::Rejected { reply, .. } if reply.code < 500 => {
                Err(format!("{who}: rejected by {reply:?}"))
            }
            // Refused for good and nothing unclear about it: then it is not tried again.
            _ => match dots.iter().position(|dot| dot.answer.is_some_and(|(code, _)| code >= 500)) {
                Some(at) if row.unknown == 0 && dots.len() > at + 1 => {
                    Err(format!("{who}: tried again after it was refused"))
                }
                _ => Ok(()),
            },
        }
    }

    /// Nobody gets a notice twice, but those whose answer was lost and whom the policy sends it again.
    fn was_mailed_once(&self, row: &ModelRow) -> Result<(), String> {
        let taken = self.dots_of(row).iter().filter(|dot| dot.taken).count() as u32;
        let allowed = 1 + if self.plan.retry_unknown { row.unknown } else { 0 };
        if taken > allowed {
            return Err(format!("{}: mailed {taken} times, and {} times unknown", address(row), row.unknown));
        }
        let left_alone = matches!(
            row.delivery.state(),
            DeliveryState::Pending
                | DeliveryState::Deferred
                | DeliveryState::GaveUp
                | DeliveryState::Rejected
        );
        if left_alone && row.unknown == 0 && taken > 0 {
            return Err(format!("{}: mailed, and the ledger says {}", address(row), row.delivery.state()));
        }
        Ok(())
    }

    /// Who is deferred is left alone for a while, and who is refused for good.
    fn was_given_time(&self, row: &ModelRow) -> Result<(), String> {
        let dots = self.dots_of(row);
        let refused = dots.iter().position(|dot| dot.answer.is_some_and(|(code, _)| code >= 500));
        if row.unknown == 0 && refused.is_some_and(|at| dots.len() > at + 1) {
            return Err(format!("{}: tried again after it was refused", address(row)));
        }
        for pair in dots.windows(2) {
            let deferred = pair[0].answer.is_some_and(|(code, _)| (400..500).contains(&code));
            // The application's clock runs up to a fifth of a second ahead.
            if deferred && pair[1].at < pair[0].at + RETRY_FIRST - Duration::from_millis(300) {
                return Err(format!(
                    "{}: tried again {:?} after a deferral",
                    address(row),
                    pair[1].at - pair[0].at
                ));
            }
        }
        Ok(())
    }

    /// Nobody is forgotten.
    fn came_to_an_end(&self, row: &ModelRow) -> Result<(), String> {
        let state = row.delivery.state();
        let open =
            matches!(state, DeliveryState::Pending | DeliveryState::Submitting | DeliveryState::Deferred);
        let stays_open = self.plan.tampered || self.state == BroadcastState::Stopped;
        if state == DeliveryState::Submitting || (open && !stays_open) {
            return Err(format!(
                "{}: {state} when all is over, and the broadcast is {}",
                address(row),
                self.state
            ));
        }
        if state == DeliveryState::GaveUp && self.finish_by.is_none() {
            return Err(format!("{}: given up before its time", address(row)));
        }
        Ok(())
    }

    fn no_limit_was_broken(&self) -> Result<(), String> {
        let limits = &self.plan.limits;
        for rate in &limits.relay {
            within(*rate, self.record.dots.iter().map(|dot| dot.at).collect())?;
        }
        for (domain, rate) in &limits.domains {
            let there = self.record.dots.iter().filter(|dot| dot.rcpt.ends_with(&format!("@{domain}")));
            within(*rate, there.map(|dot| dot.at).collect())?;
        }
        Ok(())
    }

    /// Law 8, and the notice's own end: what was permitted before may still arrive, one a connection.
    fn nothing_began_after_a_stop(&self) -> Result<(), String> {
        let end = self.finish_by.map(|end| (end, None));
        for (from, until) in self.stopped.into_iter().chain(end) {
            let mut late: BTreeMap<u32, u32> = BTreeMap::new();
            for dot in &self.record.dots {
                if dot.at > from && until.is_none_or(|until| dot.at < until) {
                    *late.entry(dot.connection).or_default() += 1;
                }
            }
            if let Some((connection, mails)) = late.iter().find(|(_, mails)| **mails > 1) {
                return Err(format!("{mails} mails on connection {connection} after the stop"));
            }
            let most = self.plan.connections * (self.plan.workers + self.deaths);
            if late.len() as u32 > most {
                return Err(format!("{} connections mailed after the stop", late.len()));
            }
        }
        Ok(())
    }

    /// Only an answer that was lost, or a process that was, leaves a row unknown.
    fn few_are_unknown(&self) -> Result<(), String> {
        let unknown: u32 = self.ledger.iter().map(|row| row.unknown).sum();
        let unanswered = self.record.dots.iter().filter(|dot| dot.answer.is_none()).count() as u32;
        let lost = (self.deaths + self.hangs) * self.plan.connections;
        // An answer may have come too late for the sender, and there are no others.
        let explained = unanswered + lost;
        if unknown > explained {
            return Err(format!("{unknown} rows became unknown, and {explained} can be explained"));
        }
        Ok(())
    }

    /// Who asked for patience hears little from this sender for a second.
    fn patience_was_shown(&self) -> Result<(), String> {
        for (asked, process) in &self.record.patience {
            let span = *asked + Duration::from_millis(150)..*asked + Duration::from_millis(900);
            let met = |(at, who): &&(Instant, u32)| who == process && span.contains(at);
            let mails = self.record.mails.iter().filter(met).count();
            if mails > self.plan.connections as usize {
                return Err(format!("{mails} MAILs within a second of a call for patience"));
            }
        }
        Ok(())
    }
}

/// No window of this length holds more.
fn within(rate: Rate, mut times: Vec<Instant>) -> Result<(), String> {
    times.sort_unstable();
    let count = rate.count() as usize;
    for span in times.windows(count + 1) {
        let width = span[count] - span[0];
        if width < rate.per() {
            return Err(format!("{} mails within {width:?} at a limit of {rate}", count + 1));
        }
    }
    Ok(())
}
