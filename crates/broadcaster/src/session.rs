//! One connection to the relay: connect, one envelope with one recipient at a time, and exactly
//! what is known after each step.
//!
//! lettre builds and parses the protocol; its pool is not used, because a timed-out send there
//! hands out a connection whose replies are off by one (ADR-0001). Here a connection has one
//! owner, every step has a timeout, and after any doubt the connection is dropped.
//!
//! # Security
//! The relay's replies reach this module; [`RelayStream`] bounds them, [`SmtpReply::new`] their text.

use crate::{
    Settings,
    planted::{Bug, is_planted},
    relay::{RelayUrl, Security},
    relays::Relays,
    stream::{Dial, RelayStream},
    tls::secured,
};
use domain::{EmailAddress, SmtpReply};
use lettre::{
    Address,
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Ehlo, Mail, Quit, Rset},
        extension::ClientId,
        response::Response,
    },
};
use notice::{Envelope, Letter};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// A connection that has been idle longer is reopened before the next mail: relays close idle
/// ones, and finding that out costs an attempt.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// A relay that announces PIPELINING and then forgets what came with the dot is found out by this.
const AHEAD_LOST_MAX: u32 = 3;
/// A goodbye that is not answered is not waited for.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// What became of one submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// 2xx after the dot.
    Accepted(SmtpReply),
    /// Certainly not taken: 4xx, lost before the dot, or a refusal that is not this recipient's.
    NotTaken(Option<SmtpReply>, Patience),
    /// 5xx.
    Rejected(SmtpReply),
    /// The dot may have been out; there is no answer.
    Lost,
}

/// Who has to be left alone for a while, from what the relay said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Nobody but the recipient itself.
    Recipient,
    /// The recipient's domain: 421 where the relay knows the recipient.
    Domain,
    /// Everybody: 421 or 4.7.x before there was a recipient, or a refusal of us.
    Relay,
}

/// Why there is no connection. Said to operators; no recipient is concerned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error("connecting timed out")]
    Timeout,
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    #[error("the connection cannot be secured")]
    Tls(#[source] std::io::Error),
    #[error("the relay refused the session with {0}")]
    Refused(Unwanted),
    #[error("the session failed")]
    Session(#[source] lettre::transport::smtp::Error),
    #[error("the relay offers no STARTTLS, and its URL demands it")]
    NoStartTls,
}

/// What a relay that does not want us said.
#[derive(Debug, thiserror::Error)]
#[error("{code} {status}")]
pub(crate) struct Unwanted {
    code: u16,
    status: String,
}

impl Unwanted {
    /// Without its words: they may name a recipient.
    fn by(reply: &SmtpReply) -> Self {
        Self { code: reply.code, status: reply.enhanced.clone().unwrap_or_default() }
    }
}

impl From<lettre::transport::smtp::Error> for Unreachable {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        match reply_in(&error) {
            Some(reply) => Self::Refused(Unwanted::by(&reply)),
            None => Self::Session(error),
        }
    }
}

/// The owner of at most one connection, to one of the relays.
pub(crate) struct Session<D> {
    dial: D,
    relays: Arc<Relays>,
    /// Which relay the connection is, or was last, to.
    at: usize,
    step_timeout: Duration,
    dot_timeout: Duration,
    messages_max: u32,
    /// Of single domains.
    messages_max_to: BTreeMap<String, u32>,
    /// Envelopes in a row that went ahead and were not answered.
    ahead_lost: u32,
    open: Option<Open>,
}

struct Open {
    connection: AsyncSmtpConnection,
    used_at: Instant,
    /// Envelopes spoken on it.
    messages: u32,
    /// Of those, to each domain that has a limit of its own.
    messages_to: HashMap<String, u32>,
    /// The relay takes several commands at once (RFC 2920).
    pipelining: bool,
    /// An envelope that went out with the dot before it; its replies have not been heard yet.
    ahead: Option<Spoken>,
}

/// An envelope as it is said.
#[derive(PartialEq, Eq)]
struct Spoken {
    mail: Address,
    rcpt: String,
    /// An old telephone's address (`a..b@`) as it is, which some relays want against RFC 5321.
    unquoted: Option<String>,
}

