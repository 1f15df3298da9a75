//! The captured mails as the demonstration's pages show them.

use mail_parser::{HeaderValue, MessageParser};
use rehearsal::relay::{Captured, RelayRecord};
use web::{DemoMail, DemoMailFull, DemoMailbox};

pub(super) struct CapturedMailbox {
    record: RelayRecord,
}

impl CapturedMailbox {
    pub(super) fn new(record: RelayRecord) -> Self {
        Self { record }
    }
}

impl DemoMailbox for CapturedMailbox {
    fn recent(&self, limit: usize) -> Vec<DemoMail> {
        let count = self.record.count();
        let after = count.saturating_sub(limit as u64);
        self.record.captured_since(after).iter().rev().map(|mail| read(mail).mail).collect()
    }

    fn get(&self, seq: u64) -> Option<DemoMailFull> {
        self.record.get(seq).map(|mail| read(&mail))
    }
}

fn read(captured: &Captured) -> DemoMailFull {
    let parsed = MessageParser::default().parse(captured.raw.as_ref());
    let text =
        parsed.as_ref().and_then(|mail| mail.body_text(0)).map(|text| text.into_owned()).unwrap_or_default();
    let subject = parsed.as_ref().and_then(|mail| mail.subject()).unwrap_or("").to_owned();
    let headers = parsed.as_ref().map(|mail| {
        mail.headers()
            .iter()
            .map(|header| (header.name().to_owned(), shown(header.value(), mail.raw_message(), header)))
            .collect()
    });
    DemoMailFull {
        mail: DemoMail {
            seq: captured.seq,
            at: captured.at,
            to: captured.recipients.join(", "),
            subject,
            answer: answer_path(&text),
        },
        headers: headers.unwrap_or_default(),
        text,
    }
}

fn shown(value: &HeaderValue<'_>, raw: &[u8], header: &mail_parser::Header<'_>) -> String {
    if let HeaderValue::Address(people) = value {
        return people.iter().map(person).collect::<Vec<_>>().join(", ");
    }
    match value.as_text() {
        Some(text) => text.to_owned(),
        None => {
            let field =
                raw.get(header.offset_start() as usize..header.offset_end() as usize).unwrap_or_default();
            String::from_utf8_lossy(field).trim().to_owned()
        }
    }
}

fn person(person: &mail_parser::Addr<'_>) -> String {
    let address = person.address().unwrap_or_default();
    person.name().map_or_else(|| address.to_owned(), |name| format!("{name} <{address}>"))
}

fn answer_path(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| line.starts_with("http") && line.contains("/r/"))?;
    line.find("/r/").map(|at| line[at..].to_owned())
}
