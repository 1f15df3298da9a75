//! Law 2: replies end. The sink stores what comes in; no byte of it goes out, to nobody, not even
//! as a bounce or an acknowledgement.

use crate::{dashboard::Session, sockets};
use domain::BroadcastState;
use hansho_tests::{Broadcast, Dot, PATIENCE, Post, Process, Society, sinkd_executable, until};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const MEMBERS: usize = 200;
/// Members' mail servers at the same time.
const SERVERS: usize = 8;
const STORM_REPLIES: usize = 11_000;
const STORM_SERVERS: usize = 64;
const STORM_MIB_MAX: u64 = 256;
/// Only members know this.
const SECRET: &str = "090-0000-0000";

/// The sink in a process of its own, as on a machine that faces the Internet.
struct SinkAlone {
    process: Process,
    listen: SocketAddr,
}

impl SinkAlone {
    async fn start(society: &Society) -> Self {
        let config = society.path("hansho.toml").display().to_string();
        let environment = [("HANSHO_SINK__LISTEN".to_owned(), society.sink().to_string())];
        let process = Process::start(&sinkd_executable(), &["--config".to_owned(), config], &environment);
        let sink = Self { process, listen: society.sink() };
        until("the sink to greet", PATIENCE, async || Post::connect(sink.listen).await.map(|_| ())).await;
        sink
    }

    /// Looks at its sockets until told to stop; gives how often it looked and what led out.
    fn watched(&self, done: Arc<AtomicBool>) -> std::thread::JoinHandle<(u64, Vec<String>)> {
        let (pid, listen) = (self.process.pid(), self.listen);
        std::thread::spawn(move || {
            let (mut looks, mut found) = (0, Vec::new());
            while !done.load(Ordering::SeqCst) {
                found.extend(sockets::leading_out(pid, listen));
                looks += 1;
            }
            (looks, found)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_reply_reaches_no_member() {
    let society = Society::of(MEMBERS).await;
    let _service = society.serve(&["web", "scheduler", "broadcaster"]).await;
    let sink = SinkAlone::start(&society).await;
    assert!(sockets::listens(sink.process.pid(), sink.listen), "its sockets can be seen");
    let notice = society.released("訓練終了のお知らせ").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;

    let before = society.relay.count();
    let done = Arc::new(AtomicBool::new(false));
    let watch = sink.watched(done.clone());
    storm(&society, &notice).await;

    // Everything that came in is there, and what it is was recognised without an answer.
    let kinds = kinds_of_replies(&society).await;
    assert_eq!(kinds.values().sum::<u64>(), MEMBERS as u64, "{kinds:?}");
    for kind in ["human-reply", "auto-reply", "bounce-hard", "unsubscribe"] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 0), "{kind}: {kinds:?}");
    }

    // Nothing left; and until another notice is through, nothing but that notice leaves.
    assert_eq!(society.relay.count(), before);
    let next = society.released("お礼").await;
    next.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(society.relay.count(), before + next.dots().await.len() as u64);
    assert!(society.dots().iter().all(|mail| !mail.raw.contains(SECRET) && !mail.text.contains(SECRET)));

    done.store(true, Ordering::SeqCst);
    let (looks, led_out) = watch.join().expect("the watch ends");
    assert!(looks >= 20, "it was watched all the time: {looks} looks");
    assert_eq!(led_out, Vec::<String>::new(), "the sink connects to nobody");
}

/// What a bounce leads to is decided by a person, and then by the next audience; nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_exist_is_left_out_once_a_person_says_so() {
    let society = Society::of(4).await;
    let _service = society.serve(&[]).await;
    let notice = society.released("訓練開始のお知らせ").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let mails = notice.dots().await;
    let (gone, forged) = (&mails[0], &mails[1]);
    let mut post = Post::connect(society.sink()).await.expect("the sink listens");
    assert!(post.deliver("", &gone.mail_from, &gone.bounce()).await.starts_with("250"));
    // Whoever it speaks of, it came to this member's return path.
    let speaks_of_others = mails[2].bounce().replace("5.1.1", "4.2.2").replace("failed", "delayed");
    assert!(post.deliver("", &forged.mail_from, &speaks_of_others).await.starts_with("250"));
    let understood = until("both bounces to be understood", PATIENCE, async || {
        (society.store().bounces(notice.id()).await.expect("readable").len() == 2).then_some(())
    });
    understood.await;
    let requests = until("the request", PATIENCE, async || {
        Some(society.store().open_requests(None, 10).await.expect("readable")).filter(|open| !open.is_empty())
    });
    let requests = requests.await;
    assert_eq!(requests.len(), 1, "a passing failure asks for nothing: {requests:?}");
    let request = &requests[0];