/// A step that did not go on.
enum Stopped {
    Reply(SmtpReply),
    Lost,
}

/// Up to where the relay knows nothing of the recipient, and from where it does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Mail,
    Rcpt,
    Data,
    Dot,
}

impl Step {
    /// The steps of an envelope and the class of reply that lets it go on.
    const ENVELOPE: [(Self, u16); 3] = [(Self::Mail, 2), (Self::Rcpt, 2), (Self::Data, 3)];
}

impl Spoken {
    /// None where an address cannot be written.
    fn of(envelope: &Envelope) -> Option<Self> {
        let wire = |address: &EmailAddress| address.to_wire().parse::<Address>().ok();
        let rcpt = wire(&envelope.to)?.to_string();
        let unquoted = Some(envelope.to.reveal()).filter(|as_it_is| *as_it_is != rcpt);
        Some(Self { mail: wire(&envelope.return_path)?, rcpt, unquoted })
    }

    fn command(&self, step: Step) -> String {
        match step {
            Step::Mail => Mail::new(Some(self.mail.clone()), vec![]).to_string(),
            Step::Rcpt => rcpt_to(&self.rcpt),
            Step::Data => Data.to_string(),
            Step::Dot => ".\r\n".to_owned(),
        }
    }

    /// All of it, for a relay that takes several commands at once.
    fn commands(&self) -> String {
        Step::ENVELOPE.iter().map(|(step, _)| self.command(*step)).collect()
    }
}

impl<D: Dial> Session<D> {
    pub(crate) fn new(settings: &Settings, relays: Arc<Relays>, dial: D) -> Self {
        Self {
            dial,
            relays,
            at: 0,
            step_timeout: settings.step_timeout,
            dot_timeout: settings.dot_timeout,
            messages_max: settings.messages_per_connection.unwrap_or(u32::MAX),
            messages_max_to: settings
                .manners
                .iter()
                .filter_map(|(domain, manners)| Some((domain.clone(), manners.messages_per_connection?)))
                .collect(),
            ahead_lost: 0,
            open: None,
        }
    }

    /// Whether there is a connection, a fresh one, one that may carry another mail to `domain`, and
    /// none to a relay that is better.
    pub(crate) fn is_ready(&self, domain: &str) -> bool {
        let max_to = self.messages_max_to.get(domain).copied().unwrap_or(u32::MAX);
        let wanted = |open: &Open| {
            open.ahead.is_some()
                || (open.messages < self.messages_max
                    && open.messages_to.get(domain).is_none_or(|messages| *messages < max_to))
        };
        let fit = self.open.as_ref().is_some_and(|open| open.is_fresh() && wanted(open));
        fit && !self.relays.has_better_than(self.at)
    }

    /// Opens a connection in place of one there may be, to the best relay that gives one.
    pub(crate) async fn open(&mut self) -> Result<(), Unreachable> {
        self.close().await;
        let mut last = Unreachable::Timeout;
        for at in self.relays.in_order() {
            self.relays.tries(at, self.step_timeout);
            let connected = timeout(self.step_timeout, self.connect(at)).await;
            match connected.unwrap_or(Err(Unreachable::Timeout)) {
                Ok((connection, pipelining)) => {
                    self.relays.opened(at);
                    self.at = at;
                    self.open = Some(Open {
                        connection,
                        used_at: Instant::now(),
                        messages: 0,
                        messages_to: HashMap::new(),
                        pipelining,
                        ahead: None,
                    });
                    return Ok(());
                }
                Err(problem) => {
                    self.relays.failed(at, &problem);
                    last = problem;
                }
            }
        }
        Err(last)
    }

    /// The relay of the connection there is, or was last.
    pub(crate) fn relay(&self) -> &RelayUrl {
        self.relays.url(self.at)
    }

