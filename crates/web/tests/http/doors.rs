//! Who may pass where: walked over every route there is.

use crate::site::{Answer, Browser, FORM, Site};
use domain::{Role, TokenKind};
use web::{Door, RouteInfo};

fn path_of(site: &Site, route: &RouteInfo) -> String {
    let id = if route.pattern.contains("exercises") { site.exercise.get() } else { site.sent.get() };
    route
        .pattern
        .replace("/r/{token}", &site.link(TokenKind::Answer, site.members[0]))
        .replace("/u/{token}", &site.link(TokenKind::Unsubscribe, site.members[0]))
        .replace("/members/{id}", &format!("/members/{}", site.members[0]))
        .replace("/replies/{id}", "/replies/1")
        .replace("{id}", &id.to_string())
        .replace("{seq}", "1")
        .replace("{lang}", "en")
        .replace("{name}", "hansho.css")
}

fn is_stream(route: &RouteInfo) -> bool {
    route.name.ends_with(".events")
}

#[tokio::test]
async fn without_a_session_only_open_doors_open() {
    let site = Site::start(50, "127.0.0.1:0").await;
    for route in &site.routes {
        let path = path_of(&site, route);
        let answer = site.request(&format!("{} {path}", route.method), &[FORM], "").await;
        match route.door {
            Door::Staff if route.method == "GET" => {
                assert_eq!(answer.status, 303, "{path}");
                assert!(answer.headers["location"].starts_with("/login?to=%2F"), "{path}");
            }
            Door::Staff => assert_eq!(answer.status, 303, "{path}"),
            Door::Api => assert_eq!(answer.status, 401, "{path}"),
            Door::Open | Door::Visitor => assert_ne!(answer.status, 404, "{path}: {}", answer.body),
        }
    }
    assert!(site.routes.len() > 50, "the walk sees the whole table");
    site.end().await;
}

#[tokio::test]
async fn every_answer_carries_the_strict_policy() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let mut paths: Vec<String> = site
        .routes
        .iter()
        .filter(|route| route.method == "GET" && !is_stream(route))
        .map(|route| path_of(&site, route))
        .collect();
    paths
        .extend(["/nothing", "/api/v1/nothing", "/broadcasts/99999", "/r/x", "/assets/x"].map(str::to_owned));
    for path in paths {
        let answer = site.get_as(&browser, &path).await;
        let policy = answer.headers.get("content-security-policy").map_or("", String::as_str);
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["referrer-policy"], "same-origin", "{path}");
        assert!(!answer.body.contains(" style="), "{path}");
        assert!(answer.status < 500, "{path}: {}", answer.body);
    }
    let wrong = site.request("DELETE /members", &[], "").await;
    assert_eq!(wrong.status, 405);
    assert!(wrong.headers.contains_key("content-security-policy"));
    site.end().await;
}

#[tokio::test]
async fn a_post_not_from_our_own_form_is_refused_on_every_route() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let other = site.sign_in(Role::Approver).await;
    let token = |browser: &Browser| format!("form_token={}&reason=x&as=accepted", browser.form_token);
    let before = site.store.tally(site.sent).await.expect("tally");
    for route in site.routes.iter().filter(|route| route.door == Door::Staff && route.method == "POST") {
        let head = format!("POST {}", path_of(&site, route));
        let cookie = ("Cookie", browser.cookie.as_str());
        for (why, headers, body) in [
            ("no token", vec![FORM, cookie], String::from("reason=x")),
            ("foreign token", vec![FORM, cookie], token(&other)),
            ("foreign origin", vec![FORM, cookie, ("Origin", "https://evil.example")], token(&browser)),
            ("null origin", vec![FORM, cookie, ("Origin", "null")], token(&browser)),
            ("foreign site", vec![FORM, cookie, ("Sec-Fetch-Site", "cross-site")], token(&browser)),
            ("plain text", vec![("Content-Type", "text/plain"), cookie], token(&browser)),
        ] {
            let answer = site.request(&head, &headers, &body).await;
            assert_eq!(answer.status, 403, "{head}, {why}");
        }
    }
    assert_eq!(site.store.tally(site.sent).await.expect("tally"), before, "nothing was done");
    assert_eq!(site.get_as(&browser, "/").await.status, 200, "nor was anybody signed out");
    site.end().await;
}

