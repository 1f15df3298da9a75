//! Audiences: looked at, put together without a script, compared with earlier broadcasts, renamed and
//! deleted.
//!
//! The form carries its own state: adding a row and counting change nothing; what is saved is what was
//! counted. It is posted, for an address of a page has no room for many workplaces.

use super::{Fault, composing, may_import, of_kind, reply, requests, shell, year};
use crate::{
    app::CountedAt,
    filters::{Call, Door, Form, Routes, get, post},
    i18n::Texts,
    pages::{
        AudiencePage, AudienceRow, AudiencesPage, ChangeAudience, ClauseRows, DeleteAudiencePage,
        DifferencePage, DifferenceView, Differences, NewAudiencePage, PeopleView, PersonView, Preview,
        TermRow, Times, UseView, grouped, html,
    },
};
use domain::{AudienceId, BroadcastId, BroadcastState, Nature, Prefecture};
use registry::{AudienceError, Comparison, Condition};
use store::{
    AudienceFilter, Broadcast, Clause, EVERYBODY, Listed, Member, NamedMember, OpenUses, People, Reach,
    SavedAudience, StoreError, Term, Test, quoted_where_needed,
};
use warp::{Filter, reply::Response};

/// As many as an audience has conditions; each row has four of the fields that a form can have.
const ROWS_MAX: usize = 50;
/// Names shown of each kind of difference.
const NAMES: u32 = 20;
/// More uses of an audience than a society has drills in a few years.
const USES: u32 = 20;

/// Adds the pages of audiences, and the one that compares a broadcast with the one before.
pub(super) fn add(routes: &mut Routes) {
    let path = || warp::path!("audiences").map(|| ());
    routes.add(get("audiences", "/audiences", Door::Staff), path(), list);
    routes.add(post("audiences.save", "/audiences", Door::Staff), path(), save);
    let path = warp::path!("audiences" / "new").map(|| ());
    routes.add(get("audiences.new", "/audiences/new", Door::Staff), path, form);
    let path = warp::path!("audiences" / "new").map(|| ());
    routes.add(post("audiences.change", "/audiences/new", Door::Staff), path, form);
    let path = warp::path!("audiences" / AudienceId);
    routes.add(get("audiences.show", "/audiences/{id}", Door::Staff), path, show);
    let path = warp::path!("audiences" / AudienceId / "rename");
    routes.add(post("audiences.rename", "/audiences/{id}/rename", Door::Staff), path, rename);
    let path = || warp::path!("audiences" / AudienceId / "delete");
    routes.add(get("audiences.delete.form", "/audiences/{id}/delete", Door::Staff), path(), confirm);
    routes.add(post("audiences.delete", "/audiences/{id}/delete", Door::Staff), path(), delete);
    let path = warp::path!("broadcasts" / BroadcastId / "difference");
    let info = get("broadcasts.difference", "/broadcasts/{id}/difference", Door::Staff);
    routes.add(info, path, difference);
}

async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    let (t, store) = (call.texts(), &call.app.web.store);
    // Read before anything is counted: a count that is newer than its mark is counted once more.
    let at = (store.roster_mark().await?, year(&call));
    let mut rows = Vec::new();
    for audience in store.audiences().await? {
        let last = registry::uses_of_audience(store, &audience.name, 1).await?;
        rows.push(AudienceRow {
            id: audience.id,
            conditions: words(t, &audience.filter),
            count: count(&call, &audience, at).await?.map(grouped),
            used: last.first().map(|broadcast| use_view(&call, broadcast)),
            name: label(t, &audience.name),
        });
    }
    let mut s = shell(&call, t.get("audiences-title"));
    s.here = "members";
    Ok(reply::html(html(&AudiencesPage { s, t, may_define: call.role().may_import(), rows })))
}

/// How many an audience holds, counted once for all looks at the same roster. None where its conditions
/// ask about a broadcast: every mail and every answer may change that.
async fn count(call: &Call, audience: &SavedAudience, at: CountedAt) -> Result<Option<u64>, Fault> {
    if audience.filter.broadcasts().next().is_some() {
        return Ok(None);
    }
    if let Some(known) = call.app.audience_count(audience.id, at) {
        return Ok(Some(known));
    }
    let (_, year) = at;
    let count = call.app.web.store.audience_count(&audience.filter, Reach::Current(year)).await?;
    call.app.note_audience_count(audience.id, at, count);
    Ok(Some(count))
}

