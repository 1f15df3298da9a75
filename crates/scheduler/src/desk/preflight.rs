//! Preflight: draw the audience, render every recipient strictly, ask the rules, and freeze what
//! passed: snapshot, digest and ledger rows in one transaction.

use super::{Desk, DeskError};
use domain::{
    Actor, AudienceChange, BroadcastId, ContentDigest, HoldReason, MemberId, Nature, RequestKind,
    is_of_one_family,
};
use notice::{
    Composer, DigestBuilder, Fields, Terms, message_id,
    preflight::{Finding, Forecast, Preflight, SameText, Summary, check},
};
use registry::{AudienceSpec, SnapshotMember, known_fields, resolve};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use store::{Broadcast, FULL_HOUR_SPREAD, FreezeRow, Snapshot, StoreError, Suppression};

/// What `broadcast preflight` says.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PreflightAnswer {
    /// Nothing blocks; the broadcast is frozen now.
    pub ok: bool,
    /// Ledger rows that will be tried.
    pub recipients: u64,
    /// Ledger rows held back.
    pub held: u64,
    /// Of these, those that a correction of text or roster would free.
    #[serde(skip)]
    pub held_for_want: u64,
    /// What approvers sign; none where it was blocked.
    pub digest: Option<String>,
    /// What the rules found.
    pub findings: Vec<Finding>,
    /// When the last notice leaves.
    pub forecast: Forecast,
}

/// The audience with each member rendered once, as the ledger would hold it.
struct Draft {
    rows: Vec<FreezeRow>,
    held: BTreeMap<String, u64>,
}

impl Draft {
    fn suppressed(&self) -> u64 {
        let suppressed = self.rows.iter().filter(|row| matches!(row.held, Some(HoldReason::Suppressed(_))));
        suppressed.count() as u64
    }

    fn recipients(&self) -> HashSet<MemberId> {
        self.rows.iter().filter(|row| row.held.is_none()).map(|row| row.member).collect()
    }
}

impl Desk {
    /// Checks a broadcast and freezes it when nothing blocks.
    ///
    /// # Errors
    /// [`DeskError`]; findings that block are an answer, not an error.
    pub async fn preflight(&self, actor: Actor, id: BroadcastId) -> Result<PreflightAnswer, DeskError> {
        super::may_conduct(actor)?;
        let broadcast = self.find(id).await?;
        broadcast.state.next(domain::BroadcastEvent::Preflighted).map_err(StoreError::from)?;
        let terms = self.terms(&broadcast).await?;
        // Read before the audience is drawn: a change in between is found when it is frozen.
        let registry = self.store.registry_revision().await?;
        let spec = self.audience_spec(&broadcast)?;
        let members = self.audience_of(&broadcast, &spec).await?;
        let gone = members.is_none().then(|| spec.to_string());
        let members = members.unwrap_or_default();
        let draft = match terms.composer(self.keyring.clone()) {
            Ok(composer) => {
                let leaving = self.store.members_to_erase().await?;
                render_all(&composer, id, &members, &self.store.suppressions().await?, &leaving)
            }
            // The rules below say what is wrong with the text; nobody can be rendered with it.
            Err(notice::ComposeError::Text(_)) => Draft { rows: Vec::new(), held: BTreeMap::new() },
            Err(other) => return Err(other.into()),
        };
        let recipients = draft.recipients();
        let change = self.change_of(&broadcast, &recipients).await?;
        let same_text = match self.same_text_before(&broadcast).await?.as_slice() {
            [] => None,
            earlier => self.store.reached_before(earlier, &recipients).await?,
        };
        let same_text = same_text.map(|(last, people)| SameText { last, people });
        let preflight =
            self.check_rules(&broadcast, &terms, &draft, gone.as_deref(), change, same_text).await?;
        self.conclude(actor, id, &terms, draft, (change, registry), preflight).await
    }

