//! Audiences: a name and conditions; and what a broadcast is addressed to, person by person.
//!
//! Guarantees: [`resolve`] gives active members of the fiscal year only, and for a test nobody but
//! the test roster, whatever the conditions say. Conditions can narrow, never widen.

use crate::{
    condition::{CONDITIONS_MAX, Condition, VALUE_CHARS_MAX, VALUES_MAX, alternatives_joined, filter_of},
    fields::merge_fields,
};
use domain::{
    Actor, AudienceId, BroadcastId, EmailAddress, FieldKind, FiscalYear, MemberId, MemberNo, Nature,
    Prefecture, Timestamp,
};
use std::collections::BTreeMap;
use store::{Among, AudienceFilter, Broadcast, Member, Reach, SavedAudience, Store, StoreError};

/// Members read at once.
const PAGE: u32 = 1_000;
/// Shown with an audience, so that a person sees whom it means.
const SAMPLE: u32 = 5;
/// Names of audiences stand in lists and on command lines.
const NAME_CHARS_MAX: usize = 60;
/// The fields every member has; the personal link is made when a notice is rendered.
pub(crate) const OWN_FIELDS: [&str; 7] =
    ["name", "kana", "member_no", "prefecture", "facility", "role", "link"];

/// Whom a broadcast addresses; stored with it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudienceSpec {
    /// A saved audience by name.
    Named(String),
    /// Those addressed by an earlier broadcast who have not answered it.
    NonRespondents {
        /// Which broadcast.
        of: BroadcastId,
    },
    /// Those an earlier broadcast reached or may have reached: for its correction.
    ReachedOrUnknown {
        /// Which broadcast.
        of: BroadcastId,
    },
}

impl std::fmt::Display for AudienceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::NonRespondents { of } => write!(f, "non-respondents of broadcast {of}"),
            Self::ReachedOrUnknown { of } => write!(f, "reached by broadcast {of}"),
        }
    }
}

/// Why there is no such audience.
#[derive(Debug, thiserror::Error)]
pub enum AudienceError {
    /// Not `KEY=VALUE`.
    #[error(
        "a condition is written as KEY=VALUE, for example prefecture=宮城県; a value that contains `|` or ` or ` \
         stands in quotation marks"
    )]
    Condition,
    /// A value that is none, or that nobody can have.
    #[error("a condition needs values, each of 1 to {VALUE_CHARS_MAX} characters without control characters")]
    Value,
    /// Over the limit.
    #[error("an audience has at most {CONDITIONS_MAX} conditions and {VALUES_MAX} values")]
    TooManyConditions,
    /// Nobody has two values in one field.
    #[error("two conditions ask for {0}; put its values into one, with | between them")]
    SameField(String),
    /// Not the number of one broadcast.
    #[error("{0} takes the number of one broadcast")]
    OneBroadcast(String),
    /// There is no such broadcast.
    #[error("broadcast {0} does not exist")]
    UnknownBroadcast(BroadcastId),
    /// No name, or too long.
    #[error("an audience's name has 1 to {NAME_CHARS_MAX} characters and no control characters")]
    Name,
    /// None of the 47.
    #[error("{0} is not a prefecture")]
    Prefecture(String),
    /// The registry has no such field: it would fit nobody.
    #[error("the registry has no field {given}; there are: {known}")]
    UnknownField {
        /// As given.
        given: String,
        /// All there are.
        known: String,
    },
    /// It would fit nobody: the field holds dates or numbers, and this is none.
    #[error("{field} holds a {kind}, and {given} cannot be read as one; write it like 2026-04-01 or 1200")]
    NotOfKind {
        /// Which field.
        field: String,
        /// What it holds.
        kind: FieldKind,
        /// As given.
        given: String,
    },
    /// The condition is always so, or cannot be asked for.
    #[error("{0} cannot be a condition: active members of the current fiscal year are always implied")]
    Implied(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An audience with what it means today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceView {
    /// Name and conditions.
    pub audience: SavedAudience,
    /// Members in it now.
    pub count: u64,
    /// A few of them.
    pub sample: Vec<Member>,
}

/// One person of a snapshot about to be frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMember {
    /// Row id.
    pub member: MemberId,
    /// The society's number.
    pub member_no: MemberNo,
    /// As written by the society.
    pub name: String,
    /// Where to write; without one the person is held.
    pub address: Option<EmailAddress>,
    /// Where the person works.
    pub prefecture: Option<Prefecture>,
    /// Values for the text, as it says them, without those that are empty and without the personal link.
    pub fields: BTreeMap<String, String>,
}

impl SnapshotMember {
    fn of(member: Member, kinds: &BTreeMap<String, FieldKind>) -> Self {
        let data = member.data;
        let mut fields = merge_fields(&data, kinds);
        fields.insert("member_no".to_owned(), data.member_no.to_string());
        Self {
            member: member.id,
            member_no: data.member_no,
            name: data.name,
            address: data.address,
            prefecture: data.prefecture,
            fields,
        }
    }
}

/// Every field a template may ask for, with its kind.
///
/// # Errors
/// [`StoreError`].
pub async fn known_fields(store: &Store) -> Result<BTreeMap<String, FieldKind>, StoreError> {
    let mut fields = store.member_fields().await?;
    fields.extend(OWN_FIELDS.map(|field| (field.to_owned(), FieldKind::Text)));
    Ok(fields)
}

