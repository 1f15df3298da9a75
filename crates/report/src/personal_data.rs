//! Everything an installation holds about one person, as one document for that person.

use crate::ReportError;
use data_encoding::BASE64;
use domain::{Answers, BroadcastId, MemberId, ReplyId, Timestamp};
use replybox::{ReplyBox, ReplySummary};
use std::{collections::BTreeMap, vec};
use store::{AnswerRecord, LedgerRow, MemberWithYears, RequestRecord, Store, Suppression};

/// One person's data. Times are RFC 3339 with milliseconds.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(missing_docs, reason = "the names of the document")]
pub struct PersonalData {
    pub exported_at: String,
    pub member: MemberRecord,
    pub fiscal_years: Vec<i32>,
    pub on_test_roster_since: Option<String>,
    /// What holds now, at the address that the registry has.
    pub suppressed: Option<SuppressionRecord>,
    pub suppressions: Vec<SuppressionRecord>,
    pub notices: Vec<NoticeRecord>,
    pub answers: Vec<AnswerLine>,
    pub requests: Vec<RequestLine>,
    pub replies: Vec<ReplyRecord>,
}

/// As the registry has it.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(missing_docs, reason = "the names of the document")]
pub struct MemberRecord {
    pub id: i64,
    pub member_no: String,
    pub name: String,
    pub kana: String,
    pub address: Option<String>,
    pub prefecture: Option<&'static str>,
    pub facility: String,
    pub role: String,
    pub status: domain::MemberStatus,
    pub attributes: BTreeMap<String, String>,
    pub revision: i64,
    pub created_at: String,
    pub updated_at: String,
}

/// Why nothing is sent.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(missing_docs, reason = "the names of the document")]
pub struct SuppressionRecord {
    pub kind: domain::RequestKind,
    pub address: Option<String>,
    pub since: String,
}

/// A notice that was addressed to the person, sent or not.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(missing_docs, reason = "the names of the document")]
pub struct NoticeRecord {
    pub broadcast: i64,
    pub nature: Option<domain::Nature>,
    pub subject: String,
    pub address: String,
    /// What was frozen to be put into the text.
    pub fields: BTreeMap<String, String>,
    pub state: String,
    pub held_reason: Option<String>,
    pub attempts: i64,
    pub message_id: String,
    pub relay_said: Option<String>,
    pub submitted_at: Option<String>,
    pub settled_at: Option<String>,
}

/// What the person answered.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(missing_docs, reason = "the names of the document")]
pub struct AnswerLine {
    pub broadcast: i64,
    pub answers: Answers,
    pub first_answered_at: String,
    pub answered_at: String,
}

/// What the person, or a mail system in their place, asked for.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(missing_docs, reason = "the names of the document")]
pub struct RequestLine {
    pub kind: String,
    pub broadcast: i64,
    pub reply: Option<i64>,
    pub opened_at: String,
    pub state: String,
    pub settled_at: Option<String>,
}

/// A mail that came to an address which was made for the person; not proof of who wrote it.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(missing_docs, reason = "the names of the document")]
pub struct ReplyRecord {
    pub id: i64,
    pub broadcast: i64,
    pub received_at: String,
    pub class: domain::ReplyClass,
    pub from: String,
    pub subject: String,
    pub text: String,
    pub size: u64,
}

impl PersonalData {
    /// Reads it; none where the registry does not know the member. Where there is no reply box,
    /// the document has no replies.
    ///
    /// # Errors
    /// [`ReportError`], where a database cannot be read.
    pub async fn read(
        store: &Store,
        replies: Option<&ReplyBox>,
        member: MemberId,
        now: Timestamp,
    ) -> Result<Option<Self>, ReportError> {
        let Some(known) = store.member(member).await? else { return Ok(None) };
        let suppressions = store.suppressions_of(member).await?;
        let address = known.member.data.address.as_ref();
        let suppressed = suppressions.iter().find(|found| found.holds_for(address)).cloned();
        Ok(Some(Self {
            exported_at: now.to_rfc3339(),
            fiscal_years: known.years.iter().map(|year| year.get()).collect(),
            member: member_record(known),
            on_test_roster_since: store.on_test_roster_since(member).await?.map(Timestamp::to_rfc3339),
            suppressed: suppressed.map(suppression_record),
            suppressions: suppressions.into_iter().map(suppression_record).collect(),
            notices: notices(store, member).await?,
            answers: store.answers_of(member).await?.into_iter().map(answer_line).collect(),
            requests: store.requests_of(member).await?.into_iter().map(request_line).collect(),
            replies: match replies {
                Some(replies) => reply_records(replies, member).await?,
                None => Vec::new(),
            },
        }))
    }
}

/// The same as one JSON document, piece by piece: behind the rest stands every mail byte for byte, with
/// its attachments, under `mails`, in base64. Those of one person may be more than a process should hold.
#[derive(Debug)]
pub struct PersonalDocument<'a> {
    replies: Option<&'a ReplyBox>,
    head: Option<String>,
    /// Whose mail is still to come.
    left: vec::IntoIter<ReplyId>,
    separator: &'static str,
    end: Option<&'static str>,
}