    let before = society.relay.count();
    let office = Session::of(&society, &society.coordinator).await;
    let form = format!("request={}&decision=granted", request.id);
    assert_eq!(office.submit("/requests", "/requests", &form).await.status, 303);
    let next = society.draft("exercise", "all", "次のお知らせ", "{{name}} 様").await;
    let preflight = next.preflight().await;
    assert_eq!((&preflight["recipients"], &preflight["held"]), (&3.into(), &1.into()), "{preflight}");
    let _signed = next.approve_by(&society.approver).await.done();
    let _released = next.send().await.done();
    next.becomes(BroadcastState::Completed, PATIENCE).await;
    let dots = next.dots().await;
    assert!(dots.iter().all(|mail| mail.to != gone.to), "not to the address that is gone");
    assert_eq!(society.relay.count(), before + 3);
}

/// A process without an SMTP client cannot send, whatever happens to it.
#[test]
fn law_2_the_sinks_executable_holds_no_mail_client() {
    const CLIENT: [&str; 4] = ["lettre", "MAIL FROM:<", "RelayUrl", "broadcaster"];
    let sink = text_of(&sinkd_executable());
    assert_eq!(CLIENT.into_iter().find(|word| sink.contains(word)), None, "in hansho-sinkd");
    // The same look finds them where they are.
    let beside = sinkd_executable().with_file_name("hansho");
    let main = text_of(&std::env::var_os("HANSHO_BIN").map_or(beside, Into::into));
    assert!(CLIENT.into_iter().all(|word| main.contains(word)), "in hansho");
}

fn text_of(executable: &Path) -> String {
    let octets = std::fs::read(executable).expect("the executable can be read");
    String::from_utf8_lossy(&octets).into_owned()
}

/// Ten thousand reply to all, and a thousand machines answer by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_eleven_thousand_is_kept_to_the_last_and_nobody_hears_of_it() {
    let society = Society::of(MEMBERS).await;
    let serve = society.serve(&[]).await;
    let notice = society.released("訓練終了のお知らせ").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let sent = society.relay.count();

    let mails = Arc::new(notice.dots().await);
    let servers = (0..STORM_SERVERS).map(|server| {
        let (mails, sink) = (mails.clone(), society.sink());
        tokio::spawn(async move {
            let mut post = Post::connect(sink).await.expect("the sink listens");
            for index in (server..STORM_REPLIES).step_by(STORM_SERVERS) {
                let mail = &mails[index % MEMBERS];
                let machine = index % 11 == 0;
                let head = if machine { "Auto-Submitted: auto-replied\n" } else { "" };
                let own = &mail.to[0];
                let to_all: Vec<&str> =
                    mails.iter().flat_map(|other| &other.to).map(String::as_str).collect();
                let text = format!(
                    "From: <{own}>\nTo: <{}>\nCc: {}\n{head}Subject: Re: {index}\n\n{SECRET}\n",
                    mail.reply_to,
                    to_all.join(",\n "),
                );
                let answer = post.deliver(own, &mail.reply_to, &text).await;
                assert!(answer.starts_with("250"), "reply {index}: {answer}");
            }
        })
    });
    for server in servers.collect::<Vec<_>>() {
        server.await.expect("every reply is taken");
    }
    let peak = peak_mib(serve.pid());
    assert!(peak < STORM_MIB_MAX, "{peak} MiB");
    serve.kill_9();

    let export = society.hansho(&["reply", "export", "--format", "jsonl"]).plainly().await.text();
    let kept: Vec<serde_json::Value> =
        export.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    let subjects: BTreeSet<&str> = kept.iter().filter_map(|reply| reply["subject"].as_str()).collect();
    assert_eq!((kept.len(), subjects.len()), (STORM_REPLIES, STORM_REPLIES), "each once");
    let machines = kept.iter().filter(|reply| reply["class"] == "auto-reply").count();
    assert_eq!(machines, STORM_REPLIES / 11);
    assert_eq!(society.relay.count(), sent, "no mail left");
}

