//! A relay that cannot be trusted, or does not let us in: no mail goes to it, none in the clear and
//! none lost; people read why; and where there is a second relay, that one takes the mail.

use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society, until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rehearsal::relay::{CaptureRelay, Script};
use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};
use testkit::SystemClock;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

/// When the connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// On `STARTTLS`.
    Asked,
    /// Before a word is said (`smtps://`).
    AtOnce,
}

/// How a relay that secures the connection and wants a login can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As it should be.
    Good,
    /// Somebody on the way took STARTTLS out of what it offers.
    Stripped,
    /// Somebody on the way adds answers to what will be asked once the connection is secure.
    Injected,
    /// It offers STARTTLS, and then cannot.
    Unable,
    /// Its certificate ran out.
    Expired,
    /// Its certificate is another machine's.
    OtherName,
    /// Nobody we trust signed its certificate.
    Untrusted,
    /// Once the connection is secure, it never comes to the end of what it offers.
    Endless,
    /// The password is wrong.
    WrongPassword,
    /// It takes one EHLO for a session.
    OneHello,
    /// It refuses the first recipient, and is gone when the transaction is to be reset.
    GoneAtReset,
    /// It does not pass our mail on, until somebody changes its settings.
    Denying,
}

/// And what people read then.
const ASKED: [(Manner, &str); 8] = [
    (Manner::Stripped, "no STARTTLS"),
    (Manner::Injected, "corrupt message"),
    (Manner::Unable, "454"),
    (Manner::Expired, "xpired"),
    (Manner::OtherName, "not valid for"),
    (Manner::Untrusted, "invalid peer certificate"),
    (Manner::Endless, "a reply of more than"),
    (Manner::WrongPassword, "535"),
];
const AT_ONCE: [(Manner, &str); 5] = [
    (Manner::Expired, "xpired"),
    (Manner::OtherName, "not valid for"),
    (Manner::Untrusted, "invalid peer certificate"),
    (Manner::Endless, "a reply of more than"),
    (Manner::WrongPassword, "535"),
];

struct SecureRelay {
    url: String,
    /// PEM of whom to trust.
    trusted: String,
    seen: Seen,
    task: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Seen {
    /// Mails that came before the connection was secured.
    in_the_clear: Arc<AtomicU32>,
    taken: Arc<AtomicU32>,
    /// Somebody changed the relay's settings.
    mended: Arc<AtomicBool>,
    /// What it does once is done.
    done: Arc<AtomicBool>,
}

impl Drop for SecureRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer")
}

fn acceptor(manner: Manner, issuer: &CertifiedIssuer<'static, KeyPair>) -> TlsAcceptor {
    let name = if manner == Manner::OtherName { "other.example.jp" } else { "localhost" };
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    if manner == Manner::Expired {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate with its key");
    TlsAcceptor::from(Arc::new(config))
}

impl SecureRelay {
    async fn start(security: Security, manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("an address").port();
        let (issuer, stranger) = (issuer(), issuer());
        let trusted = if manner == Manner::Untrusted { stranger.pem() } else { issuer.pem() };
        let tls = acceptor(manner, &issuer);
        let seen = Seen::default();
        let shown = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, seen) = (tls.clone(), shown.clone());
                // How a connection ends is the client's business.
                tokio::spawn(async move { session(stream, security, manner, tls, &seen).await.ok() });
            }
        });
        let scheme = if security == Security::AtOnce { "smtps" } else { "smtp+starttls" };
        let url = format!("{scheme}://drill:secret@localhost:{port}");
        Self { url, trusted, seen, task }
    }
}

async fn session(
    stream: TcpStream,
    security: Security,
    manner: Manner,
    tls: TlsAcceptor,
    seen: &Seen,
) -> std::io::Result<()> {
    let offer = if manner == Manner::Stripped { "250 8BITMIME" } else { "250-8BITMIME\r\n250 STARTTLS" };
    let secured = if security == Security::AtOnce {
        let mut secured = BufReader::new(tls.accept(stream).await?);
        say(&mut secured, "220 secure.invalid ESMTP").await?;
        Some(secured)
    } else {
        let mut plain = BufReader::new(stream);
        say(&mut plain, "220 secure.invalid ESMTP").await?;
        let asked = speak(&mut plain, manner, offer, &seen.in_the_clear, seen).await?;
        if asked { Some(BufReader::new(tls.accept(plain.into_inner()).await?)) } else { None }
    };
    if let Some(mut secured) = secured {
        speak(&mut secured, manner, "250 AUTH PLAIN LOGIN", &seen.taken, seen).await?;
    }
    Ok(())
}