    /// The relay does not want us now. Where there is another one, that is tried next, and nothing
    /// has to wait; false where there is none.
    pub(crate) fn turn_away(&mut self, said: &SmtpReply) -> bool {
        let elsewhere = self.relays.turned_away(self.at, &Unwanted::by(said));
        if elsewhere {
            self.open = None;
        }
        elsewhere
    }

    /// One transaction with one recipient. Without a connection, or where its content may not begin
    /// when its turn comes, the mail is certainly not taken.
    ///
    /// Where the relay allows it, the envelope `next` goes out with the dot: then its letter has to
    /// be submitted next, or [`Self::abandon`]ed.
    pub(crate) async fn submit(
        &mut self,
        letter: &Letter,
        next: Option<&Envelope>,
        may_begin: impl Fn() -> bool + Send,
    ) -> Submitted {
        let Some(spoken) = Spoken::of(&letter.envelope) else {
            self.abandon();
            let reason = "5.1.3 the address cannot be written into an envelope";
            return Submitted::Rejected(SmtpReply::new(553, reason));
        };
        match self.envelope(spoken, letter.envelope.to.domain()).await {
            Ok(()) if may_begin() => {}
            Ok(()) | Err((_, Stopped::Lost)) => {
                if !is_planted(Bug::DoubtfulConnectionKept) {
                    self.open = None;
                }
                return Submitted::NotTaken(None, Patience::Recipient);
            }
            Err((step, Stopped::Reply(reply))) => {
                self.recover_after(&reply).await;
                return self.believed(refused_at(step, reply));
            }
        }
        match self.content(&letter.raw, next).await {
            Ok(reply) => {
                self.relays.took(self.at);
                Submitted::Accepted(reply)
            }
            Err(Stopped::Lost) => {
                self.open = None;
                if is_planted(Bug::LostIsNotTaken) {
                    return Submitted::NotTaken(None, Patience::Recipient);
                }
                Submitted::Lost
            }
            Err(Stopped::Reply(reply)) => {
                self.drop_if_closing(&reply);
                self.believed(refused_at(Step::Dot, reply))
            }
        }
    }

    /// A refusal on grounds of policy is the recipient's own, unless everybody gets the same.
    fn believed(&self, verdict: Submitted) -> Submitted {
        match verdict {
            Submitted::Rejected(reply) if is_policy(&reply) && self.relays.refuses_everybody(self.at) => {
                Submitted::NotTaken(Some(reply), Patience::Relay)
            }
            verdict => verdict,
        }
    }

    /// The letter whose envelope may be out will not follow. There is no way back from DATA but
    /// to break off, and no mail without its dot.
    pub(crate) fn abandon(&mut self) {
        if is_planted(Bug::WrongLetterFollows) {
            return;
        }
        self.open = self.open.take().filter(|open| open.ahead.is_none());
    }

    /// Says goodbye.
    pub(crate) async fn close(&mut self) {
        self.abandon();
        if let Some(mut open) = self.open.take() {
            let _unanswered = timeout(QUIT_TIMEOUT, open.connection.command(Quit)).await;
        }
    }

    async fn envelope(&mut self, envelope: Spoken, domain: &str) -> Result<(), (Step, Stopped)> {
        let limit = self.step_timeout;
        let open = self.open.as_mut().ok_or((Step::Mail, Stopped::Lost))?;
        match open.ahead.take() {
            Some(ahead) if open.is_fresh() && (ahead == envelope || is_planted(Bug::WrongLetterFollows)) => {
                let heard = self.hear_envelope(None).await;
                let lost = matches!(heard, Err((_, Stopped::Lost)));
                self.ahead_lost = if lost { self.ahead_lost + 1 } else { 0 };
                return heard;
            }
            Some(_) => return Err((Step::Mail, Stopped::Lost)),
            None => {
                open.messages += 1;
                if self.messages_max_to.contains_key(domain) {
                    *open.messages_to.entry(domain.to_owned()).or_default() += 1;
                }
            }
        }
        // With a second spelling in hand the relay has to be heard before DATA.
        if open.pipelining && envelope.unquoted.is_none() {
            return self.hear_envelope(Some(envelope.commands())).await;
        }
        for (step, class) in Step::ENVELOPE {
            let reply = open.connection.command(envelope.command(step));
            let mut heard = expect(class, timeout(limit, reply).await);
            if let (Step::Rcpt, Err(Stopped::Reply(said)), Some(unquoted)) =
                (step, &heard, &envelope.unquoted)
                && is_about_spelling(said)
            {
                let reply = open.connection.command(rcpt_to(unquoted));
                heard = expect(class, timeout(limit, reply).await);
            }
            heard.map_err(|stopped| (step, stopped))?;
        }
        Ok(())
    }

