//! Everything simulated: a capture relay, a fictitious roster and the members who answer.
//!
//! Nothing here reaches beyond this machine. The relay binds loopback addresses only and passes
//! nothing on; the simulated members speak to loopback addresses only.

pub mod browser;
pub mod crowd;
pub mod relay;
pub mod roster;
