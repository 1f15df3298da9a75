//! The words a fictitious roster is made of. 髙 and 﨑 are in CP932 and not in plain Shift_JIS.

/// A name as written, in katakana, and in the Latin letters of an address.
pub(super) struct Name {
    pub(super) kanji: &'static str,
    pub(super) kana: &'static str,
    pub(super) latin: &'static str,
}

macro_rules! names {
    ($($kanji:literal $kana:literal $latin:literal),+ $(,)?) => {
        &[$(Name { kanji: $kanji, kana: $kana, latin: $latin }),+]
    };
}

pub(super) const FAMILY: &[Name] = names![
    "佐藤" "サトウ" "sato", "鈴木" "スズキ" "suzuki", "髙橋" "タカハシ" "takahashi", "高橋" "タカハシ" "takahashi",
    "田中" "タナカ" "tanaka", "伊藤" "イトウ" "ito", "渡辺" "ワタナベ" "watanabe", "渡邊" "ワタナベ" "watanabe",
    "山本" "ヤマモト" "yamamoto", "中村" "ナカムラ" "nakamura", "小林" "コバヤシ" "kobayashi", "加藤" "カトウ" "kato",
    "吉田" "ヨシダ" "yoshida", "山田" "ヤマダ" "yamada", "佐々木" "ササキ" "sasaki", "山口" "ヤマグチ" "yamaguchi",
    "松本" "マツモト" "matsumoto", "井上" "イノウエ" "inoue", "木村" "キムラ" "kimura", "林" "ハヤシ" "hayashi",
    "斎藤" "サイトウ" "saito", "齋藤" "サイトウ" "saito", "清水" "シミズ" "shimizu", "山﨑" "ヤマサキ" "yamasaki",
    "森" "モリ" "mori", "池田" "イケダ" "ikeda", "橋本" "ハシモト" "hashimoto", "阿部" "アベ" "abe",
    "石川" "イシカワ" "ishikawa", "山下" "ヤマシタ" "yamashita", "中島" "ナカジマ" "nakajima", "石井" "イシイ" "ishii",
    "小川" "オガワ" "ogawa", "前田" "マエダ" "maeda", "岡田" "オカダ" "okada", "長谷川" "ハセガワ" "hasegawa",
    "藤田" "フジタ" "fujita", "後藤" "ゴトウ" "goto", "近藤" "コンドウ" "kondo", "村上" "ムラカミ" "murakami",
    "遠藤" "エンドウ" "endo", "青木" "アオキ" "aoki", "坂本" "サカモト" "sakamoto", "福田" "フクダ" "fukuda",
    "太田" "オオタ" "ota", "西村" "ニシムラ" "nishimura", "藤井" "フジイ" "fujii", "金子" "カネコ" "kaneko",
    "岡本" "オカモト" "okamoto", "藤原" "フジワラ" "fujiwara", "中野" "ナカノ" "nakano", "三浦" "ミウラ" "miura",
    "原田" "ハラダ" "harada", "中川" "ナカガワ" "nakagawa", "松田" "マツダ" "matsuda", "竹内" "タケウチ" "takeuchi",
    "小野" "オノ" "ono", "田村" "タムラ" "tamura", "中山" "ナカヤマ" "nakayama", "和田" "ワダ" "wada",
    "石田" "イシダ" "ishida", "森田" "モリタ" "morita", "上田" "ウエダ" "ueda", "柴田" "シバタ" "shibata",
    "酒井" "サカイ" "sakai", "宮﨑" "ミヤザキ" "miyazaki",
];

