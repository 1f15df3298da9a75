//! Bugs that the simulation plants, to see whether its checker finds them. Without the feature
//! `planted`, which no executable has, every question here is answered no at compile time.

/// A bug of a broadcaster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "only the simulation may name one"))]
pub enum Bug {
    /// No answer to the final dot counts as not taken.
    LostIsNotTaken,
    /// A connection goes on after a step that was not answered in time: replies are off by one.
    DoubtfulConnectionKept,
    /// A refusal of the sender is taken for one of the recipient.
    RefusalOfUsIsTheirs,
    /// Whatever letter comes next follows the envelope that went ahead.
    WrongLetterFollows,
    /// A mail whose answer was lost is submitted once more with the same permit.
    PermitUsedTwice,
    /// An outcome is forgotten when there is nothing to send.
    OutcomeForgotten,
    /// Who asks for patience gets none.
    NoPatience,
    /// Signatures are not looked at.
    NotVerified,
}

#[cfg(feature = "planted")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug into all broadcasters of this thread.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(not(feature = "planted"))]
mod switch {
    pub(crate) const fn is_planted(_: super::Bug) -> bool {
        false
    }
}

pub(crate) use switch::is_planted;
#[cfg(feature = "planted")]
pub use switch::plant;
