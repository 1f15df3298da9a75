//! Japan as 47 tiles of one size: name and percentage are written in each, the shade only
//! supports them. A large prefecture weighs no more than a small one.

use super::{grouped, percent};
use crate::i18n::Texts;
use domain::{PREFECTURES, Prefecture};
use std::fmt::Write as _;

/// Answers of one prefecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TileCount {
    pub(crate) prefecture: Prefecture,
    pub(crate) answered: u64,
    pub(crate) reached: u64,
}

/// Column and row in half tiles, by JIS code from 1: Shikoku lies half a tile off the others.
const PLACES: [(u16, u16); 47] = [
    (26, 0),  // 北海道
    (24, 3),  // 青森
    (24, 5),  // 岩手
    (24, 7),  // 宮城
    (22, 5),  // 秋田
    (22, 7),  // 山形
    (24, 9),  // 福島
    (26, 11), // 茨城
    (24, 11), // 栃木
    (22, 11), // 群馬
    (22, 13), // 埼玉
    (26, 13), // 千葉
    (24, 13), // 東京
    (24, 15), // 神奈川
    (22, 9),  // 新潟
    (20, 9),  // 富山
    (18, 9),  // 石川
    (16, 11), // 福井
    (20, 13), // 山梨
    (20, 11), // 長野
    (18, 11), // 岐阜
    (20, 15), // 静岡
    (18, 13), // 愛知
    (18, 15), // 三重
    (16, 13), // 滋賀
    (14, 13), // 京都
    (14, 15), // 大阪
    (12, 13), // 兵庫
    (16, 15), // 奈良
    (16, 17), // 和歌山
    (10, 13), // 鳥取
    (8, 13),  // 島根
    (10, 15), // 岡山
    (8, 15),  // 広島
    (6, 15),  // 山口
    (11, 20), // 徳島
    (11, 18), // 香川
    (9, 18),  // 愛媛
    (9, 20),  // 高知
    (4, 17),  // 福岡
    (2, 17),  // 佐賀
    (0, 17),  // 長崎
    (2, 19),  // 熊本
    (4, 19),  // 大分
    (4, 21),  // 宮崎
    (2, 21),  // 鹿児島
    (0, 24),  // 沖縄
];
/// Half a tile in drawing units.
const HALF: u16 = 24;
/// A tile, smaller than two halves by the gap.
const SIDE: u16 = 46;
const WIDTH: u16 = 28 * HALF;
const HEIGHT: u16 = 26 * HALF;

/// Ground and text of the five classes, 0–19 % to 80–100 %; every pair has a contrast above 4.5.
const SHADES: [(&str, &str); 5] = [
    ("#f0f9ff", "#1a1a1a"),
    ("#c0e4ff", "#1a1a1a"),
    ("#57b8ff", "#1a1a1a"),
    ("#0066be", "#ffffff"),
    ("#00316a", "#ffffff"),
];

/// The drawing. Prefectures without recipients are empty with a dashed edge.
pub(crate) fn tile_map(t: Texts, counts: &[TileCount]) -> String {
    let mut svg = String::with_capacity(16 * 1024);
    let label = escape(&t.get("map-title"));
    let _ = write!(
        svg,
        r#"<svg class="drawing map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">"#
    );
    legend(&mut svg, t);
    for (name, code) in PREFECTURES.iter().zip(1u8..) {
        let count = counts.iter().find(|count| count.prefecture.code() == code);
        let (answered, reached) = count.map_or((0, 0), |count| (count.answered, count.reached));
        tile(&mut svg, t, PLACES[usize::from(code) - 1], name, answered, reached);
    }
    svg.push_str("</svg>");
    svg
}

