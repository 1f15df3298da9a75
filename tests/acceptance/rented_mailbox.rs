//! A society that cannot listen on port 25: its replies end in a mailbox at a provider, a real
//! Dovecot here, and are fetched from there.

use domain::BroadcastState;
use hansho_tests::{Dot, PATIENCE, Society, until};
use replybox::ReplyBox;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use testkit::Port;
use tokio::net::TcpStream;

const DOVECOT: &str = "/usr/sbin/dovecot";
/// Enough for a process to be killed in the middle.
const MANY: usize = 300;

/// A whole mail server of our own, with one mailbox.
struct Dovecot {
    folder: TempDir,
    port: Port,
    master: Child,
}

impl Dovecot {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test starts a mail server, and looks whether it listens"
    )]
    async fn start() -> Self {
        let me = fs::metadata("/proc/self").expect("a process").uid();
        assert_eq!(me, 0, "Dovecot starts as root only: run this as root, as a container does");
        let folder = tempfile::Builder::new().prefix("hansho-dovecot-").tempdir().expect("a folder");
        let (root, port) = (folder.path(), Port::claim());
        let address = port.address();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(root.join("certificate.pem"), pair.cert.pem()).expect("a certificate can be written");
        fs::write(root.join("key.pem"), pair.signing_key.serialize_pem()).expect("a key can be written");
        for name in ["tmp", "new", "cur"] {
            fs::create_dir_all(root.join("mail").join(name)).expect("a folder can be made");
        }
        // Its daemons run as users of their own and go through here.
        run("chmod", &["755", &text(root)]);
        run("chown", &["-R", "nobody:nogroup", &text(&root.join("mail"))]);
        fs::write(root.join("dovecot.conf"), configuration(root, address)).expect("it can be written");
        let mut start = Command::new(DOVECOT);
        start.args(["-F", "-c", &text(&root.join("dovecot.conf"))]);
        let master = start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("Dovecot starts");
        let dovecot = Self { folder, port, master };
        until("Dovecot to listen", PATIENCE, async || TcpStream::connect(address).await.ok()).await;
        dovecot
    }

    fn url(&self, password: &str) -> String {
        format!("imaps://replies%40provider.example:{password}@localhost:{}", self.port.address().port())
    }

    fn certificate(&self) -> String {
        text(&self.folder.path().join("certificate.pem"))
    }

    /// Delivers as a mail server does: the file appears whole.
    fn receives(&self, name: &str, mail: &str) {
        let (tmp, new) = (self.mail("tmp").join(name), self.mail("new").join(name));
        fs::write(&tmp, mail.replace('\n', "\r\n")).expect("a mail can be written");
        run("chown", &["nobody:nogroup", &text(&tmp)]);
        fs::rename(tmp, new).expect("a mail can be delivered");
    }

    /// Names and flags of all mails that are still there.
    fn left(&self) -> BTreeSet<String> {
        let files =
            ["new", "cur"].into_iter().flat_map(|name| fs::read_dir(self.mail(name)).expect("a folder"));
        files.map(|file| file.expect("a mail").file_name().to_string_lossy().into_owned()).collect()
    }

    async fn is_empty_but_for(&self, names: &[&str]) {
        let what = format!("only {names:?} to be left");
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        until(&what, PATIENCE, async || (self.left() == wanted).then_some(())).await;
    }

    fn mail(&self, name: &str) -> PathBuf {
        self.folder.path().join("mail").join(name)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // The master ends its children when it is asked to, not when it is killed.
        run("kill", &["-TERM", &self.master.id().to_string()]);
        let _ended = self.master.wait();
    }
}

fn configuration(root: &Path, address: SocketAddr) -> String {
    format!(
        "protocols = imap\nlisten = 127.0.0.1\nbase_dir = {root}/run\nstate_dir = {root}/state\n\
         log_path = {root}/dovecot.log\nssl = required\nssl_cert = <{root}/certificate.pem\n\
         ssl_key = <{root}/key.pem\nmail_plugins = acl\nplugin {{\n  acl = vfile\n}}\nmail_location = maildir:{root}/mail\nfirst_valid_uid = 1\n\
         passdb {{\n  driver = static\n  args = password=secret\n}}\n\
         userdb {{\n  driver = static\n  args = uid=nobody gid=nogroup home={root}/mail\n}}\n\
         service imap-login {{\n  inet_listener imap {{\n    port = 0\n  }}\n  \
         inet_listener imaps {{\n    port = {port}\n    ssl = yes\n  }}\n}}\n",
        root = root.display(),
        port = address.port(),
    )
}

