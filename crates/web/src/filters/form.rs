//! Query strings and `application/x-www-form-urlencoded` bodies.

/// The largest of our forms says what the headings of a roster mean: two fields for each of a hundred, and a
/// few beside them.
const FIELDS_MAX: usize = 256;

/// Decoded fields in order. A missing field reads as the empty text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Decodes a query string or form body; `None` where it is not UTF-8 or has too many fields.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() == FIELDS_MAX {
                return None;
            }
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let value = pair.get(at + 1..).unwrap_or_default();
            fields.push((decode(&pair[..at])?, decode(value)?));
        }
        Some(Self(fields))
    }

    /// A form that was not sent by anybody: what a page fills in.
    pub(crate) fn of(fields: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Fields that were read elsewhere.
    pub(super) fn received(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    /// No field was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Every field by name; the first value of a name stands.
    pub(crate) fn by_name(&self) -> std::collections::BTreeMap<String, String> {
        self.0.iter().rev().cloned().collect()
    }
}

fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = tail;
                }
                _ => bytes.push(b'%'),
            },
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_decode_as_browsers_encode() {
        let form = Form::parse("a=%E8%A8%93%E7%B7%B4+1&b=&c&a=second&%26=%3D".as_bytes()).expect("a form");
        assert_eq!(form.get("a"), "訓練 1");
        assert_eq!((form.get("b"), form.get("c"), form.get("missing")), ("", "", ""));
        assert_eq!(form.get("&"), "=");
        assert_eq!(form.by_name()["a"], "訓練 1");
        assert_eq!(Form::parse(b"x=100%&y=%zz").expect("a form").get("x"), "100%");
    }

    #[test]
    fn a_roster_s_hundred_headings_fit_into_one_form() {
        let text = format!("form_token=x&plan=1&mode=full&year=2026{}", "&heading=h&meaning=".repeat(100));
        assert_eq!(Form::parse(text.as_bytes()).expect("a form").all("heading").count(), 100);
    }

    #[test]
    fn what_is_no_text_or_too_much_is_refused() {
        assert!(Form::parse(b"a=%ff%fe").is_none());
        assert!(Form::parse("a=1&".repeat(FIELDS_MAX + 1).as_bytes()).is_none());
    }
}
