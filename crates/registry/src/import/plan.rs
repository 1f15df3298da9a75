//! What an import would change, without changing it.
//!
//! Guarantees: every row of the file is counted once, as taken or rejected. One mailbox belongs to
//! one living membership: a second member with the same address is rejected, whoever stands first
//! in the file. A roster of an old year adds that year and leaves newer data alone.

use super::{
    Roster,
    row::{BadRow, Cell, PlannedRow, Rejected, RowCode, RowNote, read_row, reject},
};
use domain::{FiscalYear, MemberId, MemberNo, MemberStatus, Refusal, Rule};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use store::{MemberData, MemberUpdate, MemberWithYears, NewMember, Store, StoreError};

/// Members read at once while planning.
const PAGE: u32 = 1_000;
/// A full roster that drops more than half of a year's members is the wrong file, unless there
/// were hardly any.
const LEAVERS_ALWAYS_ALLOWED: u64 = 10;

/// Whether the file is everything or only what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportMode {
    /// Members not in the file stay as they are; blank cells keep what was there.
    Merge,
    /// The file is the whole roster of the fiscal year: whoever is not in it leaves that year, and
    /// blank cells clear what was there.
    Full,
}

impl ImportMode {
    /// The word of the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Full => "full",
        }
    }

    /// By the word of the command line.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Merge, Self::Full].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// Members of the file whom no audience of the fiscal year can hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Excluded {
    /// 休会.
    pub suspended: u64,
    /// 退会.
    pub withdrawn: u64,
    /// 逝去.
    pub deceased: u64,
    /// Active, but members of other years only.
    pub other_years: u64,
}

/// An import in numbers, before or after it was applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImportReport {
    /// Set once applied.
    pub import_id: Option<i64>,
    /// Members new to the registry.
    pub added: u64,
    /// Members whose data or years change.
    pub updated: u64,
    /// Members already as the file says.
    pub unchanged: u64,
    /// Members who leave the fiscal year (full mode).
    pub left: u64,
    /// Rows not taken, in order.
    pub rejected: Vec<Rejected>,
    /// Whether it was written.
    pub applied: bool,
    /// The year the roster is for.
    pub fiscal_year: FiscalYear,
    /// Merge or full.
    pub mode: ImportMode,
    /// How the file was encoded.
    pub encoding: &'static str,
    /// Members of the file outside every audience of the year.
    pub excluded: Excluded,
    /// Rows taken that want a look.
    pub notes: Vec<RowNote>,
}

/// The changes an import would make. Made by [`plan`], written by [`apply`](super::apply).
#[derive(Debug, Clone)]
pub struct ImportPlan {
    pub(super) file_name: String,
    pub(super) sha256: String,
    pub(super) report: ImportReport,
    pub(super) add: Vec<NewMember>,
    pub(super) update: Vec<MemberUpdate>,
    pub(super) join: Vec<(MemberId, FiscalYear)>,
    pub(super) leave: Vec<MemberId>,
    pub(super) members_before: u64,
}

impl ImportPlan {
    /// The plan in numbers.
    #[must_use]
    pub fn report(&self) -> &ImportReport {
        &self.report
    }

    /// Why this plan will not be applied, where it will not.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let taken = self.report.added + self.report.updated + self.report.unchanged;
        if taken == 0 {
            return Some(Refusal::new(
                Rule::Import,
                "no row of the file can be taken",
                "correct the rows named above and import again",
            ));
        }
        let left = self.report.left;
        if left > LEAVERS_ALWAYS_ALLOWED && left * 2 > self.members_before {
            let year = self.report.fiscal_year;
            return Some(Refusal::new(
                Rule::Import,
                format!("{left} of {} members of {year} would leave", self.members_before),
                "check that the file is the whole roster of that year; import a part with --mode merge",
            ));
        }
        None
    }
}

