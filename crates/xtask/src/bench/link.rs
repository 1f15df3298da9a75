//! A way to the relay as long as one across a country: every octet arrives later by half a round trip.

use anyhow::Result;
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const CHUNK_OCTETS: usize = 16 * 1024;

/// Listens for connections to `far` and passes them on until the process ends; the address to connect to.
pub(super) fn open(far: SocketAddr, round_trip: Duration) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = listener.local_addr()?;
    thread::spawn(move || {
        for here in listener.incoming().flatten() {
            // A connection that fails ends itself; whoever uses it sees that.
            let _ended = connect(here, far, round_trip / 2);
        }
    });
    Ok(near)
}

fn connect(here: TcpStream, far: SocketAddr, delay: Duration) -> Result<()> {
    let there = TcpStream::connect(far)?;
    for stream in [&here, &there] {
        stream.set_nodelay(true)?;
    }
    carry(here.try_clone()?, there.try_clone()?, delay);
    carry(there, here, delay);
    Ok(())
}

/// One direction, by two threads: what is under way does not keep the next from setting out.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sent, under_way) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK_OCTETS];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            if sent.send((Instant::now() + delay, chunk[..read].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (arrival, octets) in under_way {
            thread::sleep(arrival.saturating_duration_since(Instant::now()));
            if to.write_all(&octets).is_err() {
                break;
            }
        }
        let _closed = to.shutdown(Shutdown::Write);
    });
}