    /// The replies to an envelope that is spoken at once; the first refusal tells.
    async fn hear_envelope(&mut self, mut spoken: Option<String>) -> Result<(), (Step, Stopped)> {
        let limit = self.step_timeout;
        let open = self.open.as_mut().ok_or((Step::Mail, Stopped::Lost))?;
        let mut verdict = Ok(());
        for (step, class) in Step::ENVELOPE {
            let reply = match spoken.take() {
                Some(commands) => timeout(limit, open.connection.command(commands)).await,
                None => timeout(limit, open.connection.read_response()).await,
            };
            let in_doubt = match expect(class, reply) {
                // Nobody wants what the relay waits for now: not even an empty mail must come of it.
                Ok(_) => step == Step::Data && verdict.is_err(),
                Err(stopped) => {
                    let lost = matches!(stopped, Stopped::Lost);
                    verdict = verdict.and(Err((step, stopped)));
                    lost
                }
            };
            if in_doubt {
                if !is_planted(Bug::DoubtfulConnectionKept) {
                    self.open = None;
                }
                break;
            }
        }
        verdict
    }

    /// From here on, silence means unknown.
    async fn content(&mut self, raw: &str, next: Option<&Envelope>) -> Result<SmtpReply, Stopped> {
        let open = self.open.as_mut().ok_or(Stopped::Lost)?;
        let may = open.pipelining && open.messages < self.messages_max && self.ahead_lost < AHEAD_LOST_MAX;
        open.ahead = next.filter(|_| may).and_then(Spoken::of).filter(|ahead| ahead.unquoted.is_none());
        let mut octets = dotted(raw);
        if let Some(ahead) = &open.ahead {
            octets += &ahead.commands();
            open.messages += 1;
        }
        let reply = expect(2, timeout(self.dot_timeout, open.connection.command(octets)).await)?;
        open.used_at = Instant::now();
        Ok(reply)
    }

    /// After a refused envelope the transaction is reset; after 421 the relay is closing.
    async fn recover_after(&mut self, reply: &SmtpReply) {
        self.drop_if_closing(reply);
        if let Some(open) = self.open.as_mut() {
            let reset = expect(2, timeout(self.step_timeout, open.connection.command(Rset)).await);
            open.used_at = Instant::now();
            if reset.is_err() {
                self.open = None;
            }
        }
    }

    fn drop_if_closing(&mut self, reply: &SmtpReply) {
        if reply.code == 421 {
            self.open = None;
        }
    }

    /// A connection, and whether the relay takes several commands at once on it.
    async fn connect(&self, at: usize) -> Result<(AsyncSmtpConnection, bool), Unreachable> {
        let relay = self.relays.url(at);
        let hello = ClientId::default();
        let mut wire = self.dial.dial(relay).await.map_err(Unreachable::Connect)?;
        if relay.security == Security::Tls {
            wire = secured(wire, &relay.host).await.map_err(Unreachable::Tls)?;
        }
        let stream = Box::new(RelayStream::new(wire, relay.security));
        let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await?;
        if relay.security == Security::StartTls {
            if !connection.can_starttls() {
                return Err(Unreachable::NoStartTls);
            }
            connection.starttls(TlsParameters::new(relay.host.clone())?, &hello).await?;
        }
        if let Some(login) = &relay.login {
            let credentials = Credentials::new(login.user.clone(), login.password.clone());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
        }
        let pipelining = match connection.command(Ehlo::new(hello)).await {
            Ok(extensions) => extensions.message().any(|line| line.trim().eq_ignore_ascii_case("PIPELINING")),
            // Some relays answer a second EHLO with 503: it was only a question.
            Err(refused) if refused.status().is_some_and(|code| u16::from(code) != 421) => false,
            Err(problem) => return Err(problem.into()),
        };
        Ok((connection, pipelining))
    }
}

