//! A drill under way, as the pages show it.

use domain::BroadcastState;
use hansho_tests::{Broadcast, PATIENCE, Society, until};

const DRILL: &str = r#"
title = "秋の総合防災訓練"
nature = "exercise"

[[inject]]
key = "start"
title = "訓練開始のお知らせ（安否の報告）"
at = "0s"
subject = "安否の報告のお願い"
body = "{{name}} 様\n\n{{prefecture}}で震度6強の地震が起きた想定です。次のページから報告してください。"
audience = "all"

[inject.questionnaire]
title = "安否の報告"

[[inject.questionnaire.questions]]
key = "safety"
text = "ご無事ですか"
required = true
kind = "choice"
choices = [{ value = "safe", label = "無事" }, { value = "hurt", label = "負傷あり" }]

[[inject]]
key = "remind"
title = "未回答の方への再通知"
at = "6h"
subject = "安否の報告をお願いします"
body = "{{name}} 様\n\nまだ報告が届いていません。"
non_respondents_of = "start"
"#;

/// Writes the drill; its number.
pub(crate) async fn write_drill(society: &Society) -> i64 {
    let file = society.text(DRILL);
    let made = society.hansho(&["drill", "create", &file]).by(&society.coordinator).await.done();
    made["id"].as_i64().expect("an id")
}

/// Starts the drill and brings its first notice to everybody.
pub(crate) async fn begin_drill(society: &Society, drill: i64) -> Broadcast<'_> {
    let drill = drill.to_string();
    let _started = society.hansho(&["drill", "start", &drill]).by(&society.coordinator).await.done();
    let notice = until("the first inject to become a notice", PATIENCE, async || {
        let shown = society.hansho(&["drill", "show", &drill]).await.done();
        shown["injects"][0]["broadcast"].as_i64()
    })
    .await;
    let notice = society.broadcast(notice);
    notice.becomes(BroadcastState::AwaitingApproval, PATIENCE).await;
    let _signed = notice.approve_by(&society.approver).await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    notice
}
