//! Replies: what was answered with 250 is there after a power failure (law 10).

use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society};

const REPLIES: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reply_that_was_answered_250_survives_a_kill() {
    let society = Society::of(REPLIES).await;
    let notice = society.released("訓練開始のお知らせ").await;
    let serve = society.serve(&["broadcaster"]).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let _ended = serve.terminate().await.with_code(0);

    for (index, mail) in notice.dots().await.iter().enumerate() {
        let serve = society.serve(&["sink"]).await;
        let mut post = society.post().await;
        let member = &mail.to[0];
        let reply = format!(
            "From: <{member}>\nTo: <{to}>\nSubject: Re: kill {index}\nIn-Reply-To: {id}\n\n無事です。\n",
            to = mail.reply_to,
            id = mail.message_id,
        );
        let answer = post.deliver(member, &mail.reply_to, &reply).await;
        serve.kill_9();
        assert!(answer.starts_with("250"), "the reply is taken: {answer}");
        let stored = society.hansho(&["reply", "list"]).await.done();
        let subjects: Vec<&str> =
            stored.as_array().expect("a list").iter().filter_map(|reply| reply["subject"].as_str()).collect();
        assert_eq!(stored.as_array().map(Vec::len), Some(index + 1), "{subjects:?}");
        assert!(subjects.contains(&format!("Re: kill {index}").as_str()), "{subjects:?}");
    }
    assert_eq!(society.relay.count(), REPLIES as u64, "no reply made a mail");
}
