//! People who sign in, and on whose behalf something is done.

use crate::{StaffId, words};

/// What a person may do. One role each: whoever writes notices does not sign them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// 訓練担当者: writes exercises and notices, stops, settles.
    Coordinator,
    /// 承認者: signs what others wrote; resumes what was stopped.
    Approver,
    /// システム管理者: runs the server, imports rosters, stops.
    Engineer,
    /// Looks on.
    Viewer,
}

words!(Role, "role", {
    Coordinator => "coordinator",
    Approver => "approver",
    Engineer => "engineer",
    Viewer => "viewer",
});

impl Role {
    /// May write exercises and notices, request approval, release what is approved, settle.
    #[must_use]
    pub fn may_author(self) -> bool {
        matches!(self, Self::Coordinator)
    }

    /// May sign a notice that somebody else wrote, and resume a stopped one.
    #[must_use]
    pub fn may_approve(self) -> bool {
        matches!(self, Self::Approver)
    }

    /// May stop a running broadcast: everyone but onlookers, without approval.
    #[must_use]
    pub fn may_stop(self) -> bool {
        !matches!(self, Self::Viewer)
    }

    /// May read replies and member addresses in clear (law 12).
    #[must_use]
    pub fn may_see_addresses(self) -> bool {
        matches!(self, Self::Coordinator | Self::Engineer)
    }

    /// May import rosters.
    #[must_use]
    pub fn may_import(self) -> bool {
        matches!(self, Self::Coordinator | Self::Engineer)
    }
}

/// On whose behalf an action runs; every action is recorded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A signed-in person.
    Staff {
        /// Who.
        id: StaffId,
        /// With which role, read together with the session.
        role: Role,
    },
    /// The command line without a personal token: may set up, import, look and stop.
    LocalEngineer,
    /// The scheduler, acting on an approved timeline.
    Scheduler,
}

impl Actor {
    /// May stop a running broadcast.
    #[must_use]
    pub fn may_stop(self) -> bool {
        match self {
            Self::Staff { role, .. } => role.may_stop(),
            Self::LocalEngineer => true,
            Self::Scheduler => false,
        }
    }

    /// May import rosters and set the installation up.
    #[must_use]
    pub fn may_import(self) -> bool {
        match self {
            Self::Staff { role, .. } => role.may_import(),
            Self::LocalEngineer => true,
            Self::Scheduler => false,
        }
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Staff { id, .. } => write!(f, "staff:{id}"),
            Self::LocalEngineer => f.write_str("local-engineer"),
            Self::Scheduler => f.write_str("scheduler"),
        }
    }
}