/// The most memory a process had so far.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1_024
}

/// Every member answers at the same time, most of them to all.
async fn storm(society: &Society, notice: &Broadcast<'_>) {
    let mails = Arc::new(notice.dots().await);
    assert_eq!(mails.len(), MEMBERS);
    let servers = (0..SERVERS).map(|server| {
        let (mails, sink) = (mails.clone(), society.sink());
        tokio::spawn(async move {
            let mut post = Post::connect(sink).await.expect("the sink listens");
            for (index, mail) in mails.iter().enumerate().filter(|(index, _)| index % SERVERS == server) {
                let Reply { from, to, text } = reply(index, mail, &mails);
                let answer = post.deliver(&from, to, &text).await;
                assert!(answer.starts_with("250"), "reply {index}: {answer}");
            }
        })
    });
    for server in servers.collect::<Vec<_>>() {
        server.await.expect("every reply is taken");
    }
}

struct Reply<'a> {
    from: String,
    to: &'a str,
    text: String,
}

/// Replies to all, machines that answer, bounces, people who have had enough; and everything in a
/// header that ever made a mail system answer.
fn reply<'a>(index: usize, mail: &'a Dot, all: &[Dot]) -> Reply<'a> {
    let own = &mail.to[0];
    let others: Vec<&str> = all.iter().flat_map(|other| &other.to).take(20).map(String::as_str).collect();
    let head = format!(
        "From: <{own}>\nTo: <{}>\nCc: {}\nBcc: {}\nIn-Reply-To: {}\nReferences: {}\nMIME-Version: 1.0\n\
         Disposition-Notification-To: <{own}>\nReturn-Receipt-To: <{own}>\nErrors-To: <{own}>\n\
         Reply-To: {}\nContent-Type: text/plain; charset=utf-8\n",
        mail.reply_to,
        others.join(", "),
        others.join(", "),
        mail.message_id,
        mail.message_id,
        others.join(", "),
    );
    let text = match index % 8 {
        0 => {
            let away = "Subject: Automatic reply\nAuto-Submitted: auto-replied\n\nI am away.";
            return Reply {
                from: String::new(),
                to: &mail.mail_from,
                text: format!("{head}{away} {SECRET}\n"),
            };
        }
        1 => return Reply { from: String::new(), to: &mail.mail_from, text: mail.bounce() },
        2 => format!("{head}Subject: =?utf-8?B?6YWN5L+h5YGc5q2i?=\n\n配信停止してください。 {SECRET}\n"),
        _ => format!("{head}Subject: Re: notice\n\nI am at work until five. Call me: {SECRET}\n"),
    };
    Reply { from: own.clone(), to: &mail.reply_to, text }
}

async fn kinds_of_replies(society: &Society) -> BTreeMap<String, u64> {
    let list = society.hansho(&["reply", "list", "--limit", "1000"]).await.done();
    let mut kinds = BTreeMap::new();
    for reply in list.as_array().expect("a list") {
        *kinds.entry(reply["class"].as_str().expect("a class").to_owned()).or_default() += 1;
    }
    kinds
}
