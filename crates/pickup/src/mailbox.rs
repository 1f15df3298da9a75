//! One IMAP session with the mailbox (RFC 9051 and 3501), every step of it bounded in time.

use crate::mailbox_url::MailboxUrl;
use async_imap::{Client, Session, extensions::idle::IdleResponse};
use futures_util::TryStreamExt;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tokio_util::sync::CancellationToken;

/// A server answers sooner, even one that searches.
const STEP_MAX: Duration = Duration::from_secs(60);
/// The largest mail over a slow line.
const FETCH_MAX: Duration = Duration::from_secs(600);
/// What a round looks at; the next one sees the rest.
const WAITING_MAX: usize = 500;
const SAID_CHARS_MAX: usize = 200;

pub(crate) type Uid = u32;

/// Why the mailbox could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MailboxError {
    #[error("it cannot be reached ({0})")]
    Connect(std::io::Error),
    #[error("it does not answer")]
    Silent,
    #[error("the login was refused ({})", words(.0))]
    Login(async_imap::error::Error),
    #[error("the folder cannot be opened ({})", words(.0))]
    Folder(async_imap::error::Error),
    #[error("a mail cannot be marked there ({}); the login needs the right to delete and to flag", words(.0))]
    Mark(async_imap::error::Error),
    #[error("{}", words(.0))]
    Imap(#[from] async_imap::error::Error),
}

