//! A relay at the other end of a simulated network, and the record of what it was told.

use crate::world::{Process, World};
use broadcaster::{Dial, RelayUrl, Wire};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadBuf, duplex},
    time::{Instant, sleep},
};

/// In one direction; a mail of ours is a few thousand octets.
const PIPE_OCTETS: usize = 1 << 20;

/// A final dot, as the relay saw it.
#[derive(Debug, Clone)]
pub(crate) struct Dot {
    pub(crate) at: Instant,
    pub(crate) connection: u32,
    pub(crate) rcpt: String,
    pub(crate) mail_from: String,
    /// Of the message.
    pub(crate) message_id: String,
    pub(crate) to: String,
    /// The relay has it and will deliver it.
    pub(crate) taken: bool,
    /// The reply that went out within the sender's patience.
    pub(crate) answer: Option<(u16, u32)>,
}

/// What the relay remembers.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) dots: Vec<Dot>,
    /// Replies that named a recipient: number, code, recipient.
    pub(crate) replies: Vec<(u32, u16, String)>,
    /// When it asked for patience, and whom.
    pub(crate) patience: Vec<(Instant, u32)>,
    /// When each MAIL came, and from whom.
    pub(crate) mails: Vec<(Instant, u32)>,
    connections: u32,
    spoken: u32,
}

/// The relay's manners in this run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    pub(crate) pipelining: bool,
    /// It asks the sender for patience now and then.
    pub(crate) strict: bool,
}

/// The network as one process sees it.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) process: Process,
    pub(crate) record: Arc<Mutex<Record>>,
    pub(crate) manners: Manners,
}

impl Dial for Network {
    async fn dial(&self, _relay: &RelayUrl) -> io::Result<Wire> {
        let world = &self.process.world;
        sleep(world.millis(15)).await;
        if self.process.is_dead() {
            return std::future::pending().await;
        }
        if world.strikes(world.odds.relay) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(PIPE_OCTETS);
        let connection = {
            let mut record = self.record.lock().expect("one thread");
            record.connections += 1;
            record.connections
        };
        let session = Session {
            stream: BufReader::new(far),
            world: world.clone(),
            record: self.record.clone(),
            manners: self.manners,
            process: self.process.name,
            connection,
            envelope: None,
        };
        tokio::spawn(async move { session.run().await.ok() });
        Ok(Box::new(NearEnd { stream: near, process: self.process.clone() }))
    }
}

/// The sender's end: it dies with its process.
#[derive(Debug)]
struct NearEnd {
    stream: DuplexStream,
    process: Process,
}

impl AsyncRead for NearEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.process.is_dead() {
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && self.process.may_die("a read") { Poll::Pending } else { read }
    }
}

impl AsyncWrite for NearEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.process.is_dead() || self.process.may_die("a write") {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, octets);
        if self.process.may_die("the end of a write") { Poll::Pending } else { written }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct Session {
    stream: BufReader<DuplexStream>,
    world: Arc<World>,
    record: Arc<Mutex<Record>>,
    manners: Manners,
    process: u32,
    connection: u32,
    envelope: Option<(String, Option<String>)>,
}

/// Whether the session goes on.
type Flow = io::Result<bool>;

/// Where in a session something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Greeting,
    Mail,
    Rcpt,
    Data,
    Dot,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Code(u16),
    Garbage,
    Stall,
    Late,
    Close,
    /// Only at the dot: taken, and then no answer.
    CloseAfterTaking,
}

