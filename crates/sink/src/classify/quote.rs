//! Takes the quoted original off an answer, so that a page shows what the member wrote.
//!
//! The raw mail keeps everything; where a rule is unsure, text stays.

/// How far below a header-like line its companions are looked for (From, Sent, To, Subject).
const BLOCK_LINES: usize = 5;
/// "On … wrote:" wraps over a few lines in narrow clients.
const ATTRIBUTION_LINES: usize = 4;

/// The text above, below and between what was quoted, trimmed; where nothing is left, all of it.
pub(super) fn without_original(text: &str) -> String {
    let own = own_text(text);
    if own.is_empty() { text.trim().to_owned() } else { own }
}

fn own_text(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept: Vec<&str> = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        let something_above = kept.iter().any(|line| !line.trim().is_empty());
        if something_above && begins_original(&lines[at..]) {
            break;
        }
        let introduced = attribution(&lines[at..]);
        if introduced > 0 {
            let quoted_below = lines[at + introduced..].iter().find(|line| !line.trim().is_empty());
            match quoted_below {
                Some(line) if !is_quoted(line) && something_above => break,
                _ => at += introduced,
            }
            continue;
        }
        if !is_quoted(lines[at]) {
            kept.push(lines[at].trim_end());
        }
        at += 1;
    }
    squeeze(&kept)
}

fn is_quoted(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('>')
        || line.starts_with('＞')
        || line.starts_with('|') && line.len() > 1 && line.contains("> ")
}

/// A separator or header block after which mail programs place the whole original.
fn begins_original(lines: &[&str]) -> bool {
    let line = lines[0].trim().trim_start_matches(['>', ' ']);
    if is_separator(line) {
        return true;
    }
    let label = |line: &str, names: &[&str]| {
        let line = line.trim().trim_start_matches(['*', '_']).to_lowercase();
        names.iter().any(|name| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.trim_start_matches(['*', '_', ' ']).starts_with([':', '：']))
        })
    };
    let from =
        ["from", "差出人", "送信者", "送信元", "von", "de", "da", "发件人", "寄件者", "보낸 사람", "від"];
    let other = [
        "sent",
        "date",
        "to",
        "subject",
        "日付",
        "日時",
        "送信日時",
        "送信",
        "宛先",
        "件名",
        "gesendet",
        "an",
        "datum",
        "betreff",
        "envoyé",
        "à",
        "objet",
        "enviado",
        "para",
        "asunto",
        "fecha",
        "inviato",
        "a",
        "oggetto",
        "data",
        "发送时间",
        "收件人",
        "主题",
        "날짜",
        "받는 사람",
        "제목",
        "надіслано",
        "кому",
        "тема",
    ];
    let companions = lines.iter().skip(1).take(BLOCK_LINES).filter(|line| label(line, &other)).count();
    label(line, &from) && companions >= 2
}

/// `-----Original Message-----` in its languages.
fn is_separator(line: &str) -> bool {
    let inner = line.trim_matches(['-', '_', '*', '=', ' ', '－', 'ー', '─']);
    let dashes = line.chars().count() - inner.chars().count();
    let names = [
        "original message",
        "original mail",
        "original appointment",
        "forwarded message",
        "reply message",
        "元のメッセージ",
        "元のメール",
        "オリジナルメッセージ",
        "転送メッセージ",
        "転送されたメッセージ",
        "ursprüngliche nachricht",
        "originalnachricht",
        "message d'origine",
        "message original",
        "mensaje original",
        "mensagem original",
        "messaggio originale",
        "원본 메시지",
        "原始邮件",
        "邮件原件",
    ];
    dashes >= 4 && names.contains(&inner.to_lowercase().as_str())
}

