//! A plain roster: `m0001` with `m0001@example.jp`, and so on. Where a test wants what offices
//! really send, there is `rehearsal::roster`.

use domain::PREFECTURES;
use std::path::Path;

/// The number of the member at `index`, counting from 1.
#[must_use]
pub fn member_no(index: usize) -> String {
    format!("m{index:04}")
}

/// The address of the member at `index`, counting from 1.
#[must_use]
pub fn member_address(index: usize) -> String {
    format!("{}@example.jp", member_no(index))
}

/// Writes a UTF-8 roster of `count` active members.
///
/// # Panics
/// Where the file cannot be written.
pub fn write_members(path: &Path, count: usize) {
    let mut roster = csv::Writer::from_path(path).expect("a roster can be written");
    let headings = ["会員番号", "氏名", "フリガナ", "メールアドレス", "都道府県", "施設名", "役割", "状態"];
    roster.write_record(headings).expect("a roster has headings");
    for index in 1..=count {
        let (number, address) = (member_no(index), member_address(index));
        let (name, facility) = (format!("看護 {number}"), format!("第{}病院", index % 97 + 1));
        let prefecture = PREFECTURES[index % PREFECTURES.len()];
        let row = [&number, &name, "カンゴ", &address, prefecture, &facility, "会員", "正会員"];
        roster.write_record(row).expect("a roster has rows");
    }
    roster.flush().expect("a roster can be written to its end");
}
