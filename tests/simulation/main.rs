//! The real broadcaster in simulated time: over a model of the ledger, a simulated network and a
//! relay with moods, with processes that die, hang and come back. An independent checker judges
//! each run by the relay's record and the ledger alone; planted bugs show that it can see.
//!
//! `cargo xtask sim --seeds N` runs more of it.

mod checker;
mod network;
mod scenario;
mod world;

use broadcaster::Bug;
use checker::check;
use scenario::{Planted, run};
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
use store::model::LedgerBug;

/// How many seeds, where nothing else is asked for.
const SEEDS: u64 = 2_000;
/// A bug that so many runs do not show is not found.
const SEEDS_PER_BUG: u64 = 600;

#[test]
fn every_seed_keeps_every_promise() {
    let asked = std::env::var("HANSHO_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let (from, seeds) = (first_seed(), asked.unwrap_or(SEEDS));
    let broken = search(from, seeds, None, usize::MAX);
    let told: Vec<String> = broken.iter().take(10).map(|(seed, why)| format!("seed {seed}: {why}")).collect();
    if let [(seed, _)] = broken[..] {
        run(seed, None).trace.iter().for_each(|line| println!("{line}"));
    }
    assert!(broken.is_empty(), "{} of {seeds} seeds broke a promise:\n{}", broken.len(), told.join("\n"));
    println!("{seeds} seeds from {from}, every promise kept");
}

fn first_seed() -> u64 {
    std::env::var("HANSHO_SIM_FROM").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let (first, second) = (run(seed, None).trace, run(seed, None).trace);
        let at = first.iter().zip(&second).position(|(a, b)| a != b);
        assert!(at.is_none() && first.len() == second.len(), "seed {seed} differs at {at:?}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    use {Bug as B, LedgerBug as L, Planted as P};
    let bugs = [
        P::Ledger(L::CheckpointAtFetch),
        P::Ledger(L::OutcomesInBatches),
        P::Ledger(L::PermitBeforeCommit),
        P::Ledger(L::LeaseNeverExpires),
        P::Ledger(L::LimitPerWorker),
        P::Ledger(L::WindowCountsIntents),
        P::Ledger(L::StopOnlyAtFetch),
        P::Ledger(L::EndOnlyAtFetch),
        P::Ledger(L::NoFence),
        P::Ledger(L::LostIsPending),
        P::Ledger(L::RetryAtOnce),
        P::Ledger(L::RejectedIsDeferred),
        P::Ledger(L::CompletedTooEarly),
        P::Ledger(L::GivesUpWhatIsUnderWay),
        P::Ledger(L::LostIsAccepted),
        P::Ledger(L::OutcomeOfTheNeighbour),
        P::Sender(B::LostIsNotTaken),
        P::Sender(B::DoubtfulConnectionKept),
        P::Sender(B::RefusalOfUsIsTheirs),
        P::Sender(B::WrongLetterFollows),
        P::Sender(B::PermitUsedTwice),
        P::Sender(B::OutcomeForgotten),
        P::Sender(B::NoPatience),
        P::Sender(B::NotVerified),
    ];
    let mut missed = Vec::new();
    for bug in bugs {
        match search(0, SEEDS_PER_BUG, Some(bug), 1).first() {
            Some((seed, why)) => println!("{bug:?}: seed {seed}: {why}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "{} of {} planted bugs were not found: {missed:?}", missed.len(), bugs.len());
}

/// The seeds that break a promise, on all cores; about so many are enough.
fn search(from: u64, seeds: u64, planted: Option<Planted>, enough: usize) -> Vec<(u64, String)> {
    let (next, found) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || found.lock().expect("no panic").len() >= enough {
                        return;
                    }
                    if let Err(why) = check(&run(seed, planted)) {
                        found.lock().expect("no panic").push((seed, why));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no panic");
    found.sort();
    found
}