/// How many lines introduce a quotation here ("On … wrote:", "…さんは書きました:"); 0 for none.
fn attribution(lines: &[&str]) -> usize {
    let first = lines[0].trim();
    if first.is_empty() || is_quoted(first) {
        return 0;
    }
    if is_whole_attribution(first) {
        return 1;
    }
    let opens = ["On ", "Am ", "Le ", "El ", "Il ", "Em "].iter().any(|word| first.starts_with(word));
    let dated = first.chars().next().is_some_and(|c| c.is_ascii_digit());
    let addressed = first.contains('<') && first.contains('@');
    if !opens && !dated && !addressed {
        return 0;
    }
    let mut joined = String::new();
    for (index, line) in lines.iter().take(ATTRIBUTION_LINES).enumerate() {
        if line.trim().is_empty() || is_quoted(line) {
            return 0;
        }
        joined.push_str(line.trim());
        joined.push(' ');
        if is_whole_attribution(joined.trim()) {
            return index + 1;
        }
    }
    0
}

fn is_whole_attribution(line: &str) -> bool {
    let lower = line.to_lowercase();
    let lower = lower.trim_end();
    let Some(sentence) = lower.strip_suffix([':', '：']) else {
        return ["さんは書きました", "さんが書きました", "wrote"].iter().any(|end| lower.ends_with(end))
            && lower.contains('@');
    };
    let sentence = sentence.trim_end();
    let dated = ["on ", "am ", "le ", "el ", "il ", "em ", "den ", "op "]
        .iter()
        .any(|word| sentence.starts_with(word));
    let says = [
        "wrote",
        "schrieb",
        "a écrit",
        "escribió",
        "ha scritto",
        "escreveu",
        "skrev",
        "schreef",
        "написав",
        "пише",
        "写道",
        "napisał",
    ];
    let written =
        ["さんは書きました", "さんが書きました", "さんのメール", "のメール", "は書きました", "wrote", "작성"];
    ((dated || sentence.contains('@')) && says.iter().any(|word| sentence.contains(word)))
        || written.iter().any(|end| sentence.ends_with(end))
        || (sentence.contains('年')
            && sentence.contains('月')
            && sentence.contains('日')
            && sentence.contains(['<', '@', '＠']))
        || (sentence.starts_with(|c: char| c.is_ascii_digit())
            && sentence.ends_with('>')
            && sentence.contains('@'))
}

/// Joined, without blank lines at the ends and with at most one in a row.
fn squeeze(lines: &[&str]) -> String {
    let mut text = String::new();
    let mut blank = 0;
    for line in lines {
        if line.trim().is_empty() {
            blank += 1;
            continue;
        }
        if !text.is_empty() {
            text.push_str(if blank > 0 { "\n\n" } else { "\n" });
        }
        blank = 0;
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_member_wrote_stays_and_what_was_quoted_goes() {
        for (text, kept) in [
            (
                "無事です。\n\n2026年9月4日(金) 13:00 訓練本部 <x@reply.example.jp>:\n\n> 【訓練】\n> 安否",
                "無事です。",
            ),
            ("了解。\n\n-----Original Message-----\nFrom: a\nSent: b\n\n全文", "了解。"),
            ("了解。\n\n差出人: 訓練本部\n送信日時: 9月4日\n宛先: 花子\n件名: 訓練\n\n全文", "了解。"),
            (
                "I am safe.\n\nOn Fri, Sep 4, 2026 at 1:00 PM Drill\n<drill@example.jp> wrote:\n\n> text",
                "I am safe.",
            ),
            ("鈴木さんは書きました：\n> 質問\n答え", "答え"),
            ("> 質問1\nはい\n> 質問2\nいいえ", "はい\nいいえ"),
            ("From: here to there\nis a long way", "From: here to there\nis a long way"),
            ("> only\n> quoted", "> only\n> quoted"),
            ("ja.\n\nMax <a@b.de> schrieb am Fr., 28.\nApr. 2017 um 11:53 Uhr:\n\n> text", "ja."),
            ("on the way: I wrote a letter", "on the way: I wrote a letter"),
        ] {
            assert_eq!(without_original(text), kept, "{text}");
        }
    }
}
