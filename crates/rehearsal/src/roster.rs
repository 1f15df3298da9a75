//! A fictitious roster as offices send it: CP932, CRLF, years and states mixed, in no order.
//!
//! Guarantees: exactly the planned number of people are active this fiscal year with a valid
//! address of their own; everything else in the file is one of the faults counted in
//! [`RosterExpectation`]. The same plan writes the same octets. Ordinary addresses are in
//! domains reserved for examples, facilities are in places that do not exist.

mod names;

use domain::{FiscalYear, PREFECTURES};
use encoding_rs::SHIFT_JIS;
use names::{BROKEN, DOMAINS, FACILITIES, FAMILY, GIVEN, PLACES, POPULATION, ROLES};
use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use std::path::{Path, PathBuf};

/// The first two mailable people have these: forms that carriers once handed out.
pub const LEGACY_ADDRESSES: [&str; 2] = ["a..b@docomo.ne.jp", "hanako.@ezweb.ne.jp"];

/// The headings, in the file's order.
pub const HEADINGS: [&str; 9] =
    ["会員番号", "氏名", "フリガナ", "メールアドレス", "都道府県", "施設名", "役割", "年度", "状態"];

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RosterPlan {
    /// People who must end up mailable this fiscal year; at least 1.
    pub members: usize,
    /// "This" year.
    pub fiscal_year: FiscalYear,
    /// The same seed writes the same roster.
    pub seed: u64,
}

/// What an importer has to find in the file. Every row is counted exactly once, except that
/// `legacy` are among the `mailable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RosterExpectation {
    /// All rows below the headings.
    pub rows: usize,
    /// Active this year, with a valid address that nobody before them has.
    pub mailable: usize,
    /// Of these, with one of [`LEGACY_ADDRESSES`].
    pub legacy: usize,
    /// 退会 this year.
    pub withdrawn: usize,
    /// 休会 this year.
    pub suspended: usize,
    /// People with a row of an earlier fiscal year only.
    pub earlier_only: usize,
    /// Earlier years' rows of people who are mailable this year.
    pub earlier_rows: usize,
    /// Active this year, with the address of a mailable person. Whoever of the two comes
    /// second in the file is not mailable.
    pub shared_address: usize,
    /// Active this year, with something that is no address.
    pub broken_address: usize,
    /// Otherwise in order, with an empty member number.
    pub without_number: usize,
}

