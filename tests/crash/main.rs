//! Power failures, hangs and absences, brought about on purpose: what the ledger says afterwards
//! is compared with the record of a relay that saw everything and outlived them (laws 3, 4, 10).

mod evidence;
mod hardship;
mod in_flight;
mod kill;
mod reply;
mod storm;
mod takeover;
