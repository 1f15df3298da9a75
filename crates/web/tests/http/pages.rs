//! What people see and do, over real sockets.

use crate::site::{FORM, Site, between, reply};
use domain::{BroadcastState, Clock, MemberId, Role, TokenKind};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

async fn answers(site: &Site, member: MemberId) -> Option<store::Response> {
    site.store.response(site.sent, member).await.expect("read")
}

#[tokio::test]
async fn an_answer_page_says_not_reported_until_the_answer_is_stored() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let (member, link) = (site.members[0], site.link(TokenKind::Answer, site.members[0]));
    let opened = site.get(&link).await;
    assert!(opened.body.contains("まだ報告されていません"), "{}", opened.body);
    assert!(opened.body.contains("nature-exercise"), "the nature stands on a member's page, too");
    assert!(!opened.body.contains("会員 0"), "no name");
    site.request(&format!("HEAD {link}"), &[], "").await;
    assert!(answers(&site, member).await.is_none(), "looking changes nothing");

    let half = site.post(&link, "work=later&note=typed%20before").await;
    assert_eq!(half.status, 422);
    assert!(half.body.contains("「ご無事ですか」に答えてください"));
    assert!(half.body.contains("typed before") && half.body.contains("value=\"later\" checked"));
    assert!(half.body.contains("まだ報告されていません"));
    assert!(answers(&site, member).await.is_none());

    let stored = site.post(&link, "safety=safe&work=now&note=%3Cb%3E&evil=1").await;
    assert_eq!(stored.status, 303);
    assert_eq!(stored.headers["location"], link);
    let shown = site.get(&link).await;
    assert!(shown.body.contains("報告済み") && !shown.body.contains("まだ報告されていません"));
    assert!(shown.body.contains("&#60;b&#62;") || shown.body.contains("&lt;b&gt;"));
    let answers = answers(&site, member).await.expect("stored").answers;
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["note", "safety", "work"]);
    site.end().await;
}

#[tokio::test]
async fn a_link_opens_only_what_it_was_made_for() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let answer = site.link(TokenKind::Answer, site.members[0]);
    let unsubscribe = site.link(TokenKind::Unsubscribe, site.members[0]);
    let stranger = site.link(TokenKind::Answer, MemberId::new(999_999));
    for path in [
        answer.replace("/r/", "/u/"),
        unsubscribe.replace("/u/", "/r/"),
        stranger,
        "/r/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
        "/r/%2e%2e".to_owned(),
    ] {
        assert_eq!(site.get(&path).await.status, 404, "{path}");
        assert_eq!(site.post(&path, "safety=safe&work=now").await.status, 404, "{path}");
    }
    site.end().await;
}

#[tokio::test]
async fn one_click_needs_no_cookie_and_may_repeat() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let link = site.link(TokenKind::Unsubscribe, site.members[2]);
    assert!(site.get(&link).await.body.contains("配信停止を希望する"));
    assert!(site.store.open_requests(None, 10).await.expect("read").is_empty(), "opening is no wish");
    for headers in [vec![FORM], vec![("Content-Type", "multipart/form-data; boundary=x")]] {
        let head = format!("POST {link}");
        let answer = site.request(&head, &headers, "List-Unsubscribe=One-Click").await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(site.store.open_requests(None, 10).await.expect("read").len(), 1);
    site.end().await;
}

#[tokio::test]
async fn a_granted_wish_holds_the_member_in_the_next_notice_until_it_is_lifted() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let member = site.members[2];
    site.post(&site.link(TokenKind::Unsubscribe, member), "").await;
    let (office, onlooker) = (site.sign_in(Role::Coordinator).await, site.sign_in(Role::Approver).await);
    assert_eq!(site.get_as(&onlooker, "/requests").await.status, 403);
    let page = site.get_as(&office, "/requests").await.body;
    assert!(page.contains("配信停止の希望") && page.contains(&format!("/members/{member}")), "{page}");
    let id = between(&page, "name=\"request\" value=\"", "\"").to_owned();
    let form = format!("request={id}&kind=unsubscribe&decision=granted");
    let asked = site.post_as(&office, "/requests/confirm", &format!("request={id}&kind=unsubscribe")).await;
    assert!(asked.body.contains("1人への配信を止めますか"), "{}", asked.body);
    assert_eq!(site.post_as(&onlooker, "/requests/confirm", &format!("request={id}")).await.status, 403);
    assert_eq!(site.post_as(&onlooker, "/requests", &form).await.status, 403);
    assert_eq!(site.post_as(&office, "/requests", "request=x&decision=granted").await.status, 400);
    let done = site.post_as(&office, "/requests", &form).await;
    assert_eq!(
        (done.status, done.headers["location"].as_str()),
        (303, "/requests?kind=unsubscribe&said=suppressed")
    );
    assert!(site.get_as(&office, "/requests").await.body.contains("対応待ちの申し出はありません"));

    let of_member = format!("/members/{member}");
    assert!(site.get_as(&office, &of_member).await.body.contains("本人の希望により"));
    let covered = site.get_as(&onlooker, &of_member).await.body;
    assert!(covered.contains("配信停止中") && !covered.contains("希望"), "{covered}");
    assert!(site.get_as(&office, "/requests/suppressed").await.body.contains(&of_member));
    assert_eq!(site.get_as(&onlooker, "/requests/suppressed").await.status, 403);
    let draft = format!("/broadcasts/{}", site.draft);
    site.post_as(&office, &format!("{draft}/preflight"), "").await;
    assert!(site.get_as(&office, &draft).await.body.contains("本人の希望で配信停止中"));

    assert_eq!(site.post_as(&onlooker, &format!("{of_member}/lift"), "").await.status, 403);
    assert_eq!(site.post_as(&office, &format!("{of_member}/lift"), "").await.status, 303);
    assert!(!site.get_as(&office, &of_member).await.body.contains("配信停止中"));
    site.post_as(&office, &format!("{draft}/preflight"), "").await;
    assert!(!site.get_as(&office, &draft).await.body.contains("配信停止中"));
    site.end().await;
}