pub(super) const GIVEN: &[Name] = names![
    "花子" "ハナコ" "hanako", "陽子" "ヨウコ" "yoko", "恵子" "ケイコ" "keiko", "由美子" "ユミコ" "yumiko",
    "久美子" "クミコ" "kumiko", "明美" "アケミ" "akemi", "直美" "ナオミ" "naomi", "真由美" "マユミ" "mayumi",
    "智子" "トモコ" "tomoko", "裕子" "ユウコ" "yuko", "幸子" "サチコ" "sachiko", "京子" "キョウコ" "kyoko",
    "美穂" "ミホ" "miho", "香織" "カオリ" "kaori", "恵美" "エミ" "emi", "美香" "ミカ" "mika",
    "千春" "チハル" "chiharu", "典子" "ノリコ" "noriko", "洋子" "ヨウコ" "yoko", "律子" "リツコ" "ritsuko",
    "愛" "アイ" "ai", "舞" "マイ" "mai", "彩" "アヤ" "aya", "葵" "アオイ" "aoi",
    "美咲" "ミサキ" "misaki", "さくら" "サクラ" "sakura", "七海" "ナナミ" "nanami", "結衣" "ユイ" "yui",
    "遥" "ハルカ" "haruka", "楓" "カエデ" "kaede", "千尋" "チヒロ" "chihiro", "沙織" "サオリ" "saori",
    "理恵" "リエ" "rie", "奈々" "ナナ" "nana", "友美" "トモミ" "tomomi", "麻衣" "マイ" "mai",
    "亜希子" "アキコ" "akiko", "早苗" "サナエ" "sanae", "弥生" "ヤヨイ" "yayoi", "文子" "フミコ" "fumiko",
    "節子" "セツコ" "setsuko", "和子" "カズコ" "kazuko", "美紀" "ミキ" "miki", "瞳" "ヒトミ" "hitomi",
    "薫" "カオル" "kaoru", "純子" "ジュンコ" "junko", "菜摘" "ナツミ" "natsumi", "志保" "シホ" "shiho",
    "健一" "ケンイチ" "kenichi", "大輔" "ダイスケ" "daisuke", "誠" "マコト" "makoto", "拓也" "タクヤ" "takuya",
    "翔太" "ショウタ" "shota", "健太" "ケンタ" "kenta", "直樹" "ナオキ" "naoki", "哲也" "テツヤ" "tetsuya",
    "和也" "カズヤ" "kazuya", "隆" "タカシ" "takashi", "修" "オサム" "osamu", "浩二" "コウジ" "koji",
    "悠斗" "ユウト" "yuto", "蓮" "レン" "ren", "大和" "ヤマト" "yamato", "亮" "リョウ" "ryo",
];

/// Population of the prefectures, roughly, in ten thousands, in the order of
/// `domain::PREFECTURES`.
pub(super) const POPULATION: [u32; 47] = [
    522, 124, 121, 230, 96, 107, 183, 287, 193, 194, 734, 628, 1405, 924, 220, 103, 113, 77, 81, 205, 198,
    363, 754, 177, 141, 258, 884, 547, 132, 92, 55, 67, 189, 280, 134, 72, 95, 133, 69, 514, 81, 131, 174,
    112, 107, 159, 147,
];

/// Places that are none, so that no facility is a real one.
pub(super) const PLACES: &[&str] = &[
    "青葉野",
    "桜ヶ原",
    "緑が浜",
    "みなと野",
    "若葉平",
    "白鳥台",
    "朝霧原",
    "星ヶ浦",
    "夕凪",
    "花見沢",
    "海鳴",
    "風越野",
    "月見平",
    "鈴鳴",
    "雪割",
    "虹ヶ峰",
    "藤波台",
    "千歳野",
    "椿ヶ森",
    "水鏡",
    "曙原",
    "葉月台",
    "清流野",
    "山吹平",
];

/// `{}` is the place.
pub(super) const FACILITIES: &[&str] = &[
    "{}市立病院",
    "{}市立総合医療センター",
    "{}中央病院",
    "{}記念病院",
    "{}総合病院",
    "{}県民病院",
    "{}大学附属病院",
    "{}リハビリテーション病院",
    "{}内科クリニック",
    "{}訪問看護ステーション",
    "{}看護専門学校",
    "特別養護老人ホーム{}苑",
];

/// Roles with how common they are.
pub(super) const ROLES: &[(&str, u32)] = &[
    ("看護師", 46),
    ("手術室看護師", 9),
    ("救急看護師", 7),
    ("集中ケア認定看護師", 4),
    ("訪問看護師", 7),
    ("保健師", 5),
    ("助産師", 4),
    ("主任", 8),
    ("副看護師長", 4),
    ("看護師長", 4),
    ("看護部長", 1),
    ("看護教員", 1),
];

/// Reserved for examples (RFC 2606 and JPRS): no mail to them can reach anybody.
pub(super) const DOMAINS: &[&str] = &[
    "example.jp",
    "mail.example.jp",
    "hospital.example.jp",
    "nurse.example.jp",
    "home.example.jp",
    "example.com",
    "mail.example.com",
    "example.org",
    "example.net",
];

/// None of these is one address.
pub(super) const BROKEN: &[&str] = &[
    "hanako.example.jp",
    "taro@@example.jp",
    "jiro@example",
    "kita..naka@example.jp",
    "desk@example.jp,info@example.jp",
];
