//! The circuit breaker: a hook that keeps failing is left alone for a while, so that neither it nor those who wait for it are
//! worn down. Time is an argument.

use std::time::{Duration, Instant};

/// Failures in a row after which the hook is left alone.
const PATIENCE: u32 = 5;
/// For how long at first; doubled each time that the next try fails.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Whether a hook is asked.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    rests: u32,
    /// Until then nobody asks; then one does, and the others wait for what comes of it.
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a question may be put now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // This one is the probe. Should it be lost, another follows when its rest would be over.
                self.open_until = Some(now + self.rest());
                true
            }
        }
    }

    /// The hook answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not, or not in a way that counts.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= PATIENCE {
            self.open_until = Some(now + self.rest());
            self.rests = self.rests.saturating_add(1);
        }
    }

    fn rest(&self) -> Duration {
        (FIRST_REST * 2_u32.saturating_pow(self.rests.min(16))).min(LONGEST_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(start: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..PATIENCE {
            assert!(breaker.allows(start));
            breaker.failed(start);
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let start = Instant::now();
        assert!(!broken(start).allows(start));
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            (0..PATIENCE - 1).for_each(|_| breaker.failed(start));
            breaker.succeeded();
        }
        assert!(breaker.allows(start));
    }

    #[test]
    fn one_probes_after_the_rest_and_closes_it_or_rests_longer() {
        let start = Instant::now();
        let mut breaker = broken(start);
        let second = start + FIRST_REST;
        assert!(!breaker.allows(second - Duration::from_millis(1)));
        assert!(breaker.allows(second) && !breaker.allows(second), "one probe");
        breaker.failed(second);
        assert!(!breaker.allows(second + FIRST_REST), "twice as long");
        assert!(breaker.allows(second + 2 * FIRST_REST));
        breaker.succeeded();
        assert!(breaker.allows(second) && breaker.allows(second));
    }

    #[test]
    fn a_rest_has_a_bound() {
        let start = Instant::now();
        let mut breaker = broken(start);
        let mut now = start;
        for _ in 0..100 {
            now += LONGEST_REST;
            assert!(breaker.allows(now));
            breaker.failed(now);
        }
    }
}