impl Open {
    fn is_fresh(&self) -> bool {
        self.used_at.elapsed() <= IDLE_MAX
    }
}

/// A mail as it goes out: no line of its own ends it, and the dot does (RFC 5321 §4.5.2).
fn dotted(raw: &str) -> String {
    let mut octets = String::with_capacity(raw.len() + 256);
    // Every LF stands after a CR: the composer sees to it.
    for line in raw.split_inclusive('\n') {
        if line.starts_with('.') {
            octets.push('.');
        }
        octets += line;
    }
    if !octets.ends_with("\r\n") {
        octets += "\r\n";
    }
    octets + ".\r\n"
}

/// What a refusal means for the recipient. One wrong setting here or at the relay must not reject a
/// whole audience: what the relay says of us, and not of the recipient, refuses nobody for good.
fn refused_at(step: Step, reply: SmtpReply) -> Submitted {
    let of_us = match step {
        Step::Mail => !is_planted(Bug::RefusalOfUsIsTheirs),
        Step::Rcpt | Step::Data => is_about_the_session(reply.code),
        Step::Dot => false,
    };
    if reply.code >= 500 && !of_us {
        return Submitted::Rejected(reply);
    }
    let closing = reply.code == 421;
    let about_policy = reply.enhanced.as_deref().is_some_and(|status| status.starts_with("4.7."));
    let patience = match step {
        _ if reply.code >= 500 => Patience::Relay,
        Step::Mail if closing || about_policy => Patience::Relay,
        Step::Rcpt | Step::Data | Step::Dot if closing => Patience::Domain,
        // Greylisting among others: the recipient waits, and nobody else.
        Step::Mail | Step::Rcpt | Step::Data | Step::Dot => Patience::Recipient,
    };
    Submitted::NotTaken(Some(reply), patience)
}

/// 5.7.x: not authorised, relaying denied, blocked (RFC 3463 §3.8).
fn is_policy(reply: &SmtpReply) -> bool {
    reply.enhanced.as_deref().is_some_and(|status| status.starts_with("5.7."))
}

fn rcpt_to(address: &str) -> String {
    format!("RCPT TO:<{address}>\r\n")
}

/// The relay cannot read the recipient's address (RFC 3463 X.1.3; RFC 5321 §4.2.2).
fn is_about_spelling(reply: &SmtpReply) -> bool {
    matches!(reply.code, 501 | 553) || reply.enhanced.as_deref() == Some("5.1.3")
}

/// Commands not known, out of order or without the login asked for (RFC 5321 §4.2.2, RFC 4954 §6).
fn is_about_the_session(code: u16) -> bool {
    matches!(code, 500 | 502 | 503 | 504 | 530 | 534 | 535 | 538)
}

/// A reply of the expected class, the relay's refusal, or nothing that can be relied on.
fn expect(
    class: u16,
    step: Result<Result<Response, lettre::transport::smtp::Error>, tokio::time::error::Elapsed>,
) -> Result<SmtpReply, Stopped> {
    match step {
        Ok(Ok(response)) => {
            let code: u16 = response.code().into();
            let text: Vec<&str> = response.message().collect();
            let reply = SmtpReply::new(code, &text.join(" "));
            // A 354 where a 250 belongs is somebody else's reply: nothing is known.
            if code / 100 == class { Ok(reply) } else { Err(Stopped::Lost) }
        }
        Ok(Err(error)) => Err(reply_in(&error).map_or(Stopped::Lost, Stopped::Reply)),
        Err(_elapsed) => Err(Stopped::Lost),
    }
}

/// The relay's refusal, where the error is one.
fn reply_in(error: &lettre::transport::smtp::Error) -> Option<SmtpReply> {
    let code = error.status()?;
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    Some(SmtpReply::new(code.into(), &text))
}
