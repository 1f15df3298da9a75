//! From octets to text, strictly: an octet that fits no encoding refuses the file. A replacement
//! character in a name or an address would be a wrong letter to a wrong person.

use super::ImportError;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, EUC_JP, Encoding, ISO_2022_JP, SHIFT_JIS, UTF_8};
use std::io::{self, Read, Seek, SeekFrom};

/// Octets read at once.
const PIECE: usize = 64 * 1024;
/// MS-DOS programs end a text with it.
const CTRL_Z: u8 = 0x1a;

/// First octets of what people take for a roster.
const OTHER_FORMATS: [(&[u8], &str); 5] = [
    (b"PK\x05\x06", "empty-archive"),
    (b"\xd0\xcf\x11\xe0", "old-excel"),
    (b"%PDF", "pdf"),
    (b"\x1f\x8b", "gzip"),
    (b"{\\rtf", "word"),
];

/// How a file's text is encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextForm {
    pub(super) encoding: &'static Encoding,
    /// Length of the mark before the text.
    skip: u64,
}

/// Finds the one encoding in which the whole file can be read.
pub(super) fn find_encoding(source: &mut (impl Read + Seek)) -> Result<TextForm, ImportError> {
    let head = head_of(source)?;
    if let Some((_, found)) = OTHER_FORMATS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(ImportError::OtherFormat { found });
    }
    if let Some((encoding, skip)) = Encoding::for_bom(&head) {
        return Ok(TextForm { encoding, skip: skip as u64 });
    }
    let form = |encoding| TextForm { encoding, skip: 0 };
    let utf8 = flaw_of(source, form(UTF_8))?;
    // ISO-2022-JP is all ASCII but for its escape sequences, and so it is valid UTF-8 too.
    if utf8.is_none() {
        let escapes = contains(source, 0x1b)? && flaw_of(source, form(ISO_2022_JP))?.is_none();
        return Ok(form(if escapes { ISO_2022_JP } else { UTF_8 }));
    }
    if guess(source)? == EUC_JP && flaw_of(source, form(EUC_JP))?.is_none() {
        return Ok(form(EUC_JP));
    }
    // A file that is mostly valid UTF-8 is a damaged UTF-8 file, and the message should say so.
    let damaged = matches!(utf8, Some(Flaw::Malformed { beyond_ascii: true, .. }));
    let utf8 = damaged && flaw_of(source, form(SHIFT_JIS))?.is_some();
    Ok(form(if utf8 { UTF_8 } else { SHIFT_JIS }))
}

/// The whole text with line ends of one kind: the CSV reader counts the rows of each kind
/// differently.
pub(super) fn text_of<R: Read + Seek>(mut source: R, form: TextForm) -> Result<StrictText<R>, ImportError> {
    source.seek(SeekFrom::Start(form.skip)).map_err(|error| ImportError::unreadable(&error))?;
    Ok(StrictText {
        source,
        decoder: form.encoding.new_decoder_without_bom_handling(),
        encoding: form.encoding,
        raw: vec![0; PIECE],
        begin: 0,
        end: 0,
        at: form.skip,
        ended: false,
        ready: Vec::with_capacity(2 * PIECE),
        given: 0,
        row: 1,
        beyond_ascii: false,
        after_return: false,
        after_ctrl_z: false,
    })
}

/// Why text cannot be read; travels inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not readable as text")]
pub(super) enum Flaw {
    Malformed { encoding: &'static str, row: u32, byte: u64, beyond_ascii: bool },
    NotText,
}

impl Flaw {
    /// What an error of a reader of ours means to the person with the file.
    pub(super) fn import_error(error: &io::Error) -> ImportError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            Some(Self::Malformed { encoding, row, byte, .. }) => {
                ImportError::Encoding { encoding, row: *row, byte: *byte }
            }
            Some(Self::NotText) => ImportError::OtherFormat { found: "not-text" },
            None => ImportError::unreadable(error),
        }
    }
}

impl From<Flaw> for io::Error {
    fn from(flaw: Flaw) -> Self {
        Self::new(io::ErrorKind::InvalidData, flaw)
    }
}

fn head_of(source: &mut (impl Read + Seek)) -> Result<Vec<u8>, ImportError> {
    let mut head = Vec::new();
    let read = source.seek(SeekFrom::Start(0)).and_then(|_| source.take(16).read_to_end(&mut head));
    read.map_err(|error| ImportError::unreadable(&error))?;
    if head.is_empty() { Err(ImportError::Empty) } else { Ok(head) }
}

