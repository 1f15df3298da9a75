//! Counts of tests, read from what the test runners print in the end.

use std::{fmt, ops::Add};

/// How many tests ended how. A test that was chosen but never got its turn counts as failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Ran and held.
    pub(crate) passed: u64,
    /// Ran and did not hold, ran into a limit, or could not be run.
    pub(crate) failed: u64,
    /// Left out on purpose.
    pub(crate) skipped: u64,
}

impl Summary {
    /// What did not even build, or ended without a word: one failure.
    pub(crate) const BROKEN: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// From nextest's closing line, e.g.
    /// `Summary [   0.1s] 3/4 tests run: 1 passed (1 slow), 1 failed, 1 timed out, 2 skipped`.
    pub(crate) fn of_nextest(output: &str) -> Option<Self> {
        let plain = without_colours(output);
        let line = plain.lines().rev().find(|line| line.trim_start().starts_with("Summary ["))?;
        let (_, counts) = line.split_once(']')?;
        let (run, results) = counts.split_once(':')?;
        let mut summary = Self { failed: never_run(run), ..Self::default() };
        for part in without_parentheses(results).split(',') {
            let (number, word) = part.trim().split_once(' ')?;
            let number: u64 = number.parse().ok()?;
            match word.trim() {
                "passed" => summary.passed += number,
                "skipped" => summary.skipped += number,
                _ => summary.failed += number,
            }
        }
        Some(summary)
    }

    /// From the closing lines of `cargo test --doc`, one per crate, e.g.
    /// `test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s`.
    pub(crate) fn of_doctests(output: &str) -> Self {
        let plain = without_colours(output);
        plain.lines().filter_map(|line| line.split_once("test result:")).fold(
            Self::default(),
            |sum, (_, counts)| {
                let count = |word: &str| {
                    counts
                        .split(['.', ';'])
                        .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
                        .unwrap_or(0)
                };
                sum + Self {
                    passed: count(" passed"),
                    failed: count(" failed"),
                    skipped: count(" ignored") + count(" filtered out"),
                }
            },
        )
    }

    /// The same, with at least one failure where the runner says that it failed.
    pub(crate) fn agreeing_with(self, runner_succeeded: bool) -> Self {
        if runner_succeeded || self.failed > 0 { self } else { self + Self::BROKEN }
    }
}

impl Add for Summary {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// `3/10 tests run` leaves seven that an interruption kept from running.
fn never_run(run: &str) -> u64 {
    let numbers = run.trim().split(' ').next().and_then(|word| word.split_once('/'));
    let Some((run, chosen)) = numbers else { return 0 };
    match (run.parse::<u64>(), chosen.parse::<u64>()) {
        (Ok(run), Ok(chosen)) => chosen.saturating_sub(run),
        _ => 0,
    }
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    text.chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect()
}

/// Drops `ESC [ … m` sequences.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(passed: u64, failed: u64, skipped: u64) -> Summary {
        Summary { passed, failed, skipped }
    }

    #[test]
    fn nextest_counts_are_read_with_colours_and_remarks() {
        let text = "noise\n\u{1b}[32;1m     Summary\u{1b}[0m [   0.049s] \u{1b}[1m5\u{1b}[0m tests run: \
                    3 passed (1 slow, 1 leaky), 1 failed, 1 timed out, 2 skipped\nmore\n";
        assert_eq!(Summary::of_nextest(text), Some(summary(3, 2, 2)));
    }

    #[test]
    fn tests_that_never_got_their_turn_did_not_pass() {
        let text = "     Summary [   0.1s] 2/10 tests run: 1 passed, 1 failed, 0 skipped";
        assert_eq!(Summary::of_nextest(text), Some(summary(1, 9, 0)));
    }

    #[test]
    fn a_run_without_a_summary_has_none() {
        assert_eq!(Summary::of_nextest("error: could not compile"), None);
    }

    #[test]
    fn doctest_counts_are_summed_over_crates() {
        let text = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                    test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.00s";
        assert_eq!(Summary::of_doctests(text), summary(5, 4, 6));
    }

    #[test]
    fn a_failed_runner_is_never_reported_as_a_success() {
        assert_eq!(summary(3, 0, 0).agreeing_with(false), summary(3, 1, 0));
        assert_eq!(summary(3, 2, 0).agreeing_with(false), summary(3, 2, 0));
        assert_eq!(summary(3, 0, 0).agreeing_with(true), summary(3, 0, 0));
    }
}