impl Session {
    async fn run(mut self) -> io::Result<()> {
        let mut goes_on = self.answer(Step::Greeting, 220, "ready").await?;
        let mut line = String::new();
        while goes_on {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            goes_on = self.obey(line.trim_end()).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, line: &str) -> Flow {
        let path = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        match line.get(..4).unwrap_or(line) {
            "EHLO" => {
                let extensions = if self.manners.pipelining { "250-PIPELINING\r\n" } else { "" };
                self.write(&format!("250-sim.invalid\r\n{extensions}250 8BITMIME\r\n")).await.map(|()| true)
            }
            "MAIL" => {
                let met = (Instant::now(), self.process);
                self.record.lock().expect("one thread").mails.push(met);
                if self.manners.strict && self.world.strikes(60) {
                    self.record.lock().expect("one thread").patience.push((Instant::now(), self.process));
                    self.reply(421, "4.7.0 slow down").await?;
                    return Ok(false);
                }
                self.envelope = Some((path(), None));
                self.answer(Step::Mail, 250, "2.1.0 ok").await
            }
            "RCPT" => match &mut self.envelope {
                Some((_, rcpt @ None)) => {
                    *rcpt = Some(path());
                    let goes_on = self.answer(Step::Rcpt, 250, "2.1.5 ok").await?;
                    Ok(goes_on)
                }
                _ => self.reply(503, "5.5.1 MAIL first").await.map(|_| true),
            },
            "DATA" => match self.envelope.take() {
                Some((mail_from, Some(rcpt))) => self.data(mail_from, rcpt).await,
                other => {
                    self.envelope = other;
                    self.reply(503, "5.5.1 RCPT first").await.map(|_| true)
                }
            },
            "RSET" => {
                self.envelope = None;
                self.reply(250, "2.0.0 ok").await.map(|_| true)
            }
            "QUIT" => {
                self.reply(221, "2.0.0 bye").await?;
                Ok(false)
            }
            _ => self.reply(500, "5.5.2 what?").await.map(|_| true),
        }
    }

    async fn data(&mut self, mail_from: String, rcpt: String) -> Flow {
        self.envelope = Some((mail_from, Some(rcpt)));
        let refused = !self.answer(Step::Data, 354, "go on").await?;
        if refused || self.envelope.is_none() {
            return Ok(!refused);
        }
        let mut mail = String::new();
        while !mail.ends_with("\r\n.\r\n") {
            if self.stream.read_line(&mut mail).await? == 0 {
                return Ok(false);
            }
        }
        let Some((mail_from, Some(rcpt))) = self.envelope.take() else { return Ok(false) };
        self.dot(mail_from, rcpt, &mail).await
    }

    async fn dot(&mut self, mail_from: String, rcpt: String, mail: &str) -> Flow {
        let header = |name: &str| {
            let line =
                mail.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let fault = self.fault(Step::Dot);
        let taken = match fault {
            None | Some(Fault::Late | Fault::CloseAfterTaking | Fault::Stall | Fault::Garbage) => true,
            Some(Fault::Code(_) | Fault::Close) => false,
        };
        let at = {
            let mut record = self.record.lock().expect("one thread");
            record.dots.push(Dot {
                at: Instant::now(),
                connection: self.connection,
                rcpt: rcpt.clone(),
                mail_from,
                message_id: header("Message-ID:"),
                to: header("To:"),
                taken,
                answer: None,
            });
            record.dots.len() - 1
        };
        self.world.note(|| format!("dot {at} on {} for {rcpt}: {fault:?}", self.connection));
        sleep(self.world.millis(20)).await;
        let code = match fault {
            None => 250,
            Some(Fault::Code(code)) => code,
            Some(Fault::Late) => {
                sleep(Duration::from_secs(2)).await;
                250
            }
            Some(Fault::Garbage) => {
                self.write("thanks\r\n").await?;
                return Ok(false);
            }
            Some(Fault::Stall) => {
                sleep(Duration::from_secs(30)).await;
                return Ok(false);
            }
            Some(Fault::Close | Fault::CloseAfterTaking) => return Ok(false),
        };
        let number = self.number_for(code, &rcpt);
        self.write(&format!("{code} {}.0.0 no {number}\r\n", code / 100)).await?;
        self.record.lock().expect("one thread").dots[at].answer = Some((code, number));
        Ok(code != 421)
    }

    fn number_for(&self, code: u16, rcpt: &str) -> u32 {
        let mut record = self.record.lock().expect("one thread");
        record.spoken += 1;
        let number = record.spoken;
        record.replies.push((number, code, rcpt.to_owned()));
        number
    }

    fn fault(&self, step: Step) -> Option<Fault> {
        if !self.world.strikes(self.world.odds.relay) {
            return None;
        }
        Some(match self.world.pick(if step == Step::Dot { 14 } else { 12 }) {
            0 => Fault::Code(421),
            1 => Fault::Code(450),
            2 => Fault::Code(451),
            3 => Fault::Code(452),
            4 => Fault::Code(550),
            5 => Fault::Code(552),
            6 => Fault::Code(554),
            7 => Fault::Garbage,
            8 => Fault::Stall,
            9 | 10 => Fault::Late,
            11 => Fault::Close,
            _ => Fault::CloseAfterTaking,
        })
    }

    /// The usual reply, or a fault in its place; a refusal ends the envelope where it belongs.
    async fn answer(&mut self, step: Step, code: u16, text: &str) -> Flow {
        sleep(self.world.millis(20)).await;
        match self.fault(step) {
            None => self.reply(code, text).await.map(|_| true),
            Some(Fault::Code(code)) => {
                let rcpt = self.envelope.as_ref().and_then(|(_, rcpt)| rcpt.clone()).unwrap_or_default();
                match step {
                    Step::Greeting | Step::Mail => self.envelope = None,
                    Step::Rcpt => self.envelope = self.envelope.take().map(|(from, _)| (from, None)),
                    Step::Data | Step::Dot => self.envelope = None,
                }
                let number = self.number_for(code, &rcpt);
                self.write(&format!("{code} {}.0.0 no {number}\r\n", code / 100)).await?;
                Ok(code != 421)
            }
            Some(Fault::Late) => {
                sleep(Duration::from_millis(900)).await;
                self.reply(code, text).await.map(|_| true)
            }
            Some(Fault::Garbage) => {
                self.write("well well\r\n").await?;
                Ok(true)
            }
            Some(Fault::Stall) => {
                // Longer than the sender waits for a step; then the answer comes after all.
                sleep(Duration::from_millis(2_600)).await;
                self.reply(code, text).await.map(|_| true)
            }
            Some(Fault::Close | Fault::CloseAfterTaking) => Ok(false),
        }
    }

    async fn reply(&mut self, code: u16, text: &str) -> io::Result<()> {
        self.write(&format!("{code} {text}\r\n")).await
    }

    async fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes()).await
    }
}