async fn show(call: Call, id: AudienceId) -> Result<Response, Fault> {
    Ok(reply::html(page_of(&call, id, None).await?))
}

async fn page_of(call: &Call, id: AudienceId, mistake: Option<String>) -> Result<String, Fault> {
    let (t, store) = (call.texts(), &call.app.web.store);
    let audience = find(call, id).await?;
    let (count, sample) = registry::sample(store, &audience.filter, year(call)).await?;
    let uses = registry::uses_of_audience(store, &audience.name, USES).await?;
    let earlier: Vec<Broadcast> = uses.iter().filter(|used| compares(used)).take(1).cloned().collect();
    let mut s = shell(call, label(t, &audience.name));
    s.here = "members";
    let page = AudiencePage {
        s,
        t,
        conditions: words(t, &audience.filter),
        written: audience.filter.to_string(),
        count: grouped(count),
        sample: sample.into_iter().map(person).collect(),
        uses: uses.iter().map(|broadcast| use_view(call, broadcast)).collect(),
        differences: differences(call, fitting(call, &audience.filter), &earlier).await?,
        clauses: clauses(&rows_from(&audience.filter)),
        change: change_of(call, audience, mistake.is_some()).await?,
        mistake,
    };
    Ok(html(&page))
}

async fn change_of(
    call: &Call,
    audience: SavedAudience,
    typed: bool,
) -> Result<Option<ChangeAudience>, Fault> {
    if !call.role().may_import() || audience.name == EVERYBODY {
        return Ok(None);
    }
    let OpenUses { broadcasts, exercises } = call.app.web.store.open_uses_of_audience(&audience.name).await?;
    let name = if typed { call.form.get("name").to_owned() } else { audience.name };
    Ok(Some(ChangeAudience { id: audience.id, name, broadcasts, exercises }))
}

async fn rename(call: Call, id: AudienceId) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    let (store, name) = (&call.app.web.store, call.form.get("name"));
    match registry::rename_audience(store, actor, id, name, call.app.now()).await {
        Ok(_) => Ok(reply::see_other(&format!("/audiences/{id}?said=audience-renamed"))),
        Err(AudienceError::Store(StoreError::NotFound { .. })) => Ok(gone()),
        Err(error) => {
            let mistake = mistake(call.texts(), error)?;
            Ok(reply::unprocessable(page_of(&call, id, Some(mistake)).await?))
        }
    }
}

/// Which one, with the conditions that go with it.
async fn confirm(call: Call, id: AudienceId) -> Result<Response, Fault> {
    let _defines = may_import(&call)?;
    let audience = find(&call, id).await?;
    audience.may_change(&call.app.web.store.open_uses_of_audience(&audience.name).await?)?;
    let t = call.texts();
    let mut s = shell(&call, t.get("audience-delete-title"));
    (s.here, s.narrow) = ("members", true);
    let conditions = words(t, &audience.filter);
    Ok(reply::html(html(&DeleteAudiencePage { s, t, id, name: audience.name, conditions })))
}

async fn delete(call: Call, id: AudienceId) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    match call.app.web.store.delete_audience(actor, id, call.app.now()).await {
        Ok(()) => Ok(reply::see_other("/audiences?said=audience-deleted")),
        Err(StoreError::NotFound { .. }) => Ok(gone()),
        Err(error) => Err(error.into()),
    }
}

/// Somebody was faster; its page, where a fault would lead back to, is gone too.
fn gone() -> Response {
    reply::see_other("/audiences?said=audience-gone")
}

async fn find(call: &Call, id: AudienceId) -> Result<SavedAudience, Fault> {
    let saved = call.app.web.store.audiences().await?;
    saved.into_iter().find(|audience| audience.id == id).ok_or(Fault::NotFound)
}

/// Whom a frozen broadcast adds and leaves out, against the one before.
async fn difference(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let (t, store) = (call.texts(), &call.app.web.store);
    let broadcast = store.broadcast(id).await?.ok_or(Fault::NotFound)?;
    let change = broadcast.change.ok_or(Fault::NotFound)?;
    let earlier = store.broadcast(change.previous).await?.ok_or(Fault::NotFound)?;
    let differences = differences(&call, People::Recipients(id), &[earlier]).await?;
    let mut s = shell(&call, t.get("difference-page"));
    (s.nature, s.here) = (Some(broadcast.nature), "home");
    Ok(reply::html(html(&DifferencePage { s, t, id, subject: broadcast.subject, differences })))
}