#[tokio::test]
async fn what_strangers_wrote_is_shown_and_never_runs() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    for path in ["/replies", "/replies/1"] {
        let page = site.get_as(&browser, path).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("alert(1)"), "shown");
        assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{path}");
    }
    let raw = site.get_as(&browser, "/replies/1/raw").await;
    assert_eq!(raw.headers["content-type"], "application/octet-stream");
    assert!(raw.headers["content-disposition"].starts_with("attachment"));
    assert!(raw.headers["content-security-policy"].contains("sandbox"));
    assert!(site.get_as(&browser, "/replies").await.body.contains("未確認"));
    let file = site.get_as(&browser, "/replies.csv?class=human-reply").await;
    assert!(
        file.headers["content-type"].starts_with("text/csv") && file.body.contains("alert(1)"),
        "{}",
        file.body
    );
    let nothing = site.get_as(&browser, "/replies.csv?class=complaint").await.body;
    assert!(nothing.contains('\u{feff}') && !nothing.contains("alert(1)"), "{nothing}");
    assert!(nothing.contains("id,received_at,broadcast,member_no,"), "{nothing}");
    let unread = "/replies?unread=1&class=human-reply";
    assert!(site.get_as(&browser, unread).await.body.contains("/replies/1"));
    assert_eq!(site.post_as(&browser, "/replies/1/read", "").await.status, 303);
    assert!(!site.get_as(&browser, "/replies").await.body.contains("未確認</span>"));
    assert!(!site.get_as(&browser, unread).await.body.contains("/replies/1"));
    site.end().await;
}

#[tokio::test]
async fn the_office_takes_away_who_is_held_and_why() {
    let site = Site::start(100, "127.0.0.1:0").await;
    let office = site.sign_in(Role::Coordinator).await;
    let path = format!("/broadcasts/{}/held.csv", site.sent);
    assert!(site.get_as(&office, &format!("/broadcasts/{}", site.sent)).await.body.contains(&path));
    let file = site.get_as(&office, &path).await;
    assert_eq!(file.headers["content-type"], "text/csv; charset=utf-8");
    assert!(file.body.contains('\u{feff}'), "{}", file.body);
    let lines: Vec<&str> = file.body.lines().filter(|line| line.contains(',')).collect();
    assert_eq!(
        lines,
        [
            "会員番号,氏名,施設名,都道府県,理由",
            "K00039,会員 39,第39病院,高知県,メールアドレスなし",
            "K00079,会員 79,第79病院,香川県,メールアドレスなし",
        ]
    );
    for (file, headings) in
        [("held", "会員番号,氏名,施設名,都道府県,理由\n"), ("ledger", "member_no,address,state,attempts,")]
    {
        let nobody = site.get_as(&office, &format!("/broadcasts/{}/{file}.csv", site.draft)).await.body;
        assert!(nobody.contains(headings), "{nobody}");
    }
    site.end().await;
}

#[tokio::test]
async fn a_field_that_does_not_exist_is_named_while_the_notice_is_written() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let author = site.sign_in(Role::Coordinator).await;
    let before = site.store.broadcasts(100).await.expect("read").len();
    let form = "nature=exercise&subject=x&audience=all&body=%7B%7Bnmae%7D%7D%20typed";
    let edit = format!("/broadcasts/{}/edit", site.draft);
    for path in ["/broadcasts", &edit] {
        let page = site.post_as(&author, path, form).await;
        assert_eq!(page.status, 422, "{path}: {}", page.body);
        assert!(page.body.contains("差し込み項目 {{nmae}} は名簿にありません"), "{path}: {}", page.body);
        assert!(page.body.contains("{{name}} {{prefecture}}") && page.body.contains("{{nmae}} typed"));
    }
    assert_eq!(site.store.broadcasts(100).await.expect("read").len(), before, "nothing was kept");
    site.end().await;
}