#[expect(clippy::disallowed_methods, reason = "the test makes a mail server's folders")]
fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("the program is there");
    assert!(status.success(), "{program} {arguments:?}");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

async fn society_with(mailbox: &Dovecot, password: &str) -> Society {
    let plan = Society::plan().members(2).set("HANSHO_SINK__PROTOCOL", "lmtp");
    let plan = plan.set("HANSHO_PICKUP__URL", &mailbox.url(password));
    plan.set("SSL_CERT_FILE", &mailbox.certificate()).found().await
}

/// What left to the two members.
async fn notices(society: &Society) -> Vec<Dot> {
    let notice = society.released("訓練開始のお知らせ").await;
    let serve = society.serve(&["broadcaster"]).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let _ended = serve.terminate().await.with_code(0);
    notice.dots().await
}

/// A reply as the provider's server delivers it to the mailbox that takes every address.
fn reply(notice: &Dot, subject: &str) -> String {
    format!(
        "Return-Path: <{from}>\nDelivered-To: replies@provider.example\nX-Original-To: {to}\n\
         Received: from mx.example.jp by mx.provider.example; Sat, 28 Nov 2026 09:00:00 +0900\n\
         From: <{from}>\nTo: 訓練本部 <{to}>\nSubject: {subject}\nIn-Reply-To: {id}\n\n\
         無事です。\n.\n..点で始まる行\n",
        from = notice.to[0],
        to = notice.reply_to,
        id = notice.message_id,
    )
}

async fn stored(society: &Society) -> Vec<Value> {
    let list = society.hansho(&["reply", "list", "--limit", "500"]).await.done();
    list.as_array().expect("a list").clone()
}