/// The form for a new audience, and whom its conditions find once somebody counts.
async fn form(call: Call, (): ()) -> Result<Response, Fault> {
    let _defines = may_import(&call)?;
    let wish = call.form.get("do");
    let mut rows = rows_of(&call.form);
    if rows.is_empty() && wish.is_empty() {
        rows.push(Row::new(true));
    }
    change(&mut rows, wish);
    let counted = if wish == "count" { Some(filter_of(&call, &rows).await?) } else { None };
    let (filter, mistake) = match counted {
        Some(Ok(filter)) => (Some(filter), None),
        Some(Err(mistake)) => (None, Some(mistake)),
        None => (None, None),
    };
    Ok(reply::html(form_page(&call, &rows, filter.as_ref(), mistake).await?))
}

async fn save(call: Call, (): ()) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    let rows = rows_of(&call.form);
    let filter = match filter_of(&call, &rows).await? {
        Ok(filter) => filter,
        Err(mistake) => return again(&call, &rows, None, mistake).await,
    };
    let (store, name) = (&call.app.web.store, call.form.get("name"));
    match registry::save_audience(store, actor, name, filter.clone(), call.app.now()).await {
        Ok(saved) => Ok(reply::see_other(&format!("/audiences/{}?said=audience-saved", saved.id))),
        Err(error) => {
            let mistake = mistake(call.texts(), error)?;
            again(&call, &rows, Some(&filter), mistake).await
        }
    }
}

async fn again(
    call: &Call,
    rows: &[Row],
    filter: Option<&AudienceFilter>,
    mistake: String,
) -> Result<Response, Fault> {
    Ok(reply::unprocessable(form_page(call, rows, filter, Some(mistake)).await?))
}

fn fitting<'a>(call: &Call, filter: &'a AudienceFilter) -> People<'a> {
    People::Fitting(filter, Reach::Current(year(call)))
}

/// A row of the form as it was sent.
struct Row {
    /// It begins a condition; otherwise it is another alternative of the one before.
    starts: bool,
    field: String,
    negated: bool,
    values: String,
}

impl Row {
    fn new(starts: bool) -> Self {
        Self { starts, field: "prefecture".to_owned(), negated: false, values: String::new() }
    }
}

fn rows_of(form: &Form) -> Vec<Row> {
    let rows = form.all("join").zip(form.all("field")).zip(form.all("how")).zip(form.all("values"));
    rows.take(ROWS_MAX)
        .enumerate()
        .map(|(n, (((join, field), how), values))| Row {
            starts: n == 0 || join == "and",
            field: field.to_owned(),
            negated: how == "not",
            values: values.to_owned(),
        })
        .collect()
}

/// The rows that would make a stored filter again; none where the form has no room for them.
fn rows_from(filter: &AudienceFilter) -> Vec<Row> {
    let terms = filter.all.iter().flat_map(|clause| clause.any.iter().enumerate());
    let rows = terms.map(|(n, term)| {
        let values: Vec<String> = term.test.values().into_iter().map(quoted_where_needed).collect();
        Row {
            starts: n == 0,
            field: term.test.key().to_owned(),
            negated: term.not,
            values: values.join("\n"),
        }
    });
    let rows: Vec<Row> = rows.collect();
    if rows.len() > ROWS_MAX { Vec::new() } else { rows }
}

/// What a button of the form asks for; `or-N` and `remove-N` name a row.
fn change(rows: &mut Vec<Row>, wish: &str) {
    let (what, at) = wish.split_once('-').unwrap_or((wish, ""));
    let at = at.parse::<usize>().ok().filter(|at| *at < rows.len());
    match (what, at) {
        ("and", _) if rows.len() < ROWS_MAX => rows.push(Row::new(true)),
        ("or", Some(at)) if rows.len() < ROWS_MAX => {
            let end = (at + 1..rows.len()).find(|n| rows[*n].starts).unwrap_or(rows.len());
            rows.insert(end, Row::new(false));
        }
        ("remove", Some(at)) => {
            let gone = rows.remove(at);
            if let Some(next) = rows.get_mut(at) {
                next.starts |= gone.starts;
            }
        }
        _ => {}
    }
}

/// The filter that the rows make; a mistake in words where they make none.
async fn filter_of(call: &Call, rows: &[Row]) -> Result<Result<AudienceFilter, String>, Fault> {
    let made = match conditions_of(rows) {
        Ok(conditions) => registry::filter_from(&call.app.web.store, &conditions).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(filter) => Ok(Ok(filter)),
        Err(error) => Ok(Err(mistake(call.texts(), error)?)),
    }
}

