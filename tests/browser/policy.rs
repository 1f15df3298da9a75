//! Every page a person of each role can open, on a desk and on a phone.

use crate::{
    chrome::Chrome,
    scene::{begin_drill, write_drill},
    window::{DESKTOP, PHONE, PHONE_HEIGHT, Window},
};
use domain::{BroadcastState, MemberId, RecipientToken, TokenKind, parse_key_file};
use hansho_tests::{Broadcast, PATIENCE, Person, Society, member_address, until};
use rehearsal::relay::{Cut, Script, Stage, Verdict};
use std::time::Duration;

const MEMBERS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn no_page_breaks_its_own_policy() {
    let society = Society::plan().members(MEMBERS).relay(unlucky()).found().await;
    let _service = society.serve(&[]).await;
    let pages = Pages::fill(&society).await;
    let chrome = Chrome::start().await;
    let window = chrome.window(&society).await;
    for path in &pages.visitors {
        looks_right(&window, path, "visitor").await;
    }
    let people: [(&str, &Person); 4] = [
        ("coordinator", &society.coordinator),
        ("approver", &society.approver),
        ("engineer", &society.engineer),
        ("viewer", &society.viewer),
    ];
    window.sign_in(&society.coordinator).await;
    window.open("/language/en?to=/").await;
    for path in pages.staff.iter().chain(&pages.visitors) {
        looks_right(&window, path, "english").await;
    }
    window.open("/language/ja?to=/").await;
    for (role, person) in people {
        window.open("/").await;
        window.hand_over_to(person).await;
        for path in &pages.staff {
            looks_right(&window, path, role).await;
        }
    }
    window.close().await;
}

/// What there is to look at.
struct Pages {
    /// For anybody.
    visitors: Vec<String>,
    /// For whoever is signed in; a role that may not gets the page that says so.
    staff: Vec<String>,
}

impl Pages {
    /// Notices in every state that looks different, a drill, replies.
    async fn fill(society: &Society) -> Self {
        let drill = write_drill(society).await;
        let sent = begin_drill(society, drill).await;
        sent.counts("the unlucky ones to be settled", PATIENCE, |tally| tally.open() == 0).await;
        let mail = sent.dots().await.swap_remove(0);
        let letter = "From: <m0001@example.jp>\nSubject: Re: 訓練\n\n長い返信です。\n";
        let kept = society.post().await.deliver("m0001@example.jp", &mail.reply_to, letter).await;
        assert!(kept.starts_with("250"), "the reply is kept: {kept}");
        ask_and_decide(society, &sent).await;

        let body =
            "{{name}} 様\n\n避難所の状況を知らせてください。https://elsewhere.example.jp/a/very/long/link";
        let draft = society
            .draft("exercise", "all", "とても長い件名でも画面からはみ出しません".repeat(4).as_str(), body)
            .await;
        let real = society.draft("actual", "all", "避難指示", body).await;
        assert_eq!(real.preflight().await["ok"], true);
        let ready = society.approved("送信できるお知らせ").await;
        society
            .relay
            .set_script(Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_secs(1))));
        let stopped = society.released("止めたお知らせ").await;
        let _stopped = stopped.stop_by(&society.engineer).await.done();
        stopped.becomes(BroadcastState::Stopped, PATIENCE).await;

        let (sent, draft) = (sent.id(), draft.id());
        let mut staff: Vec<String> = ["/", "/broadcasts/new", "/stop", "/replies", "/replies/1", "/members"]
            .into_iter()
            .chain([
                "/requests",
                "/requests?kind=bounce&choose=all",
                "/requests/suppressed",
                "/members?q=nobody",
                "/members/1",
                "/members/2",
                "/verify",
                "/nothing",
            ])
            .map(str::to_owned)
            .collect();
        staff.extend(
            ["", "/ledger", "/ledger?state=unknown", "/correct"]
                .map(|page| format!("/broadcasts/{sent}{page}")),
        );
        staff.extend(["", "/edit", "/cancel"].map(|page| format!("/broadcasts/{draft}{page}")));
        staff.extend([real.id(), ready.id(), stopped.id()].map(|id| format!("/broadcasts/{id}")));
        staff.extend(["", "/report"].map(|page| format!("/exercises/{drill}{page}")));
        let link = mail.link().expect("a personal link").trim_start_matches(&society.url()).to_owned();
        let unsubscribe = unsubscribe_link(society, sent);
        let visitors = vec![link, unsubscribe, "/login".into(), "/verify".into(), "/r/broken".into()];
        Self { visitors, staff }
    }
}

/// A wish and a dead address wait for somebody; member 2 gets nothing any more.
async fn ask_and_decide(society: &Society, notice: &Broadcast<'_>) {
    let mails = notice.dots().await;
    let wish = "From: <x@example.jp>\nSubject: =?utf-8?B?6YWN5L+h5YGc5q2i?=\n\n配信停止してください。\n";
    let taken = society.post().await.deliver("x@example.jp", &mails[0].reply_to, wish).await;
    assert!(taken.starts_with("250"), "{taken}");
    let taken = society.post().await.deliver("", &mails[1].mail_from, &mails[1].bounce()).await;
    assert!(taken.starts_with("250"), "{taken}");
    let opened = until("both to be understood", PATIENCE, async || {
        let open = society.store().open_requests(None, 10).await.expect("readable");
        (open.len() == 2).then_some(())
    });
    opened.await;
    let _suppressed = society.hansho(&["member", "suppress", "m0002"]).await.done();
}

/// One mailbox is refused, one connection breaks after the final dot, the rest is taken.
fn unlucky() -> Script {
    Script::accept_all()
        .recipient(&member_address(3), Verdict::Refuse { at: Stage::Rcpt })
        .recipient(&member_address(4), Verdict::CutAfterDot(Cut::Always))
}

fn unsubscribe_link(society: &Society, broadcast: domain::BroadcastId) -> String {
    let keys = std::fs::read_to_string(society.path("hansho.key")).expect("init wrote a key");
    let keys = parse_key_file(&keys).expect("a key file");
    let token = RecipientToken { kind: TokenKind::Unsubscribe, broadcast, member: MemberId::new(1) };
    format!("/u/{}", keys.write(token))
}

async fn looks_right(window: &Window<'_>, path: &str, who: &str) {
    window.open(path).await;
    assert!(!window.text().await.contains("処理できませんでした"), "{path} as {who}");
    for (device, width, height) in [("desk", DESKTOP, 900), ("phone", PHONE, PHONE_HEIGHT)] {
        window.resize(width, height).await;
        let overflow = "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
        let overflow = window.script(overflow).await;
        assert_eq!(overflow, 0, "{path} as {who} must be scrolled sideways on a {device}");
        window.keep_picture(&picture_name(who, path, device), width).await;
    }
    let complaints = window.complaints().await.into_iter();
    let complaints: Vec<String> = complaints.filter(|complaint| !is_own_status(complaint, path)).collect();
    assert_eq!(complaints, Vec::<String>::new(), "{path} as {who}");
}

/// The browser logs the status of the page itself where it is 403, 404 or 409: that is an answer.
fn is_own_status(complaint: &str, path: &str) -> bool {
    let page = complaint.split(" - ").next().unwrap_or_default();
    page.ends_with(path) && complaint.contains("the server responded with a status of 4")
}

fn picture_name(who: &str, path: &str, device: &str) -> String {
    let path = match path.split('/').nth(1) {
        Some(personal @ ("r" | "u")) if !path.ends_with("broken") => personal,
        _ => path.trim_start_matches('/'),
    };
    let page: String =
        path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(32).collect();
    format!("{who}-{page}-{device}")
}