/// Why no roster was written.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// The plan has no members.
    #[error("a roster has at least one member")]
    Empty,
    /// A row could not be formed.
    #[error("writing a row of the roster")]
    Row(#[source] csv::Error),
    /// A word has a character outside CP932.
    #[error("the roster has a character that CP932 does not have")]
    Encoding,
    /// The file could not be written.
    #[error("writing the roster to {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Writes the roster of `plan` to `path`, replacing what is there.
///
/// # Errors
/// [`RosterError`]; the file may then be incomplete.
pub fn write_roster(path: &Path, plan: &RosterPlan) -> Result<RosterExpectation, RosterError> {
    if plan.members == 0 {
        return Err(RosterError::Empty);
    }
    let mut writer = Writer::new(plan);
    let expectation = writer.fill(plan.members);
    let octets = encode(writer.shuffled())?;
    std::fs::write(path, octets).map_err(|source| RosterError::File { path: path.to_owned(), source })?;
    Ok(expectation)
}

/// One member as the office knows them.
#[derive(Clone)]
struct Person {
    number: String,
    name: String,
    kana: String,
    address: String,
    prefecture: &'static str,
    facility: String,
    role: &'static str,
}

struct Row {
    person: Person,
    year: FiscalYear,
    status: &'static str,
}

struct Writer {
    rng: StdRng,
    year: FiscalYear,
    people: usize,
    rows: Vec<Row>,
}

impl Writer {
    fn new(plan: &RosterPlan) -> Self {
        Self { rng: StdRng::seed_from_u64(plan.seed), year: plan.fiscal_year, people: 0, rows: Vec::new() }
    }

    fn fill(&mut self, members: usize) -> RosterExpectation {
        let percent = |share: usize| (members * share).div_ceil(100);
        let legacy = LEGACY_ADDRESSES.len().min(members);
        let mailable: Vec<Person> = (0..members)
            .map(|index| {
                let person = self.person();
                match LEGACY_ADDRESSES.get(index) {
                    Some(address) => Person { address: (*address).to_owned(), ..person },
                    None => person,
                }
            })
            .collect();
        for person in &mailable {
            let status = self.active();
            self.add(person.clone(), self.year, status);
        }
        // The legacy addresses stay where they are mailable whatever the order of the rows.
        let ordinary = if members > legacy { &mailable[legacy..] } else { &mailable[..] };
        let earlier_rows = self.earlier_rows(ordinary, percent(1));
        let (withdrawn, suspended, earlier_only) = (percent(3), percent(1), percent(5));
        self.others(withdrawn, |writer| (writer.year, "退会"));
        self.others(suspended, |writer| (writer.year, "休会"));
        self.others(earlier_only, |writer| (writer.earlier_year(), writer.active()));
        let shared_address = self.shared_addresses(ordinary);
        for address in BROKEN {
            let person = Person { address: (*address).to_owned(), ..self.person() };
            self.add(person, self.year, "正会員");
        }
        let nameless = Person { number: String::new(), ..self.person() };
        self.add(nameless, self.year, "正会員");
        RosterExpectation {
            rows: self.rows.len(),
            mailable: members,
            legacy,
            withdrawn,
            suspended,
            earlier_only,
            earlier_rows,
            shared_address,
            broken_address: BROKEN.len(),
            without_number: 1,
        }
    }

    fn others(
        &mut self,
        count: usize,
        mut year_and_status: impl FnMut(&mut Self) -> (FiscalYear, &'static str),
    ) {
        for _ in 0..count {
            let person = self.person();
            let (year, status) = year_and_status(self);
            self.add(person, year, status);
        }
    }

    /// Some people's rows of an earlier year, with the same number.
    fn earlier_rows(&mut self, mailable: &[Person], count: usize) -> usize {
        let chosen: Vec<Person> = mailable.sample(&mut self.rng, count).cloned().collect();
        for person in &chosen {
            let year = self.earlier_year();
            let status = self.active();
            self.add(person.clone(), year, status);
        }
        chosen.len()
    }

    /// A few other people who gave the address of a colleague, each of another one.
    fn shared_addresses(&mut self, mailable: &[Person]) -> usize {
        const SHARED: usize = 3;
        let owners: Vec<String> =
            mailable.sample(&mut self.rng, SHARED).map(|person| person.address.clone()).collect();
        for address in &owners {
            let person = Person { address: address.clone(), ..self.person() };
            self.add(person, self.year, "正会員");
        }
        owners.len()
    }

    fn add(&mut self, person: Person, year: FiscalYear, status: &'static str) {
        self.rows.push(Row { person, year, status });
    }

    fn person(&mut self) -> Person {
        self.people += 1;
        let rng = &mut self.rng;
        let family = pick(rng, FAMILY);
        let given = pick(rng, GIVEN);
        let separator = pick(rng, &[".", "_", "-", ""]);
        let number = self.people;
        let prefectures: Vec<(&str, u32)> = PREFECTURES.into_iter().zip(POPULATION).collect();
        let prefecture = pick_weighted(rng, &prefectures);
        let role = pick_weighted(rng, ROLES);
        let place = pick(rng, PLACES);
        Person {
            number: format!("{number:06}"),
            name: format!("{}\u{3000}{}", family.kanji, given.kanji),
            kana: format!("{}\u{3000}{}", family.kana, given.kana),
            // The number at the end makes it this person's own.
            address: format!("{}{separator}{}{number}@{}", family.latin, given.latin, pick(rng, DOMAINS)),
            prefecture,
            facility: pick(rng, FACILITIES).replace("{}", place),
            role,
        }
    }

    fn active(&mut self) -> &'static str {
        if self.rng.random_bool(0.04) { "賛助会員" } else { "正会員" }
    }

    fn earlier_year(&mut self) -> FiscalYear {
        FiscalYear::new(self.year.get() - self.rng.random_range(1..=3))
    }

    fn shuffled(mut self) -> Vec<Row> {
        self.rows.shuffle(&mut self.rng);
        self.rows
    }
}

fn pick<'words, T>(rng: &mut StdRng, words: &'words [T]) -> &'words T {
    words.choose(rng).expect("invariant: the lists of words are not empty")
}

