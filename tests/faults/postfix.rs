//! A real Postfix: what it delivered is what the ledger says, to the octet.

use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society, member_address, until};
use mail_parser::MessageParser;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use testkit::Port;
use tokio::net::TcpStream;

const POSTFIX: &str = "/usr/sbin/postfix";
/// Carriers once gave out such local parts; they are quoted on the wire.
const LEGACY: [&str; 2] = ["a..b@docomo.ne.jp", "old.@docomo.ne.jp"];
const REFUSED: usize = 3;
const GREYLISTED: usize = 4;
const MEMBERS: usize = 120;
const BODY: &str =
    "{{name}} 様\n\n.\n..点で始まる行\n行末の空白  \nFrom here\n次のページから報告してください。\n";

/// A whole mail server of our own: its queue, its configuration, its mailbox.
struct Postfix {
    folder: TempDir,
    port: Port,
    master: Child,
}

impl Postfix {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test starts a mail server, and looks whether it listens"
    )]
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("hansho-postfix-").tempdir().expect("a folder");
        let (root, port) = (folder.path(), Port::claim());
        let address = port.address();
        for name in ["conf", "queue", "data", "mail"] {
            std::fs::create_dir(root.join(name)).expect("a folder can be made");
        }
        // Its daemons run as users of their own and go through here.
        run("chmod", &["755", &text(root)]);
        run("chown", &["postfix", &text(&root.join("data"))]);
        run("chown", &["nobody", &text(&root.join("mail"))]);
        std::fs::write(root.join("conf/main.cf"), main_cf(root)).expect("a configuration can be written");
        std::fs::write(root.join("conf/master.cf"), master_cf(address))
            .expect("a configuration can be written");
        let mut start = Command::new(POSTFIX);
        start.args(["-c", &text(&root.join("conf")), "start-fg"]);
        let master = start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("Postfix starts");
        let postfix = Self { folder, port, master };
        until("Postfix to listen", PATIENCE, async || TcpStream::connect(address).await.ok()).await;
        postfix
    }

    /// Every mail it delivered, with the recipient of its envelope.
    fn delivered(&self) -> Vec<(String, Vec<u8>)> {
        let new = self.folder.path().join("mail/all/new");
        let files = std::fs::read_dir(new).into_iter().flatten();
        let mails =
            files.map(|file| std::fs::read(file.expect("a mail").path()).expect("a mail can be read"));
        let envelope = |mail: &[u8]| {
            let head = String::from_utf8_lossy(mail).into_owned();
            let line = head.lines().find_map(|line| line.strip_prefix("X-Original-To: ").map(str::to_owned));
            line.expect("Postfix writes the recipient")
        };
        mails.map(|mail| (envelope(&mail), mail)).collect()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let conf = text(&self.folder.path().join("conf"));
        run(POSTFIX, &["-c", &conf, "stop"]);
        let _killed = self.master.kill();
        let _ended = self.master.wait();
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[expect(clippy::disallowed_methods, reason = "the test sets up a mail server")]
fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().expect("it runs").success(), "{program}");
}

fn main_cf(root: &Path) -> String {
    let root = text(root);
    let refused = member_address(REFUSED);
    let greylisted = member_address(GREYLISTED);
    format!(
        "compatibility_level = 3.6\nqueue_directory = {root}/queue\ndata_directory = {root}/data\n\
         maillog_file = {root}/log\nmaillog_file_prefixes = {root}\ninet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\nmyhostname = private.invalid\nmydestination =\nmynetworks = 127.0.0.0/8\n\
         virtual_mailbox_domains = example.jp docomo.ne.jp\nvirtual_mailbox_base = {root}/mail\n\
         virtual_mailbox_maps = static:all/\nvirtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\n\
         smtpd_recipient_restrictions = check_recipient_access inline:{{ \
         {{ {refused} = 550 5.1.1 nobody here }}, {{ {greylisted} = 450 4.2.0 later }} }}, permit\n"
    )
}

