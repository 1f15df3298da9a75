//! One connection's dialogue, from greeting to QUIT.
//!
//! # Security
//! The peer is a stranger. It gets nothing from this dialogue but "stored" or a refusal: no
//! address is confirmed, expanded or relayed to, and what it does wrong is counted.

use crate::{
    command::{self, Command},
    intake::{Intake, NotStored, Recipient},
    server::Protocol,
    tls::Tls,
    wire::{Gone, Line, Mail, Memory, Wire},
};
use std::{fmt::Write, net::IpAddr, time::Duration};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// RFC 5321 §4.5.3.1.8 asks for at least 100, and no honest reply has more than a few.
const RECIPIENTS_MAX: usize = 100;
/// A mail server makes none; someone who guesses tokens makes nothing else.
const ERRORS_MAX: usize = 20;

/// What bounds one session.
pub(crate) struct Limits {
    pub(crate) protocol: Protocol,
    pub(crate) tls: Option<Tls>,
    pub(crate) size_max: usize,
    pub(crate) idle: Duration,
    pub(crate) session_max: Duration,
    pub(crate) memory: Memory,
}

/// Whether the dialogue goes on after an answer.
enum Next {
    Command,
    Close,
}

struct Session<'a> {
    wire: Wire,
    peer: IpAddr,
    limits: &'a Limits,
    intake: &'a Intake,
    greeted: bool,
    sender: Option<String>,
    recipients: Vec<Recipient>,
    errors: usize,
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    socket: TcpStream,
    peer: IpAddr,
    limits: &Limits,
    intake: &Intake,
    shutdown: &CancellationToken,
) {
    // Small answers must not wait for the peer's delayed acknowledgements.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let wire = Wire::new(socket, limits.idle, limits.session_max);
    let mut session = Session {
        wire,
        peer,
        limits,
        intake,
        greeted: false,
        sender: None,
        recipients: Vec::new(),
        errors: 0,
    };
    match session.dialogue(shutdown).await {
        Ok(()) | Err(Gone::Closed) => {}
        Err(Gone::TimedOut) => {
            debug!("a sink session timed out");
            // The peer may be gone altogether; nothing is owed to it.
            session.wire.answer("421 4.4.2 took too long, closing\r\n").await.ok();
        }
    }
}

