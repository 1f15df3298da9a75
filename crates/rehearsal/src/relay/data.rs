//! Receives one mail's octets up to the final dot.
//!
//! smtp-proto does the work; two things it does otherwise are put right here. It does not know
//! that the CRLF of the DATA line counts as the one before a first dot (RFC 5321 §4.1.1.4), and it
//! takes CRLF `.` CR CR LF for an end.

use bytes::{Buf, BytesMut};
use smtp_proto::request::receiver::{DataReceiver, DummyDataReceiver};

const END: [u8; 5] = *b"\r\n.\r\n";

pub(super) struct MailReceiver {
    receiver: DataReceiver,
    /// Reads on where the mail is beyond the limit, keeping nothing.
    overflow: Option<DummyDataReceiver>,
    raw: Vec<u8>,
    octets_max: usize,
    /// The last octets read.
    tail: [u8; END.len()],
}

impl MailReceiver {
    pub(super) fn new(octets_max: usize) -> Self {
        let mut tail = [0; END.len()];
        tail[3..].copy_from_slice(b"\r\n");
        Self { receiver: at_line_start(), overflow: None, raw: Vec::new(), octets_max, tail }
    }

    /// Takes octets from `unread`; `true` once the final dot was among them.
    pub(super) fn ingest(&mut self, unread: &mut BytesMut) -> bool {
        loop {
            let mut octets = unread.iter();
            let ended = match &mut self.overflow {
                None => self.receiver.ingest(&mut octets, &mut self.raw),
                Some(rest) => rest.ingest(&mut octets),
            };
            let read = unread.len() - octets.len();
            self.remember(&unread[..read]);
            unread.advance(read);
            if ended && self.tail == END {
                return true;
            }
            if ended {
                self.go_on_after_false_end();
            }
            if self.overflow.is_none() && self.raw.len() > self.octets_max {
                self.overflow = Some(DummyDataReceiver::new_data(&self.receiver));
            }
            if !ended {
                return false;
            }
        }
    }

    /// The mail without dot-stuffing, and whether it was within the limit. Of a longer one only
    /// the beginning is kept.
    pub(super) fn finish(self) -> (Vec<u8>, bool) {
        let fits = self.overflow.is_none() && self.raw.len() <= self.octets_max;
        (self.raw, fits)
    }

    fn go_on_after_false_end(&mut self) {
        self.receiver = at_line_start();
        match &mut self.overflow {
            // The receiver had taken one CR back.
            None => self.raw.extend_from_slice(b"\r\n"),
            Some(rest) => *rest = DummyDataReceiver::new_data(&self.receiver),
        }
    }

    fn remember(&mut self, read: &[u8]) {
        let recent = [&self.tail, &read[read.len().saturating_sub(END.len())..]].concat();
        self.tail.copy_from_slice(&recent[recent.len() - END.len()..]);
    }
}

fn at_line_start() -> DataReceiver {
    let mut receiver = DataReceiver::new();
    receiver.ingest(&mut b"\r\n".iter(), &mut Vec::new());
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces; what was kept, and what was left unread behind the end.
    fn received(wire: &[u8], piece: usize, octets_max: usize) -> Option<(Vec<u8>, bool, Vec<u8>)> {
        let mut receiver = MailReceiver::new(octets_max);
        let mut unread = BytesMut::new();
        let mut pieces = wire.chunks(piece);
        for octets in pieces.by_ref() {
            unread.extend_from_slice(octets);
            if receiver.ingest(&mut unread) {
                pieces.for_each(|rest| unread.extend_from_slice(rest));
                let (raw, fits) = receiver.finish();
                return Some((raw, fits, unread.to_vec()));
            }
        }
        None
    }

    #[test]
    fn only_a_dot_alone_between_two_crlf_ends_the_mail() {
        for (wire, kept) in [
            (&b"a\r\n.\r\n"[..], &b"a\r\n"[..]),
            (b".\r\n", b""),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"a\n.\nb\n.\r\nc\r\n.\nd\r\n.\r\n", b"a\n.\nb\n.\r\nc\r\n\nd\r\n"),
            (b"a\r\n.\r\r\nb\r\n.\r\r\r\n..\r\n.\r\n", b"a\r\n\r\r\nb\r\n\r\r\r\n.\r\n"),
            (b"a\r.\r\nb\r\n.\r\n", b"a\r.\r\nb\r\n"),
        ] {
            for piece in 1..=wire.len() {
                let wire = [wire, b"QUIT\r\n"].concat();
                let expected = Some((kept.to_vec(), true, b"QUIT\r\n".to_vec()));
                assert_eq!(received(&wire, piece, 1_000), expected, "{wire:?} by {piece}");
            }
        }
    }

    #[test]
    fn beyond_the_limit_the_end_is_still_found() {
        let wire = b"aaaaaaaaaaaa\r\n.\r\r\nbbbb\r\n..\r\n.\r\nNOOP\r\n";
        for piece in 1..=wire.len() {
            let (raw, fits, unread) = received(wire, piece, 4).expect("an end");
            assert!(!fits && raw.len() > 4);
            assert_eq!(unread, b"NOOP\r\n");
        }
    }
}
