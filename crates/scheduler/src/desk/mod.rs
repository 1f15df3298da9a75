//! Decisions about one broadcast. Each method checks who acts, asks the pure rules, and lets the
//! store write the decision together with its audit entry.

mod preflight;

pub use preflight::PreflightAnswer;

use domain::{
    Actor, BroadcastId, BroadcastState, Clock, ContentDigest, ExerciseId, ExerciseState, FieldKind,
    FiscalCalendar, InjectAudience, Keyring, Nature, QuestionnaireId, Rate, Refusal, Rule, StaffId,
};
use notice::{
    DigestBuilder, NoticeText, Template, Terms, UnknownField,
    preflight::{SAME_TEXT, StoredFinding},
};
use registry::{AudienceSpec, known_fields};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use store::{Broadcast, NewBroadcast, NewExercise, ReleasePolicy, Settlement, StopAnswer, Store, StoreError};

/// A stop answers at the latest after this; what is still open then counts as unknown.
const STOP_ANSWER_MAX: Duration = Duration::from_secs(1);
/// How often to look whether the last connection is done.
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What the desk puts into every notice, and the limits it keeps.
#[derive(Debug, Clone)]
pub struct DeskSettings {
    /// `From`.
    pub from: String,
    /// Footer: who sends.
    pub organization: String,
    /// Footer: where to ask back.
    pub contact: String,
    /// Base of links.
    pub public_url: String,
    /// Where replies go.
    pub sink_domain: String,
    /// Limits of a release, and who looks first.
    pub policy: ReleasePolicy,
    /// The relay's limits, for the forecast.
    pub rates: Vec<Rate>,
    /// Connections to the relay.
    pub connections: u32,
    /// Whether mail programs are offered the button of RFC 8058.
    pub one_click_unsubscribe: bool,
    /// Whose members audiences are drawn from.
    pub calendar: FiscalCalendar,
}

/// What an author writes.
#[derive(Debug, Clone)]
pub struct NewNotice {
    /// Never changes.
    pub nature: Nature,
    /// Without banner.
    pub subject: String,
    /// Without banner and footer.
    pub body: String,
    /// Whom.
    pub audience: AudienceSpec,
    /// What its link asks.
    pub questionnaire: Option<QuestionnaireId>,
    /// Nothing leaves after this.
    pub finish_by: Option<domain::Timestamp>,
    /// The same key twice is the same draft.
    pub idempotency_key: String,
}

/// A text asks for fields that the registry does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayFields {
    /// These, each once.
    pub stray: Vec<UnknownField>,
    /// Those there are.
    pub known: BTreeMap<String, FieldKind>,
}

impl From<StrayFields> for Refusal {
    fn from(fields: StrayFields) -> Self {
        let stray: Vec<String> = fields.stray.iter().map(UnknownField::to_string).collect();
        let place = |(name, kind): (&String, &FieldKind)| match kind {
            FieldKind::Text => format!("{{{{{name}}}}}"),
            FieldKind::Date | FieldKind::Number => format!("{{{{{name}}}}} ({kind})"),
        };
        let known: Vec<String> = fields.known.iter().map(place).collect();
        Self::new(
            Rule::Preflight,
            format!("the registry has no field {}", stray.join(", ")),
            format!("write it as one of those there are: {}", known.join(" ")),
        )
    }
}

/// What a signature achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ApproveAnswer {
    /// Valid signatures now.
    pub given: u8,
    /// Needed.
    pub required: u8,
}

/// Why the desk did not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `broadcast.from` or `sink.domain` is not usable.
    #[error(transparent)]
    Compose(#[from] notice::ComposeError),
    /// A stored text of ours cannot be read back.
    #[error("broadcast {id}: the stored {what} cannot be read")]
    Stored {
        /// Which broadcast.
        id: BroadcastId,
        /// Which column.
        what: &'static str,
        /// Cause.
        source: serde_json::Error,
    },
}

impl From<Refusal> for DeskError {
    fn from(refusal: Refusal) -> Self {
        Self::Store(refusal.into())
    }
}

impl DeskError {
    /// The safety rule that refused, where it was one.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Store(StoreError::Refused(refusal)) => Some(refusal.clone()),
            Self::Store(StoreError::BroadcastStep(step)) => Some(Refusal::new(
                Rule::State,
                step.to_string(),
                "look at its present state with `hansho broadcast status`",
            )),
            Self::Store(_) | Self::Compose(_) | Self::Stored { .. } => None,
        }
    }
}