fn conditions_of(rows: &[Row]) -> Result<Vec<Condition>, AudienceError> {
    let mut conditions: Vec<Condition> = Vec::new();
    for row in rows {
        if row.starts {
            conditions.push(Condition { any: Vec::new() });
        }
        if let Some(last) = conditions.last_mut() {
            let values = registry::listed_values(&row.values)?;
            last.any.push(Comparison { key: row.field.clone(), not: row.negated, values });
        }
    }
    Ok(conditions)
}

/// What to put right; a failure of our own stays one.
fn mistake(t: Texts, error: AudienceError) -> Result<String, Fault> {
    Ok(match error {
        AudienceError::Condition => t.get("mistake-quotes"),
        AudienceError::Value => t.get("mistake-values"),
        AudienceError::TooManyConditions => t.get("mistake-conditions-many"),
        AudienceError::Name => t.get("mistake-audience-name"),
        AudienceError::Prefecture(given) => t.with("mistake-prefecture", "given", given),
        AudienceError::NotOfKind { field, kind, given } => {
            t.with2("mistake-kind", "field", of_kind(t, &field, kind), "given", given)
        }
        AudienceError::UnknownField { given, .. } | AudienceError::Implied(given) => {
            t.with("mistake-condition-field", "given", given)
        }
        AudienceError::SameField(key) => t.with("mistake-same-field", "field", field_label(t, &key)),
        AudienceError::OneBroadcast(_) => t.get("mistake-broadcast-number"),
        AudienceError::UnknownBroadcast(id) => t.with("mistake-broadcast-unknown", "id", id),
        AudienceError::Store(StoreError::Exists { .. }) => t.get("mistake-audience-exists"),
        AudienceError::Store(error) => return Err(error.into()),
    })
}

async fn form_page(
    call: &Call,
    rows: &[Row],
    filter: Option<&AudienceFilter>,
    mistake: Option<String>,
) -> Result<String, Fault> {
    let t = call.texts();
    let compare = call.form.get("compare").to_owned();
    let preview = match filter {
        Some(filter) => Some(preview(call, filter, &compare).await?),
        None => None,
    };
    let mut s = shell(call, t.get("audience-new"));
    s.here = "members";
    Ok(html(&NewAudiencePage {
        s,
        t,
        clauses: clauses(rows),
        fields: fields(call).await?,
        audiences: composing::audiences(call).await?,
        compare,
        name: call.form.get("name").to_owned(),
        mistake,
        preview,
    }))
}

fn clauses(rows: &[Row]) -> Vec<ClauseRows> {
    let mut clauses: Vec<ClauseRows> = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        if row.starts {
            clauses.push(ClauseRows { rows: Vec::new() });
        }
        if let Some(clause) = clauses.last_mut() {
            clause.rows.push(TermRow {
                n,
                field: row.field.clone(),
                negated: row.negated,
                values: row.values.clone(),
            });
        }
    }
    clauses
}

/// Everything a condition can ask for.
async fn fields(call: &Call) -> Result<Vec<(String, String)>, Fault> {
    let t = call.texts();
    let own = |key: &str| (key.to_owned(), field_label(t, key));
    let free = call.app.web.store.member_fields().await?;
    let free = free.into_iter().filter(|(name, _)| registry::can_be_asked_for(name)).map(|(name, kind)| {
        let label = of_kind(t, &name, kind);
        (name, label)
    });
    let before = ["prefecture", "facility", "role"].map(own);
    Ok(before.into_iter().chain(free).chain(["non-respondents-of", "reached-by"].map(own)).collect())
}

async fn preview(call: &Call, filter: &AudienceFilter, compare: &str) -> Result<Preview, Fault> {
    let store = &call.app.web.store;
    let (count, sample) = registry::sample(store, filter, year(call)).await?;
    let mut earlier = Vec::from_iter(store.last_released(Nature::Exercise).await?);
    let uses = registry::uses_of_audience(store, compare, USES).await?;
    let used = uses.into_iter().find(compares);
    earlier.extend(used.filter(|used| earlier.iter().all(|known| known.id != used.id)));
    Ok(Preview {
        conditions: words(call.texts(), filter),
        count: grouped(count),
        sample: sample.into_iter().map(person).collect(),
        differences: differences(call, fitting(call, filter), &earlier).await?,
    })
}

