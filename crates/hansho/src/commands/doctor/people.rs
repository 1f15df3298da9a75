//! Whether there is somebody to approve, and how far a notice to everybody would get.

use super::Findings;
use crate::installation::Installation;
use anyhow::Result;
use store::{AudienceFilter, Reach};

/// Longer than this, a notice to everybody is news of yesterday.
const HOURS_MAX: u64 = 4;

pub(super) async fn check(installation: &Installation, findings: &mut Findings) -> Result<()> {
    let staff = installation.store.staff().await?;
    let approvers = staff.iter().filter(|person| person.role.may_approve() && !person.disabled).count();
    let authors = staff.iter().filter(|person| person.role.may_author() && !person.disabled).count();
    if approvers == 0 || authors == 0 {
        findings.block(
            "people",
            format!("{authors} who may write a notice, {approvers} who may approve one"),
            "hansho user add EMAIL --role coordinator, and another one --role approver",
        );
    } else {
        findings.good("people", format!("{authors} may write a notice, {approvers} may approve one"));
    }
    let now = installation.clock.now();
    let config = &installation.config;
    let reach = Reach::Current(config.calendar().year_at(now));
    let members = installation.store.audience_count(&AudienceFilter::default(), reach).await?;
    let cap = config.broadcast.daily_cap;
    let forecast = notice::preflight::forecast(members, &config.relay.rates, config.relay.connections, now);
    let text = format!("a notice to all {members} members takes {} minutes", forecast.seconds.div_ceil(60));
    if members == 0 {
        findings.warn("capacity", "nobody is a member this fiscal year", "hansho member import FILE --apply");
    } else if forecast.seconds > HOURS_MAX * 3_600 {
        findings.warn("capacity", text, "ask the relay's operator for a higher limit (relay.rates)");
    } else if members > cap && approvers < 2 {
        findings.warn(
            "capacity",
            format!("{text}, and {cap} in 24 hours is the cap"),
            "over the cap two approvers sign: add another one",
        );
    } else {
        findings.good("capacity", text);
    }
    Ok(())
}
