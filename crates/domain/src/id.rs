//! Typed row ids. All are `i64`: PostgreSQL refuses an `i32` bound to a BIGINT column.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Wraps a row id.
            #[must_use]
            pub const fn new(id: i64) -> Self { Self(id) }
            /// The row id, for binding to a query.
            #[must_use]
            pub const fn get(self) -> i64 { self.0 }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> { text.parse().map(Self) }
        }
    )+};
}

ids! {
    /// A person in the registry.
    MemberId,
    /// A saved filter over the registry.
    AudienceId,
    /// One notice and its delivery to one audience.
    BroadcastId,
    /// One row of the ledger: a broadcast and a recipient.
    DeliveryId,
    /// A planned practice.
    ExerciseId,
    /// One entry of an exercise's timeline.
    InjectId,
    /// A set of questions.
    QuestionnaireId,
    /// A stored reply or bounce.
    ReplyId,
    /// A person who signs in.
    StaffId,
    /// One claim of a worker on a chunk of ledger rows.
    LeaseId,
}
