//! A member's data as texts by field: what a file's cells, the registry and a difference share.

use crate::kind::said;
use domain::{EmailAddress, FieldKind, MemberNo, MemberStatus, Prefecture};
use std::collections::BTreeMap;
use store::MemberData;

/// Texts by field; a field without a value is not there. Free fields stand beside the own ones: no
/// heading can give them such a name.
pub(crate) type Fields = BTreeMap<String, String>;

/// What changes in one field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// Its name.
    pub field: String,
    /// As it was; empty where there was nothing.
    pub before: String,
    /// As it will be.
    pub after: String,
}

/// The fields of a member that a roster changes.
pub(crate) fn fields_of(data: &MemberData) -> Fields {
    let mut fields = described(data);
    fields.insert("status".to_owned(), data.status.to_string());
    fields.extend(data.address.as_ref().map(|address| ("address".to_owned(), address.reveal())));
    fields
}

/// Who a member is, as a notice says it: every merge field of every notice and preview comes from here.
/// A value that is not of its field's kind is not there, so that the person is held.
pub(crate) fn merge_fields(data: &MemberData, kinds: &BTreeMap<String, FieldKind>) -> Fields {
    let words = described(data).into_iter().filter_map(|(field, kept)| {
        let words = said(kinds.get(&field).copied().unwrap_or_default(), &kept)?;
        Some((field, words))
    });
    words.collect()
}

/// Who a member is, as the registry keeps it.
fn described(data: &MemberData) -> Fields {
    let mut fields = data.attributes.clone();
    let own = [
        ("name", data.name.as_str()),
        ("kana", &data.kana),
        ("prefecture", data.prefecture.map_or("", Prefecture::name)),
        ("facility", &data.facility),
        ("role", &data.duty),
    ];
    fields.extend(own.map(|(field, text)| (field.to_owned(), text.to_owned())));
    fields.retain(|_, text| !text.trim().is_empty());
    fields
}

/// The member of these fields. They were checked on their way in; what is not readable any more
/// counts as not there, and a member without a readable status is no active one.
pub(crate) fn member_of(member_no: MemberNo, mut fields: Fields) -> MemberData {
    let mut take = |field: &str| fields.remove(field).unwrap_or_default();
    MemberData {
        member_no,
        name: take("name"),
        kana: take("kana"),
        address: EmailAddress::parse(&take("address")).ok(),
        prefecture: take("prefecture").parse::<Prefecture>().ok(),
        facility: take("facility"),
        duty: take("role"),
        status: take("status").parse().unwrap_or(MemberStatus::Suspended),
        attributes: fields,
    }
}

/// Field by field, the own ones first.
pub(crate) fn differences(before: &Fields, after: &Fields) -> Vec<Difference> {
    let own = ["status", "address", "name", "kana", "prefecture", "facility", "role"];
    let mut names: Vec<&str> = before.keys().chain(after.keys()).map(String::as_str).collect();
    names.sort_unstable_by_key(|name| (own.iter().position(|own| own == name).unwrap_or(own.len()), *name));
    names.dedup();
    let text = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .map(|name| Difference {
            field: name.to_owned(),
            before: text(before, name),
            after: text(after, name),
        })
        .filter(|difference| difference.before != difference.after)
        .collect()
}
