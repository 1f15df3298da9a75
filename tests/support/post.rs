//! A member's mail server, speaking SMTP to the reply sink line by line.

use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// A sink that is silent for longer is broken.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// One connection.
pub struct Post {
    stream: BufReader<TcpStream>,
}

impl Post {
    /// Connects and reads the greeting; `None` where nobody listens.
    #[expect(clippy::disallowed_methods, reason = "members' mail servers connect to the sink under test")]
    pub async fn connect(sink: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(sink).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut post = Self { stream: BufReader::new(stream) };
        let greeting = post.reply().await;
        assert!(greeting.starts_with("220"), "the sink greets: {greeting}");
        Some(post)
    }

    /// Sends a command line; the whole reply, its lines joined by `\n`.
    ///
    /// # Panics
    /// Where the connection breaks or stays silent.
    pub async fn say(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Sends a mail's lines and the final dot, without reading the answer.
    ///
    /// # Panics
    /// Where the connection breaks.
    pub async fn dot(&mut self, mail: &str) {
        let mut wire = String::with_capacity(mail.len() + 64);
        for line in mail.lines() {
            // RFC 5321 §4.5.2.
            if line.starts_with('.') {
                wire.push('.');
            }
            wire.push_str(line);
            wire.push_str("\r\n");
        }
        wire.push_str(".\r\n");
        self.write(wire.as_bytes()).await;
    }

    /// Delivers a mail to one recipient; the reply that ended it, of whichever step.
    ///
    /// # Panics
    /// Where the connection breaks or stays silent.
    pub async fn deliver(&mut self, from: &str, to: &str, mail: &str) -> String {
        self.say("EHLO member.example.jp").await;
        for (command, goes_on) in [
            (format!("MAIL FROM:<{from}>"), "250"),
            (format!("RCPT TO:<{to}>"), "250"),
            ("DATA".into(), "354"),
        ] {
            let reply = self.say(&command).await;
            if !reply.starts_with(goes_on) {
                return reply;
            }
        }
        self.dot(mail).await;
        self.reply().await
    }

    /// The next reply, its lines joined by `\n`.
    ///
    /// # Panics
    /// Where the connection breaks or stays silent.
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            let read = timeout(ANSWER_MAX, self.stream.read_line(&mut line)).await;
            let octets = read.expect("the sink answers").expect("the connection holds");
            assert!(octets > 0, "the sink closed the connection after {reply:?}");
            reply.push_str(line.trim_end());
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
            reply.push('\n');
        }
    }

    async fn write(&mut self, octets: &[u8]) {
        let written = timeout(ANSWER_MAX, self.stream.write_all(octets)).await;
        written.expect("the sink reads").expect("the connection holds");
    }
}