/// The broadcasting desk; cheap to clone.
#[derive(Clone)]
pub struct Desk {
    store: Store,
    keyring: Keyring,
    settings: Arc<DeskSettings>,
    clock: Arc<dyn Clock>,
}

impl Desk {
    /// A desk over this installation's store.
    #[must_use]
    pub fn new(store: Store, keyring: Keyring, settings: DeskSettings, clock: Arc<dyn Clock>) -> Self {
        Self { store, keyring, settings: Arc::new(settings), clock }
    }

    /// The store behind it, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What it puts into every notice.
    #[must_use]
    pub fn settings(&self) -> &DeskSettings {
        &self.settings
    }

    /// Writes a draft.
    ///
    /// # Errors
    /// [`DeskError`]; only coordinators write, only with fields that the registry has, and only to an
    /// audience that exists.
    pub async fn draft(&self, actor: Actor, new: &NewNotice) -> Result<BroadcastId, DeskError> {
        let author = author(actor)?;
        self.refuse_strays(new).await?;
        let row = self.as_row(author, new);
        Ok(self.store.create_broadcast(actor, &row, self.clock.now()).await?)
    }

    /// Changes a draft, or a frozen notice, which falls back to draft.
    ///
    /// # Errors
    /// [`DeskError`]; only its author may, only before the release, only with fields that the registry
    /// has, and only to an audience that exists.
    pub async fn edit(&self, actor: Actor, id: BroadcastId, new: &NewNotice) -> Result<(), DeskError> {
        let author = author(actor)?;
        if self.find(id).await?.author != author {
            return Err(
                Refusal::new(Rule::Role, "only its author changes a notice", "write a new one").into()
            );
        }
        self.refuse_strays(new).await?;
        Ok(self.store.edit_broadcast(actor, id, &self.as_row(author, new), self.clock.now()).await?)
    }

    /// Keeps an exercise with its injects.
    ///
    /// # Errors
    /// [`DeskError`]; only coordinators write, and only to audiences that exist.
    pub async fn plan_exercise(&self, actor: Actor, new: &NewExercise) -> Result<ExerciseId, DeskError> {
        author(actor)?;
        for inject in &new.injects {
            if let Ok(InjectAudience::Audience(name)) = serde_json::from_str(&inject.audience) {
                self.refuse_unknown_audience(&name).await?;
            }
        }
        Ok(self.store.create_exercise(actor, new, self.clock.now()).await?)
    }