#[tokio::test]
async fn every_reply_that_nobody_has_read_can_be_reached() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let mut ids = Vec::new();
    for member in site.members.iter().cycle().take(79) {
        ids.push(site.replies.insert(reply(site.sent, *member, site.clock.now())).await.expect("a reply"));
    }
    let reader = site.store.staff().await.expect("staff")[0].id;
    for id in ids.iter().rev().take(10) {
        site.store.mark_reply_read(*id, reader, site.clock.now()).await.expect("marked");
    }
    let (mut reached, mut path) = (BTreeSet::new(), "/replies?unread=1".to_owned());
    loop {
        let page = site.get_as(&browser, &path).await.body;
        let links = page.split("href=\"/replies/").skip(1).filter_map(|rest| rest.split('"').next());
        reached.extend(links.map(str::to_owned));
        let next = page.split("href=\"").filter_map(|rest| rest.split('"').next());
        let Some(next) = next.filter(|link| link.contains("before=")).last() else { break };
        path = next.replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!(reached.len(), 70, "{reached:?}");
    site.end().await;
}

#[tokio::test]
async fn an_actual_notice_goes_its_way_only_with_the_word_and_the_digest_that_was_read() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let author = site.sign_in(Role::Coordinator).await;
    let approver = site.sign_in(Role::Approver).await;
    let page = format!("/broadcasts/{}", site.draft);
    let step = |name: &str| format!("{page}/{name}");
    assert_eq!(site.post_as(&author, &step("preflight"), "").await.status, 303);
    assert_eq!(site.post_as(&author, &step("request"), "").await.status, 303);
    let shown = site.get_as(&approver, &page).await.body;
    assert!(shown.contains("nature-actual") && shown.contains("実災害"));
    assert!(!shown.contains("訓練</b>"), "nothing on it says drill");
    assert!(site.get_as(&approver, "/").await.body.contains("承認を依頼しています"));
    let digest = between(&shown, "name=\"digest\" value=\"", "\"").to_owned();

    let refused = site.post_as(&approver, &step("approve"), &format!("digest={digest}")).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("確認の言葉"), "{}", refused.body);
    let word = crate::site::encode("実災害");
    let own = site.post_as(&author, &step("approve"), &format!("digest={digest}&confirmation={word}")).await;
    assert_eq!(own.status, 403, "the author never approves");

    let form = "subject=changed&body=changed&audience=all";
    assert_eq!(site.post_as(&author, &step("edit"), form).await.status, 303);
    site.post_as(&author, &step("preflight"), "").await;
    let old = format!("digest={digest}&confirmation={word}");
    assert_eq!(
        site.post_as(&approver, &step("approve"), &old).await.status,
        409,
        "what was read is not what stands there"
    );
    let shown = site.get_as(&approver, &page).await.body;
    let digest = between(&shown, "name=\"digest\" value=\"", "\"");
    let new = format!("digest={digest}&confirmation={word}");
    assert_eq!(site.post_as(&approver, &step("approve"), &new).await.status, 303);
    assert_eq!(site.post_as(&author, &step("send"), "").await.status, 303);
    let state = site.store.broadcast(site.draft).await.expect("read").expect("there").state;
    assert_eq!(state, BroadcastState::Sending);
    site.end().await;
}

#[tokio::test]
async fn a_stop_answers_with_counts_that_add_up_and_only_an_approver_resumes() {
    let site = Site::start(100, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Engineer).await;
    let page = format!("/broadcasts/{}", site.sent);
    assert_eq!(site.post_as(&browser, &format!("{page}/stop"), "").await.status, 303);
    let shown = site.get_as(&browser, &page).await.body;
    assert!(shown.contains("停止の結果"));
    let table = between(&shown, "<tbody>", "</tfoot>");
    let figures: Vec<u64> = table
        .split("<td class=\"num\">")
        .skip(1)
        .map(|cell| between(cell, "", "<").replace(',', "").parse().expect("a number"))
        .collect();
    let (total, parts) = figures.split_last().expect("rows");
    assert_eq!(parts.len(), 9);
    assert_eq!(parts.iter().sum::<u64>(), *total);
    let resume = format!("{page}/resume");
    assert_eq!(site.post_as(&browser, &resume, "reason=x").await.status, 403);
    let approver = site.sign_in(Role::Approver).await;
    assert_eq!(site.post_as(&approver, &resume, "reason=").await.status, 409, "without a reason");
    assert_eq!(site.post_as(&approver, &resume, "reason=checked").await.status, 303);
    site.end().await;
}

