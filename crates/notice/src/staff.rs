//! Mail to staff: compiled-in texts with numbers in them, to one person each. There is no free
//! text here but the one that was approved, so that no mail to staff can become a way around the
//! approval of notices.

use crate::{ComposeError, Fields, MessageId, RenderError, SenderAddress, Terms, mime::render_staff};
use domain::{BroadcastId, EmailAddress, Timestamp};
use std::collections::BTreeMap;

/// "A release would go over the daily cap; a second approver has to sign" (incidents.md B).
/// `args` has `recipients`, `released` and `cap`.
///
/// # Errors
/// [`RenderError`].
pub fn cap_alert(
    from: &SenderAddress,
    to: &EmailAddress,
    message_id: &MessageId,
    date: Timestamp,
    broadcast: BroadcastId,
    public_url: &str,
    args: &BTreeMap<String, String>,
) -> Result<String, RenderError> {
    let number = |key: &str| args.get(key).map_or("?", String::as_str);
    let (recipients, released, cap) = (number("recipients"), number("released"), number("cap"));
    let subject = format!("【半鐘】配信上限の警告 / daily cap alert (#{broadcast})");
    let page = format!("{}/broadcasts/{broadcast}", public_url.trim_end_matches('/'));
    let body = format!(
        "一斉送信 #{broadcast} の宛先は {recipients} 件です。過去24時間の配信 {released} 件と合わせると、\n\
         1日の上限 {cap} 件を超えます。\n\
         送信には、作成者以外の承認者2名の承認が必要です。内容と宛先を確かめてください。\n\
         {page}\n\
         \n\
         Broadcast #{broadcast} has {recipients} recipients. Together with {released} released in the last\n\
         24 hours this goes over the daily cap of {cap}. Two approvers other than the author have to sign.\n"
    );
    render_staff(from, to, message_id, date, &subject, &body)
}

/// A notice as members are about to get it, for an operator: names of fields stand where a
/// member's own values will, and no personal link.
///
/// # Errors
/// [`ComposeError`] where the terms do not make a mail.
pub fn first_copy(
    terms: &Terms,
    to: &EmailAddress,
    message_id: &MessageId,
    date: Timestamp,
    broadcast: BroadcastId,
    recipients: u64,
) -> Result<String, ComposeError> {
    let base = terms.public_url.trim_end_matches('/');
    let template = terms.template()?;
    let fields: Fields = template
        .fields()
        .into_iter()
        .map(|name| {
            let value = if name == "link" { format!("{base}/r/…") } else { format!("〈{name}〉") };
            (name, value)
        })
        .collect();
    let text = template.render(&fields)?;
    let subject = format!("{}（運用担当者への控え #{broadcast}）", text.subject());
    let body = format!(
        "一斉送信 #{broadcast} の控えです。同じ文面を {recipients} 名の会員に送り始めます。\n\
         誤りに気づいたら、すぐにこの画面で停止してください。承認は要りません。\n\
         Broadcast #{broadcast} begins to go to {recipients} members. If anything is wrong, stop it here:\n\
         {base}/broadcasts/{broadcast}\n\
         \n\
         ----\n\
         \n\
         {}",
        text.body()
    );
    Ok(render_staff(&terms.from.parse()?, to, message_id, date, &subject, &body)?)
}