    /// The fields that a subject and a body ask for and the registry does not have; `None` where
    /// there are none. Braces that do not match are left to preflight.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn stray_fields(&self, subject: &str, body: &str) -> Result<Option<StrayFields>, DeskError> {
        let known = known_fields(&self.store).await?;
        let names: BTreeSet<String> = known.keys().cloned().collect();
        let mut stray: Vec<UnknownField> = Vec::new();
        for template in [subject, body].into_iter().filter_map(|part| Template::parse(part).ok()) {
            let Err(unknown) = template.check_known(&names) else { continue };
            for field in unknown.0 {
                if !stray.contains(&field) {
                    stray.push(field);
                }
            }
        }
        Ok((!stray.is_empty()).then_some(StrayFields { stray, known }))
    }

    /// What the registry does not have: fields of the text, or the audience.
    async fn refuse_strays(&self, new: &NewNotice) -> Result<(), DeskError> {
        if let Some(fields) = self.stray_fields(&new.subject, &new.body).await? {
            return Err(Refusal::from(fields).into());
        }
        match &new.audience {
            AudienceSpec::Named(name) => self.refuse_unknown_audience(name).await,
            AudienceSpec::NonRespondents { .. } | AudienceSpec::ReachedOrUnknown { .. } => Ok(()),
        }
    }

    async fn refuse_unknown_audience(&self, name: &str) -> Result<(), DeskError> {
        if self.store.audience(name).await?.is_some() {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::Preflight,
            format!("there is no audience {name}"),
            "choose one of those that `hansho audience list` names",
        )
        .into())
    }

    /// Asks the approvers to sign.
    ///
    /// # Errors
    /// [`DeskError`]; it has to be preflighted.
    pub async fn request_approval(&self, actor: Actor, id: BroadcastId) -> Result<(), DeskError> {
        may_conduct(actor)?;
        let settings = &self.settings;
        let now = self.clock.now();
        Ok(self.store.request_approval(actor, id, &settings.policy, now).await?)
    }

    /// An approver signs. `seen` is the digest on the page they read; without it, what stands
    /// there now. `confirmed` holds the word that an actual notice wants, and the rule of each
    /// finding that has to be confirmed.
    ///
    /// # Errors
    /// [`DeskError`] for the author, a wrong role, a changed notice, a missing word.
    pub async fn approve(
        &self,
        actor: Actor,
        id: BroadcastId,
        seen: Option<ContentDigest>,
        confirmed: &[String],
    ) -> Result<ApproveAnswer, DeskError> {
        let broadcast = self.find(id).await?;
        let findings = stored_findings(&broadcast)?;
        self.text_is_still_new(&broadcast, &findings).await?;
        if let Some(finding) = findings.into_iter().find(|f| f.confirm && !confirmed.contains(&f.rule)) {
            return Err(Refusal::new(
                Rule::Confirmation,
                finding.text,
                format!(
                    "sign with `--confirm {}`, or tick it on the page; otherwise return the notice",
                    finding.rule
                ),
            )
            .into());
        }
        if let Some(word) = broadcast.nature.confirmation_word()
            && !confirmed.iter().any(|typed| typed.trim() == word)
        {
            return Err(Refusal::new(
                Rule::Confirmation,
                "this is an actual notice, not a drill",
                format!("type {word} to sign it"),
            )
            .into());
        }
        let Some(digest) = seen.or(broadcast.digest) else {
            return Err(Refusal::new(
                Rule::State,
                format!("broadcast {id} is {} and has nothing to sign", broadcast.state),
                format!("run `hansho broadcast preflight {id}` first"),
            )
            .into());
        };
        let settings = &self.settings;
        let now = self.clock.now();
        let gap = self.store.sign(actor, id, digest, &settings.policy, now).await?;
        Ok(ApproveAnswer { given: gap.given, required: gap.required })
    }

    /// An approver sends a notice back to its author.
    ///
    /// # Errors
    /// [`DeskError`]; it needs a reason.
    pub async fn return_to_author(
        &self,
        actor: Actor,
        id: BroadcastId,
        reason: &str,
    ) -> Result<(), DeskError> {
        may_judge(actor)?;
        with_reason(reason)?;
        Ok(self.store.return_broadcast(actor, id, reason, self.clock.now()).await?)
    }

    /// An approver ends a notice that was not released.
    ///
    /// # Errors
    /// [`DeskError`]; it needs a reason.
    pub async fn reject(&self, actor: Actor, id: BroadcastId, reason: &str) -> Result<(), DeskError> {
        may_judge(actor)?;
        with_reason(reason)?;
        let broadcast = self.find(id).await?;
        if broadcast.state.is_released() {
            return Err(Refusal::new(
                Rule::State,
                format!("broadcast {id} was released already"),
                "stop it; what is not out can then be cancelled",
            )
            .into());
        }
        Ok(self.store.cancel_broadcast(actor, id, reason, self.clock.now()).await?)
    }

    /// Releases an approved notice to the broadcaster: computes the digest of what stands in the
    /// database, compares terms with the present configuration, reserves the cap. Sends nothing
    /// itself.
    ///
    /// # Errors
    /// [`DeskError`] where anything differs from what was signed, or signatures are missing.
    pub async fn send(&self, actor: Actor, id: BroadcastId) -> Result<(), DeskError> {
        may_conduct(actor)?;
        let broadcast = self.find(id).await?;
        if broadcast.state != BroadcastState::Approved {
            return Err(Refusal::new(
                Rule::Approval,
                format!("broadcast {id} is {}, not approved", broadcast.state),
                "have it preflighted and approved first",
            )
            .into());
        }
        self.text_is_still_new(&broadcast, &stored_findings(&broadcast)?).await?;
        let signed: Terms = serde_json::from_str(&broadcast.terms).map_err(|source| DeskError::Stored {
            id,
            what: "terms",
            source,
        })?;
        if signed != self.terms(&broadcast).await? {
            return Err(Refusal::new(
                Rule::Digest,
                "the configuration changed since this notice was signed",
                "return it to draft, run preflight and have it approved again",
            )
            .into());
        }
        let mut digest = DigestBuilder::new(&signed);
        let (mut recipients, mut held) = (0, 0);
        self.store
            .each_frozen_row(id, |row| {
                digest.row(row);
                *(if row.held.is_some() { &mut held } else { &mut recipients }) += 1;
            })
            .await?;
        // The cap is measured by these counts, and they are not under the signature.
        if (recipients, held) != (broadcast.recipients, broadcast.held) {
            return Err(Refusal::new(
                Rule::Digest,
                format!("the counts of broadcast {id} are not those of its rows"),
                "return it to draft, run preflight and have it approved again",
            )
            .into());
        }
        let frozen = broadcast.frozen(digest.finish());
        let settings = &self.settings;
        self.store.release(actor, frozen, &settings.policy, self.clock.now()).await?;
        Ok(())
    }

    /// Stops a sending broadcast. Returns when no row is in flight any more, at the latest after
    /// a second.
    ///
    /// # Errors
    /// [`DeskError`] for onlookers, and where nothing is being sent.
    pub async fn stop(&self, actor: Actor, id: BroadcastId) -> Result<StopAnswer, DeskError> {
        self.store.stop_broadcast(actor, id, self.clock.now()).await?;
        self.stop_answer(id).await
    }

    /// Stops everything: all sending broadcasts, and all running exercises, so that no inject
    /// follows.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn stop_all(&self, actor: Actor) -> Result<Vec<(BroadcastId, StopAnswer)>, DeskError> {
        // Exercises first: what a timeline releases meanwhile is then found sending below.
        for exercise in self.store.exercises(i64::MAX).await? {
            if exercise.state == ExerciseState::Running {
                self.store
                    .move_exercise(actor, exercise.id, ExerciseState::Stopped, self.clock.now())
                    .await?;
            }
        }
        let sending = self.store.broadcasts_in(BroadcastState::Sending).await?;
        for broadcast in &sending {
            self.store.stop_broadcast(actor, broadcast.id, self.clock.now()).await?;
        }
        let mut answers = Vec::with_capacity(sending.len());
        for broadcast in sending {
            answers.push((broadcast.id, self.stop_answer(broadcast.id).await?));
        }
        Ok(answers)
    }

    /// Goes on with a stopped broadcast: an approver who is not the author gives the reason.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn resume(&self, actor: Actor, id: BroadcastId, reason: &str) -> Result<(), DeskError> {
        Ok(self.store.resume_broadcast(actor, id, reason, self.clock.now()).await?)
    }

    /// The canary batch looks well: the rest follows.
    ///
    /// # Errors
    /// [`DeskError`]; a coordinator or an approver says so.
    pub async fn continue_after_canary(&self, actor: Actor, id: BroadcastId) -> Result<(), DeskError> {
        Ok(self.store.continue_broadcast(actor, id, self.clock.now()).await?)
    }

    /// Ends a broadcast for good.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn cancel(&self, actor: Actor, id: BroadcastId, reason: &str) -> Result<(), DeskError> {
        if !actor.may_stop() {
            return Err(Refusal::new(Rule::Role, "viewers look on", "ask a coordinator").into());
        }
        Ok(self.store.cancel_broadcast(actor, id, reason, self.clock.now()).await?)
    }

    /// Settles unknown rows, all or by member number. Gives how many.
    ///
    /// # Errors
    /// [`DeskError`]; coordinators settle.
    pub async fn settle(
        &self,
        actor: Actor,
        id: BroadcastId,
        settlement: Settlement,
        members: &[String],
    ) -> Result<u64, DeskError> {
        author(actor)?;
        Ok(self.store.settle(actor, id, settlement, members, self.clock.now()).await?)
    }

    /// A draft addressed to exactly those whom `id` reached or may have reached.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn correct(
        &self,
        actor: Actor,
        id: BroadcastId,
        subject: &str,
        body: &str,
        idempotency_key: String,
    ) -> Result<BroadcastId, DeskError> {
        let old = self.find(id).await?;
        let correction = NewNotice {
            nature: old.nature,
            subject: subject.to_owned(),
            body: body.to_owned(),
            audience: AudienceSpec::ReachedOrUnknown { of: id },
            questionnaire: None,
            finish_by: None,
            idempotency_key,
        };
        self.draft(actor, &correction).await
    }

    /// Two drafts with one text may be checked side by side, and each found nothing. The check is made
    /// again where something follows from it.
    async fn text_is_still_new(
        &self,
        broadcast: &Broadcast,
        findings: &[StoredFinding],
    ) -> Result<(), DeskError> {
        if findings.iter().any(|finding| finding.rule == SAME_TEXT) {
            return Ok(());
        }
        let earlier = self.same_text_before(broadcast).await?;
        if earlier.is_empty() {
            return Ok(());
        }
        let recipients = self.store.recipients_of(broadcast.id).await?;
        match self.store.reached_before(&earlier, &recipients).await? {
            None => Ok(()),
            Some((last, people)) => Err(Refusal::new(
                Rule::Confirmation,
                format!("since the check, this text went to {people} of these people with broadcast {last}"),
                "return it to its author, who checks it again: whoever signs then confirms it",
            )
            .into()),
        }
    }

    /// Released broadcasts with this one's text. A test may be repeated.
    async fn same_text_before(&self, broadcast: &Broadcast) -> Result<Vec<BroadcastId>, DeskError> {
        match broadcast.nature {
            Nature::Test => Ok(Vec::new()),
            Nature::Actual | Nature::Exercise => Ok(self.store.with_same_text(broadcast).await?),
        }
    }

    async fn find(&self, id: BroadcastId) -> Result<Broadcast, DeskError> {
        Ok(self.store.broadcast(id).await?.ok_or(StoreError::not_found("broadcast", id))?)
    }

    async fn stop_answer(&self, id: BroadcastId) -> Result<StopAnswer, DeskError> {
        let deadline = tokio::time::Instant::now() + STOP_ANSWER_MAX;
        loop {
            let tally = self.store.tally(id).await?;
            if tally.submitting == 0 || tokio::time::Instant::now() >= deadline {
                return Ok(tally.into());
            }
            tokio::time::sleep(STOP_LOOK_INTERVAL).await;
        }
    }

    /// What would be signed if the broadcast were frozen under the present configuration.
    async fn terms(&self, broadcast: &Broadcast) -> Result<Terms, DeskError> {
        let questionnaire = match broadcast.questionnaire {
            Some(id) => {
                let sheet = self.store.questionnaire(id).await?;
                let sheet = sheet.ok_or(StoreError::not_found("questionnaire", id))?;
                Some(
                    serde_json::to_string(&sheet)
                        .expect("invariant: a questionnaire is plain text and lists"),
                )
            }
            None => None,
        };
        let settings = &self.settings;
        Ok(Terms {
            nature: broadcast.nature,
            text: NoticeText { subject: broadcast.subject.clone(), body: broadcast.body.clone() },
            questionnaire,
            from: settings.from.clone(),
            organization: settings.organization.clone(),
            contact: settings.contact.clone(),
            public_url: settings.public_url.clone(),
            sink_domain: settings.sink_domain.clone(),
            audience: broadcast.audience.clone(),
            finish_by: broadcast.finish_by,
            daily_cap: settings.policy.daily_cap,
            rates: settings.rates.clone(),
            connections: settings.connections,
            one_click_unsubscribe: settings.one_click_unsubscribe,
        })
    }

    fn as_row(&self, author: StaffId, new: &NewNotice) -> NewBroadcast {
        NewBroadcast {
            nature: new.nature,
            author,
            subject: new.subject.clone(),
            body: new.body.clone(),
            audience: audience_json(&new.audience),
            questionnaire: new.questionnaire,
            answers_to: None,
            finish_by: new.finish_by,
            idempotency_key: new.idempotency_key.clone(),
        }
    }
}

