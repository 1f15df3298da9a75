//! What an import would change, without changing it.
//!
//! Guarantees: every row of the file is counted once, as taken or rejected. One mailbox belongs to
//! one living membership, or to a family: another member with the same address is rejected, whoever
//! stands first in the file. A roster of an old year adds that year and leaves newer data alone.

use super::{
    ImportError, RosterFile,
    mailbox::judge,
    row::{CellCounts, RowCode, RowReader},
};
use crate::{
    fields::{Fields, differences, fields_of, member_of},
    kind::value_of,
};
use domain::{
    Actor, EmailAddress, ErasedKey, FieldKind, FiscalYear, Keyring, MemberNo, MemberStatus, Timestamp,
};
use std::collections::BTreeMap;
use store::{
    ImportLines, ImportTally, MailboxClaim, NewImport, PlannedMember, StagedMember, StagedRow, Store,
    StoreError,
};
use tokio::sync::mpsc;

/// Rows and members handled at once.
const PAGE: usize = 2_000;
/// Batches that may wait for the database.
const BATCHES_AHEAD: usize = 4;
/// Contested mailboxes judged at once.
const MAILBOXES: u32 = 5_000;
/// Those looked at again, at once.
const MAILBOXES_AGAIN: usize = 500;
/// Lines told in a report; the counts are always complete.
const LINES_TOLD_MAX: u32 = 10_000;
/// Nobody has to look at a change of so few.
const FEW: u64 = 10;
/// What concerns more than one in so many is looked at by a second person.
const SHARE: u64 = 10;

/// Whether the file is everything or only what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// A row that was not taken, or that was and wants a look.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowReport {
    /// As a spreadsheet shows it.
    pub row: u32,
    /// Why.
    pub code: RowCode,
    /// Why, as an English sentence; repeats no cell's content.
    pub reason: String,
}

/// An import in numbers, before or after it was applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportReport {
    /// The plan, which waits for a day to be applied.
    pub plan: i64,
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
    /// Rows not taken, in order; the first ten thousand.
    pub rejected: Vec<RowReport>,
    /// How many there are.
    pub rejected_total: u64,
    /// Whether it was written.
    pub applied: bool,
    /// The year the roster is for.
    pub fiscal_year: FiscalYear,
    /// Merge or full.
    pub mode: ImportMode,
    /// How the file was encoded.
    pub encoding: String,
    /// Each heading with what it was taken for.
    pub columns: Vec<(String, String)>,
    /// Kinds of the file's free fields that hold no texts; plans of earlier versions have none.
    #[serde(default)]
    pub kinds: BTreeMap<String, FieldKind>,
    /// Members of the file outside every audience of the year.
    pub excluded: Excluded,
    /// Members taken who share a mailbox with their family.
    pub shared_addresses: u64,
    /// Cells written in another way than the file does (width, kana, spaces, eras), by field.
    pub folded: BTreeMap<String, u64>,
    /// Cells that are no value of their field's kind and leave it empty, by field; plans of earlier
    /// versions do not tell.
    #[serde(default)]
    pub unreadable: BTreeMap<String, u64>,
    /// Rows taken that want a look; the first ten thousand.
    pub notes: Vec<RowReport>,
    /// How many there are.
    pub notes_total: u64,
    /// Rows not taken whose member number could not be read.
    pub nameless: u64,
    /// Active members who would not be active any more.
    pub deactivated: u64,
    /// Members who would get another address.
    pub readdressed: u64,
    /// So much changes that somebody else has to look at it before it is applied.
    pub needs_second_person: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file is no roster.
    #[error(transparent)]
    File(#[from] ImportError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Rows read, of about so many where the file says so.
    Reading(u64, Option<u64>),
    /// Members compared with the registry, of at most so many.
    Comparing(u64, u64),
    /// Members written, of so many.
    Writing(u64, u64),
}