/// Obeys until the connection ends, or until it is to be secured: then true. Counts mails.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    manner: Manner,
    offer: &str,
    mails: &AtomicU32,
    seen: &Seen,
) -> std::io::Result<bool> {
    let is_secure = offer.contains("AUTH");
    let mut hellos = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" if manner == Manner::Endless && is_secure => loop {
                say(stream, "250-and this").await?;
            },
            "EHLO" => {
                hellos += 1;
                let refused = manner == Manner::OneHello && hellos > 1;
                let greeting = format!("250-secure.invalid\r\n{offer}");
                say(stream, if refused { "503 5.5.1 you said so" } else { &greeting }).await?;
            }
            "STAR" if manner == Manner::Unable => say(stream, "454 4.7.0 TLS not available").await?,
            "STAR" if manner == Manner::Injected => {
                let welcome = "250 AUTH PLAIN\r\n235 2.7.0 welcome\r\n250 ok\r\n";
                let mails = "250 ok\r\n250 ok\r\n354 go on\r\n250 2.0.0 taken\r\n".repeat(6);
                say(stream, format!("220 2.0.0 go on\r\n{welcome}{mails}").trim_end()).await?;
                return Ok(true);
            }
            "STAR" => {
                say(stream, "220 2.0.0 go on").await?;
                return Ok(true);
            }
            "RCPT" if manner == Manner::Denying && !seen.mended.load(Ordering::SeqCst) => {
                say(stream, "554 5.7.1 <somebody@example.jp>: Relay access denied").await?;
            }
            "RCPT" if manner == Manner::GoneAtReset && !seen.done.swap(true, Ordering::SeqCst) => {
                say(stream, "550 5.1.1 nobody here").await?;
            }
            "RSET" if manner == Manner::GoneAtReset => return Ok(false),
            "AUTH" if manner == Manner::WrongPassword => say(stream, "535 5.7.8 who are you?").await?,
            "AUTH" => say(stream, "235 2.7.0 welcome").await?,
            "DATA" => {
                say(stream, "354 go on").await?;
                while line.trim_end() != "." {
                    line.clear();
                    if stream.read_line(&mut line).await? == 0 {
                        return Ok(false);
                    }
                }
                mails.fetch_add(1, Ordering::SeqCst);
                say(stream, "250 2.0.0 taken").await?;
            }
            "QUIT" => return Ok(false),
            _ => say(stream, "250 2.0.0 ok").await?,
        }
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, reply: &str) -> std::io::Result<()> {
    stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    stream.flush().await
}

/// A bundle with this one issuer, for `SSL_CERT_FILE`.
fn trusting(society: &Society, issuer: &str) -> String {
    let bundle = society.path("trusted.pem");
    std::fs::write(&bundle, issuer).expect("a bundle can be written");
    bundle.display().to_string()
}