impl Session<'_> {
    async fn dialogue(&mut self, shutdown: &CancellationToken) -> Result<(), Gone> {
        let name = match self.limits.protocol {
            Protocol::Smtp => "ESMTP",
            Protocol::Lmtp => "LMTP",
        };
        self.wire.answer(&format!("220 {} {name} one-way reply sink\r\n", self.intake.domain())).await?;
        loop {
            let line = tokio::select! {
                line = self.wire.line() => line?,
                () = shutdown.cancelled() => {
                    return self.wire.answer("421 4.3.2 shutting down\r\n").await;
                }
            };
            let next = match line {
                Line::Command(line) => self.obey(command::parse(&line)).await?,
                Line::TooLong => self.refuse("500 5.5.2 line too long").await?,
                Line::Malformed => self.refuse("500 5.5.2 lines end with CRLF and hold no controls").await?,
            };
            match next {
                Next::Command => {}
                Next::Close => return Ok(()),
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<Next, Gone> {
        match command {
            Command::Ehlo | Command::Helo | Command::Lhlo => self.greet(&command).await,
            Command::Mail { from, size } => self.mail(from, size).await,
            Command::Rcpt { to } => self.rcpt(&to).await,
            Command::Data => self.data().await,
            Command::StartTls => self.start_tls().await,
            Command::Rset => {
                self.forget_transaction();
                self.say("250 2.0.0 forgotten").await
            }
            Command::Noop => self.say("250 2.0.0 ok").await,
            Command::Quit => {
                self.wire.answer("221 2.0.0 bye\r\n").await?;
                Ok(Next::Close)
            }
            Command::NotOffered => self.refuse("502 5.5.1 not offered here").await,
            Command::BadArguments => self.refuse("501 5.5.4 arguments not understood").await,
            Command::Unknown => self.refuse("500 5.5.1 command not understood").await,
        }
    }

    async fn greet(&mut self, hello: &Command) -> Result<Next, Gone> {
        let fits = match self.limits.protocol {
            Protocol::Smtp => *hello != Command::Lhlo,
            Protocol::Lmtp => *hello == Command::Lhlo,
        };
        if !fits {
            return self.refuse("500 5.5.1 the other protocol is spoken here").await;
        }
        self.greeted = true;
        self.forget_transaction();
        let domain = self.intake.domain();
        let answer = if *hello == Command::Helo {
            format!("250 {domain}\r\n")
        } else {
            let starttls = if self.may_start_tls() { "250-STARTTLS\r\n" } else { "" };
            format!(
                "250-{domain}\r\n250-PIPELINING\r\n250-SIZE {}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n{starttls}\
                 250 ENHANCEDSTATUSCODES\r\n",
                self.limits.size_max
            )
        };
        self.wire.answer(&answer).await?;
        Ok(Next::Command)
    }

    fn may_start_tls(&self) -> bool {
        self.limits.tls.is_some() && !self.wire.is_secure()
    }

    async fn start_tls(&mut self) -> Result<Next, Gone> {
        let Some(tls) = self.limits.tls.as_ref().filter(|_| self.may_start_tls()) else {
            return self.refuse("502 5.5.1 not offered here").await;
        };
        self.wire.answer("220 2.0.0 go on\r\n").await?;
        self.wire.secure(&tls.acceptor()).await?;
        self.greeted = false;
        self.forget_transaction();
        Ok(Next::Command)
    }

    async fn mail(&mut self, from: String, size: Option<usize>) -> Result<Next, Gone> {
        if !self.greeted {
            return self.refuse("503 5.5.1 say hello first").await;
        }
        if self.sender.is_some() {
            return self.refuse("503 5.5.1 one mail at a time").await;
        }
        if size.is_some_and(|size| size > self.limits.size_max) {
            return self.refuse("552 5.3.4 too large").await;
        }
        self.sender = Some(from);
        self.say("250 2.1.0 ok").await
    }

    async fn rcpt(&mut self, to: &str) -> Result<Next, Gone> {
        let Some(sender) = &self.sender else { return self.refuse("503 5.5.1 MAIL first").await };
        let from_machine = sender.is_empty();
        if self.recipients.len() >= RECIPIENTS_MAX {
            return self.refuse("452 4.5.3 too many recipients").await;
        }
        match self.intake.recipient(to) {
            // A report of a mail system goes to where the notice came from (RFC 5321 §4.5.5,
            // RFC 3834 §4); nobody answers with a null sender.
            Ok(recipient) if from_machine && !recipient.is_return_path() => {
                self.refuse("550 5.7.1 reports go to the return path").await
            }
            Ok(recipient) => {
                self.recipients.push(recipient);
                self.say("250 2.1.5 ok").await
            }
            Err(refusal) => self.refuse(refusal.answer()).await,
        }
    }

    async fn data(&mut self) -> Result<Next, Gone> {
        let Some(sender) = self.sender.take() else { return self.refuse("503 5.5.1 MAIL first").await };
        let recipients = std::mem::take(&mut self.recipients);
        if recipients.is_empty() {
            self.sender = Some(sender);
            let next = self.refuse("503 5.5.1 no valid recipient").await?;
            // A peer that did not wait for this answer has sent its mail already: what follows
            // must not be read as commands.
            return Ok(if self.wire.has_more() { Next::Close } else { next });
        }
        self.wire.answer("354 end with CRLF . CRLF\r\n").await?;
        let outcome = match self.wire.mail(self.limits.size_max, &self.limits.memory).await? {
            Mail::Complete { raw, room } => {
                let outcome = self.intake.store(&sender, self.peer, &recipients, raw).await;
                drop(room);
                outcome
            }
            Mail::TooLarge => Err(NotStored::TooLarge),
            Mail::NoRoom => Err(NotStored::NoMemory),
        };
        let answer = match &outcome {
            Ok(()) => "250 2.0.0 stored",
            Err(why) => why.answer(),
        };
        // RFC 2033 §4.2: LMTP answers once for each accepted recipient.
        let answers = match self.limits.protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => recipients.len(),
        };
        let mut text = String::new();
        for _ in 0..answers {
            writeln!(text, "{answer}\r").expect("invariant: a String takes any text");
        }
        self.wire.answer(&text).await?;
        Ok(Next::Command)
    }

    fn forget_transaction(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    async fn say(&mut self, answer: &str) -> Result<Next, Gone> {
        self.wire.answer(&format!("{answer}\r\n")).await?;
        Ok(Next::Command)
    }

    /// Says no, and counts it.
    async fn refuse(&mut self, answer: &str) -> Result<Next, Gone> {
        self.errors += 1;
        if self.errors > ERRORS_MAX {
            self.wire.answer("421 4.7.0 too many errors, closing\r\n").await?;
            return Ok(Next::Close);
        }
        self.say(answer).await
    }
}
