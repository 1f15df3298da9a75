//! The broadcaster against a relay on loopback: what each answer of a relay does to the ledger,
//! and that nobody gets a mail twice.

mod limits;
mod office;
mod outcomes;
mod safety;