fn subjects(replies: &[Value]) -> BTreeSet<&str> {
    replies.iter().filter_map(|reply| reply["subject"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_comes_to_a_rented_mailbox_is_taken_and_what_is_not_ours_stays_for_a_person() {
    let mailbox = Dovecot::start().await;
    let society = society_with(&mailbox, "secret").await;
    let notices = notices(&society).await;
    let written = reply(&notices[0], "Re: 訓練");
    mailbox.receives("1.reply", &written);
    mailbox.receives("2.bounce", &format!("Return-Path: <>\n{}", notices[1].bounce()));
    mailbox.receives("3.stranger", "Return-Path: <a@b.example>\nTo: replies@provider.example\n\nHi\n");
    let guessed = reply(&notices[0], "guess").replace(&notices[0].reply_to, "guess@reply.staff.example.jp");
    mailbox.receives("4.guess", &guessed);

    let serve = society.serve(&[]).await;
    mailbox.is_empty_but_for(&["3.stranger:2,F", "4.guess:2,F"]).await;
    let replies = stored(&society).await;
    let classes: BTreeSet<_> =
        replies.iter().map(|reply| reply["class"].as_str().expect("a class")).collect();
    assert_eq!((replies.len(), classes), (2, BTreeSet::from(["bounce-hard", "human-reply"])));
    let id =
        replies.iter().find(|reply| reply["class"] == "human-reply").expect("the reply")["id"].to_string();
    let shown = society.hansho(&["reply", "show", &id]).await.done();
    assert_eq!(shown["text"].as_str().map(str::trim_end), Some("無事です。\n.\n..点で始まる行"));
    let url = format!("sqlite://{}?mode=ro", society.path("replies.db").display());
    let replies = ReplyBox::connect(&url).await.expect("the replies can be read");
    let raw = replies.get(id.parse().expect("an id")).await.expect("read").expect("the reply").raw;
    assert!(raw == written.replace('\n', "\r\n").as_bytes(), "byte for byte");

    // What arrives while it waits is there at once; some servers know the mailbox's own address only.
    let own = "Delivered-To: replies@reply.staff.example.jp\nX-Ignored: ";
    let later =
        reply(&notices[0], "later").replace("Delivered-To: replies@provider.example\nX-Original-To: ", own);
    mailbox.receives("5.later", &later);
    until("the next reply", PATIENCE, async || {
        subjects(&stored(&society).await).contains("later").then_some(())
    })
    .await;
    mailbox.is_empty_but_for(&["3.stranger:2,F", "4.guess:2,F"]).await;
    assert_eq!(society.relay.count(), 2, "no reply made a mail");
    let _ended = serve.terminate().await.with_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_deleted_before_it_is_durable_whatever_dies() {
    let mailbox = Dovecot::start().await;
    let society = society_with(&mailbox, "secret").await;
    let notices = notices(&society).await;
    let expected: BTreeSet<String> = (0..MANY).map(|n| format!("reply {n}")).collect();
    for (n, subject) in expected.iter().enumerate() {
        mailbox.receives(&format!("{n}.reply"), &reply(&notices[n % 2], subject));
    }

    let mut alone = society.serve(&["pickup"]).await;
    alone.logs("They wait in the mailbox").await;
    let _ended = alone.terminate().await.with_code(0);
    assert_eq!(mailbox.left().len(), MANY, "nobody took them");
    let serve = society.serve(&["sink", "pickup"]).await;
    until("some to be taken", PATIENCE, async || (mailbox.left().len() < MANY - 10).then_some(())).await;
    serve.kill_9();
    let gone = MANY - mailbox.left().len();
    assert!((1..MANY).contains(&gone), "killed in the middle: {gone}");
    assert!(stored(&society).await.len() >= gone, "what is deleted is stored");

    let serve = society.serve(&["sink", "pickup"]).await;
    mailbox.is_empty_but_for(&[]).await;
    let replies = stored(&society).await;
    assert_eq!(subjects(&replies), expected.iter().map(String::as_str).collect());
    assert!(replies.len() <= MANY + 1, "at most the one that was under way came twice");
    let _ended = serve.terminate().await.with_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mailbox_that_does_not_let_us_in_is_named_without_its_password() {
    let mailbox = Dovecot::start().await;
    let society = society_with(&mailbox, "not-the-secret").await;
    mailbox.receives("1.mail", "Subject: x\n\nx\n");
    let mut serve = society.serve(&["pickup"]).await;
    serve.logs("login was refused").await;
    assert!(serve.log().contains("check `pickup.url`"), "{}", serve.log());
    assert!(!serve.log().contains("not-the-secret"), "{}", serve.log());
    assert_eq!(mailbox.left().len(), 1);
    let _ended = serve.terminate().await.with_code(0);

    let look = || society.hansho(&["reply", "list"]);
    let refused = look().with("HANSHO_SINK__PROTOCOL", "smtp").await.with_code(1);
    assert!(refused.stderr.contains("sink.protocol"), "{}", refused.stderr);
    let refused = look().with("HANSHO_PICKUP__URL", "imaps://u:p@imap.example.jp").await.with_code(1);
    assert!(refused.stderr.contains("rehearsal"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mailbox_that_lets_nothing_be_deleted_gives_each_mail_once() {
    let mailbox = Dovecot::start().await;
    let society = society_with(&mailbox, "secret").await;
    let notices = notices(&society).await;
    fs::write(mailbox.mail("dovecot-acl"), "owner lr\n").expect("rights can be taken away");
    let mut serve = society.serve(&["sink", "pickup"]).await;
    for n in 0..4 {
        // Each arrival makes it look at all of them.
        mailbox.receives(&format!("{n}.reply"), &reply(&notices[0], &format!("reply {n}")));
        until("the reply", PATIENCE, async || (stored(&society).await.len() > n).then_some(())).await;
    }
    serve.logs("the right to delete and to flag").await;
    let replies = stored(&society).await;
    assert_eq!((replies.len(), subjects(&replies).len()), (4, 4), "each once: {replies:?}");
    assert_eq!(mailbox.left().len(), 4);
    let _ended = serve.terminate().await.with_code(0);
}