#[tokio::test]
async fn an_onlooker_changes_nothing_and_sees_no_address() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let viewer = site.sign_in(Role::Viewer).await;
    let digest = site.store.broadcast(site.sent).await.expect("read").expect("there").digest.expect("frozen");
    let form = format!("reason=x&as=accepted&digest={digest}&subject=x&body=x&audience=all&nature=exercise");
    for route in site.routes.iter().filter(|route| route.door == Door::Staff && route.method == "POST") {
        if route.name == "logout" {
            continue;
        }
        let answer = site.post_as(&viewer, &path_of(&site, route), &form).await;
        assert_eq!(answer.status, 403, "{}: {}", route.name, answer.body);
    }
    for path in [
        "/broadcasts/new",
        "/audiences/new",
        "/audiences/1/delete",
        "/replies",
        "/replies/1",
        "/replies/1/raw",
        "/replies.csv",
        "/replies/events",
        "/stop",
    ] {
        assert_eq!(site.get_as(&viewer, path).await.status, 403, "{path}");
    }
    let csv = format!("/broadcasts/{}/ledger.csv", site.sent);
    let held = format!("/broadcasts/{}/held.csv", site.sent);
    for path in [&csv, &held] {
        assert_eq!(site.get_as(&viewer, path).await.status, 403, "{path}");
    }
    assert!(!site.get_as(&viewer, &format!("/broadcasts/{}", site.sent)).await.body.contains(&held));
    for path in [format!("/broadcasts/{}/ledger", site.sent), format!("/members/{}", site.members[1])] {
        let covered = site.get_as(&viewer, &path).await;
        assert_eq!(covered.status, 200, "{path}");
        assert!(covered.body.contains("m***@example.jp"), "{path}");
        assert!(!covered.body.contains("member1@example.jp"), "{path}");
    }
    let coordinator = site.sign_in(Role::Coordinator).await;
    let clear = site.get_as(&coordinator, &csv).await;
    assert!(clear.body.contains("member1@example.jp"));
    assert!(clear.headers["content-disposition"].starts_with("attachment"));
    site.end().await;
}

#[tokio::test]
async fn a_session_ends_at_once_with_sign_out_disabling_and_new_password() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let now = domain::Clock::now(&*site.clock);
    let first = site.sign_in(Role::Viewer).await;
    let second = site.sign_in(Role::Viewer).await;
    assert_ne!(first.cookie, second.cookie, "a new token at every sign-in");
    assert_eq!(site.post_as(&first, "/logout", "").await.status, 303);
    assert_eq!(site.get_as(&first, "/").await.status, 303, "signed out");
    assert_eq!(site.get_as(&second, "/").await.status, 200, "the other session stays");
    let engineer = site.person(Role::Engineer).id;
    let third = site.sign_in(Role::Engineer).await;
    site.store.set_password(domain::Actor::LocalEngineer, engineer, "x", now).await.expect("set");
    assert_eq!(site.get_as(&third, "/").await.status, 303, "a new password ends sessions");
    let viewer = site.person(Role::Viewer).id;
    site.store.disable_staff(domain::Actor::LocalEngineer, viewer, now).await.expect("disable");
    assert_eq!(site.get_as(&second, "/").await.status, 303, "disabled");
    site.end().await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_look_the_same() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let shown = |answer: Answer, email: &str| (answer.status, answer.body.replace(email, "X"));
    let (known, unknown) = ("miru@example.jp", "nobody@example.jp");
    let wrong = site.post("/login", &format!("email={known}&password=wrong")).await;
    let nobody = site.post("/login", &format!("email={unknown}&password=wrong")).await;
    assert_eq!(wrong.status, 401);
    assert_eq!(shown(wrong, known), shown(nobody, unknown));
    for _ in 0..6 {
        site.post("/login", &format!("email={known}&password=wrong")).await;
    }
    let right = format!("email={known}&password={}", crate::site::encode(crate::site::PASSWORD));
    assert_eq!(site.post("/login", &right).await.status, 401, "the account waits");
    site.clock.advance(std::time::Duration::from_secs(3_600));
    let answer = site.post("/login", &right).await;
    assert_eq!(answer.status, 303, "and opens again");
    let cookie = &answer.headers["set-cookie"];
    for word in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    site.end().await;
}