/// Compares a roster with the registry.
///
/// # Errors
/// [`StoreError`] where the registry cannot be read.
pub async fn plan(
    store: &Store,
    roster: &Roster,
    fiscal_year: FiscalYear,
    mode: ImportMode,
) -> Result<ImportPlan, StoreError> {
    let mut sorted = sort_rows(roster, fiscal_year);
    let registry = Registry::load(store, &sorted, fiscal_year, mode).await?;
    reject_shared_addresses(&mut sorted, &registry, mode);
    let mut plan = ImportPlan {
        file_name: roster.file_name.clone(),
        sha256: roster.sha256.clone(),
        report: ImportReport {
            import_id: None,
            added: 0,
            updated: 0,
            unchanged: 0,
            left: registry.leavers.len() as u64,
            rejected: Vec::new(),
            applied: false,
            fiscal_year,
            mode,
            encoding: roster.encoding,
            excluded: Excluded::default(),
            notes: sorted.notes,
        },
        add: Vec::new(),
        update: Vec::new(),
        join: Vec::new(),
        leave: registry.leavers,
        members_before: registry.members_before,
    };
    for (number, entry) in &sorted.members {
        plan.add_entry(entry, registry.members.get(number));
    }
    sorted.rejected.sort_by_key(|rejected| rejected.row);
    plan.report.rejected = sorted.rejected;
    let taken: HashSet<u32> = sorted.members.values().flat_map(|entry| entry.rows.iter().copied()).collect();
    plan.report.notes.retain(|note| taken.contains(&note.row));
    Ok(plan)
}

impl ImportPlan {
    fn add_entry(&mut self, entry: &Entry, known: Option<&MemberWithYears>) {
        let data = entry.settle(known, self.report.mode);
        let known_years = known.map(|known| &known.years);
        let status = data.status;
        match known {
            None => {
                self.report.added += 1;
                self.add.push(NewMember { data, years: entry.years.clone() });
            }
            Some(known) => {
                let joined: Vec<FiscalYear> = entry.years.difference(&known.years).copied().collect();
                let changed = data != known.member.data;
                if changed || !joined.is_empty() {
                    self.report.updated += 1;
                } else {
                    self.report.unchanged += 1;
                }
                self.join.extend(joined.into_iter().map(|year| (known.member.id, year)));
                if changed {
                    let (id, revision) = (known.member.id, known.member.revision);
                    self.update.push(MemberUpdate { id, revision, data });
                }
            }
        }
        let year = self.report.fiscal_year;
        let current = entry.years.contains(&year) || known_years.is_some_and(|years| years.contains(&year));
        let excluded = &mut self.report.excluded;
        match status {
            MemberStatus::Active if current => {}
            MemberStatus::Active => excluded.other_years += 1,
            MemberStatus::Suspended => excluded.suspended += 1,
            MemberStatus::Withdrawn => excluded.withdrawn += 1,
            MemberStatus::Deceased => excluded.deceased += 1,
        }
    }
}

/// All rows of one member that can be taken.
struct Entry {
    /// The row of the latest year: what it says is what is true now.
    latest: PlannedRow,
    years: BTreeSet<FiscalYear>,
    rows: Vec<u32>,
}

impl Entry {
    /// The member's data after the import.
    fn settle(&self, known: Option<&MemberWithYears>, mode: ImportMode) -> MemberData {
        let old = known.map(|known| &known.member.data);
        // A row of an older year than the registry knows says how things were, not how they are.
        if let Some(known) = known
            && known.years.last().is_some_and(|newest| *newest > self.latest.year)
        {
            return known.member.data.clone();
        }
        let row = &self.latest;
        let text = |cell: &Cell<String>, old: Option<&String>| settle(cell, old, mode).unwrap_or_default();
        let mut attributes = old.map(|old| old.attributes.clone()).unwrap_or_default();
        for (key, cell) in &row.attributes {
            match settle(cell, attributes.get(key), mode) {
                Some(value) => attributes.insert(key.clone(), value),
                None => attributes.remove(key),
            };
        }
        MemberData {
            member_no: row.member_no.clone(),
            name: row.name.clone(),
            kana: text(&row.kana, old.map(|old| &old.kana)),
            address: settle(&row.address, old.and_then(|old| old.address.as_ref()), mode),
            prefecture: settle(&row.prefecture, old.and_then(|old| old.prefecture.as_ref()), mode),
            facility: text(&row.facility, old.map(|old| &old.facility)),
            duty: text(&row.duty, old.map(|old| &old.duty)),
            // A blank status says nothing: it never brings back a member who withdrew.
            status: row.status.or(old.map(|old| old.status)).unwrap_or(MemberStatus::Active),
            attributes,
        }
    }

