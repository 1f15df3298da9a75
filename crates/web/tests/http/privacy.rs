//! Erasing a person and taking one person's data out, over real sockets.

use crate::site::Site;
use data_encoding::BASE64;
use domain::{Actor, Clock, Decision, RequestKind, Role, TokenKind};
use store::NewRequest;

#[tokio::test]
async fn an_erasure_is_confirmed_by_name_and_its_way_is_shown() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let office = site.sign_in(Role::Coordinator).await;
    let path = format!("/members/{}/erase", site.members[1]);
    let page = site.get_as(&office, &format!("/members/{}", site.members[1])).await;
    assert!(page.body.contains(&path), "{}", page.body);
    let asked = site.get_as(&office, &path).await;
    assert_eq!(asked.status, 200);
    assert!(asked.body.contains("K00001 会員 1"), "{}", asked.body);
    assert!(site.store.erasures(10).await.expect("read").is_empty(), "looking erases nobody");

    let done = site.post_as(&office, &path, "").await;
    assert_eq!((done.status, done.headers["location"].as_str()), (303, "/retention?said=erasure-asked"));
    let shown = site.get_as(&office, "/retention?said=erasure-asked").await;
    assert!(
        shown.body.contains("K00001 会員 1") && shown.body.contains("お知らせの終了待ち"),
        "{}",
        shown.body
    );
    assert!(shown.body.contains("400日"), "the periods stand there too");
    for role in [Role::Viewer, Role::Approver] {
        let onlooker = site.sign_in(role).await;
        for path in ["/retention", path.as_str()] {
            assert_eq!(site.get_as(&onlooker, path).await.status, 403, "{path}");
        }
    }
    site.end().await;
}

#[tokio::test]
async fn whom_the_clock_wants_erased_is_kept_from_the_page_and_from_the_list() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let office = site.sign_in(Role::Coordinator).await;
    let onlookers = [site.sign_in(Role::Viewer).await, site.sign_in(Role::Approver).await];
    for (member, seen_on) in [(site.members[1], None), (site.members[2], Some("/retention"))] {
        let page = format!("/members/{member}");
        let path = format!("{page}/keep");
        let asked = site.store.ask_erasure(Actor::Scheduler, member, site.clock.now()).await;
        assert!(asked.expect("asked"));
        let shown = site.get_as(&office, seen_on.unwrap_or(&page)).await.body;
        assert!(shown.contains(&format!("action=\"{path}\"")) && shown.contains("削除せずに残す"), "{shown}");
        for onlooker in &onlookers {
            assert!(!site.get_as(onlooker, &page).await.body.contains("個人情報を削除する予定です"));
            assert_eq!(site.post_as(onlooker, &path, "").await.status, 403);
        }
        assert!(site.store.erasure(member).await.expect("read").is_some(), "looking keeps nobody");

        let (from, back) = match seen_on {
            Some(list) => ("from=retention", format!("{list}?said=kept")),
            None => ("", format!("{page}?said=kept")),
        };
        let kept = site.post_as(&office, &path, from).await;
        assert_eq!((kept.status, kept.headers["location"].clone()), (303, back));
        assert_eq!(site.store.erasure(member).await.expect("read"), None);
        let log = site.store.audit_entries(0, 1_000).await.expect("read");
        let last = log.last().expect("an entry");
        let by = format!("staff:{}", site.person(Role::Coordinator).id);
        let entry = (last.actor.as_str(), last.action.as_str(), last.object.clone());
        assert_eq!(entry, (by.as_str(), "erasure-withdrawn", format!("member:{member}")));
        assert!(!site.get_as(&office, &page).await.body.contains(&path));
        let again = site.post_as(&office, &path, from).await.headers["location"].clone();
        assert_eq!(again, format!("{page}?said=kept-before"));
        let told = site.get_as(&office, &again).await.body;
        assert!(told.contains("すでに取りやめられていました") && !told.contains("say-good"), "{told}");
    }
    site.end().await;
}

