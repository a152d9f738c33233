//! What this process knows of the writes that others commit, and what it must therefore forget or read.
//!
//! Every write has an epoch, one more than the write before it. A message that carries the next epoch says all that
//! happened since the last; anything else (a gap, an unreadable message, a new connection) may hide a write, and then no
//! record is trusted before the store confirmed it, and the deny list is read on. So a lost message costs queries, never a
//! revocation.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::cache::{KeyCache, RecordCache};
use portcullis_filters::directory::{MemberRecord, TeamRecord, UserRecord};
use tokio::sync::Notify;

/// What a write changed of what processes remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// Records under these hashes: keys, users, teams.
    Records(Vec<KeyHash>),
    /// The deny list.
    DenyList,
}

impl Touched {
    /// Adds what a write turns out to touch besides.
    pub(super) fn and(&mut self, more: impl IntoIterator<Item = KeyHash>) {
        if let Self::Records(records) = self {
            records.extend(more);
        }
    }
}

/// What this process remembers of a store's records. Their names never meet: each kind has a cache of its own.
pub(super) struct Caches {
    pub(super) keys: Arc<KeyCache>,
    pub(super) users: RecordCache<UserRecord>,
    pub(super) teams: RecordCache<TeamRecord>,
    /// Under names that change with their team: nobody has to forget them.
    pub(super) members: RecordCache<MemberRecord>,
}

impl Caches {
    /// Users and teams are remembered as long as keys, and as many.
    pub(super) fn new(keys: Arc<KeyCache>) -> Self {
        let settings = keys.settings();
        let (users, teams) = (RecordCache::new(settings.clone()), RecordCache::new(settings.clone()));
        let members = RecordCache::new(settings.clone());
        Self { keys, users, teams, members }
    }

    fn forget(&self, hashes: &[KeyHash]) {
        self.keys.forget(hashes);
        self.users.forget(hashes);
        self.teams.forget(hashes);
    }

    fn distrust_all(&self) {
        self.keys.distrust_all();
        self.users.distrust_all();
        self.teams.distrust_all();
        self.members.distrust_all();
    }
}

/// The newest write that this process has seen.
pub(super) struct Invalidation {
    pub(super) caches: Caches,
    /// Told when the deny list may have changed.
    pub(super) denials: Notify,
    seen: Mutex<i64>,
    /// Writes of this process whose messages have yet to come back: what they touched is forgotten already, and
    /// forgetting it again would take from a key that was confirmed since the right to outlive the store.
    own: Mutex<BTreeSet<i64>>,
}

impl Invalidation {
    pub(super) fn new(keys: Arc<KeyCache>) -> Self {
        Self { caches: Caches::new(keys), denials: Notify::new(), seen: Mutex::new(0), own: Mutex::default() }
    }

    /// This process committed a write, or cannot know that it did not.
    pub(super) fn forget(&self, touched: &Touched) {
        match touched {
            Touched::Records(records) => self.caches.forget(records),
            Touched::DenyList => self.denials.notify_one(),
        }
    }

    /// This process committed a write, whose message is still to be heard.
    pub(super) fn committed(&self, epoch: i64, touched: &Touched) {
        self.forget(touched);
        if self.is_behind(epoch) {
            lock(&self.own).insert(epoch);
        }
    }

    /// A write is known with all that it touched.
    pub(super) fn wrote(&self, epoch: i64, touched: &Touched) {
        self.forget(touched);
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
                self.wrote(epoch, &if is_own { Touched::Records(Vec::new()) } else { touched });
            }
            Some((epoch, None)) => self.start_over(epoch),
            None => self.distrust_all(),
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
        self.distrust_all();
    }

    fn distrust_all(&self) {
        self.caches.distrust_all();
        self.denials.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// PostgreSQL refuses longer ones (8000 bytes and over).
const MAX_HASHES: usize = 100;

/// What the message of a change to the deny list says instead of hashes. A node of a release without a deny list cannot
/// read it, and then trusts nothing: more than it must, and never less.
const DENY_LIST: &str = "deny-list";

/// The message of a write: its epoch and the hashes it touched, or `*` where they are too many for one message.
pub(super) fn message(epoch: i64, touched: &Touched) -> String {
    match touched {
        Touched::DenyList => format!("{epoch} {DENY_LIST}"),
        Touched::Records(records) if records.len() > MAX_HASHES => format!("{epoch} *"),
        Touched::Records(records) => {
            let hashes: Vec<String> = records.iter().map(KeyHash::to_string).collect();
            format!("{epoch} {}", hashes.join(","))
        }
    }
}

fn parse(message: &str) -> Option<(i64, Option<Touched>)> {
    let (epoch, touched) = message.split_once(' ')?;
    let touched = match touched {
        "*" => None,
        DENY_LIST => Some(Touched::DenyList),
        hashes => Some(Touched::Records(hashes.split(',').map(|hash| hash.parse().ok()).collect::<Option<_>>()?)),
    };
    Some((epoch.parse().ok()?, touched))
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
                    invalidation.committed(6, &records(&["named"]));
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

    fn records(names: &[&str]) -> Touched {
        Touched::Records(names.iter().map(|name| hash(name)).collect())
    }

    #[tokio::test]
    async fn what_a_message_does_not_say_is_assumed() {
        let next = |epoch| message(epoch, &records(&["named"]));
        let many = Touched::Records((0..1000).map(|number| hash(&number.to_string())).collect());
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
            (vec![message(6, &Touched::DenyList)], (false, false)),
            (vec![message(6, &Touched::DenyList), next(7)], (true, false)),
            (vec![message(7, &Touched::DenyList)], (true, true)),
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
    fn the_deny_list_is_read_whenever_it_may_have_changed() {
        let deny = |epoch| message(epoch, &Touched::DenyList);
        let named = |epoch| message(epoch, &records(&["named"]));
        let cases = [
            (deny(6), true),
            (deny(9), true),
            (named(6), false),
            (named(7), true),
            ("6 *".to_owned(), true),
            ("6 something-newer".to_owned(), true),
            (String::new(), true),
        ];
        for (message, reads) in cases {
            let invalidation = Invalidation::new(Arc::new(KeyCache::new(CacheSettings::default())));
            invalidation.start_over(5);
            assert_eq!(invalidation.denials.notified().now_or_never(), Some(()), "after a new connection");
            invalidation.heard(&message);
            assert_eq!(invalidation.denials.notified().now_or_never().is_some(), reads, "{message:?}");
        }
    }

    #[test]
    fn no_message_is_too_long_to_be_sent() {
        for count in [0, 1, MAX_HASHES, MAX_HASHES + 1, 100_000] {
            let touched = Touched::Records((0..count).map(|number| hash(&number.to_string())).collect());
            assert!(message(i64::MAX, &touched).len() < 8000, "{count}");
        }
    }
}
