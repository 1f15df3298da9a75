//! An exercise and the states of its timeline.

use crate::words;

/// Where an exercise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExerciseState {
    /// Written, not begun.
    Planned,
    /// STARTEX was given; injects fall due.
    Running,
    /// Stopped by a person: no inject fires.
    Stopped,
    /// ENDEX: every inject is done or was missed.
    Ended,
}

words!(ExerciseState, "exercise state", {
    Planned => "planned",
    Running => "running",
    Stopped => "stopped",
    Ended => "ended",
});

/// Where one inject stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InjectState {
    /// Not due and not prepared.
    Planned,
    /// Its notice is frozen and waits for signatures or for its time.
    Prepared,
    /// Its notice was released to the broadcaster.
    Released,
    /// Nobody signed in time: never sent late without a person.
    Missed,
}

words!(InjectState, "inject state", {
    Planned => "planned",
    Prepared => "prepared",
    Released => "released",
    Missed => "missed",
});

/// Whom an inject addresses.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InjectAudience {
    /// A saved audience, by name; frozen when the inject is prepared.
    Audience(String),
    /// Those reached by an earlier inject (by its key) who have not answered it.
    NonRespondents(String),
}