#[tokio::test]
async fn a_member_who_is_kept_is_not_written_to_against_an_earlier_wish() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let office = site.sign_in(Role::Coordinator).await;
    let (member, now) = (site.members[2], site.clock.now());
    let coordinator = Actor::Staff { id: site.person(Role::Coordinator).id, role: Role::Coordinator };
    let kind = RequestKind::Unsubscribe;
    let wish = NewRequest { kind, broadcast: site.sent, member, reply: None };
    assert!(site.store.open_request(wish, now).await.expect("opened"));
    let granted = site.store.settle_request_of(coordinator, kind, member, Decision::Granted, now).await;
    granted.expect("granted");
    let page = format!("/members/{member}");
    assert_eq!(site.post_as(&office, &format!("{page}/erase"), "").await.status, 303);
    let erasing = site.get_as(&office, &page).await.body;
    assert!(erasing.contains("個人情報の削除の希望により") && !erasing.contains("/lift"), "{erasing}");
    assert_eq!(site.post_as(&office, &format!("{page}/keep"), "").await.status, 303);
    let kept = site.get_as(&office, &format!("{page}?said=kept")).await.body;
    assert!(kept.contains("以前からの配信停止があれば、そのまま続きます。"), "{kept}");
    assert!(kept.contains("本人の希望により") && kept.contains(&format!("{page}/lift")), "{kept}");
    site.end().await;
}

#[tokio::test]
async fn whom_nobody_can_keep_any_more_is_said_to_be_erased() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let office = site.sign_in(Role::Coordinator).await;
    // Stands in no notice: nothing has to be over first.
    site.import("会員番号,氏名,メールアドレス\nK9,新人 花子,hanako@example.jp\n").await;
    let found = site.store.member_by_no(&"K9".parse().expect("a number")).await.expect("read");
    let (member, now) = (found.expect("a member").member.id, site.clock.now());
    assert!(site.store.ask_erasure(Actor::LocalEngineer, member, now).await.expect("asked"));
    let waits = site.store.erase(Actor::LocalEngineer, &site.keyring, member, now).await.expect("erased");
    assert!(waits.is_empty(), "{waits:?}");
    let late = site.post_as(&office, &format!("/members/{member}/keep"), "").await;
    assert_eq!(late.headers["location"], "/retention?said=erased-before");
    let told = site.get_as(&office, &late.headers["location"]).await.body;
    assert!(told.contains("すでに削除されていました") && !told.contains("say-good"), "{told}");
    site.end().await;
}

#[tokio::test]
async fn one_person_s_data_leave_by_an_action_that_is_recorded() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let office = site.sign_in(Role::Coordinator).await;
    let path = format!("/members/{}/export", site.members[0]);
    assert_eq!(site.get_as(&office, &path).await.status, 405);
    let file = site.post_as(&office, &path, "").await;
    assert_eq!(file.status, 200);
    assert_eq!(file.headers["content-type"], "application/json");
    assert!(file.headers["content-disposition"].starts_with("attachment"));
    // The mail itself, too: its attachments are nowhere else.
    let mail = BASE64.encode(b"Subject: x\r\n\r\n<script>alert(3)</script>");
    for word in ["K00000", "member0@example.jp", "第0病院", "無事です。", "\"notices\"", mail.as_str()]
    {
        assert!(file.body.contains(word), "{word}: {}", file.body);
    }
    assert!(!file.body.contains("member1@example.jp"), "nobody else's");
    let log = site.store.audit_entries(0, 1_000).await.expect("read");
    let last = log.last().expect("an entry");
    assert_eq!(
        (last.action.as_str(), last.object.clone()),
        ("member-exported", format!("member:{}", site.members[0]))
    );
    site.end().await;
}

#[tokio::test]
async fn a_member_s_wish_to_be_erased_opens_a_request_and_erases_nobody() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let link = site.link(TokenKind::Unsubscribe, site.members[0]);
    let page = site.get(&link).await;
    assert!(page.body.contains(&format!("action=\"{link}/erasure\"")), "{}", page.body);
    assert!(site.store.open_requests(None, 10).await.expect("listed").is_empty(), "looking asks nothing");
    assert_eq!(site.post(&format!("{link}/erasure"), "").await.status, 200);
    let open = site.store.open_requests(None, 10).await.expect("listed");
    assert_eq!(open.iter().map(|request| request.kind).collect::<Vec<_>>(), [RequestKind::Erasure]);
    assert!(site.store.erasures(10).await.expect("read").is_empty());

    let office = site.sign_in(Role::Coordinator).await;
    let form = format!("request={}&kind=erasure&decision=granted", open[0].id);
    let confirm = site.post_as(&office, "/requests/confirm", &form).await;
    assert!(confirm.body.contains("削除は元に戻せません"), "{}", confirm.body);
    assert_eq!(site.post_as(&office, "/requests", &form).await.status, 303);
    let asked = site.store.erasures(10).await.expect("read");
    assert_eq!(asked.iter().map(|erasure| erasure.member).collect::<Vec<_>>(), [site.members[0]]);
    site.end().await;
}