/// Shows a file piece by piece.
pub(super) fn each_piece(
    source: &mut (impl Read + Seek),
    mut show: impl FnMut(&[u8]),
) -> Result<(), ImportError> {
    let unreadable = |error: io::Error| ImportError::unreadable(&error);
    source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece).map_err(unreadable)? {
            0 => return Ok(()),
            read => show(&piece[..read]),
        }
    }
}

fn contains(source: &mut (impl Read + Seek), octet: u8) -> Result<bool, ImportError> {
    let mut found = false;
    each_piece(source, |piece| found |= piece.contains(&octet))?;
    Ok(found)
}

fn guess(source: &mut (impl Read + Seek)) -> Result<&'static Encoding, ImportError> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    each_piece(source, |piece| {
        detector.feed(piece, false);
    })?;
    detector.feed(b"", true);
    Ok(detector.guess(Some(b"jp"), Utf8Detection::Deny))
}

/// What stands against reading the whole file in this form.
fn flaw_of(source: &mut (impl Read + Seek), form: TextForm) -> Result<Option<Flaw>, ImportError> {
    match io::copy(&mut text_of(source, form)?, &mut io::sink()) {
        Ok(_) => Ok(None),
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<Flaw>()) {
            Some(flaw) => Ok(Some(*flaw)),
            None => Err(ImportError::unreadable(&error)),
        },
    }
}

/// Reads a file as UTF-8 text, in memory that does not grow with the file.
pub(super) struct StrictText<R> {
    source: R,
    decoder: Decoder,
    encoding: &'static Encoding,
    raw: Vec<u8>,
    /// What of `raw` waits to be decoded.
    begin: usize,
    end: usize,
    /// Where in the file `begin` is.
    at: u64,
    ended: bool,
    ready: Vec<u8>,
    given: usize,
    row: u32,
    beyond_ascii: bool,
    after_return: bool,
    after_ctrl_z: bool,
}

impl<R: Read> StrictText<R> {
    /// Makes the next piece ready; none is left where it stays empty.
    fn fill(&mut self) -> io::Result<()> {
        (self.given, self.ready) = (0, Vec::new());
        while self.ready.is_empty() && !self.ended {
            if self.begin == self.end {
                (self.begin, self.end) = (0, self.source.read(&mut self.raw)?);
            }
            let last = self.end == 0;
            let piece = &self.raw[self.begin..self.end];
            let room = self.decoder.max_utf8_buffer_length_without_replacement(piece.len()).unwrap_or(PIECE);
            let mut text = String::with_capacity(room);
            let (result, read) = self.decoder.decode_to_string_without_replacement(piece, &mut text, last);
            let has_zero = piece.contains(&0);
            self.begin += read;
            self.at += read as u64;
            self.ended = last && matches!(result, DecoderResult::InputEmpty);
            self.accept(text.as_bytes())?;
            if let DecoderResult::Malformed(bad, behind) = result {
                // Binary files fail here as well; a NUL tells them from a damaged text.
                let byte = self.at.saturating_sub(u64::from(bad) + u64::from(behind));
                let (row, beyond_ascii) = (self.row, self.beyond_ascii);
                let encoding = self.encoding.name();
                return Err(if has_zero {
                    Flaw::NotText
                } else {
                    Flaw::Malformed { encoding, row, byte, beyond_ascii }
                }
                .into());
            }
        }
        Ok(())
    }

