//! Slows down whoever guesses keys: failed look-ups are counted by source address.
//!
//! Only a look-up that has to ask the store is ever refused. A key that is already known here passes whatever its
//! neighbours behind the same address do, so a guesser can delay new keys of his own network at most.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::denial::Denial;

/// How much guessing one source gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureSettings {
    /// Failed look-ups in a row before the throttle closes. Zero switches it off.
    pub burst: u32,
    /// Failed look-ups forgiven each second.
    pub per_second: u32,
}

impl Default for FailureSettings {
    fn default() -> Self {
        Self { burst: 1000, per_second: 50 }
    }
}

/// Token buckets by source. Bounded: the least used source is forgotten first.
pub struct FailureThrottle {
    settings: FailureSettings,
    sources: moka::sync::Cache<IpAddr, Arc<Mutex<Bucket>>>,
}

struct Bucket {
    left: f64,
    filled: SystemTime,
}

const MAX_SOURCES: u64 = 100_000;

impl FailureThrottle {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new(settings: FailureSettings) -> Self {
        let sources =
            moka::sync::Cache::builder().max_capacity(MAX_SOURCES).time_to_idle(Duration::from_secs(120)).build();
        Self { settings, sources }
    }

    /// Whether this source may have one more unknown key looked up.
    ///
    /// # Errors
    /// [`Denial::TooManyFailures`] with the time after which one more try is forgiven.
    pub(super) fn check(&self, source: Option<IpAddr>, now: SystemTime) -> Result<(), Denial> {
        let Some(bucket) = source.and_then(|source| self.sources.get(&network(source))) else { return Ok(()) };
        if self.refill(&bucket, now, 0.0) >= 1.0 {
            return Ok(());
        }
        Err(Denial::TooManyFailures { retry_after: Duration::from_secs(1) })
    }

    /// Notes that a look-up found nothing.
    pub(super) fn record(&self, source: Option<IpAddr>, now: SystemTime) {
        let Some(source) = source.filter(|_| self.settings.burst > 0) else { return };
        let full = || Arc::new(Mutex::new(Bucket { left: f64::from(self.settings.burst), filled: now }));
        let bucket = self.sources.get_with(network(source), full);
        self.refill(&bucket, now, 1.0);
    }

    /// Adds what time has forgiven, takes `cost`, and says what is left.
    fn refill(&self, bucket: &Mutex<Bucket>, now: SystemTime, cost: f64) -> f64 {
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.duration_since(bucket.filled).unwrap_or_default().as_secs_f64();
        let forgiven = passed * f64::from(self.settings.per_second);
        bucket.left = (bucket.left + forgiven).min(f64::from(self.settings.burst)) - cost;
        bucket.left = bucket.left.max(0.0);
        bucket.filled = now;
        bucket.left
    }
}

/// One IPv6 customer has a /64 to choose addresses from.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_source_is_refused_after_its_burst_and_forgiven_with_time() {
        let throttle = FailureThrottle::new(FailureSettings { burst: 3, per_second: 1 });
        let start = SystemTime::UNIX_EPOCH;
        let guesser = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..3 {
            assert_eq!(throttle.check(guesser, start), Ok(()));
            throttle.record(guesser, start);
        }
        assert_eq!(throttle.check(guesser, start), Err(Denial::TooManyFailures { retry_after: SECOND }));
        assert_eq!(throttle.check(Some(IpAddr::from([192, 0, 2, 2])), start), Ok(()), "neighbours are not punished");
        assert_eq!(throttle.check(guesser, start + SECOND), Ok(()));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let throttle = FailureThrottle::new(FailureSettings { burst: 1, per_second: 1 });
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        throttle.record(address("2001:db8::1"), SystemTime::UNIX_EPOCH);
        assert!(throttle.check(address("2001:db8::ffff"), SystemTime::UNIX_EPOCH).is_err());
        assert!(throttle.check(address("2001:db8:0:1::1"), SystemTime::UNIX_EPOCH).is_ok());
    }
}