fn pick_weighted(rng: &mut StdRng, words: &[(&'static str, u32)]) -> &'static str {
    let (word, _) = words
        .choose_weighted(rng, |(_, weight)| *weight)
        .expect("invariant: every weighted word has a weight");
    word
}

fn encode(rows: Vec<Row>) -> Result<Vec<u8>, RosterError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(HEADINGS).map_err(RosterError::Row)?;
    for Row { person, year, status } in &rows {
        let year = year.to_string();
        let record: [&str; HEADINGS.len()] = [
            &person.number,
            &person.name,
            &person.kana,
            &person.address,
            person.prefecture,
            &person.facility,
            person.role,
            &year,
            status,
        ];
        writer.write_record(record).map_err(RosterError::Row)?;
    }
    let text = writer.into_inner().map_err(|error| RosterError::Row(error.into_error().into()))?;
    let text = String::from_utf8(text).expect("invariant: the rows are text");
    let (octets, _, unmappable) = SHIFT_JIS.encode(&text);
    if unmappable { Err(RosterError::Encoding) } else { Ok(octets.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{EmailAddress, MemberNo, Prefecture};
    use std::collections::{BTreeMap, BTreeSet};

    const THIS_YEAR: FiscalYear = FiscalYear::new(2026);

    fn written(members: usize, seed: u64) -> (RosterExpectation, Vec<u8>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roster.csv");
        let plan = RosterPlan { members, fiscal_year: THIS_YEAR, seed };
        let expectation = write_roster(&path, &plan).expect("a roster");
        (expectation, std::fs::read(&path).expect("the roster"))
    }

    fn rows(octets: &[u8]) -> Vec<Vec<String>> {
        let (text, _, broken) = SHIFT_JIS.decode(octets);
        assert!(!broken, "the file is CP932");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().expect("headings").iter().collect::<Vec<_>>(), HEADINGS);
        reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect()
    }

    /// Counts the way an importer must: row by row, the first owner of an address keeps it.
    fn counted(rows: &[Vec<String>]) -> BTreeMap<&'static str, usize> {
        let this_year = THIS_YEAR.to_string();
        let mut owners = BTreeSet::new();
        let mut counts = BTreeMap::new();
        for row in rows {
            let kind = if row[0].parse::<MemberNo>().is_err() {
                "without number"
            } else if row[7] != this_year {
                "earlier"
            } else if row[8] == "退会" {
                "withdrawn"
            } else if row[8] == "休会" {
                "suspended"
            } else {
                match EmailAddress::parse(&row[3]) {
                    Err(_) => "broken",
                    Ok(address) if owners.insert(address.key()) => "mailable",
                    Ok(_) => "shared",
                }
            };
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    #[test]
    fn exactly_the_planned_people_are_mailable_and_every_fault_is_counted() {
        let (expected, octets) = written(4_000, 7);
        let rows = rows(&octets);
        assert_eq!(rows.len(), expected.rows);
        let found = counted(&rows);
        assert_eq!(
            found,
            BTreeMap::from([
                ("broken", expected.broken_address),
                ("earlier", expected.earlier_only + expected.earlier_rows),
                ("mailable", 4_000),
                ("shared", 3),
                ("suspended", 40),
                ("withdrawn", 120),
                ("without number", 1),
            ])
        );
        assert_eq!((expected.earlier_only, expected.earlier_rows, expected.legacy), (200, 40, 2));
        assert!(rows.iter().all(|row| row[4].parse::<Prefecture>().is_ok()));
        let prefectures: BTreeSet<_> = rows.iter().map(|row| &row[4]).collect();
        assert_eq!(prefectures.len(), 47);
        for legacy in LEGACY_ADDRESSES {
            assert_eq!(rows.iter().filter(|row| row[3] == legacy).count(), 1);
        }
    }

    #[test]
    fn ordinary_addresses_can_reach_nobody() {
        let (_, octets) = written(500, 1);
        let reserved = |row: &&Vec<String>| {
            let domain = row[3].rsplit('@').next().unwrap_or_default();
            ["example.jp", "example.com", "example.org", "example.net"]
                .iter()
                .any(|name| domain == *name || domain.ends_with(&format!(".{name}")))
        };
        let rows = rows(&octets);
        let elsewhere: BTreeSet<_> =
            rows.iter().filter(|row| !reserved(row)).map(|row| row[3].as_str()).collect();
        let allowed: BTreeSet<_> = LEGACY_ADDRESSES.into_iter().chain(BROKEN.iter().copied()).collect();
        assert!(elsewhere.is_subset(&allowed), "{elsewhere:?}");
    }

    #[test]
    fn the_same_seed_writes_the_same_file_and_another_one_does_not() {
        assert_eq!(written(50, 3).1, written(50, 3).1);
        assert_ne!(written(50, 3).1, written(50, 4).1);
    }

    #[test]
    fn the_smallest_rosters_keep_their_promise() {
        for members in [1, 2, 3, 10] {
            let (expected, octets) = written(members, 9);
            let rows = rows(&octets);
            assert_eq!(rows.len(), expected.rows);
            assert_eq!(counted(&rows).get("mailable"), Some(&members));
        }
        let plan = RosterPlan { members: 0, fiscal_year: THIS_YEAR, seed: 0 };
        assert!(matches!(write_roster(Path::new("roster.csv"), &plan), Err(RosterError::Empty)));
    }
}