/// A society whose preferred relay is this one; its own capture relay is the second, for members and
/// for the operator's first copy.
async fn sent_by_the_second(security: Security, manner: Manner, said: &str) {
    let relay = SecureRelay::start(security, manner).await;
    let operators = ("HANSHO_BROADCAST__OPERATORS", r#"["night@staff.jp"]"#);
    let society = Society::plan().members(6).set(operators.0, operators.1).found().await;
    let notice = society.released("訓練開始のお知らせ").await;
    let fallback = format!("[\"smtp://{}\"]", society.relay.addr());
    let bundle = trusting(&society, &relay.trusted);
    let overrides = [
        ("HANSHO_RELAY__URL", relay.url.as_str()),
        ("HANSHO_RELAY__FALLBACK", &fallback),
        ("SSL_CERT_FILE", &bundle),
    ];
    let serve = society.serve_with(&["broadcaster"], &overrides).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let trouble = until("people to be told", PATIENCE, async || {
        society.store().relay_trouble().await.expect("readable")
    });
    let trouble = trouble.await;
    assert!(trouble.contains(said), "{manner:?}: {trouble}");
    assert!(!trouble.contains("secret"), "{trouble}");
    assert_eq!(relay.seen.in_the_clear.load(Ordering::SeqCst), 0, "{manner:?}: a mail in the clear");
    assert_eq!(relay.seen.taken.load(Ordering::SeqCst), 0, "{manner:?}");
    let sent = society.dots();
    assert_eq!((sent.len(), &sent[0].recipients[0]), (7, &"night@staff.jp".to_owned()), "{manner:?}");
    let by = society.relay.addr().to_string();
    let rows = notice.ledger().await;
    assert!(rows.iter().all(|row| row.relay.as_deref() == Some(by.as_str())), "{manner:?}: {rows:?}");
    drop(serve);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_not_secure_gets_nothing_and_the_next_one_is_used() {
    let [a, b, c, d, e, f, g, h] =
        ASKED.map(|(manner, said)| sent_by_the_second(Security::Asked, manner, said));
    tokio::join!(a, b, c, d, e, f, g, h);
    let [a, b, c, d, e] = AT_ONCE.map(|(manner, said)| sent_by_the_second(Security::AtOnce, manner, said));
    tokio::join!(a, b, c, d, e);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secure_relay_is_used_and_without_trust_everything_waits() {
    tokio::join!(used_where_trusted(Security::Asked), used_where_trusted(Security::AtOnce));
}

async fn used_where_trusted(security: Security) {
    let relay = SecureRelay::start(security, Manner::Good).await;
    let society = Society::plan().members(4).found().await;
    let bundle = trusting(&society, &issuer().pem());
    let overrides = [("HANSHO_RELAY__URL", relay.url.as_str()), ("SSL_CERT_FILE", &bundle)];
    let notice = society.released("訓練開始のお知らせ").await;
    let serve = society.serve_with(&["broadcaster"], &overrides).await;
    let untrusted = until("people to be told", PATIENCE, async || {
        society.store().relay_trouble().await.expect("readable")
    });
    assert!(untrusted.await.contains("invalid peer certificate"));
    assert_eq!(notice.tally().await.pending, 4, "nobody was tried, nobody refused");
    let _ended = serve.terminate().await.with_code(0);
    assert_eq!(society.store().relay_trouble().await.expect("readable"), None, "nobody is at work");

    trusting(&society, &relay.trusted);
    let _serve = society.serve_with(&["broadcaster"], &overrides).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(relay.seen.taken.load(Ordering::SeqCst), 4);
    assert_eq!(relay.seen.in_the_clear.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_one_ehlo_gets_everybody_s_mail() {
    assert_eq!(taken_and_rejected_by(Manner::OneHello).await, (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_gone_at_the_reset_costs_one_refused_recipient_and_nobody_else() {
    assert_eq!(taken_and_rejected_by(Manner::GoneAtReset).await, (3, 1));
}

/// Of four recipients over one connection, each at the first attempt; the ledger says the same as the
/// relay.
async fn taken_and_rejected_by(manner: Manner) -> (u32, u64) {
    let relay = SecureRelay::start(Security::AtOnce, manner).await;
    let society = Society::plan().members(4).found().await;
    let bundle = trusting(&society, &relay.trusted);
    let overrides = [
        ("HANSHO_RELAY__URL", relay.url.as_str()),
        ("HANSHO_RELAY__CONNECTIONS", "1"),
        ("SSL_CERT_FILE", &bundle),
    ];
    let notice = society.released("訓練開始のお知らせ").await;
    let _serve = society.serve_with(&["broadcaster"], &overrides).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let (tally, taken) = (notice.tally().await, relay.seen.taken.load(Ordering::SeqCst));
    assert_eq!(tally.accepted, u64::from(taken), "{manner:?}: {tally:?}");
    let rows = notice.ledger().await;
    assert!(rows.iter().all(|row| row.attempts == 1), "{manner:?}: {rows:?}");
    (taken, tally.rejected)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preferred_relay_that_comes_back_is_used_again() {
    let society = Society::plan().members(5).found().await;
    let preferred = society.relay.addr();
    society.relay.stop().await;
    let second =
        CaptureRelay::start((Ipv4Addr::LOCALHOST, 0).into(), Script::accept_all(), Arc::new(SystemClock));
    let second = second.await.expect("a relay can listen");
    let fallback = format!("[\"smtp://{}\"]", second.addr());
    let _serve = society.serve_with(&["broadcaster"], &[("HANSHO_RELAY__FALLBACK", &fallback)]).await;
    let first = society.released("その1").await;
    first.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(second.count(), 5, "the second one while the first is away");

    let back = society.another_relay(Script::accept_all()).await;
    assert_eq!(back.addr(), preferred);
    let mut broadcasts = 1;
    let used = until("the preferred relay to be used again", PATIENCE, async || {
        broadcasts += 1;
        let next = society.released(&format!("その{broadcasts}")).await;
        next.becomes(BroadcastState::Completed, PATIENCE).await;
        (back.count() > 0).then_some(())
    });
    used.await;
    assert_eq!(back.count() + second.count(), 5 * broadcasts, "everybody once for each notice");
}

/// A mistaken change of the relay's settings says the same of everybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_denies_everybody_does_not_reject_an_audience_row_by_row() {
    const CONNECTIONS: u64 = 2;
    const BELIEVED_MAX: u64 = 10 + CONNECTIONS;
    let relay = SecureRelay::start(Security::Asked, Manner::Denying).await;
    let society = Society::plan().members(60).found().await;
    let bundle = trusting(&society, &relay.trusted);
    let connections = CONNECTIONS.to_string();
    let overrides = [
        ("HANSHO_RELAY__URL", relay.url.as_str()),
        ("HANSHO_RELAY__CONNECTIONS", &connections),
        ("HANSHO_BROADCAST__RETRY_FIRST", "1s"),
        ("SSL_CERT_FILE", &bundle),
    ];
    let notice = society.released("訓練開始のお知らせ").await;
    let _serve = society.serve_with(&["broadcaster"], &overrides).await;
    let trouble = until("people to be told", PATIENCE, async || {
        society.store().relay_trouble().await.expect("readable")
    });
    let trouble = trouble.await;
    assert!(trouble.contains("554 5.7.1") && !trouble.contains("somebody"), "{trouble}");
    let tally = notice.tally().await;
    assert!(tally.rejected <= BELIEVED_MAX, "{tally:?}");

    relay.seen.mended.store(true, Ordering::SeqCst);
    notice.becomes(BroadcastState::Completed, 2 * PATIENCE).await;
    let tally = notice.tally().await;
    assert!(tally.rejected <= BELIEVED_MAX && tally.accepted + tally.rejected == 60, "{tally:?}");
    assert_eq!(u64::from(relay.seen.taken.load(Ordering::SeqCst)), tally.accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_denies_everybody_is_left_for_the_next_one() {
    const BELIEVED_MAX: u64 = 10 + 4;
    let relay = SecureRelay::start(Security::Asked, Manner::Denying).await;
    let society = Society::plan().members(80).found().await;
    let fallback = format!("[\"smtp://{}\"]", society.relay.addr());
    let bundle = trusting(&society, &relay.trusted);
    let overrides = [
        ("HANSHO_RELAY__URL", relay.url.as_str()),
        ("HANSHO_RELAY__FALLBACK", &fallback),
        ("HANSHO_RELAY__CONNECTIONS", "4"),
        ("SSL_CERT_FILE", &bundle),
    ];
    let notice = society.released("訓練開始のお知らせ").await;
    let _serve = society.serve_with(&["broadcaster"], &overrides).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let tally = notice.tally().await;
    assert!(tally.rejected <= BELIEVED_MAX, "what the next one takes does not clear the first: {tally:?}");
    assert_eq!(tally.accepted + tally.rejected, 80);
    assert_eq!(society.relay.count(), tally.accepted);
}