/// Plans imports.
#[derive(Debug)]
pub struct Planner<'a> {
    /// Holds the registry and the plans.
    pub store: &'a Store,
    /// Recognises people who were erased.
    pub keyring: &'a Keyring,
    /// On whose behalf.
    pub actor: Actor,
    /// When.
    pub now: Timestamp,
}

impl Planner<'_> {
    /// Begins the plan of a file; its id, for [`Planner::complete`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin(
        &self,
        file: &RosterFile,
        fiscal_year: FiscalYear,
        mode: ImportMode,
    ) -> Result<i64, StoreError> {
        let new = NewImport {
            file_name: file.name().to_owned(),
            sha256: file.sha256().to_owned(),
            mode: mode.as_str().to_owned(),
            fiscal_year,
        };
        self.store.begin_import(self.actor, &new, self.now).await
    }

    /// Compares a roster with the registry and keeps the plan. A file that turns out not to be a
    /// roster leaves nothing behind but the reason.
    ///
    /// # Errors
    /// [`PlanError`].
    pub async fn complete(
        &self,
        plan: i64,
        file: RosterFile,
        fiscal_year: FiscalYear,
        mode: ImportMode,
        mut shown: impl FnMut(Progress),
    ) -> Result<ImportReport, PlanError> {
        let kinds = BTreeMap::new();
        let planning = Planning { store: self.store, keyring: self.keyring, plan, fiscal_year, mode, kinds };
        match planning.run(file, &mut shown).await {
            Ok(report) => {
                let json = serde_json::to_string(&report).expect("invariant: a report is JSON");
                self.store.finish_plan(self.actor, plan, &json, self.now).await?;
                Ok(report)
            }
            Err(error) => {
                let problem = match &error {
                    PlanError::File(why) => serde_json::json!(why).to_string(),
                    PlanError::Store(_) => r#"{"code":"interrupted"}"#.to_owned(),
                };
                self.store.fail_import(plan, &problem).await?;
                Err(error)
            }
        }
    }

    /// Both at once.
    ///
    /// # Errors
    /// [`PlanError`].
    pub async fn plan(
        &self,
        file: RosterFile,
        fiscal_year: FiscalYear,
        mode: ImportMode,
        shown: impl FnMut(Progress),
    ) -> Result<ImportReport, PlanError> {
        let plan = self.begin(&file, fiscal_year, mode).await?;
        self.complete(plan, file, fiscal_year, mode, shown).await
    }
}

/// Whether so many are more than a handful and more than a tenth of all.
fn is_many(some: u64, all: u64) -> bool {
    some > FEW && some * SHARE > all
}

/// Whether an import takes so many out of the audiences, moves so many addresses, or empties one field of
/// so many, that a second person has to look at it.
fn needs_second_person(tally: &ImportTally, left: u64, unreadable: &BTreeMap<String, u64>) -> bool {
    // The first roster of a year finds nobody there: a few cells of it are not many.
    let members: u64 = tally.members.iter().map(|group| group.3).sum();
    is_many(left + tally.deactivated, tally.of_year)
        || is_many(tally.readdressed, tally.of_year)
        || unreadable.values().any(|emptied| is_many(*emptied, tally.of_year.max(members)))
        || (left > 0 && tally.nameless > 0)
}

struct Planning<'a> {
    store: &'a Store,
    keyring: &'a Keyring,
    plan: i64,
    fiscal_year: FiscalYear,
    mode: ImportMode,
    /// Of the file's free fields that hold no texts.
    kinds: BTreeMap<String, FieldKind>,
}

