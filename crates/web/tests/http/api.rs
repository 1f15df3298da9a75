//! The JSON interface.

use crate::site::{Answer, Site};
use domain::Role;
use serde_json::{Value, json};
use web::Door;

struct Script<'a> {
    site: &'a Site,
    token: String,
}

impl<'a> Script<'a> {
    async fn of(site: &'a Site, role: Role) -> Self {
        let token = format!("token of {role}").replace(' ', "-");
        site.add_token(role, &token).await;
        Self { site, token }
    }

    async fn call(&self, head: &str, body: &Value) -> (u16, Value) {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let Answer { status, body, .. } = self.site.request(head, &headers, &body.to_string()).await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }
}

#[tokio::test]
async fn a_script_takes_a_notice_from_draft_to_stop() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let author = Script::of(&site, Role::Coordinator).await;
    let approver = Script::of(&site, Role::Approver).await;
    let new = json!({"nature": "exercise", "subject": "始めます", "body": "本文", "audience": "all",
                     "idempotency_key": "k1"});
    let (status, made) = author.call("POST /api/v1/broadcasts", &new).await;
    assert_eq!(status, 201);
    let (_, again) = author.call("POST /api/v1/broadcasts", &new).await;
    assert_eq!(made, again, "the same key is the same draft");
    let at = format!("/api/v1/broadcasts/{}", made["id"]);

    let (status, refused) = author.call(&format!("POST {at}/send"), &json!({})).await;
    assert_eq!((status, &refused["error"]["rule"]), (409, &json!("approval")));
    let (status, checked) = author.call(&format!("POST {at}/preflight"), &json!({})).await;
    assert_eq!((status, &checked["ok"], &checked["recipients"]), (200, &json!(true), &json!(49)));
    let (status, own) = author.call(&format!("POST {at}/approve"), &json!({})).await;
    assert_eq!((status, &own["error"]["rule"]), (403, &json!("four-eyes")));
    let digest = json!({"digest": checked["digest"]});
    let (status, signed) = approver.call(&format!("POST {at}/approve"), &digest).await;
    assert_eq!((status, signed), (200, json!({"given": 1, "required": 1})));
    let (status, sending) = author.call(&format!("POST {at}/send"), &json!({})).await;
    assert_eq!((status, &sending["state"], &sending["pending"]), (200, &json!("sending"), &json!(49)));
    let (status, stopped) = author.call(&format!("POST {at}/stop"), &json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&stopped["prevented"], &stopped["held"], &stopped["total"]),
        (&json!(49), &json!(1), &json!(50))
    );
    let (status, _) = author.call("GET /api/v1/broadcasts/4711", &json!({})).await;
    assert_eq!(status, 404);
    let (status, wrong) = author.call("POST /api/v1/broadcasts", &json!({"nature": "drill"})).await;
    assert_eq!((status, wrong["error"]["text"].is_string()), (400, true));
    site.end().await;
}

#[tokio::test]
async fn a_field_that_does_not_exist_is_refused_by_name() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let author = Script::of(&site, Role::Coordinator).await;
    let new = json!({"nature": "exercise", "subject": "始めます", "body": "{{nmae}} 様", "audience": "all"});
    let (status, refused) = author.call("POST /api/v1/broadcasts", &new).await;
    assert_eq!((status, &refused["error"]["rule"]), (409, &json!("preflight")));
    assert!(refused["error"]["text"].as_str().expect("a text").contains("{{nmae}}"), "{refused}");
    assert!(refused["error"]["way_on"].as_str().expect("a way on").contains("{{name}}"), "{refused}");
    site.end().await;
}

#[tokio::test]
async fn a_cookie_opens_no_api_door_and_a_token_no_page() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let path = format!("/api/v1/broadcasts/{}", site.sent);
    assert_eq!(site.get_as(&browser, &path).await.status, 401);
    site.add_token(Role::Coordinator, "t0ken").await;
    let page = site.request("GET /", &[("Authorization", "Bearer t0ken")], "").await;
    assert_eq!(page.status, 303);
    let cookie = site.request("GET /", &[("Cookie", "hansho_session=t0ken")], "").await;
    assert_eq!(cookie.status, 303);
    site.end().await;
}

#[tokio::test]
async fn every_api_route_is_described() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let description: Value =
        serde_json::from_str(&site.get("/api/v1/openapi.json").await.body).expect("JSON");
    let described = description["paths"].as_object().expect("paths");
    let mut known = 0;
    for route in site.routes.iter().filter(|route| route.pattern.starts_with("/api/")) {
        let method = route.method.to_ascii_lowercase();
        assert!(described[route.pattern].get(&method).is_some(), "{} {}", route.method, route.pattern);
        assert!(route.door == Door::Api || route.name == "api.openapi", "{}", route.name);
        known += 1;
    }
    let operations: usize = described.values().map(|path| path.as_object().expect("methods").len()).sum();
    assert_eq!(operations, known, "nothing is described that is not there");
    site.end().await;
}
