//! What this process knows of the writes that others commit, and what its cache must therefore forget.
//!
//! Every write has an epoch, one more than the write before it. A message that carries the next epoch says all that
//! happened since the last; anything else (a gap, an unreadable message, a new connection) may hide a write, and then no
//! key is trusted before the store confirmed it. So a lost message costs queries, never a revocation.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::cache::KeyCache;

/// The newest write that the cache has seen.
pub(super) struct Invalidation {
    cache: Arc<KeyCache>,
    seen: Mutex<i64>,
    /// Writes of this process whose messages have yet to come back: what they touched is forgotten already, and
    /// forgetting it again would take from a key that was confirmed since the right to outlive the store.
    own: Mutex<BTreeSet<i64>>,
}

impl Invalidation {
    pub(super) fn new(cache: Arc<KeyCache>) -> Self {
        Self { cache, seen: Mutex::new(0), own: Mutex::default() }
    }

    /// This process committed a write, or cannot know that it did not.
    pub(super) fn forget(&self, touched: &[KeyHash]) {
        self.cache.forget(touched);
    }

    /// This process committed a write, whose message is still to be heard.
    pub(super) fn committed(&self, epoch: i64, touched: &[KeyHash]) {
        self.cache.forget(touched);
        if self.is_behind(epoch) {
            lock(&self.own).insert(epoch);
        }
    }

    /// A write is known with all that it touched.
    pub(super) fn wrote(&self, epoch: i64, touched: &[KeyHash]) {
        self.cache.forget(touched);
        let mut seen = lock(&self.seen);
        if epoch == *seen + 1 {
            *seen = epoch;
        } else if epoch > *seen {
            drop(seen);
            self.start_over(epoch);
        }
    }

    /// A message from another process (or our own, come back).
    pub(super) fn heard(&self, message: &str) {
        match parse(message) {
            Some((epoch, Some(touched))) => {
                let is_own = lock(&self.own).remove(&epoch);
                self.wrote(epoch, if is_own { &[] } else { &touched });
            }
            Some((epoch, None)) => self.start_over(epoch),
            None => self.cache.distrust_all(),
        }
    }

    /// Whether the store has writes that this process has not heard of.
    pub(super) fn is_behind(&self, epoch: i64) -> bool {
        *lock(&self.seen) < epoch
    }

    /// From here on: whatever happened up to `epoch` may have been missed.
    pub(super) fn start_over(&self, epoch: i64) {
        *lock(&self.seen) = epoch;
        lock(&self.own).retain(|own| *own > epoch);
        self.cache.distrust_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// PostgreSQL refuses longer ones (8000 bytes and over).
const MAX_HASHES: usize = 100;

/// The message of a write: its epoch and the hashes it touched, or `*` where they are too many for one message.
pub(super) fn message(epoch: i64, touched: &[KeyHash]) -> String {
    if touched.len() > MAX_HASHES {
        return format!("{epoch} *");
    }
    let hashes: Vec<String> = touched.iter().map(KeyHash::to_string).collect();
    format!("{epoch} {}", hashes.join(","))
}

fn parse(message: &str) -> Option<(i64, Option<Vec<KeyHash>>)> {
    let (epoch, touched) = message.split_once(' ')?;
    let epoch = epoch.parse().ok()?;
    if touched == "*" {
        return Some((epoch, None));
    }
    touched.split(',').map(|hash| hash.parse().ok()).collect::<Option<Vec<_>>>().map(|touched| (epoch, Some(touched)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use portcullis_filters::authn::virtual_key::{KeyRecord, KeyStore, StoreUnavailable};
    use portcullis_filters::cache::CacheSettings;

    use super::*;

    /// A store without keys: what matters is how often it is asked.
    struct Empty;

    impl KeyStore for Empty {
        fn find(&self, _: KeyHash) -> BoxFuture<'_, Result<Option<KeyRecord>, StoreUnavailable>> {
            async { Ok(None) }.boxed()
        }
    }

    /// Whether the cache asks the store again for each of two keys after these messages, the last write seen being 5.
    async fn asks_again_after(messages: &[String]) -> (bool, bool) {
        let cache = Arc::new(KeyCache::new(CacheSettings::default()));
        let store: Arc<dyn KeyStore> = Arc::new(Empty);
        let asks = async |hash| {
            let before = cache.figures().queries;
            cache.find(&store, hash, SystemTime::UNIX_EPOCH).await.unwrap();
            cache.figures().queries > before
        };
        let invalidation = Invalidation::new(Arc::clone(&cache));
        invalidation.start_over(5);
        assert!(asks(hash("named")).await && asks(hash("other")).await);
        assert!(!asks(hash("named")).await && !asks(hash("other")).await);
        for message in messages {
            match message.strip_prefix("own ") {
                Some(message) => {
                    invalidation.committed(6, &[hash("named")]);
                    asks(hash("named")).await;
                    invalidation.heard(message);
                }
                None => invalidation.heard(message),
            }
        }
        (asks(hash("named")).await, asks(hash("other")).await)
    }

    fn hash(name: &str) -> KeyHash {
        KeyHash::of(name)
    }

    #[tokio::test]
    async fn what_a_message_does_not_say_is_assumed() {
        let named = [hash("named")];
        let next = |epoch| message(epoch, &named);
        let many: Vec<KeyHash> = (0..1000).map(|number| hash(&number.to_string())).collect();
        let cases = [
            (vec![], (false, false)),
            (vec![next(6)], (true, false)),
            (vec![next(6), next(7)], (true, false)),
            (vec![next(5)], (true, false)),
            (vec![format!("own {}", next(6))], (false, false)),
            (vec![format!("own {}", next(6)), next(7)], (true, false)),
            (vec![next(7)], (true, true)),
            (vec![next(6), next(8)], (true, true)),
            (vec![message(6, &many)], (true, true)),
            (vec!["6".to_owned()], (true, true)),
            (vec!["6 0123".to_owned()], (true, true)),
            (vec!["six *".to_owned()], (true, true)),
            (vec![String::new()], (true, true)),
        ];
        for (messages, expected) in cases {
            assert_eq!(asks_again_after(&messages).await, expected, "{messages:?}");
        }
    }

    #[test]
    fn no_message_is_too_long_to_be_sent() {
        for count in [0, 1, MAX_HASHES, MAX_HASHES + 1, 100_000] {
            let touched: Vec<KeyHash> = (0..count).map(|number| hash(&number.to_string())).collect();
            assert!(message(i64::MAX, &touched).len() < 8000, "{count}");
        }
    }
}