/// What the server said, or what kind of trouble it is: the library's own words for an answer it
/// cannot read repeat the answer, and with it people's mail.
fn words(error: &async_imap::error::Error) -> String {
    use async_imap::error::Error;
    match error {
        Error::No(said) | Error::Bad(said) => {
            said.chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect()
        }
        Error::Io(error) if error.kind() != std::io::ErrorKind::Other => error.kind().to_string(),
        Error::ConnectionLost => "it hung up".to_owned(),
        _ => "it says something that is no IMAP".to_owned(),
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Wire for T {}

/// An open folder.
pub(crate) struct Mailbox {
    session: Session<Box<dyn Wire>>,
    idles: bool,
    /// Whether one mail can be expunged without touching what others have marked (RFC 4315).
    expunges_one: bool,
    /// Until it changes, a uid means the same mail.
    pub(crate) validity: Option<u32>,
}

/// Bounds a step.
async fn within<T, E>(max: Duration, step: impl Future<Output = Result<T, E>>) -> Result<T, MailboxError>
where
    MailboxError: From<E>,
{
    Ok(timeout(max, step).await.map_err(|_| MailboxError::Silent)??)
}

impl Mailbox {
    /// Signs in and opens the folder.
    pub(crate) async fn open(url: &MailboxUrl) -> Result<Self, MailboxError> {
        let wire = async { connect(url).await.map_err(MailboxError::Connect) };
        let wire = within(STEP_MAX, wire).await?;
        let mut client = Client::new(wire);
        let greeting = async { client.read_response().await.map_err(MailboxError::Connect) };
        let greeting = within(STEP_MAX, greeting).await?;
        if greeting.is_none() {
            return Err(MailboxError::Silent);
        }
        let login =
            async { client.login(&url.user, &url.password).await.map_err(|(e, _)| MailboxError::Login(e)) };
        let mut session = within(STEP_MAX, login).await?;
        let capabilities = within(STEP_MAX, session.capabilities()).await?;
        let (idles, expunges_one) = (capabilities.has_str("IDLE"), capabilities.has_str("UIDPLUS"));
        let select = async { session.select(&url.folder).await.map_err(MailboxError::Folder) };
        let validity = within(STEP_MAX, select).await?.uid_validity;
        Ok(Self { session, idles, expunges_one, validity })
    }

    /// The mails that nobody has looked at yet, with their sizes in octets, the oldest first.
    pub(crate) async fn waiting(&mut self) -> Result<Vec<(Uid, usize)>, MailboxError> {
        let found = within(STEP_MAX, self.session.uid_search("UNDELETED UNFLAGGED")).await?;
        let mut uids: Vec<Uid> = found.into_iter().collect();
        uids.sort_unstable();
        uids.truncate(WAITING_MAX);
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let set = uids.iter().map(Uid::to_string).collect::<Vec<_>>().join(",");
        let sizes = async {
            let fetched = self.session.uid_fetch(set, "(UID RFC822.SIZE)").await?;
            fetched.try_collect::<Vec<_>>().await
        };
        let fetched = within(STEP_MAX, sizes).await?;
        let size = |fetch: &async_imap::types::Fetch| Some((fetch.uid?, usize::try_from(fetch.size?).ok()?));
        // A server may tell of other mails as well.
        let mut waiting: Vec<_> =
            fetched.iter().filter_map(size).filter(|(uid, _)| uids.contains(uid)).collect();
        waiting.sort_unstable();
        Ok(waiting)
    }

    /// One mail as it stands there, or `None` where it is gone. It stays unseen.
    pub(crate) async fn fetch(&mut self, uid: Uid) -> Result<Option<Vec<u8>>, MailboxError> {
        let body = async {
            let fetched = self.session.uid_fetch(uid.to_string(), "(UID BODY.PEEK[])").await?;
            fetched.try_collect::<Vec<_>>().await
        };
        let fetched = within(FETCH_MAX, body).await?;
        let own = fetched.iter().find(|fetch| fetch.uid == Some(uid));
        Ok(own.and_then(|fetch| fetch.body()).map(<[u8]>::to_vec))
    }

    /// Deletes one mail, which is kept elsewhere by now. Where the server can expunge only all
    /// that is marked, it stays there marked: others may have marked mails of their own.
    pub(crate) async fn take_away(&mut self, uid: Uid) -> Result<(), MailboxError> {
        self.mark(uid, "\\Deleted").await?;
        if self.expunges_one {
            self.obeys(format!("UID EXPUNGE {uid}")).await?;
        }
        Ok(())
    }

    /// Leaves one mail for a person.
    pub(crate) async fn set_aside(&mut self, uid: Uid) -> Result<(), MailboxError> {
        self.mark(uid, "\\Flagged").await
    }

    async fn mark(&mut self, uid: Uid, flag: &str) -> Result<(), MailboxError> {
        self.obeys(format!("UID STORE {uid} +FLAGS.SILENT ({flag})")).await
    }

    /// A command whose refusal must be heard: the library's own functions for these are content
    /// with any answer.
    async fn obeys(&mut self, command: String) -> Result<(), MailboxError> {
        let obeyed =
            async { self.session.run_command_and_check_ok(command).await.map_err(MailboxError::Mark) };
        within(STEP_MAX, obeyed).await
    }

    /// Waits until something may have arrived: at most `longest`, or until `stop`.
    pub(crate) async fn wait(
        mut self,
        longest: Duration,
        stop: &CancellationToken,
    ) -> Result<Self, MailboxError> {
        if !self.idles {
            tokio::select! {
                () = tokio::time::sleep(longest) => {}
                () = stop.cancelled() => {}
            }
            within(STEP_MAX, self.session.noop()).await?;
            return Ok(self);
        }
        let mut idle = self.session.idle();
        within(STEP_MAX, idle.init()).await?;
        let heard = {
            // Dropping the second half would interrupt the first.
            let (news, _interrupt) = idle.wait_with_timeout(longest);
            tokio::select! {
                heard = news => heard?,
                // The library begins to wait anew whenever the server says that it is still there.
                () = tokio::time::sleep(longest) => IdleResponse::Timeout,
                () = stop.cancelled() => IdleResponse::Timeout,
            }
        };
        // Nobody interrupts; the server has hung up.
        if heard == IdleResponse::ManualInterrupt {
            return Err(async_imap::error::Error::ConnectionLost.into());
        }
        self.session = within(STEP_MAX, idle.done()).await?;
        Ok(self)
    }

    /// Signs out.
    pub(crate) async fn leave(&mut self) -> Result<(), MailboxError> {
        within(STEP_MAX, self.session.logout()).await
    }
}

#[expect(clippy::disallowed_methods, reason = "the mailbox is on the other side")]
async fn connect(url: &MailboxUrl) -> std::io::Result<Box<dyn Wire>> {
    let socket = TcpStream::connect((url.host.as_str(), url.port)).await?;
    if !url.tls {
        return Ok(Box::new(socket));
    }
    let mut roots = RootCertStore::empty();
    // Anew for each session: certificates are renewed while we run.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(url.host.clone()).map_err(std::io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, socket).await?))
}