impl<'a> PersonalDocument<'a> {
    /// Of what was read, with the mails that are in `replies`.
    #[must_use]
    pub fn new(data: &PersonalData, replies: Option<&'a ReplyBox>) -> Self {
        let text = serde_json::to_string_pretty(data).expect("invariant: texts and numbers are JSON");
        let open = text.strip_suffix("\n}").expect("invariant: an object with fields");
        let ids: Vec<ReplyId> = data.replies.iter().map(|reply| ReplyId::new(reply.id)).collect();
        Self {
            replies,
            head: Some(format!("{open},\n  \"mails\": [")),
            left: ids.into_iter(),
            separator: "",
            end: Some("\n  ]\n}\n"),
        }
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// [`ReportError`], where the reply database cannot be read; then the document is none.
    pub async fn next_piece(&mut self) -> Result<Option<String>, ReportError> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        while let (Some(replies), Some(id)) = (self.replies, self.left.next()) {
            // It may have been kept long enough while the others were read.
            let Some(mail) = replies.get(id).await? else { continue };
            let raw = BASE64.encode(&mail.raw);
            let piece = format!("{}\n    {{ \"reply\": {id}, \"base64\": \"{raw}\" }}", self.separator);
            self.separator = ",";
            return Ok(Some(piece));
        }
        Ok(self.end.take().map(str::to_owned))
    }
}

async fn notices(store: &Store, member: MemberId) -> Result<Vec<NoticeRecord>, ReportError> {
    let mut fields = store.frozen_fields_of(member).await?;
    let mut notices = Vec::new();
    for row in store.ledger_of_member(member, i64::MAX).await? {
        let broadcast = store.broadcast(BroadcastId::new(row.broadcast_id)).await?;
        let (nature, subject) =
            broadcast.map(|found| (Some(found.nature), found.subject)).unwrap_or_default();
        let fields = fields.remove(&row.broadcast_id).unwrap_or_default();
        notices.push(notice_record(row, fields, nature, subject));
    }
    Ok(notices)
}

async fn reply_records(replies: &ReplyBox, member: MemberId) -> Result<Vec<ReplyRecord>, ReportError> {
    let (mut records, mut seen) = (Vec::new(), ReplyId::new(0));
    loop {
        let page = replies.of_member_in_full(member, seen).await?;
        let Some(last) = page.last() else { return Ok(records) };
        seen = last.id;
        records.extend(page.into_iter().map(reply_record));
    }
}

fn rfc3339(ms: i64) -> String {
    Timestamp::from_millis(ms).to_rfc3339()
}

fn member_record(known: MemberWithYears) -> MemberRecord {
    let member = known.member;
    let data = member.data;
    MemberRecord {
        id: member.id.get(),
        member_no: data.member_no.to_string(),
        name: data.name,
        kana: data.kana,
        address: data.address.map(|address| address.reveal()),
        prefecture: data.prefecture.map(domain::Prefecture::name),
        facility: data.facility,
        role: data.duty,
        status: data.status,
        attributes: data.attributes,
        revision: member.revision,
        created_at: member.created_at.to_rfc3339(),
        updated_at: member.updated_at.to_rfc3339(),
    }
}

fn suppression_record(found: Suppression) -> SuppressionRecord {
    SuppressionRecord {
        kind: found.kind,
        address: found.address.map(|address| address.reveal()),
        since: found.since.to_rfc3339(),
    }
}

fn notice_record(
    row: LedgerRow,
    fields: BTreeMap<String, String>,
    nature: Option<domain::Nature>,
    subject: String,
) -> NoticeRecord {
    NoticeRecord {
        broadcast: row.broadcast_id,
        nature,
        subject,
        fields,
        address: row.address,
        state: row.state,
        held_reason: row.held_reason,
        attempts: row.attempts,
        message_id: row.message_id,
        relay_said: row.reply,
        submitted_at: row.submitted_at.map(rfc3339),
        settled_at: row.settled_at.map(rfc3339),
    }
}

fn answer_line(record: AnswerRecord) -> AnswerLine {
    AnswerLine {
        broadcast: record.broadcast_id,
        answers: record.answers,
        first_answered_at: rfc3339(record.first_answered_at),
        answered_at: rfc3339(record.answered_at),
    }
}

fn request_line(record: RequestRecord) -> RequestLine {
    RequestLine {
        kind: record.kind,
        broadcast: record.broadcast_id,
        reply: record.reply_id,
        opened_at: rfc3339(record.opened_at),
        state: record.state,
        settled_at: record.settled_at.map(rfc3339),
    }
}

fn reply_record(reply: ReplySummary) -> ReplyRecord {
    ReplyRecord {
        id: reply.id.get(),
        broadcast: reply.broadcast.get(),
        received_at: reply.received_at.to_rfc3339(),
        class: reply.class,
        from: reply.from_header,
        subject: reply.subject,
        text: reply.excerpt,
        size: reply.size,
    }
}