/// A test reaches the test roster, whatever the audience; who was left out by a cancellation is
/// nobody who left.
fn compares(broadcast: &Broadcast) -> bool {
    broadcast.nature != Nature::Test && broadcast.state != BroadcastState::Cancelled
}

/// The fragment that compares people with those of each of these broadcasts.
async fn differences(call: &Call, people: People<'_>, earlier: &[Broadcast]) -> Result<String, Fault> {
    let t = call.texts();
    let mut all = Vec::new();
    for broadcast in earlier {
        let found = call.app.web.store.difference(people, broadcast.id, NAMES).await?;
        let used = use_view(call, broadcast);
        let title = [("subject", used.subject), ("id", used.id.to_string()), ("at", used.at)];
        all.push(DifferenceView {
            title: t.format("difference-title", &title),
            kinds: vec![
                people_view(
                    call,
                    t.with("difference-joined", "n", grouped(found.joined.total)),
                    found.joined,
                ),
                people_view(call, t.with("difference-left", "n", grouped(found.left.total)), found.left),
                people_view(
                    call,
                    t.with("difference-never", "n", grouped(found.never_mailed.total)),
                    found.never_mailed,
                ),
            ],
        });
    }
    Ok(html(&Differences { t, all }))
}

fn people_view(call: &Call, title: String, listed: Listed) -> PeopleView {
    let more = listed.total.saturating_sub(listed.first.len() as u64);
    let named = |member: NamedMember| PersonView {
        id: member.id,
        name: requests::name(call, member.known_as),
        place: String::new(),
    };
    PeopleView {
        title,
        first: listed.first.into_iter().map(named).collect(),
        rest: (more > 0).then(|| call.texts().with("difference-more", "n", grouped(more))),
    }
}

fn person(member: Member) -> PersonView {
    let data = member.data;
    let prefecture = data.prefecture.map_or("", Prefecture::name);
    PersonView {
        id: member.id,
        name: format!("{} {}", data.member_no, data.name),
        place: format!("{prefecture} {}", data.facility).trim().to_owned(),
    }
}

fn use_view(call: &Call, broadcast: &Broadcast) -> UseView {
    let times = Times { zone: call.app.web.settings.time_zone, texts: call.texts() };
    UseView {
        id: broadcast.id,
        nature: broadcast.nature,
        subject: broadcast.subject.clone(),
        at: broadcast.released_at.map(|at| times.long(at)).unwrap_or_default(),
        recipients: grouped(broadcast.recipients),
    }
}

/// An audience's name as people read it.
pub(super) fn label(t: Texts, name: &str) -> String {
    if name == EVERYBODY { t.get("audience-all") } else { name.to_owned() }
}

fn field_label(t: Texts, key: &str) -> String {
    match key {
        "prefecture" => t.get("prefecture"),
        "facility" => t.get("facility"),
        "role" => t.get("duty"),
        "non-respondents-of" => t.get("field-non-respondents"),
        "reached-by" => t.get("field-reached"),
        free => free.to_owned(),
    }
}

/// The conditions in words, one each; without any it is everybody.
fn words(t: Texts, filter: &AudienceFilter) -> Vec<String> {
    if filter.all.is_empty() {
        return vec![t.get("audience-all")];
    }
    filter.all.iter().map(|clause| clause_words(t, clause)).collect()
}

fn clause_words(t: Texts, clause: &Clause) -> String {
    let terms: Vec<String> = clause.any.iter().map(|term| term_words(t, term)).collect();
    terms.join(&format!(" {} ", t.get("term-or")))
}

fn term_words(t: Texts, term: &Term) -> String {
    let (field, values) = (field_label(t, term.test.key()), term.test.values().join("・"));
    match (&term.test, term.not) {
        (Test::NonRespondentsOf(id), false) => t.with("audience-non-respondents", "id", id),
        (Test::NonRespondentsOf(id), true) => t.with("audience-not-non-respondents", "id", id),
        (Test::ReachedBy(id), false) => t.with("audience-reached", "id", id),
        (Test::ReachedBy(id), true) => t.with("audience-not-reached", "id", id),
        (Test::Prefecture(_) | Test::Facility(_) | Test::Role(_) | Test::Attribute { .. }, false) => {
            t.with2("term-is", "field", field, "values", values)
        }
        (Test::Prefecture(_) | Test::Facility(_) | Test::Role(_) | Test::Attribute { .. }, true) => {
            t.with2("term-not", "field", field, "values", values)
        }
    }
}
