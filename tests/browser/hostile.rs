//! What strangers write is shown, and nothing of it runs.

use crate::chrome::Chrome;
use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_reply_executes_nothing() {
    let society = Society::of(3).await;
    let _service = society.serve(&[]).await;
    let notice = society.released("訓練終了のお知らせ").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let mail = notice.dots().await.swap_remove(0);
    let elsewhere = Elsewhere::listen();
    let payloads = payloads(&elsewhere.url);
    for payload in &payloads {
        let answer =
            society.post().await.deliver(&mail.to[0], &mail.reply_to, &letter(payload, &mail.to[0])).await;
        assert!(answer.starts_with("250"), "the reply is kept: {answer}");
    }

    let chrome = Chrome::start().await;
    let desk = chrome.window(&society).await;
    desk.sign_in(&society.coordinator).await;
    let _earlier = desk.complaints().await;
    let pages = std::iter::once("/replies".to_owned())
        .chain((1..=payloads.len()).map(|reply| format!("/replies/{reply}")));
    for (page, shown) in pages.zip(std::iter::once(&payloads[0]).chain(&payloads)) {
        desk.open(&page).await;
        assert!(!desk.has_dialog().await, "{page} opened a dialog");
        assert!(desk.text().await.contains(shown.trim()), "{page} shows what was written: {shown}");
        assert_eq!(desk.script("return window.ran ?? null").await, Value::Null, "{page} ran something");
        let title = desk.title().await;
        assert!(title.ends_with("全国災害看護の会（架空）") && title != "ran", "{page} is titled {title}");
        let strange = "return document.querySelectorAll('main :is(script, img, iframe, object, form[action^=http], \
                       [onerror], [onload], [style], a[href^=javascript], a[href^=http])').length";
        assert_eq!(desk.script(strange).await, 0, "{page} holds nothing of it as markup");
        assert_eq!(desk.complaints().await, Vec::<String>::new(), "{page}: nothing was even tried");
    }
    assert!(elsewhere.was_left_alone(), "no page fetched anything from elsewhere");
    desk.close().await;
}

/// Each goes into every place of a mail that a page shows.
fn payloads(elsewhere: &str) -> Vec<String> {
    vec![
        "<script>window.ran = 1; document.title = 'ran'; alert(1)</script>".to_owned(),
        format!("<img src={elsewhere}/pixel onerror=alert(1)>"),
        "\"><svg onload=alert(1)>".to_owned(),
        "'><iframe srcdoc=\"<script>parent.ran = 1</script>\"></iframe>".to_owned(),
        format!("</pre></title></textarea><link rel=stylesheet href={elsewhere}/x.css>"),
        format!("<form action={elsewhere}><button autofocus>x</button></form>"),
        "{{ 7 * 7 }} ${window.ran = 1} javascript:alert(1)".to_owned(),
    ]
}

fn letter(payload: &str, from: &str) -> String {
    let quoted = payload.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "From: \"{quoted}\" <{from}>\nSubject: {payload}\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=\"part\"\n\n\
         --part\nContent-Type: text/plain; charset=utf-8\n\n{payload}\n\
         --part\nContent-Type: text/html; charset=utf-8\n\n<html><body>{payload}</body></html>\n\
         --part\nContent-Type: text/html\nContent-Disposition: attachment; filename=\"{quoted}.html\"\n\n\
         {payload}\n--part--\n"
    )
}

/// Another machine, which would see a page ask for something.
struct Elsewhere {
    listener: TcpListener,
    url: String,
}

impl Elsewhere {
    fn listen() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        listener.set_nonblocking(true).expect("a listener can be asked without waiting");
        Self { listener, url: format!("http://{address}") }
    }

    fn was_left_alone(&self) -> bool {
        self.listener.accept().is_err()
    }
}
