//! July 2022. During a check after an update, a reservation mail went to the multi-year customer
//! database instead of this year's: three fiscal years of people, withdrawn ones included.

use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society};
use std::{collections::BTreeSet, fmt::Write as _};

const STATUSES: [&str; 4] = ["正会員", "賛助会員", "休会", "退会"];
const OF_EACH: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_is_this_years_active_members_whatever_the_roster_holds() {
    let society = Society::plan().found().await;
    let this_year = this_fiscal_year(&society).await;
    let roster = society.path("many-years.csv");
    std::fs::write(&roster, three_years(this_year)).expect("a roster can be written");
    let report = society.import(&roster).await;
    assert_eq!(report["rejected"], serde_json::json!([]), "{report}");

    // "All" is not a table. It is this year's active members.
    let now_active: BTreeSet<String> = (0..OF_EACH)
        .flat_map(|n| [address(this_year, "正会員", n), address(this_year, "賛助会員", n)])
        .collect();
    let _service = society.serve(&[]).await;
    let notice = society.draft("exercise", "all", "健診予約のご案内", "{{name}} 様\n").await;
    let preflight = notice.preflight().await;
    assert_eq!(preflight["ok"], true, "{preflight}");
    assert_eq!(preflight["recipients"], now_active.len());
    assert_eq!(preflight["held"], 0);

    // What the approver signs is that number of people, and it is those who are written to.
    let frozen: BTreeSet<String> = notice.ledger().await.into_iter().map(|row| row.address).collect();
    assert_eq!(frozen, now_active);
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let written_to: BTreeSet<String> = society.dots().into_iter().flat_map(|dot| dot.recipients).collect();
    assert_eq!(written_to, now_active);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_condition_can_widen_an_audience_to_other_years_or_states() {
    let society = Society::plan().found().await;
    let this_year = this_fiscal_year(&society).await;
    let roster = society.path("many-years.csv");
    std::fs::write(&roster, three_years(this_year)).expect("a roster can be written");
    let _report = society.import(&roster).await;
    for condition in ["年度=2020", "fiscal_year=2020", "状態=退会", "status=withdrawn"] {
        let wider = ["audience", "create", "everyone", "--where", condition];
        let refused = society.hansho(&wider).by(&society.coordinator).await;
        assert_ne!(refused.code, 0, "{condition} was taken");
    }
    // A condition that fits people of all years still finds this year's active ones only.
    let narrower = ["audience", "create", "hospital", "--where", "施設名=中央病院"];
    let made = society.hansho(&narrower).by(&society.coordinator).await.done();
    assert_eq!(made["count"], 2 * OF_EACH);
}

/// The year in which the roster is imported, as the product counts it.
async fn this_fiscal_year(society: &Society) -> i64 {
    let file = society.path("plan-only.csv");
    std::fs::write(&file, "会員番号,氏名,メールアドレス\nx1,看護 花子,x1@example.jp\n").expect("a file");
    let plan = society.hansho(&["member", "import", &file.display().to_string()]).await.done();
    assert_eq!(plan["applied"], false);
    plan["fiscal_year"].as_i64().expect("a year")
}

fn number(year: i64, status: &str, n: usize) -> String {
    let at = STATUSES.iter().position(|known| *known == status).expect("a known status");
    format!("y{year}s{at}n{n}")
}

fn address(year: i64, status: &str, n: usize) -> String {
    format!("{}@example.jp", number(year, status, n))
}

/// People of this fiscal year and the two before, of every status; some stayed on from year to
/// year and left at last.
fn three_years(this_year: i64) -> String {
    let mut roster = "会員番号,氏名,メールアドレス,施設名,年度,状態\n".to_owned();
    for year in [this_year - 2, this_year - 1, this_year] {
        for status in STATUSES {
            for n in 0..OF_EACH {
                let (number, address) = (number(year, status, n), address(year, status, n));
                writeln!(roster, "{number},看護 {number},{address},中央病院,{year},{status}").expect("text");
                if year == this_year && status == "退会" {
                    let before = year - 1;
                    writeln!(roster, "{number},看護 {number},{address},中央病院,{before},正会員")
                        .expect("text");
                }
            }
        }
    }
    roster
}