impl Planning<'_> {
    async fn run(
        mut self,
        mut file: RosterFile,
        shown: &mut impl FnMut(Progress),
    ) -> Result<ImportReport, PlanError> {
        let known = self.store.member_fields().await?;
        self.kinds = file.settle_kinds(&known);
        let (encoding, columns) = (file.encoding().to_owned(), file.columns());
        let (rows, counts) = self.stage(file, shown).await?;
        let codes = [RowCode::DuplicateMember, RowCode::LaterRowRejected].map(RowCode::as_str);
        self.store.reject_by_other_rows(self.plan, codes).await?;
        let members = self.compare(rows, shown).await?;
        self.check_kinds(&known).await?;
        let moved = self.store.taken_over(self.plan).await?;
        if is_many(moved, members) {
            return Err(ImportError::AddressesMoved { people: moved }.into());
        }
        self.settle_mailboxes().await?;
        self.report(encoding, columns, counts).await
    }

    /// Equal values are found because they are kept in one writing: whoever has a value of a field that
    /// gets another kind is read anew, and nobody asks for the old writing.
    async fn check_kinds(&self, known: &BTreeMap<String, FieldKind>) -> Result<(), PlanError> {
        for (field, kind) in &self.kinds {
            if known.get(field).is_none_or(|before| before == kind) {
                continue;
            }
            let is_other = |kept: &str| value_of(*kind, kept).is_some_and(|value| value != kept);
            let mut people = 0;
            let count = |kept: &str| people += u64::from(is_other(kept));
            self.store.each_value_of_others(self.plan, field, count).await?;
            let mut audiences = self.store.audiences().await?;
            audiences.retain(|audience| audience.filter.values_of(field).any(is_other));
            if people > 0 || !audiences.is_empty() {
                let found = audiences.into_iter().map(|audience| audience.name).collect();
                return Err(ImportError::KindInUse { name: field.clone(), people, found }.into());
            }
        }
        Ok(())
    }

    /// Reads the file on a thread of its own while the database takes what was read before.
    async fn stage(
        &self,
        mut file: RosterFile,
        shown: &mut impl FnMut(Progress),
    ) -> Result<(u64, CellCounts), PlanError> {
        let about = file.rows_about();
        let (batches, mut incoming) = mpsc::channel::<Vec<StagedRow>>(BATCHES_AHEAD);
        let mut reader = RowReader::new(file.columns.clone(), self.fiscal_year);
        let reading = tokio::task::spawn_blocking(move || {
            let mut batch = Vec::with_capacity(PAGE);
            let read = file.each_row(&mut |raw| {
                batch.push(reader.read(&raw));
                batch.len() < PAGE || batches.blocking_send(std::mem::take(&mut batch)).is_ok()
            });
            // Whoever does not listen any more has failed, and says so.
            let _heard = read.is_ok() && batches.blocking_send(batch).is_ok();
            read.map(|()| reader.counts)
        });
        let mut rows = 0;
        let anybody_erased = self.store.is_anybody_erased().await?;
        while let Some(mut batch) = incoming.recv().await {
            rows += batch.len() as u64;
            if anybody_erased {
                self.reject_erased(&mut batch).await?;
            }
            self.store.stage_rows(self.plan, &batch).await?;
            shown(Progress::Reading(rows, about));
        }
        let counts = reading.await.map_err(|lost| ImportError::Unreadable { why: lost.to_string() })??;
        Ok((rows, counts))
    }

    /// Whoever was erased comes back by a decision only, never by a file.
    async fn reject_erased(&self, batch: &mut [StagedRow]) -> Result<(), StoreError> {
        let keys: Vec<[Vec<ErasedKey>; 2]> = batch.iter().map(|row| self.keys_of(row)).collect();
        let texts: Vec<String> = keys.iter().flatten().flatten().map(|key| key.as_str().to_owned()).collect();
        let erased = self.store.erased_among(&texts).await?;
        for (row, [number, mailbox]) in batch.iter_mut().zip(keys) {
            if number.iter().any(|key| erased.contains(key.as_str())) {
                row.rejected = Some(RowCode::Erased.plain());
                row.cells.clear();
                row.notes.clear();
            } else if mailbox.iter().any(|key| erased.contains(key.as_str())) {
                // Carriers hand addresses on; it may be somebody else.
                row.notes.push(RowCode::ErasedMailbox.plain());
            }
        }
        Ok(())
    }

    /// By number and by mailbox.
    fn keys_of(&self, row: &StagedRow) -> [Vec<ErasedKey>; 2] {
        let number = row.member_no.as_ref().map(|number| self.keyring.erased_numbers(number));
        let address = row.cells.get("address").and_then(|text| EmailAddress::parse(text.as_deref()?).ok());
        let mailbox = address.map(|address| self.keyring.erased_mailboxes(&address));
        [number.unwrap_or_default(), mailbox.unwrap_or_default()]
    }

    /// Compares page by page: the next one is read and thought through while the database takes this one.
    async fn compare(&self, rows: u64, shown: &mut impl FnMut(Progress)) -> Result<u64, PlanError> {
        let mut seq = 0;
        let mut page = self.planned_after(None).await?;
        while let Some(last) = page.last() {
            let after = last.data.member_no.clone();
            let (written, next) = tokio::join!(self.keep(seq, &page), self.planned_after(Some(&after)));
            written?;
            seq += page.len() as u64;
            shown(Progress::Comparing(seq, rows));
            page = next?;
        }
        Ok(seq)
    }

    async fn planned_after(&self, after: Option<&MemberNo>) -> Result<Vec<PlannedMember>, StoreError> {
        let page = self.store.staged_members(self.plan, after, PAGE as u32).await?;
        Ok(page.iter().map(|staged| self.planned(staged)).collect())
    }

    async fn keep(&self, first: u64, members: &[PlannedMember]) -> Result<(), StoreError> {
        self.store.plan_members(self.plan, first, members).await?;
        // Only here it is known: a blank cell of a merge keeps the address of before.
        let silent = members.iter().filter(|member| member.data.address.is_none());
        let silent: Vec<u32> = silent.map(|member| member.line).collect();
        self.store.note_rows(self.plan, &silent, &RowCode::NoAddress.plain()).await
    }

    /// What becomes of one member.
    fn planned(&self, staged: &StagedMember) -> PlannedMember {
        let known = staged.known.as_ref();
        let before = known.map(|known| fields_of(&known.member.data));
        let after = self.settled(staged, before.as_ref());
        let joined: Vec<FiscalYear> = staged
            .rows
            .iter()
            .map(|row| row.fiscal_year)
            .filter(|year| known.is_none_or(|known| !known.years.contains(year)))
            .collect();
        let changes = before.as_ref().map(|before| differences(before, &after)).unwrap_or_default();
        let data = member_of(staged.member_no.clone(), after);
        let year = self.fiscal_year;
        let mailbox = data.address.as_ref().map(EmailAddress::key);
        let held = known.and_then(|known| {
            let alive = matches!(known.member.data.status, MemberStatus::Active | MemberStatus::Suspended);
            known.member.data.address.as_ref().filter(|_| alive).map(EmailAddress::key)
        });
        PlannedMember {
            change: match known {
                None => "added",
                Some(_) if changes.is_empty() && joined.is_empty() => "unchanged",
                Some(_) => "updated",
            },
            line: staged.rows.first().map_or(0, |row| row.line),
            member: known.map(|known| known.member.id),
            is_current: joined.contains(&year) || known.is_some_and(|known| known.years.contains(&year)),
            keeps_mailbox: mailbox.is_some() && mailbox == held,
            years: joined,
            differences: serde_json::to_string(&changes).expect("invariant: texts are JSON"),
            data,
        }
    }

    /// The member's fields after the import: the row of the latest year says what is true now.
    fn settled(&self, staged: &StagedMember, before: Option<&Fields>) -> Fields {
        let mut after = before.cloned().unwrap_or_default();
        // Whatever stays of the values before, their old writing does not.
        for (field, kind) in &self.kinds {
            if let Some(value) = after.get(field).and_then(|kept| value_of(*kind, kept)) {
                after.insert(field.clone(), value);
            }
        }
        let newest = staged.known.as_ref().and_then(|known| known.years.last().copied());
        let Some(latest) = staged.rows.first() else { return after };
        // A row of an older year than the registry knows says how things were, not how they are.
        if newest.is_some_and(|newest| newest > latest.fiscal_year) {
            return after;
        }
        for (field, cell) in &latest.cells {
            match cell.as_deref() {
                Some("") => {
                    after.remove(field);
                }
                Some(text) => {
                    after.insert(field.clone(), text.to_owned());
                }
                // A blank status says nothing: it never brings back a member who withdrew.
                None if self.mode == ImportMode::Full && field != "status" => {
                    after.remove(field);
                }
                None => {}
            }
        }
        after.entry("status".to_owned()).or_insert_with(|| MemberStatus::Active.to_string());
        after
    }

    /// Until every mailbox has one reader, or a family. Whoever is rejected keeps the mailbox of before,
    /// which somebody else may have wanted: these are looked at again.
    async fn settle_mailboxes(&self) -> Result<(), PlanError> {
        let (mut after, mut kept) = (String::new(), Vec::new());
        loop {
            let claims = self.store.contested_mailboxes(self.plan, &after, MAILBOXES).await?;
            let Some(last) = claims.last() else { break };
            after.clone_from(&last.mailbox);
            kept.extend(self.judge(&claims).await?);
        }
        while !kept.is_empty() {
            let some = kept.split_off(kept.len().saturating_sub(MAILBOXES_AGAIN));
            let claims = self.store.claims_on(self.plan, &some).await?;
            kept.extend(self.judge(&claims).await?);
        }
        Ok(())
    }

    /// Gives the mailboxes that those who are rejected keep.
    async fn judge(&self, claims: &[MailboxClaim]) -> Result<Vec<String>, StoreError> {
        let verdict = judge(claims);
        self.store.note_families(self.plan, &verdict.shared).await?;
        self.store.reject_members(self.plan, &verdict.rejected).await
    }

    async fn report(
        &self,
        encoding: String,
        columns: Vec<(String, String)>,
        counts: CellCounts,
    ) -> Result<ImportReport, PlanError> {
        let tally = self.store.import_tally(self.plan, self.fiscal_year).await?;
        let count = |change: &str| -> u64 {
            tally.members.iter().filter(|group| group.0 == change).map(|group| group.3).sum()
        };
        let left = if self.mode == ImportMode::Full { tally.missing } else { 0 };
        Ok(ImportReport {
            plan: self.plan,
            import_id: None,
            added: count("added"),
            updated: count("updated"),
            unchanged: count("unchanged"),
            left,
            rejected: self.told(ImportLines::Rejected).await?,
            rejected_total: tally.rejected,
            applied: false,
            fiscal_year: self.fiscal_year,
            mode: self.mode,
            encoding,
            columns,
            kinds: self.kinds.clone(),
            excluded: excluded(&tally),
            shared_addresses: tally.shared,
            folded: counts.folded,
            notes: self.told(ImportLines::Noted).await?,
            notes_total: self.store.noted_rows(self.plan).await?,
            nameless: tally.nameless,
            deactivated: tally.deactivated,
            readdressed: tally.readdressed,
            needs_second_person: needs_second_person(&tally, left, &counts.unreadable),
            unreadable: counts.unreadable,
        })
    }

    /// What is to be said of the first rows of a kind.
    async fn told(&self, which: ImportLines<'_>) -> Result<Vec<RowReport>, StoreError> {
        let lines = self.store.import_lines(self.plan, which, 0, LINES_TOLD_MAX).await?;
        let reports = lines.iter().flat_map(|line| {
            line.findings.iter().filter_map(|finding| {
                let code = RowCode::from_word(&finding.code)?;
                Some(RowReport { row: line.line, code, reason: code.reason(finding.about.as_deref()) })
            })
        });
        Ok(reports.collect())
    }
}

fn excluded(tally: &ImportTally) -> Excluded {
    let mut excluded = Excluded::default();
    for (_, status, is_current, count) in &tally.members {
        match status {
            MemberStatus::Active if *is_current => {}
            MemberStatus::Active => excluded.other_years += count,
            MemberStatus::Suspended => excluded.suspended += count,
            MemberStatus::Withdrawn => excluded.withdrawn += count,
            MemberStatus::Deceased => excluded.deceased += count,
        }
    }
    excluded
}
