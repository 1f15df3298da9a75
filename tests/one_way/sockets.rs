//! The sockets of a process, as the kernel knows them.

use std::{collections::HashMap, fs, net::SocketAddr, path::PathBuf};

/// TCP state in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The Internet sockets of `pid` that are neither its listener at `listen` nor connections that
/// came in there.
///
/// # Panics
/// Where the process is gone.
pub(crate) fn leading_out(pid: u32, listen: SocketAddr) -> Vec<String> {
    let tables = Tables::read(pid);
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    folder
        .filter_map(|entry| {
            let path: PathBuf = entry.ok()?.path();
            let inode = inode_of(&path)?;
            // Taken between the two looks, or not of the Internet: the kernel lists it elsewhere.
            let socket = tables.sockets.get(&inode)?;
            let ours = socket.local_port == listen.port();
            (!ours).then(|| socket.line.clone())
        })
        .collect()
}

/// Whether `pid` listens at `listen`: that the tables are read at all.
pub(crate) fn listens(pid: u32, listen: SocketAddr) -> bool {
    let tables = Tables::read(pid);
    tables.sockets.values().any(|socket| socket.state == LISTEN && socket.local_port == listen.port())
}

struct Tables {
    sockets: HashMap<String, Socket>,
}

struct Socket {
    local_port: u16,
    state: String,
    line: String,
}

impl Tables {
    fn read(pid: u32) -> Self {
        let mut sockets = HashMap::new();
        for table in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/net/{table}")) else { continue };
            for line in text.lines().skip(1) {
                let columns: Vec<&str> = line.split_ascii_whitespace().collect();
                let [_, local, _, state, ..] = columns[..] else { continue };
                let (Some(inode), Some((_, port))) = (columns.get(9), local.rsplit_once(':')) else {
                    continue;
                };
                let Ok(local_port) = u16::from_str_radix(port, 16) else { continue };
                let socket = Socket { local_port, state: state.to_owned(), line: format!("{table} {line}") };
                sockets.insert((*inode).to_owned(), socket);
            }
        }
        Self { sockets }
    }
}

fn inode_of(fd: &std::path::Path) -> Option<String> {
    let target = fs::read_link(fd).ok()?;
    let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
    Some(inode)
}
