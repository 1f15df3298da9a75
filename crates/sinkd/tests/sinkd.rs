//! The executable, started as an operator starts it.

use domain::{BroadcastId, MemberId, RecipientToken, TokenKind, parse_key_file, write_key_file};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use testkit::{TestDatabase, fresh_sqlite};

const DOMAIN: &str = "reply.example.jp";
const SECRET: [u8; 32] = [5; 32];

/// Writes a configuration (and a key) into the folder of `database`.
fn configure(database: &TestDatabase, listen: &str) -> PathBuf {
    let mut toml = format!(
        "[site]\nkey_file = \"test.key\"\nlanguage = \"ja\"\n[database]\nurl = \"{}\"\n",
        database.core_url
    );
    write!(toml, "[sink]\nlisten = \"{listen}\"\ndomain = \"{DOMAIN}\"\n").expect("text");
    std::fs::write(database.folder().join("test.key"), write_key_file(1, &SECRET)).expect("the key");
    let path = database.folder().join("hansho.toml");
    std::fs::write(&path, toml).expect("the configuration");
    path
}

#[expect(clippy::disallowed_methods, reason = "the test starts the executable it tests")]
fn start(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hansho-sinkd"))
        .arg("--config")
        .arg(config)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable starts")
}

/// What it says before it gives up.
fn failure(config: &Path) -> String {
    let mut child = start(config);
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("stderr");
    assert_eq!(child.wait().expect("an end").code(), Some(1), "{said}");
    said
}

#[expect(clippy::disallowed_methods, reason = "the test is the sink's peer and its operator")]
#[tokio::test]
async fn it_takes_a_reply_and_drains_on_sigterm() {
    let database = fresh_sqlite().await;
    let mut child = start(&configure(&database, "127.0.0.1:0"));
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    let addr = line.trim().rsplit_once("sink.addr=").expect("its address").1.to_owned();

    let token =
        RecipientToken { kind: TokenKind::Reply, broadcast: BroadcastId::new(1), member: MemberId::new(2) };
    let keyring = parse_key_file(&write_key_file(1, &SECRET)).expect("the key");
    let recipient = format!("{}@{DOMAIN}", keyring.write(token));
    let mut peer = TcpStream::connect(addr).expect("connect");
    write!(peer, "EHLO x\r\nMAIL FROM:<a@b.jp>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").expect("send");
    write!(peer, "Subject: x\r\n\r\nsafe\r\n.\r\nQUIT\r\n").expect("send");
    let mut answers = String::new();
    peer.read_to_string(&mut answers).expect("answers");
    assert!(answers.contains("250 2.0.0 stored"), "{answers}");

    let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(killed.success());
    assert!(child.wait().expect("an end").success());
    let replies = replybox::ReplyBox::connect(&database.replies_url).await.expect("open");
    assert_eq!(replies.count_for(BroadcastId::new(1)).await.expect("count"), 1);
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("the log");
    assert!(!rest.contains("a@b.jp") && !rest.contains(&recipient[..20]), "the log shows no address: {rest}");
}

#[tokio::test]
async fn each_thing_that_is_missing_is_named_with_the_way_on() {
    let database = fresh_sqlite().await;
    let missing = failure(&database.folder().join("none.toml"));
    assert!(missing.contains("hansho init"), "{missing}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let busy = failure(&configure(&database, &taken.local_addr().expect("its address").to_string()));
    assert!(busy.contains("in use") && busy.contains("sink.listen"), "{busy}");

    let config = configure(&database, "127.0.0.1:0");
    let no_schema = std::fs::read_to_string(&config).expect("text").replace("hansho.db", "sub.db");
    std::fs::remove_file(database.folder().join("replies.db")).expect("remove");
    std::fs::write(&config, no_schema).expect("write");
    let absent = failure(&config);
    assert!(absent.contains("hansho migrate up"), "{absent}");

    std::fs::remove_file(database.folder().join("test.key")).expect("remove");
    let keyless = failure(&config);
    assert!(keyless.contains("site.key_file"), "{keyless}");
}