    /// The mailbox this member will occupy after the import, if any.
    fn mailbox(&self, known: Option<&MemberWithYears>, mode: ImportMode) -> Option<String> {
        mailbox(&self.settle(known, mode))
    }
}

fn settle<T: Clone>(cell: &Cell<T>, old: Option<&T>, mode: ImportMode) -> Option<T> {
    match (cell, mode) {
        (Cell::Value(value), _) => Some(value.clone()),
        (Cell::NoColumn, _) | (Cell::Blank, ImportMode::Merge) => old.cloned(),
        (Cell::Blank, ImportMode::Full) => None,
    }
}

/// The key of a mailbox somebody reads. Those who withdrew or died hold none: a person may come
/// back under a new number.
fn mailbox(data: &MemberData) -> Option<String> {
    match data.status {
        MemberStatus::Active | MemberStatus::Suspended => {
            data.address.as_ref().map(domain::EmailAddress::key)
        }
        MemberStatus::Withdrawn | MemberStatus::Deceased => None,
    }
}

/// The file's rows by member.
struct Sorted {
    members: BTreeMap<MemberNo, Entry>,
    /// Every number that stands in the file, taken or not: nobody leaves because of a bad cell.
    seen: HashSet<MemberNo>,
    rejected: Vec<Rejected>,
    notes: Vec<RowNote>,
}

fn sort_rows(roster: &Roster, fiscal_year: FiscalYear) -> Sorted {
    let mut sorted =
        Sorted { members: BTreeMap::new(), seen: HashSet::new(), rejected: Vec::new(), notes: Vec::new() };
    let mut rejected_years: HashMap<MemberNo, FiscalYear> = HashMap::new();
    let mut years_seen: HashMap<(MemberNo, FiscalYear), u32> = HashMap::new();
    for raw in &roster.rows {
        match read_row(roster, raw, fiscal_year, &mut sorted.notes) {
            Ok(row) => {
                sorted.seen.insert(row.member_no.clone());
                let first = *years_seen.entry((row.member_no.clone(), row.year)).or_insert(row.row);
                if first == row.row {
                    sorted.take(row);
                } else {
                    let reason = format!("the same member in the same year as row {first}");
                    sorted.rejected.push(reject(row.row, RowCode::DuplicateMember, reason));
                }
            }
            Err(BadRow { member_no, year, rejected }) => {
                sorted.rejected.push(rejected);
                if let Some(number) = member_no {
                    // A row whose year cannot be read may be the latest.
                    let year = year.unwrap_or(FiscalYear::new(i32::MAX));
                    let latest = rejected_years.entry(number.clone()).or_insert(year);
                    *latest = year.max(*latest);
                    sorted.seen.insert(number);
                }
            }
        }
    }
    sorted.drop_outdated(&rejected_years);
    sorted
}

impl Sorted {
    fn take(&mut self, row: PlannedRow) {
        match self.members.get_mut(&row.member_no) {
            Some(entry) => {
                entry.years.insert(row.year);
                entry.rows.push(row.row);
                if row.year > entry.latest.year {
                    entry.latest = row;
                }
            }
            None => {
                let entry = Entry { years: BTreeSet::from([row.year]), rows: vec![row.row], latest: row };
                self.members.insert(entry.latest.member_no.clone(), entry);
            }
        }
    }

    fn drop_outdated(&mut self, rejected_years: &HashMap<MemberNo, FiscalYear>) {
        for (number, year) in rejected_years {
            if self.members.get(number).is_some_and(|entry| entry.latest.year < *year) {
                self.reject_member(number, RowCode::LaterRowRejected, "the row of a later year was rejected");
            }
        }
    }