fn master_cf(address: SocketAddr) -> String {
    let mut text = format!("{address} inet n - n - - smtpd\n");
    for service in ["rewrite unix - - n - - trivial-rewrite", "cleanup unix n - n - 0 cleanup"] {
        let _infallible = writeln!(text, "{service}");
    }
    for (service, program) in [("bounce", "bounce"), ("defer", "bounce"), ("trace", "bounce")] {
        let _infallible = writeln!(text, "{service} unix - - n - 0 {program}");
    }
    for service in ["error", "proxymap", "anvil", "verify"] {
        let _infallible = writeln!(text, "{service} unix - - n - - {service}");
    }
    text + "postlog unix-dgram n - n - 1 postlogd\nqmgr unix n - n 300 1 qmgr\nretry unix - - n - - error\n\
            virtual unix - n n - - virtual\n"
}

fn with_legacy_addresses(society: &Society) -> PathBuf {
    let file = society.path("legacy.csv");
    let mut roster = "会員番号,氏名,メールアドレス\n".to_owned();
    for (index, address) in LEGACY.iter().enumerate() {
        let _infallible = writeln!(roster, "x{index},看護 花子,{address}");
    }
    std::fs::write(&file, roster).expect("a roster can be written");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_postfix_has_delivered_what_the_ledger_says() {
    let me = std::fs::metadata("/proc/self").expect("a process").uid();
    assert_eq!(me, 0, "Postfix starts as root only: run this as root, as a container does");
    let postfix = Postfix::start().await;
    let society = Society::plan().members(MEMBERS).found().await;
    let _imported = society.import(&with_legacy_addresses(&society)).await;
    let overrides = [
        ("HANSHO_RELAY__URL", format!("smtp://{}", postfix.port.address())),
        ("HANSHO_BROADCAST__RETRY_FIRST", "2h".to_owned()),
    ];
    let overrides: Vec<(&str, &str)> =
        overrides.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _serve = society.serve_with(&["broadcaster"], &overrides).await;
    let notice = society.draft("exercise", "all", "安否の報告のお願い", BODY).await;
    let _frozen = notice.preflight().await;
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.counts("everybody to be tried", PATIENCE, |tally| tally.pending + tally.submitting == 0).await;
    assert_eq!(notice.state().await, BroadcastState::Sending, "one is greylisted");

    let rows = notice.ledger().await;
    let state = |address: &str| {
        let row = rows.iter().find(|row| row.address == address).expect("a row");
        (row.state.clone(), row.smtp_code)
    };
    assert_eq!(state(&member_address(REFUSED)), ("rejected".to_owned(), Some(550)));
    assert_eq!(state(&member_address(GREYLISTED)), ("deferred".to_owned(), Some(450)));
    let accepted: Vec<&str> =
        rows.iter().filter(|row| row.state == "accepted").map(|row| row.address.as_str()).collect();
    assert_eq!(accepted.len(), MEMBERS + LEGACY.len() - 2);
    until("Postfix to deliver", PATIENCE, async || {
        (postfix.delivered().len() >= accepted.len()).then_some(())
    })
    .await;

    let mut mailboxes: BTreeMap<String, u32> = BTreeMap::new();
    for (recipient, mail) in postfix.delivered() {
        *mailboxes.entry(recipient.replace('"', "")).or_default() += 1;
        let parsed = MessageParser::new().parse(&mail).expect("a mail");
        let written = parsed.body_text(0).expect("a text").replace("\r\n", "\n");
        let (_, rest) = BODY.split_once('\n').expect("a first line");
        assert!(written.contains(rest), "{recipient}: {written}");
        assert_eq!(parsed.subject(), Some("【訓練】安否の報告のお願い"));
    }
    let expected: BTreeMap<String, u32> = accepted.iter().map(|address| ((*address).to_owned(), 1)).collect();
    assert_eq!(mailboxes, expected, "everybody once, and nobody else");
}
