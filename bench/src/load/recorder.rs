//! Counts and histograms of a load: one recorder for each thread, added up at the end.

use super::pace::Ticket;
use crate::message::Wrong;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Three digits of any time up to an hour, in nanoseconds.
fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("bounds that are known to be right")
}

/// What a load found. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// From the moment at which a request was to be sent to the end of its answer; right answers of the measured time only.
    pub latency: Histogram<u64>,
    /// To the first event of a stream, from the same moment.
    pub first_event: Histogram<u64>,
    /// How much later than it was sent an event arrived.
    pub event_delay: Histogram<u64>,
    /// Between two events of a stream, as they arrived.
    pub event_gap: Histogram<u64>,
    /// Right answers to requests of the measured time.
    pub answered: u64,
    /// What was wrong, and how often; those of the warm-up included.
    pub wrong: BTreeMap<Wrong, u64>,
    /// Length of the measured time.
    pub elapsed: Duration,
}

impl Default for LoadReport {
    fn default() -> Self {
        Self {
            latency: times(),
            first_event: times(),
            event_delay: times(),
            event_gap: times(),
            answered: 0,
            wrong: BTreeMap::new(),
            elapsed: Duration::ZERO,
        }
    }
}

impl LoadReport {
    /// How many requests had no right answer.
    #[must_use]
    pub fn wrong_count(&self) -> u64 {
        self.wrong.values().sum()
    }

    /// Right answers a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the requests (0 to 1) did not exceed, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, share: f64) -> f64 {
        quantile_ms(&self.latency, share)
    }

    pub(crate) fn add(&mut self, other: LoadReport) {
        let of_one_kind = "histograms of the same bounds";
        self.latency.add(other.latency).expect(of_one_kind);
        self.first_event.add(other.first_event).expect(of_one_kind);
        self.event_delay.add(other.event_delay).expect(of_one_kind);
        self.event_gap.add(other.event_gap).expect(of_one_kind);
        self.answered += other.answered;
        for (wrong, count) in other.wrong {
            self.count_wrong(wrong, count);
        }
    }

    pub(super) fn count_wrong(&mut self, wrong: Wrong, count: u64) {
        if count > 0 {
            *self.wrong.entry(wrong).or_default() += count;
        }
    }
}

/// The time that this share of those recorded did not exceed, in milliseconds.
pub(super) fn quantile_ms(times: &Histogram<u64>, share: f64) -> f64 {
    times.value_at_quantile(share) as f64 / 1e6
}

/// What one thread records.
#[derive(Debug)]
pub(super) struct Recorder(LoadReport);

impl Recorder {
    pub(super) fn new() -> Self {
        Self(LoadReport::default())
    }

    pub(super) fn answer(&mut self, ticket: Ticket, outcome: Result<(), Wrong>) {
        match outcome {
            Ok(()) if ticket.measured => {
                self.0.answered += 1;
                record(&mut self.0.latency, ticket.due.elapsed());
            }
            Ok(()) => {}
            Err(wrong) => self.0.count_wrong(wrong, 1),
        }
    }

    /// An event arrived `now`, `delay` after the provider sent it and `gap` after the one before it in its stream.
    pub(super) fn event(&mut self, ticket: Ticket, now: Instant, delay: Duration, gap: Option<Duration>) {
        if ticket.measured {
            record(&mut self.0.event_delay, delay);
            match gap {
                Some(gap) => record(&mut self.0.event_gap, gap),
                None => record(&mut self.0.first_event, now.saturating_duration_since(ticket.due)),
            }
        }
    }

    pub(super) fn into_report(self) -> LoadReport {
        self.0
    }
}

fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}
