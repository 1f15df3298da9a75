//! The laws, each proven against the running product: its own executables, real sockets, and a
//! relay that keeps its own record and knows nothing of the ledger.
//!
//! | law | file |
//! |---|---|
//! | 1 One envelope, one recipient | `one_envelope_one_recipient` |
//! | 2 Replies end | `replies_end`, `strangers` |
//! | 3 The ledger is the truth | `the_ledger_is_the_truth` |
//! | 4 Intent before the dot | `intent_before_the_dot`; the crashes in the target `crash` |
//! | 5 Only what was approved is sent | `only_what_was_approved`, `four_eyes` |
//! | 6 Nature is a type | `nature_is_a_type` |
//! | 7 The cap is a gate before the start | `the_cap_is_a_gate` |
//! | 8 Stop is immediate | `stop_is_immediate` |
//! | 10 Nothing is lost on the way in | `nothing_is_lost`; the replies in the target `crash` |
//! | 12 Addresses stay covered | `addresses_stay_covered` |
//!
//! What strangers try at the two open doors, the sink and the members' pages, is in `strangers`;
//! what is tried with the texts that leave is in `onto_the_wire`; whoever got a member's old address
//! is in `recycled_addresses`. The first two go by the numbers of
//! `docs/security-tests.md`.

mod addresses_stay_covered;
mod dashboard;
mod database;
mod four_eyes;
mod intent_before_the_dot;
mod nature_is_a_type;
mod nothing_is_lost;
mod one_envelope_one_recipient;
mod only_what_was_approved;
mod onto_the_wire;
mod recycled_addresses;
mod replies_end;
mod signed_mail;
mod sockets;
mod stop_is_immediate;
mod strangers;
mod the_cap_is_a_gate;
mod the_ledger_is_the_truth;