fn stored_findings(broadcast: &Broadcast) -> Result<Vec<StoredFinding>, DeskError> {
    serde_json::from_str(&broadcast.findings).map_err(|source| DeskError::Stored {
        id: broadcast.id,
        what: "findings",
        source,
    })
}

pub(crate) fn audience_json(spec: &AudienceSpec) -> String {
    serde_json::to_string(spec).expect("invariant: a name or an id in a small enum")
}

/// Only a coordinator writes notices and settles rows.
fn author(actor: Actor) -> Result<StaffId, Refusal> {
    match actor {
        Actor::Staff { id, role } if role.may_author() => Ok(id),
        Actor::Staff { .. } | Actor::LocalEngineer | Actor::Scheduler => Err(Refusal::new(
            Rule::Role,
            "only a coordinator does this",
            "sign in as a coordinator; on the command line set HANSHO_TOKEN to a coordinator's token",
        )),
    }
}

/// A coordinator, or the scheduler on an approved timeline.
fn may_conduct(actor: Actor) -> Result<(), Refusal> {
    match actor {
        Actor::Scheduler => Ok(()),
        Actor::Staff { .. } | Actor::LocalEngineer => author(actor).map(|_| ()),
    }
}

fn may_judge(actor: Actor) -> Result<(), Refusal> {
    match actor {
        Actor::Staff { role, .. } if role.may_approve() => Ok(()),
        Actor::Staff { .. } | Actor::LocalEngineer | Actor::Scheduler => {
            Err(Refusal::new(Rule::Role, "only an approver does this", "ask an approver"))
        }
    }
}

fn with_reason(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() {
        return Err(Refusal::new(
            Rule::Reason,
            "this needs a reason",
            "say why, for the author and the record",
        ));
    }
    Ok(())
}
