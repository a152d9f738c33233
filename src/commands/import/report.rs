//! What an import took, what it did not take, and why.

use std::collections::BTreeMap;
use std::io::Write;

/// Counts and reasons of one run.
#[derive(Debug, Default)]
pub(super) struct Report {
    counts: BTreeMap<(&'static str, Outcome), u64>,
    reasons: Vec<String>,
    left_out: u64,
    /// What is there and belongs to nothing that is here: a table, and how many rows.
    not_taken: Vec<(&'static str, i64, &'static str)>,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    New,
    Changed,
    Deleted,
    Unchanged,
    Kept,
    Refused,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Unchanged => "as before",
            Self::Kept => "kept as it is here",
            Self::Refused => "not taken",
        }
    }
}

/// Reasons that are written out; the others are counted.
const MOST_REASONS: usize = 200;

impl Report {
    pub(super) fn count(&mut self, kind: &'static str, outcome: Outcome) {
        *self.counts.entry((kind, outcome)).or_default() += 1;
    }

    /// A row that was kept or not taken. `what` never holds a key string.
    pub(super) fn because(&mut self, kind: &'static str, outcome: Outcome, what: &str, why: &str) {
        self.count(kind, outcome);
        if self.reasons.len() < MOST_REASONS {
            self.reasons.push(format!("{kind} {what}: {}: {why}", outcome.word()));
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn not_taken(&mut self, table: &'static str, rows: i64, why: &'static str) {
        if rows > 0 {
            self.not_taken.push((table, rows, why));
        }
    }

    pub(super) fn print(&self, dry_run: bool, out: &mut dyn Write) -> std::io::Result<()> {
        if dry_run {
            writeln!(out, "nothing was written; this would have been done:")?;
        }
        for ((kind, outcome), count) in &self.counts {
            writeln!(out, "{kind:<8} {:<20} {count:>9}", outcome.word())?;
        }
        for reason in &self.reasons {
            writeln!(out, "{}", reason.escape_debug())?;
        }
        if self.left_out > 0 {
            writeln!(out, "... and {} more", self.left_out)?;
        }
        for (table, rows, why) in &self.not_taken {
            writeln!(out, "{table}: {rows} rows not taken: {why}")?;
        }
        out.flush()
    }
}