    fn audience_spec(&self, broadcast: &Broadcast) -> Result<AudienceSpec, DeskError> {
        serde_json::from_str(&broadcast.audience).map_err(|source| DeskError::Stored {
            id: broadcast.id,
            what: "audience",
            source,
        })
    }

    /// The people; none where there is no audience of that name any more.
    async fn audience_of(
        &self,
        broadcast: &Broadcast,
        spec: &AudienceSpec,
    ) -> Result<Option<Vec<SnapshotMember>>, DeskError> {
        let year = self.settings.calendar.year_at(self.clock.now());
        match resolve(&self.store, spec, broadcast.nature, year).await {
            Ok(members) => Ok(Some(members)),
            Err(StoreError::NotFound { what: "audience", .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Against the broadcast before. A test reaches the test roster only, whoever stands on it.
    async fn change_of(
        &self,
        broadcast: &Broadcast,
        recipients: &HashSet<MemberId>,
    ) -> Result<Option<AudienceChange>, DeskError> {
        if broadcast.nature == Nature::Test {
            return Ok(None);
        }
        // Whoever has answered leaves the audience of a reminder; that is no news.
        if !matches!(self.audience_spec(broadcast)?, AudienceSpec::Named(_)) {
            return Ok(None);
        }
        let Broadcast { id, nature, audience, .. } = broadcast;
        Ok(self.store.audience_change(*id, *nature, audience, recipients).await?)
    }

    async fn check_rules(
        &self,
        broadcast: &Broadcast,
        terms: &Terms,
        draft: &Draft,
        audience_gone: Option<&str>,
        change: Option<AudienceChange>,
        same_text: Option<SameText>,
    ) -> Result<Preflight, DeskError> {
        let known: BTreeSet<String> = known_fields(&self.store).await?.into_keys().collect();
        let held: u64 = draft.held.values().sum();
        let recipients = draft.rows.len() as u64 - held;
        let policy = &self.settings.policy;
        let canary = policy.canary_for(broadcast.nature, recipients);
        Ok(check(&Summary {
            nature: broadcast.nature,
            text: &terms.text,
            questions: terms.questions(),
            known_fields: &known,
            public_url: &terms.public_url,
            audience_gone,
            recipients,
            held: &draft.held,
            change,
            same_text,
            released_in_24h: self.store.released_recently(broadcast.id).await?,
            daily_cap: terms.daily_cap,
            rates: &terms.rates,
            connections: terms.connections,
            start: self.clock.now(),
            opens_within: policy.opens_within(broadcast.nature, recipients),
            waits_for_person: canary.is_some_and(|plan| plan.wait.is_none()),
            full_hour_spread: policy.spread_full_hour.then_some(FULL_HOUR_SPREAD),
            finish_by: broadcast.finish_by,
        }))
    }

    async fn conclude(
        &self,
        actor: Actor,
        id: BroadcastId,
        terms: &Terms,
        draft: Draft,
        (change, registry): (Option<AudienceChange>, i64),
        preflight: Preflight,
    ) -> Result<PreflightAnswer, DeskError> {
        let findings =
            serde_json::to_string(&preflight.findings).expect("invariant: findings are plain texts");
        let ok = preflight.ok();
        let mut digest: Option<ContentDigest> = None;
        if ok {
            let mut builder = DigestBuilder::new(terms);
            draft.rows.iter().for_each(|row| builder.row(&row.snapshot()));
            let signed = serde_json::to_string(terms).expect("invariant: terms are plain texts and numbers");
            let finished = builder.finish();
            let snapshot = Snapshot {
                rows: &draft.rows,
                digest: finished,
                terms: &signed,
                findings: &findings,
                change,
                registry_revision: registry,
            };
            self.store.freeze(actor, id, &snapshot, self.clock.now()).await?;
            digest = Some(finished);
        } else {
            self.store.keep_findings(actor, id, &findings, self.clock.now()).await?;
        }
        let held: u64 = draft.held.values().sum();
        Ok(PreflightAnswer {
            ok,
            recipients: draft.rows.len() as u64 - held,
            held,
            held_for_want: held - draft.suppressed(),
            digest: digest.map(|digest| digest.to_string()),
            findings: preflight.findings,
            forecast: preflight.forecast,
        })
    }
}

fn render_all(
    composer: &Composer,
    id: BroadcastId,
    members: &[SnapshotMember],
    suppressed: &HashMap<MemberId, Vec<Suppression>>,
    leaving: &HashSet<MemberId>,
) -> Draft {
    let mut addressed: HashMap<String, Vec<&str>> = HashMap::with_capacity(members.len());
    let mut draft = Draft { rows: Vec::with_capacity(members.len()), held: BTreeMap::new() };
    let closed = closed_mailboxes(members, suppressed);
    // Their erasure waits for every broadcast they stand in; a new one must not begin.
    for member in members.iter().filter(|member| !leaving.contains(&member.member)) {
        let own = standing(suppressed, member).map(|found| HoldReason::Suppressed(found.kind));
        let held = own.or_else(|| hold_reason(composer, id, member, &closed, &mut addressed));
        if let Some(reason) = &held {
            *draft.held.entry(reason.to_string()).or_default() += 1;
        }
        draft.rows.push(FreezeRow {
            member: member.member,
            member_no: member.member_no.to_string(),
            address: member.address.clone(),
            prefecture: member.prefecture.map(domain::Prefecture::code),
            fields: fields_json(&member.fields),
            message_id: message_id(id, member.member, &composer.from().address).to_string(),
            held,
        });
    }
    draft
}

/// A mailbox that nothing goes to, and whose wish that is; of an address that is dead, nobody's.
struct Closed<'a> {
    kind: RequestKind,
    wished_by: Option<&'a str>,
}

/// Mailboxes that nothing goes to: the next member with the same address would otherwise be written
/// to in the place of the one who is suppressed. Whoever wishes so does not wish it for the family.
fn closed_mailboxes<'a>(
    members: &'a [SnapshotMember],
    suppressed: &HashMap<MemberId, Vec<Suppression>>,
) -> HashMap<String, Closed<'a>> {
    let of_members = members.iter().filter_map(|member| {
        let address = member.address.as_ref()?;
        let found = standing(suppressed, member)?;
        Some((address.key(), Closed { kind: found.kind, wished_by: Some(&member.name) }))
    });
    let dead = suppressed.values().flatten().filter_map(|found| {
        Some((found.address.as_ref()?.key(), Closed { kind: found.kind, wished_by: None }))
    });
    of_members.chain(dead).collect()
}

/// The first of what keeps notices from a member, with the address of today.
fn standing<'a>(
    suppressed: &'a HashMap<MemberId, Vec<Suppression>>,
    member: &SnapshotMember,
) -> Option<&'a Suppression> {
    suppressed.get(&member.member)?.iter().find(|found| found.holds_for(member.address.as_ref()))
}

fn hold_reason<'a>(
    composer: &Composer,
    id: BroadcastId,
    member: &'a SnapshotMember,
    closed: &HashMap<String, Closed<'_>>,
    addressed: &mut HashMap<String, Vec<&'a str>>,
) -> Option<HoldReason> {
    let Some(address) = &member.address else { return Some(HoldReason::NoAddress) };
    let mailbox = address.key();
    if let Some(closed) = closed.get(&mailbox)
        && closed.wished_by.is_none_or(|name| !is_of_one_family(name, &member.name))
    {
        return Some(HoldReason::Suppressed(closed.kind));
    }
    if let Err(unrenderable) = composer.text_for(id, member.member, &member.fields) {
        return Some(unrenderable.hold_reason());
    }
    // A family reads its mail together; each of them answers by a link of their own.
    let readers = addressed.entry(mailbox).or_default();
    if readers.iter().all(|reader| is_of_one_family(reader, &member.name)) {
        readers.push(&member.name);
        None
    } else {
        Some(HoldReason::SharedAddress)
    }
}

fn fields_json(fields: &Fields) -> String {
    serde_json::to_string(fields).expect("invariant: a map of texts")
}