/// The filter in which all of these conditions have to fit; fields and broadcasts exist.
///
/// # Errors
/// [`AudienceError`] for whatever would fit nobody, or not what its writer meant.
pub async fn filter_from(store: &Store, conditions: &[Condition]) -> Result<AudienceFilter, AudienceError> {
    let filter = filter_of(conditions, &known_fields(store).await?)?;
    for id in filter.broadcasts() {
        if store.broadcast(id).await?.is_none() {
            return Err(AudienceError::UnknownBroadcast(id));
        }
    }
    Ok(filter)
}

/// Saves an audience. Several plain conditions under one key are alternatives.
///
/// # Errors
/// [`AudienceError`].
pub async fn create_audience(
    store: &Store,
    actor: Actor,
    name: &str,
    conditions: &[Condition],
    now: Timestamp,
) -> Result<SavedAudience, AudienceError> {
    let filter = filter_from(store, &alternatives_joined(conditions)).await?;
    save_audience(store, actor, name, filter, now).await
}

/// Saves a filter that [`filter_from`] made.
///
/// # Errors
/// [`AudienceError::Name`], and [`StoreError::Exists`] for a name already taken.
pub async fn save_audience(
    store: &Store,
    actor: Actor,
    name: &str,
    filter: AudienceFilter,
    now: Timestamp,
) -> Result<SavedAudience, AudienceError> {
    let name = usable_name(name)?;
    let id = store.add_audience(actor, name, &filter, now).await?;
    Ok(SavedAudience { id, name: name.to_owned(), filter, created_at: now })
}

/// Gives a saved audience to which nothing was released another name.
///
/// # Errors
/// [`AudienceError::Name`], and those of [`Store::rename_audience`].
pub async fn rename_audience(
    store: &Store,
    actor: Actor,
    id: AudienceId,
    name: &str,
    now: Timestamp,
) -> Result<SavedAudience, AudienceError> {
    Ok(store.rename_audience(actor, id, usable_name(name)?, now).await?)
}

fn usable_name(name: &str) -> Result<&str, AudienceError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(AudienceError::Name);
    }
    Ok(name)
}

/// A saved audience by its name.
///
/// # Errors
/// [`StoreError::NotFound`] for an unknown name.
pub async fn find_audience(store: &Store, name: &str) -> Result<SavedAudience, StoreError> {
    store.audience(name).await?.ok_or_else(|| StoreError::not_found("audience", name))
}

/// An audience with its present size and a few of its members.
///
/// # Errors
/// [`StoreError::NotFound`] for an unknown name.
pub async fn show_audience(
    store: &Store,
    name: &str,
    fiscal_year: FiscalYear,
) -> Result<AudienceView, StoreError> {
    let audience = find_audience(store, name).await?;
    let (count, sample) = sample(store, &audience.filter, fiscal_year).await?;
    Ok(AudienceView { audience, count, sample })
}

/// How many members a filter finds now, and a few of them.
///
/// # Errors
/// [`StoreError`].
pub async fn sample(
    store: &Store,
    filter: &AudienceFilter,
    fiscal_year: FiscalYear,
) -> Result<(u64, Vec<Member>), StoreError> {
    let reach = Reach::Current(fiscal_year);
    let count = store.audience_count(filter, reach).await?;
    Ok((count, store.audience_page(filter, reach, MemberId::new(0), SAMPLE).await?))
}

/// Broadcasts that were released to a saved audience, the last first, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn uses_of_audience(store: &Store, name: &str, limit: u32) -> Result<Vec<Broadcast>, StoreError> {
    let spec = AudienceSpec::Named(name.to_owned());
    let stored = serde_json::to_string(&spec).expect("invariant: a name is JSON");
    store.released_to(&stored, limit).await
}

/// The people a broadcast addresses, in the order of row ids.
///
/// A correction goes to everyone who got the notice, those included who have left since. All else
/// goes to active members of `fiscal_year`; and a test, of whatever kind, to the test roster only.
///
/// # Errors
/// [`StoreError::NotFound`] for an unknown audience.
pub async fn resolve(
    store: &Store,
    spec: &AudienceSpec,
    nature: Nature,
    fiscal_year: FiscalYear,
) -> Result<Vec<SnapshotMember>, StoreError> {
    let reach = match nature {
        Nature::Test => Reach::TestRoster,
        Nature::Actual | Nature::Exercise => Reach::Current(fiscal_year),
    };
    let members = match spec {
        AudienceSpec::Named(name) => draw(store, &find_audience(store, name).await?.filter, reach).await?,
        AudienceSpec::NonRespondents { of } => {
            store.members_among(&store.non_respondents(*of).await?, Among::Reach(reach)).await?
        }
        AudienceSpec::ReachedOrUnknown { of } => {
            let among = match nature {
                Nature::Test => Among::Reach(reach),
                Nature::Actual | Nature::Exercise => Among::Known,
            };
            store.members_among(&store.reached_or_unknown(*of).await?, among).await?
        }
    };
    let kinds = store.member_fields().await?;
    Ok(members.into_iter().map(|member| SnapshotMember::of(member, &kinds)).collect())
}

async fn draw(store: &Store, filter: &AudienceFilter, reach: Reach) -> Result<Vec<Member>, StoreError> {
    let mut members: Vec<Member> = Vec::new();
    loop {
        let after = members.last().map_or(MemberId::new(0), |member| member.id);
        let page = store.audience_page(filter, reach, after, PAGE).await?;
        if page.is_empty() {
            return Ok(members);
        }
        members.extend(page);
    }
}
