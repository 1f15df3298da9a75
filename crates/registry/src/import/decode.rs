//! From bytes to text, strictly: a byte that fits no encoding refuses the file. A replacement
//! character in a name or an address would be a wrong letter to a wrong person.

use super::ImportError;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, EUC_JP, Encoding, ISO_2022_JP, SHIFT_JIS, UTF_8};

/// First bytes of what people take for CSV.
const OTHER_FORMATS: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "an Excel workbook (.xlsx) or a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"{\\rtf", "a Word document (.rtf)"),
];

/// Text with line ends of one kind, and the name of its encoding.
pub(super) fn decode(bytes: &[u8]) -> Result<(String, &'static str), ImportError> {
    if let Some((_, found)) = OTHER_FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(ImportError::OtherFormat { found });
    }
    let (encoding, skip) = Encoding::for_bom(bytes).unwrap_or_else(|| (without_bom(bytes), 0));
    let text = decode_strictly(encoding, &bytes[skip..]).map_err(|(row, at)| {
        // Binary files fail here as well; a NUL tells them from a damaged text.
        if skip > 0 || !bytes.contains(&0) {
            ImportError::Encoding { encoding: encoding.name(), row, byte: at + skip }
        } else {
            ImportError::OtherFormat { found: "not text" }
        }
    })?;
    // MS-DOS programs end a text with Ctrl-Z.
    let text = text.trim_end_matches('\u{1a}');
    if text.contains('\0') {
        return Err(ImportError::OtherFormat { found: "not text" });
    }
    if text.trim().is_empty() {
        return Err(ImportError::Empty);
    }
    let start = text.trim_start().get(..9).unwrap_or_default().to_ascii_lowercase();
    if start == "<!doctype" || start.starts_with("<html") || start.starts_with("<?xml") {
        return Err(ImportError::OtherFormat { found: "a web page or XML" });
    }
    // One kind of line end: the CSV reader counts the rows of each kind differently.
    Ok((text.replace("\r\n", "\n").replace('\r', "\n"), encoding.name()))
}

/// The most likely encoding of bytes that do not name theirs.
fn without_bom(bytes: &[u8]) -> &'static Encoding {
    // ISO-2022-JP is all ASCII but for its escape sequences, and so it is valid UTF-8 too.
    if bytes.contains(&0x1b) && decode_strictly(ISO_2022_JP, bytes).is_ok() {
        return ISO_2022_JP;
    }
    if std::str::from_utf8(bytes).is_ok() {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    let guess = detector.guess(Some(b"jp"), Utf8Detection::Deny);
    if guess == EUC_JP && decode_strictly(EUC_JP, bytes).is_ok() {
        return EUC_JP;
    }
    // A file that is mostly valid UTF-8 is a damaged UTF-8 file, and the message should say so.
    if decode_strictly(SHIFT_JIS, bytes).is_err() && starts_as_utf8(bytes) { UTF_8 } else { SHIFT_JIS }
}

/// Whether a character beyond ASCII was read before the first error.
fn starts_as_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).err().is_some_and(|error| !bytes[..error.valid_up_to()].is_ascii())
}

/// The text, or row (from 1) and byte of the first error.
fn decode_strictly(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, (u32, usize)> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(0);
    let mut text = String::with_capacity(room);
    let (result, read) = decoder.decode_to_string_without_replacement(bytes, &mut text, true);
    match result {
        DecoderResult::InputEmpty => Ok(text),
        DecoderResult::OutputFull => Err((1, 0)),
        DecoderResult::Malformed(bad, behind) => {
            let row = u32::try_from(text.matches('\n').count() + 1).unwrap_or(u32::MAX);
            Err((row, read.saturating_sub(usize::from(bad) + usize::from(behind))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "会員番号,氏名\r\n1,髙橋 ﾊﾅｺ～①\r\n";

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
        ] {
            assert_eq!(read(&bytes), (text.replace("\r\n", "\n"), encoding));
        }
    }

    #[test]
    fn a_backslash_as_second_byte_stays_part_of_its_character() {
        // 表 and 能 end in 0x5C in Shift_JIS.
        let (bytes, ..) = SHIFT_JIS.encode("氏名\n表 能子\n");
        assert!(bytes.contains(&0x5c));
        assert_eq!(read(&bytes).0, "氏名\n表 能子\n");
    }

    #[test]
    fn a_broken_byte_refuses_the_file_and_names_its_row() {
        let mut utf8 = TEXT.as_bytes().to_vec();
        utf8.extend_from_slice(b"2,\xe9\xff\r\n");
        assert!(matches!(decode(&utf8), Err(ImportError::Encoding { row: 3, .. })));
        let mut shift_jis = SHIFT_JIS.encode("会員番号,氏名\n1,鈴木 花子\n2,佐藤 次郎\n").0.to_vec();
        shift_jis.extend_from_slice(b"3,\x81\n");
        assert_eq!(
            decode(&shift_jis),
            Err(ImportError::Encoding { encoding: "Shift_JIS", row: 4, byte: shift_jis.len() - 2 })
        );
        let mut odd = utf16(TEXT, u16::to_le_bytes);
        odd.pop();
        assert!(matches!(decode(&odd), Err(ImportError::Encoding { encoding: "UTF-16LE", .. })));
    }

    #[test]
    fn other_formats_are_called_by_their_name() {
        for (bytes, found) in [
            (&b"PK\x03\x04\x14\0"[..], "an Excel workbook (.xlsx) or a zip archive"),
            (b"%PDF-1.7", "a PDF document"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel workbook (.xls)"),
            (b"a,b\n1,\0\n", "not text"),
            (b"<!DOCTYPE html><html>", "a web page or XML"),
        ] {
            assert_eq!(decode(bytes), Err(ImportError::OtherFormat { found }));
        }
        let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        image.extend((0..=255u8).rev());
        assert!(decode(&image).is_err());
        for blank in [&b""[..], b" \r\n\n", b"\xef\xbb\xbf"] {
            assert_eq!(decode(blank), Err(ImportError::Empty));
        }
    }
}