    fn reject_member(&mut self, number: &MemberNo, code: RowCode, reason: &str) {
        if let Some(entry) = self.members.remove(number) {
            self.rejected.extend(entry.rows.iter().map(|row| reject(*row, code, reason)));
        }
    }
}

/// What the plan needs to know of the registry: members named in the file, and who holds the
/// mailboxes named in it.
struct Registry {
    members: HashMap<MemberNo, MemberWithYears>,
    /// Holders of a mailbox that stand in no row of the file, by mailbox.
    outsiders: HashMap<String, MemberNo>,
    leavers: Vec<MemberId>,
    members_before: u64,
}

impl Registry {
    async fn load(
        store: &Store,
        sorted: &Sorted,
        fiscal_year: FiscalYear,
        mode: ImportMode,
    ) -> Result<Self, StoreError> {
        let mut registry = Self {
            members: HashMap::new(),
            outsiders: HashMap::new(),
            leavers: Vec::new(),
            members_before: 0,
        };
        let mut after = MemberId::new(0);
        loop {
            let page = store.members_with_years(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(registry) };
            after = last.member.id;
            for known in page {
                registry.note(known, sorted, fiscal_year, mode);
            }
        }
    }

    fn note(&mut self, known: MemberWithYears, sorted: &Sorted, fiscal_year: FiscalYear, mode: ImportMode) {
        let of_year = known.years.contains(&fiscal_year);
        self.members_before += u64::from(of_year);
        let number = known.member.data.member_no.clone();
        if sorted.seen.contains(&number) {
            self.members.insert(number, known);
            return;
        }
        if mode == ImportMode::Full && of_year {
            self.leavers.push(known.member.id);
        }
        if let Some(mailbox) = mailbox(&known.member.data) {
            self.outsiders.insert(mailbox, number);
        }
    }
}

/// Rejects members until every mailbox has one holder. A rejection leaves its member's old mailbox
/// occupied, which can make another one collide: hence the rounds, each of which rejects somebody.
fn reject_shared_addresses(sorted: &mut Sorted, registry: &Registry, mode: ImportMode) {
    loop {
        let colliding = colliding_members(sorted, registry, mode);
        if colliding.is_empty() {
            return;
        }
        for (number, reason) in colliding {
            sorted.reject_member(&number, RowCode::DuplicateAddress, &reason);
        }
    }
}

fn colliding_members(sorted: &Sorted, registry: &Registry, mode: ImportMode) -> Vec<(MemberNo, String)> {
    let mut holders: HashMap<String, Holder> = HashMap::new();
    for (mailbox, number) in &registry.outsiders {
        holders.insert(mailbox.clone(), Holder::Registry(number.clone()));
    }
    for (number, known) in &registry.members {
        if !sorted.members.contains_key(number)
            && let Some(mailbox) = mailbox(&known.member.data)
        {
            holders.insert(mailbox, Holder::Registry(number.clone()));
        }
    }
    let mut claims: Vec<(bool, u32, &MemberNo, String)> = sorted
        .members
        .iter()
        .filter_map(|(number, entry)| {
            let known = registry.members.get(number);
            let wanted = entry.mailbox(known, mode)?;
            let keeps = known.and_then(|known| mailbox(&known.member.data)).as_ref() == Some(&wanted);
            Some((!keeps, entry.latest.row, number, wanted))
        })
        .collect();
    // Whoever has the mailbox already keeps it; then the first in the file.
    claims.sort();
    let mut colliding = Vec::new();
    for (_, row, number, wanted) in claims {
        match holders.get(&wanted) {
            Some(Holder::Row(first)) => {
                colliding.push((number.clone(), format!("the same address as row {first}")));
            }
            Some(Holder::Registry(holder)) => {
                colliding
                    .push((number.clone(), format!("the same address as member {holder} in the registry")));
            }
            None => {
                holders.insert(wanted, Holder::Row(row));
            }
        }
    }
    colliding
}

enum Holder {
    Row(u32),
    Registry(MemberNo),
}
