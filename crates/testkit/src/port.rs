//! Ports that tests side by side do not take from one another.

use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
};

/// Below the ports a system hands out by itself (Linux: from 32768), so that nobody's outgoing
/// connection gets one between a claim and its use.
const PORTS: Range<u16> = 20_000..32_000;

/// A loopback port that no other test of this machine gets while this is held, whether somebody
/// listens there or not: a service that is killed finds it free again.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _claim: File,
}

impl Port {
    /// Claims a port on which nobody listens.
    ///
    /// # Panics
    /// Where every port is taken.
    #[must_use]
    pub fn claim() -> Self {
        let folder = std::env::temp_dir().join("hansho-test-ports");
        std::fs::create_dir_all(&folder).expect("the folder of claims can be made");
        let claim = |port: u16| {
            let name = folder.join(port.to_string());
            let claim = OpenOptions::new().create(true).truncate(false).write(true).open(name).ok()?;
            claim.try_lock().ok()?;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let _nobody_listens = TcpListener::bind(address).ok()?;
            Some(Self { address, _claim: claim })
        };
        PORTS.into_iter().find_map(claim).expect("a port is free")
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