#[tokio::test]
async fn everything_stops_from_one_page() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let ask = site.get_as(&browser, "/stop").await.body;
    assert!(ask.contains("訓練開始のお知らせ") && ask.contains("秋の総合防災訓練"));
    assert_eq!(site.post_as(&browser, "/stop", "").await.status, 303);
    let broadcast = site.store.broadcast(site.sent).await.expect("read").expect("there");
    let exercise = site.store.exercise(site.exercise).await.expect("read").expect("there");
    assert_eq!(broadcast.state, BroadcastState::Stopped);
    assert_eq!(exercise.state, domain::ExerciseState::Stopped);
    site.end().await;
}

#[tokio::test]
async fn a_stopped_exercise_is_ended_from_its_page() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let page = format!("/exercises/{}", site.exercise);
    let end = format!("{page}/end");
    assert!(!site.get_as(&browser, &page).await.body.contains(&end), "it runs");
    assert_eq!(site.post_as(&browser, &end, "").await.status, 409);
    assert_eq!(site.post_as(&browser, &format!("{page}/stop"), "").await.status, 303);
    let viewer = site.sign_in(Role::Viewer).await;
    assert!(!site.get_as(&viewer, &page).await.body.contains(&end));
    let stopped = site.get_as(&browser, &page).await.body;
    assert!(stopped.contains(&end) && stopped.contains("元に戻せません"), "{stopped}");
    let ended = site.post_as(&browser, &end, "").await;
    assert_eq!(ended.headers["location"], format!("{page}?said=ended"));
    let shown = site.get_as(&browser, &ended.headers["location"]).await.body;
    assert!(shown.contains("訓練を終了しました") && !shown.contains(&format!("{page}/start")), "{shown}");
    let exercise = site.store.exercise(site.exercise).await.expect("read").expect("there");
    assert_eq!(exercise.state, domain::ExerciseState::Ended);
    site.end().await;
}

#[tokio::test]
async fn a_live_page_streams_fragments_and_ends_with_the_service() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Viewer).await;
    let mut socket = site.connect().await;
    let head = format!(
        "GET /exercises/{}/events HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n",
        site.exercise, browser.cookie
    );
    socket.write_all(head.as_bytes()).await.expect("send");
    let mut lines = BufReader::new(socket).lines();
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let line = lines.next_line().await.expect("a line").expect("the stream is open");
        if let Some(event) = line.strip_prefix("event:") {
            seen.push(event.trim().to_owned());
        }
    }
    assert_eq!(seen, ["answers", "timeline", "rate", "map", "state", "beat"]);
    let began = Instant::now();
    site.end().await;
    assert!(began.elapsed() < Duration::from_secs(3), "an open stream does not hold the drain up");
    while let Ok(Some(_)) = lines.next_line().await {}
}

#[tokio::test]
async fn a_large_body_is_refused_and_assets_are_cached_by_content() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let large = "x".repeat(600 * 1024);
    assert_eq!(site.post("/login", &format!("email={large}")).await.status, 413);
    let first = site.get("/assets/hansho.css").await;
    let etag = first.headers["etag"].clone();
    let again = site.request("GET /assets/hansho.css", &[("If-None-Match", &etag)], "").await;
    assert_eq!((first.status, again.status), (200, 304));
    assert_eq!(site.get("/readyz").await.status, 200);
    let metrics = site.get("/metrics").await.body;
    assert!(metrics.contains("hansho_deliveries{nature=\"exercise\",state=\"accepted\"}"), "{metrics}");
    site.end().await;
}

#[tokio::test]
async fn the_language_is_the_readers_choice() {
    let site = Site::start(50, "127.0.0.1:0").await;
    assert!(site.get("/verify").await.body.contains("<html lang=\"ja\">"));
    let chosen = site.get("/language/en?to=%2Fverify").await;
    assert_eq!((chosen.status, chosen.headers["location"].as_str()), (303, "/verify"));
    let cookie = chosen.headers["set-cookie"].split(';').next().expect("a cookie").to_owned();
    let page = site.request("GET /verify", &[("Cookie", &cookie)], "").await.body;
    assert!(page.contains("<html lang=\"en\">") && page.contains("Is a notice genuine?"));
    assert_eq!(site.get("/language/en?to=%2F%2Fevil.example").await.headers["location"], "/");
    site.end().await;
}

#[tokio::test]
async fn a_busy_address_is_named_with_the_way_on() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let error = site.bind_again().await.expect_err("in use").to_string();
    assert!(error.contains(&site.address.to_string()) && error.contains("web.listen"), "{error}");
    site.end().await;
}
