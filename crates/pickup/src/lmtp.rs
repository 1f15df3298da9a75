//! The sending half of LMTP (RFC 2033), spoken to our own sink and to nobody else.

use crate::envelope::Envelope;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// The sink answers each step at once; the last one waits for its disk.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// RFC 5321 §4.5.3.1.5 allows 512.
const LINE_OCTETS_MAX: u64 = 1_024;

/// A dialogue with the sink.
pub(crate) struct Lmtp {
    wire: BufReader<TcpStream>,
    size_max: Option<usize>,
}

/// The sink did not take a mail.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// And never will.
    Refused(String),
    /// It may later: full, busy or gone.
    NotNow(String),
}

/// One answer: its code, and the text of all its lines.
struct Answer {
    code: u16,
    text: String,
}

impl Answer {
    fn into_refusal(self) -> NotTaken {
        let Self { code, text } = self;
        let said = format!("{code} {}", text.trim_end());
        if (500..600).contains(&code) { NotTaken::Refused(said) } else { NotTaken::NotNow(said) }
    }

    fn agrees(self) -> Result<Self, NotTaken> {
        if (200..400).contains(&self.code) { Ok(self) } else { Err(self.into_refusal()) }
    }
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        Self::NotNow(error.to_string())
    }
}

impl Lmtp {
    /// Greets the sink; the error says why there is no dialogue.
    #[expect(clippy::disallowed_methods, reason = "the sink is on the other side, and nobody else")]
    pub(crate) async fn connect(sink: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(sink).await.map_err(|error| error.to_string())?;
        let mut lmtp = Self { wire: BufReader::new(stream), size_max: None };
        let greeted = async {
            lmtp.answer().await?.agrees()?;
            lmtp.says("LHLO pickup").await
        };
        match greeted.await {
            Ok(hello) => {
                let size = hello.text.lines().find_map(|line| line.strip_prefix("SIZE "));
                lmtp.size_max = size.and_then(|size| size.parse().ok());
                Ok(lmtp)
            }
            Err(NotTaken::Refused(reason)) => Err(format!("it does not speak LMTP ({reason})")),
            Err(NotTaken::NotNow(reason)) => Err(reason),
        }
    }

    /// The longest mail it takes, in octets, where it says so.
    pub(crate) fn size_max(&self) -> Option<usize> {
        self.size_max
    }

    /// Hands one mail over and ends the dialogue. It is durable when this returns well, for every
    /// recipient that the sink knows; a mail of which it knows none is refused.
    pub(crate) async fn deliver(mut self, envelope: &Envelope, mail: &[u8]) -> Result<(), NotTaken> {
        self.says(&format!("MAIL FROM:<{}>", envelope.sender)).await?;
        let mut known = 0;
        let mut refusal = "no address of ours in it".to_owned();
        for source in &envelope.recipients {
            for recipient in source {
                match self.says(&format!("RCPT TO:<{recipient}>")).await {
                    Ok(_) => known += 1,
                    Err(NotTaken::Refused(reason)) => refusal = reason,
                    Err(not_now) => return Err(not_now),
                }
            }
            if known > 0 {
                break;
            }
        }
        if known == 0 {
            return Err(NotTaken::Refused(refusal));
        }
        self.says("DATA").await?;
        self.put(&stuffed(mail)).await?;
        // One answer for each recipient (RFC 2033 §4.2).
        let mut taken = Ok(());
        for _ in 0..known {
            taken = taken.and(self.answer().await?.agrees().map(|_| ()));
        }
        taken
    }

    async fn says(&mut self, line: &str) -> Result<Answer, NotTaken> {
        self.put(format!("{line}\r\n").as_bytes()).await?;
        self.answer().await?.agrees()
    }

    async fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        timeout(ANSWER_MAX, self.wire.get_mut().write_all(octets)).await?
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            let mut bounded = (&mut self.wire).take(LINE_OCTETS_MAX);
            if timeout(ANSWER_MAX, bounded.read_line(&mut line)).await?? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"));
            }
            let strange =
                || io::Error::new(io::ErrorKind::InvalidData, format!("it said {:?}", line.trim_end()));
            let code = line.get(..3).and_then(|code| code.parse().ok()).ok_or_else(strange)?;
            text += line.get(4..).unwrap_or_default();
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Answer { code, text });
            }
        }
    }
}

/// The mail as DATA carries it: a dot before each line that begins with one, and the dot at the
/// end (RFC 5321 §4.5.2).
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(mail.len() + mail.len() / 64 + 5);
    let mut at_line_start = true;
    for (index, octet) in mail.iter().enumerate() {
        if at_line_start && *octet == b'.' {
            wire.push(b'.');
        }
        wire.push(*octet);
        at_line_start = *octet == b'\n' && index > 0 && mail[index - 1] == b'\r';
    }
    if !at_line_start {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_at_the_beginning_of_lines_only() {
        assert_eq!(stuffed(b".a\r\n..b\r\nc.\r\n"), b"..a\r\n...b\r\nc.\r\n.\r\n");
        assert_eq!(stuffed(b"x\n.y\r\r\n.\r\n"), b"x\n.y\r\r\n..\r\n.\r\n");
        assert_eq!(stuffed(b"no end"), b"no end\r\n.\r\n");
        assert_eq!(stuffed(b""), b".\r\n");
    }
}