    fn accept(&mut self, text: &[u8]) -> io::Result<()> {
        for octet in text {
            if *octet == 0 || (self.after_ctrl_z && *octet != CTRL_Z) {
                return Err(Flaw::NotText.into());
            }
            let second_half = *octet == b'\n' && self.after_return;
            self.after_return = *octet == b'\r';
            match octet {
                b'\n' if second_half => {}
                b'\n' | b'\r' => {
                    self.row = self.row.saturating_add(1);
                    self.ready.push(b'\n');
                }
                &CTRL_Z => self.after_ctrl_z = true,
                other => {
                    self.beyond_ascii |= !other.is_ascii();
                    self.ready.push(*other);
                }
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for StrictText<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() {
            self.fill()?;
        }
        let count = into.len().min(self.ready.len() - self.given);
        into[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const TEXT: &str = "会員番号,氏名\r\n1,髙橋 ﾊﾅｺ～①\r\n";

    fn decode(bytes: &[u8]) -> Result<(String, &'static str), ImportError> {
        let mut source = Cursor::new(bytes);
        let form = find_encoding(&mut source)?;
        let mut text = String::new();
        text_of(source, form)?.read_to_string(&mut text).map_err(|error| Flaw::import_error(&error))?;
        Ok((text, form.encoding.name()))
    }

    fn read(bytes: &[u8]) -> (String, &'static str) {
        decode(bytes).expect("text")
    }

    fn utf16(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes_of).collect()
    }

    #[test]
    fn the_encodings_of_japanese_offices_are_read() {
        let (shift_jis, _, lossy) = SHIFT_JIS.encode(TEXT);
        assert!(!lossy);
        let plain = TEXT.replace(['髙', '①', '～'], "あ");
        let (euc, ..) = EUC_JP.encode(&plain);
        let (jis, ..) = ISO_2022_JP.encode("会員番号,氏名\n1,鈴木");
        for (bytes, text, encoding) in [
            (TEXT.as_bytes().to_vec(), TEXT, "UTF-8"),
            (format!("\u{feff}{TEXT}").into_bytes(), TEXT, "UTF-8"),
            (utf16(TEXT, u16::to_le_bytes), TEXT, "UTF-16LE"),
            (utf16(TEXT, u16::to_be_bytes), TEXT, "UTF-16BE"),
            (shift_jis.to_vec(), TEXT, "Shift_JIS"),
            (euc.to_vec(), &plain, "EUC-JP"),
            (jis.to_vec(), "会員番号,氏名\n1,鈴木", "ISO-2022-JP"),
            (b"member_no,name\n1,a\n\x1a".to_vec(), "member_no,name\n1,a\n", "UTF-8"),
            (b"member_no\r1\r\r\n2".to_vec(), "member_no\n1\n\n2", "UTF-8"),
        ] {
            assert_eq!(read(&bytes), (text.replace("\r\n", "\n").replace('\r', "\n"), encoding));
        }
    }

    #[test]
    fn a_character_at_the_seam_of_two_pieces_stays_whole() {
        for shift in 0..4 {
            let text = format!("{}{}", "x".repeat(shift), "表能ﾊ\r\n".repeat(PIECE / 4));
            assert_eq!(read(&SHIFT_JIS.encode(&text).0), (text.replace("\r\n", "\n"), "Shift_JIS"));
            assert_eq!(read(text.as_bytes()).0, text.replace("\r\n", "\n"));
            assert_eq!(read(&utf16(&text, u16::to_le_bytes)).0, text.replace("\r\n", "\n"));
        }
    }

    #[test]
    fn a_backslash_as_second_byte_stays_part_of_its_character() {
        // 表 and 能 end in 0x5C in Shift_JIS.
        let (bytes, ..) = SHIFT_JIS.encode("氏名\n表 能子\n");
        assert!(bytes.contains(&b'\\'));
        assert_eq!(read(&bytes).0, "氏名\n表 能子\n");
    }

    #[test]
    fn damaged_text_is_refused_with_the_place() {
        let mut damaged = TEXT.as_bytes().to_vec();
        let place = damaged.len() - 8;
        damaged[place] = 0xff;
        match decode(&damaged) {
            Err(ImportError::Encoding { encoding: "UTF-8", row: 2, .. }) => {}
            other => panic!("{other:?}"),
        }
        let (mut bytes, ..) = SHIFT_JIS.encode("会員番号,氏名\n1,鈴木\n2,佐藤\n");
        bytes.to_mut().extend_from_slice(&[0x81, 0x20]);
        match decode(&bytes) {
            Err(ImportError::Encoding { encoding: "Shift_JIS", row: 4, .. }) => {}
            other => panic!("{other:?}"),
        }
        let cut = &TEXT.as_bytes()[..TEXT.len() - 4];
        assert!(matches!(decode(cut), Err(ImportError::Encoding { .. })));
    }

    #[test]
    fn other_formats_are_named() {
        let found = |bytes: &[u8]| match decode(bytes) {
            Err(ImportError::OtherFormat { found }) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!(found(b"\xd0\xcf\x11\xe0\xa1\xb1"), "old-excel");
        assert_eq!(found(b"%PDF-1.7"), "pdf");
        assert_eq!(found(b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\xff\xfe"), "not-text");
        assert_eq!(found(b"name,member_no\n\x00\x00,1\n"), "not-text");
        assert_eq!(found(b"a,b\n1,2\n\x1a3,4\n"), "not-text");
        assert_eq!(decode(b""), Err(ImportError::Empty));
    }
}