fn tile(svg: &mut String, t: Texts, place: (u16, u16), name: &str, answered: u64, reached: u64) {
    let (x, y) = (place.0 * HALF + 1, place.1 * HALF + 1);
    let short = short_name(name);
    let title = escape(&t.format(
        "map-tile",
        &[
            ("name", name.to_owned()),
            ("answered", grouped(answered)),
            ("reached", grouped(reached)),
            ("percent", percent(answered, reached).to_string()),
        ],
    ));
    let (fill, ink, edge) = if reached == 0 {
        ("#ffffff", "#666666", r##"stroke="#999999" stroke-dasharray="3 3""##)
    } else {
        let (fill, ink) = SHADES[class_of(answered, reached)];
        (fill, ink, r##"stroke="#00316a""##)
    };
    let figure = if reached == 0 { "―".to_owned() } else { format!("{}%", percent(answered, reached)) };
    let middle = x + SIDE / 2;
    let (class, size) = if short.chars().count() > 2 { ("long", 13) } else { ("short", 15) };
    let _ = write!(
        svg,
        r#"<g><title>{title}</title><rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" rx="4" fill="{fill}" {edge}/><text class="{class}" x="{middle}" y="{}" text-anchor="middle" font-size="{size}" fill="{ink}">{short}</text><text class="rate" x="{middle}" y="{}" text-anchor="middle" font-size="13" font-weight="700" fill="{ink}">{figure}</text></g>"#,
        y + 20,
        y + 38,
    );
}

fn legend(svg: &mut String, t: Texts) {
    let title = escape(&t.get("map-legend"));
    let _ =
        write!(svg, r##"<text x="4" y="20" font-size="15" font-weight="700" fill="#1a1a1a">{title}</text>"##);
    for (step, (fill, ink)) in (0u16..).zip(SHADES) {
        let (y, from) = (32 + step * 30, step * 20);
        let to = if step == 4 { 100 } else { from + 19 };
        let _ = write!(
            svg,
            r##"<rect x="4" y="{y}" width="96" height="26" rx="4" fill="{fill}" stroke="#00316a"/><text x="52" y="{}" text-anchor="middle" font-size="14" fill="{ink}">{from}–{to}%</text>"##,
            y + 18,
        );
    }
    let none = escape(&t.get("map-none"));
    let _ = write!(
        svg,
        r##"<rect x="4" y="182" width="96" height="26" rx="4" fill="#ffffff" stroke="#999999" stroke-dasharray="3 3"/><text x="52" y="200" text-anchor="middle" font-size="14" fill="#666666">{none}</text>"##
    );
}

/// 0 to 4.
fn class_of(answered: u64, reached: u64) -> usize {
    usize::try_from(percent(answered, reached) / 20).unwrap_or(4).min(4)
}

fn short_name(full: &str) -> &str {
    if full == "北海道" { full } else { full.strip_suffix(['県', '府', '都']).unwrap_or(full) }
}

/// Text in an SVG drawing.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn prefecture(code: u8) -> Prefecture {
        Prefecture::from_code(code).expect("a prefecture")
    }

    #[test]
    fn no_two_tiles_overlap_and_all_are_inside() {
        let mut cells = BTreeSet::new();
        for (x, y) in PLACES {
            assert!(x + 2 <= WIDTH / HALF && y + 2 <= HEIGHT / HALF, "({x}, {y}) is outside");
            for cell in [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)] {
                assert!(cells.insert(cell), "two tiles at {cell:?}");
            }
        }
    }

    #[test]
    fn a_tile_says_its_figure_in_words_and_not_by_shade_alone() {
        let counts = [TileCount { prefecture: prefecture(4), answered: 62, reached: 100 }];
        let svg = tile_map(Texts::default(), &counts);
        assert_eq!(svg.matches("<title>").count(), 47);
        assert!(svg.contains(">宮城</text>"));
        assert!(svg.contains(">62%</text>"));
        assert!(svg.contains("宮城県"));
        assert_eq!(svg.matches("stroke-dasharray").count(), 46 + 1, "the others are empty, and the legend");
        assert!(!svg.contains("style="), "the policy forbids inline style");
    }

    #[test]
    fn the_five_classes_meet_without_a_gap() {
        let class = |answered| class_of(answered, 100);
        assert_eq!([class(0), class(19), class(20), class(79), class(80), class(100)], [0, 0, 1, 3, 4, 4]);
    }
}
