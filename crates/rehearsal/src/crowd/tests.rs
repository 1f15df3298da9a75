use super::*;
use crate::relay::{CaptureRelay, Hook, Script, Stage, Verdict};
use domain::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SOON: Duration = Duration::from_secs(20);
const PEOPLE: usize = 60;

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_600_000_000_000)
    }
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

async fn relay(script: Script) -> CaptureRelay {
    CaptureRelay::start(anywhere(), script, Arc::new(FixedClock)).await.expect("a free port")
}

/// A sink that takes mail for its own domains only.
async fn one_way_sink() -> CaptureRelay {
    let own: Hook = Arc::new(|recipient| {
        (!recipient.ends_with("@reply.example.jp")).then_some(Verdict::Refuse { at: Stage::Rcpt })
    });
    relay(Script::accept_all().decide_by(own)).await
}

#[derive(Default)]
struct Pages {
    gets: AtomicU64,
    posts: std::sync::Mutex<Vec<String>>,
}

/// Serves one form to everybody and keeps what is posted.
async fn answer_server() -> (SocketAddr, Arc<Pages>) {
    let listener = TcpListener::bind(anywhere()).await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let pages = Arc::new(Pages::default());
    let served = Arc::clone(&pages);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_pages(stream, Arc::clone(&served)));
        }
    });
    (addr, pages)
}

async fn serve_pages(mut stream: TcpStream, pages: Arc<Pages>) {
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|octets| octets > 0) {
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() < length {
            continue;
        }
        let reply = if head.starts_with("GET ") {
            pages.gets.fetch_add(1, Ordering::SeqCst);
            let page = "<title>安否</title><input name=\"csrf\" value=\"s3\"><input name=\"safety\">";
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}", page.len())
        } else {
            pages.posts.lock().expect("a lock").push(format!("{head}\r\n\r\n{body}"));
            "HTTP/1.1 303 See Other\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned()
        };
        read.clear();
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn plan(sink: SocketAddr) -> CrowdPlan {
    let answers: AnswerSheet = Arc::new(|_, page| {
        assert!(page.contains("name=\"csrf\" value=\"s3\""));
        vec![("csrf".to_owned(), "s3".to_owned()), ("safety".to_owned(), "safe".to_owned())]
    });
    CrowdPlan {
        time_scale: 0.0,
        audience: PEOPLE,
        plain_replies: 5,
        reply_alls: 2,
        auto_replies: 4,
        bounces: 3,
        ..CrowdPlan::new(11, sink, answers)
    }
}

/// Sends one notice to `PEOPLE` people through the relay.
async fn broadcast(relay: &CaptureRelay, pages: SocketAddr, notice: &str) {
    for member in 0..PEOPLE {
        let raw = format!(
            "From: drill@example.jp\r\nTo: m{member}@example.jp\r\nSubject: notice\r\n\
             Reply-To: t{member}@reply.example.jp\r\nMessage-ID: <{notice}.{member}@example.jp>\r\n\r\n\
             Please answer:\r\nhttp://{pages}/r/t{member}\r\n"
        );
        let mail = post::Outgoing {
            mail_from: format!("b{member}@reply.example.jp"),
            recipient: format!("m{member}@example.jp"),
            foreign: Vec::new(),
            raw: raw.into_bytes(),
        };
        post::deliver(relay.addr(), &mail).await.expect("a delivery");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_answer_through_their_links_and_exactly_the_planned_ones_reply() {
    let (relay, sink) = (relay(Script::accept_all()).await, one_way_sink().await);
    let (addr, pages) = answer_server().await;
    let crowd = Crowd::start(relay.record(), plan(sink.addr()), Arc::new(FixedClock)).expect("a crowd");
    broadcast(&relay, addr, "n1").await;
    assert!(crowd.quiet(SOON).await, "{:?}", crowd.tally());
    let first = crowd.tally();
    assert_eq!(first.received, PEOPLE as u64);
    assert_eq!((first.plain_replies, first.reply_alls, first.auto_replies, first.bounces), (5, 2, 4, 3));
    assert_eq!((first.foreign_rcpt_refused, first.foreign_rcpt_accepted), (10, 0));
    assert_eq!((first.answer_failures, first.reply_failures), (0, 0));
    assert!((20..50).contains(&first.answered) && first.opened > first.answered, "{first:?}");
    {
        let posts = pages.posts.lock().expect("a lock");
        assert_eq!(posts.len() as u64, first.answered);
        assert!(posts.iter().all(|post| post.ends_with("\r\n\r\ncsrf=s3&safety=safe")));
        assert!(posts.iter().all(|post| post.contains(&format!("origin: http://{addr}"))));
        assert_eq!(pages.gets.load(Ordering::SeqCst), first.opened);
    }
    assert_eq!(sink.count(), 14);
    let senders: std::collections::BTreeSet<_> =
        sink.captured().into_iter().map(|mail| mail.mail_from).filter(|from| !from.is_empty()).collect();
    assert!(senders.len() >= 7, "nobody replies twice");

    // The same questionnaire again: only those who have not answered do, and nobody replies.
    broadcast(&relay, addr, "n2").await;
    assert!(crowd.quiet(SOON).await);
    let second = crowd.tally();
    assert!(second.answered > first.answered && second.answered <= PEOPLE as u64 - 3);
    assert_eq!(sink.count(), 14);
    crowd.stop().await;
}

#[tokio::test]
async fn a_stopped_crowd_leaves_at_once_whatever_it_had_planned() {
    let (relay, sink) = (relay(Script::accept_all()).await, one_way_sink().await);
    let (addr, pages) = answer_server().await;
    let plan = CrowdPlan { time_scale: 60.0, ..plan(sink.addr()) };
    let crowd = Crowd::start(relay.record(), plan, Arc::new(FixedClock)).expect("a crowd");
    broadcast(&relay, addr, "n1").await;
    assert!(crowd.wait_until(SOON, |tally| tally.seen == PEOPLE as u64 && tally.pending > 20).await);
    crowd.stop().await;
    assert_eq!((crowd.tally().pending, pages.gets.load(Ordering::SeqCst), sink.count()), (0, 0, 0));
}

#[tokio::test]
async fn a_refused_mail_reaches_nobody_and_a_cut_one_may_have() {
    let script = Script::accept_all()
        .recipient("m0@example.jp", Verdict::Refuse { at: Stage::AfterDot })
        .recipient("m1@example.jp", Verdict::CutAfterDot(crate::relay::Cut::Always));
    let (relay, sink) = (relay(script).await, one_way_sink().await);
    let crowd = Crowd::start(relay.record(), plan(sink.addr()), Arc::new(FixedClock)).expect("a crowd");
    for member in 0..2 {
        let mail = post::Outgoing {
            mail_from: "b@reply.example.jp".to_owned(),
            recipient: format!("m{member}@example.jp"),
            foreign: Vec::new(),
            raw: b"Subject: x\r\n\r\ny\r\n".to_vec(),
        };
        assert!(post::deliver(relay.addr(), &mail).await.is_err());
    }
    assert!(crowd.quiet(SOON).await);
    assert_eq!(crowd.tally().received, 1);
}

#[tokio::test]
async fn simulated_mail_stays_on_this_machine() {
    let relay = relay(Script::accept_all()).await;
    let outside = plan("192.0.2.1:25".parse().expect("an address"));
    let refused = Crowd::start(relay.record(), outside, Arc::new(FixedClock));
    assert_eq!(refused.map(|_| ()), Err(CrowdError::SinkNotLoopback));
}
