//! The layer between the decision and the store: hot records in memory, one query per cold one, misses bounded. Keys, users
//! and teams are remembered alike; what is said of keys here holds for each kind of record.
//!
//! What must stay true:
//! * A key that was [forgotten](RecordCache::forget) is asked of the store again, also if an older load of it is still
//!   under way. Each entry is stamped with the state of the counters as it was *before* its load began; a forgetting
//!   moves its counter, so a late, old answer is recognised and dropped.
//! * Unknown keys live in a cache of their own: no flood of them can push a good key out.
//! * While the store is away, a key that it confirmed lives on for `max_stale`; an unknown one never passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::authn::virtual_key::{KeyHash, KeyRecord, KeyStore, StoreUnavailable};
use crate::directory::{MemberRecord, TeamRecord, UserRecord};

/// Sizes and times of the key cache. `Default` is what an empty configuration gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How long a confirmed key is served without asking the store again. Revocation does not wait for it: it is pushed.
    /// LiteLLM's `user_api_key_cache_ttl`.
    pub ttl: Duration,
    /// How many keys are held. LiteLLM's `user_api_key_cache_max_size`.
    pub max_keys: u64,
    /// How long "no such key" is remembered.
    pub unknown_ttl: Duration,
    /// How many unknown keys are remembered.
    pub max_unknown: u64,
    /// How long beyond `ttl` a confirmed key is served while the store is away. Zero switches it off.
    pub max_stale: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            max_keys: 200_000,
            unknown_ttl: Duration::from_secs(10),
            max_unknown: 50_000,
            max_stale: Duration::from_secs(600),
        }
    }
}

/// What a store confirms and a cache remembers.
pub trait Record: Send + Sync + 'static {
    /// When it ends by itself, so that the store must be asked again; `None`: never.
    fn expires(&self) -> Option<SystemTime> {
        None
    }
}

impl Record for KeyRecord {
    fn expires(&self) -> Option<SystemTime> {
        self.expires
    }
}

impl Record for UserRecord {}

impl Record for TeamRecord {}

impl Record for MemberRecord {}

/// Keys by full hash. Shared by the authenticator and by everyone who learns of a change.
pub type KeyCache = RecordCache<KeyRecord>;

/// Records of one kind by the full hash of their names.
pub struct RecordCache<R> {
    settings: CacheSettings,
    /// Both are bounded by number and know no time: an entry that has ended is taken out when it is asked for or when room
    /// is needed. What a hit costs is what each request pays, and here that is a shared lock and a mark.
    known: quick_cache::sync::Cache<KeyHash, Known<R>>,
    unknown: quick_cache::sync::Cache<KeyHash, Unknown>,
    /// Never holds anything: it lets one caller ask the store while the others wait for the same answer.
    loads: moka::future::Cache<KeyHash, ()>,
    /// One counter for a slice of the hash space, moved when a key of that slice changes. A neighbour in the slice pays
    /// one extra query; in return an entry needs no lock to be checked.
    stripes: Box<[AtomicU32]>,
    /// Moved when changes may have been missed: every entry must be confirmed again before it is trusted.
    epoch: AtomicU64,
    queries: AtomicU64,
    stale_served: AtomicU64,
}

/// The counters that an answer was loaded under.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    stripe: u32,
    epoch: u64,
}

impl Stamp {
    fn is_since(self, earlier: Self) -> bool {
        // The stripe's counter may go round; nobody loads for two thousand million changes.
        let moved = self.stripe.wrapping_sub(earlier.stripe);
        self.epoch >= earlier.epoch && moved < u32::MAX / 2
    }
}

/// A key that the store confirmed.
struct Known<R> {
    record: Arc<R>,
    stamp: Stamp,
    confirmed: SystemTime,
    usable_until: SystemTime,
}

impl<R> Clone for Known<R> {
    fn clone(&self) -> Self {
        Self { record: Arc::clone(&self.record), ..*self }
    }
}

/// A key that the store does not know.
#[derive(Clone)]
struct Unknown {
    stamp: Stamp,
    usable_until: SystemTime,
}

type Answer<R> = Result<Option<Arc<R>>, StoreUnavailable>;

/// What a load ends with, told to everyone who waited for it.
struct Loaded<R> {
    answer: Answer<R>,
    stamp: Stamp,
}

/// How long an absent store is left alone for a key that is served from memory meanwhile.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// So many that a thousand changes cost one key in sixty-five a query; 256 KiB.
const STRIPES: usize = 1 << 16;

impl KeyCache {
    /// As [`RecordCache::find_by`], from a store of keys.
    ///
    /// # Errors
    /// As [`RecordCache::find_by`].
    pub async fn find(
        &self,
        store: &Arc<dyn KeyStore>,
        hash: KeyHash,
        now: SystemTime,
    ) -> Result<Option<Arc<KeyRecord>>, StoreUnavailable> {
        self.find_by(hash, now, || store.find(hash)).await
    }
}

impl<R: Record> RecordCache<R> {
    /// An empty cache.
    #[must_use]
    pub fn new(settings: CacheSettings) -> Self {
        Self {
            known: bounded(settings.max_keys),
            unknown: bounded(settings.max_unknown),
            loads: moka::future::Cache::new(0),
            stripes: (0..STRIPES).map(|_| AtomicU32::new(0)).collect(),
            epoch: AtomicU64::new(0),
            queries: AtomicU64::new(0),
            stale_served: AtomicU64::new(0),
            settings,
        }
    }

    /// What is known of this hash without asking the store: the key, or `Some(None)` that there is none.
    #[must_use]
    pub fn recall(&self, hash: &KeyHash, now: SystemTime) -> Option<Option<Arc<R>>> {
        // The entry before the counters: a change in between is seen.
        if let Some(known) = self.known.get(hash)
            && self.stamp(hash) == known.stamp
            && now < known.usable_until
        {
            return Some(Some(known.record));
        }
        let unknown = self.unknown.get(hash)?;
        (self.stamp(hash) == unknown.stamp && now < unknown.usable_until).then_some(None)
    }

    /// The key of this hash: from memory, else from the store (`query`) with one query however many ask at once. An answer
    /// that a change overtakes is asked for again.
    ///
    /// # Errors
    /// The store is away and the key is not known here, or was confirmed too long ago.
    pub async fn find_by<Q>(
        &self,
        hash: KeyHash,
        now: SystemTime,
        query: impl Fn() -> Q,
    ) -> Result<Option<Arc<R>>, StoreUnavailable>
    where
        Q: Future<Output = Result<Option<R>, StoreUnavailable>>,
    {
        if let Some(known) = self.recall(&hash, now) {
            return Ok(known);
        }
        let arrived = self.stamp(&hash);
        let first = self.load(&query, hash, now).await;
        if first.stamp == self.stamp(&hash) {
            return first.answer.clone();
        }
        // A change came while it loaded, perhaps before this request. An answer whose load began after this request did
        // stands, even if it is overtaken in turn.
        loop {
            let next = self.load(&query, hash, now).await;
            if next.stamp.is_since(arrived) {
                return next.answer.clone();
            }
        }
    }

    /// Whether the store said that there is no such record, nothing changed it since, and `max_stale` is not over. For
    /// records whose absence takes no right away; while the store is away, an absence of a key says nothing.
    #[must_use]
    pub fn was_absent(&self, hash: &KeyHash, now: SystemTime) -> bool {
        self.unknown.get(hash).is_some_and(|unknown| {
            self.stamp(hash).stripe == unknown.stamp.stripe && now < unknown.usable_until + self.settings.max_stale
        })
    }

    /// Whether anything is held about this hash, be it a key or that there is none: asking for it is likely to be free.
    #[must_use]
    pub fn holds(&self, hash: &KeyHash) -> bool {
        self.known.contains_key(hash) || self.unknown.contains_key(hash)
    }

    /// Makes every later request for these keys ask the store. Call it after the change is committed.
    pub fn forget(&self, hashes: &[KeyHash]) {
        for hash in hashes {
            self.stripe(hash).fetch_add(1, Ordering::SeqCst);
            self.known.remove(hash);
            self.unknown.remove(hash);
        }
    }

    /// Changes may have been missed: confirm every key before it is trusted again. Unlike [`Self::forget`] this says
    /// nothing against the keys, so they may outlive an absent store.
    pub fn distrust_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Its sizes and times.
    #[must_use]
    pub fn settings(&self) -> &CacheSettings {
        &self.settings
    }

    /// Counters for the metrics page.
    #[must_use]
    pub fn figures(&self) -> CacheFigures {
        CacheFigures {
            keys: self.known.len() as u64,
            unknown: self.unknown.len() as u64,
            queries: self.queries.load(Ordering::Relaxed),
            stale_served: self.stale_served.load(Ordering::Relaxed),
        }
    }

    /// Asks the store, or waits for the answer that somebody else is asking for. A caller who goes away while it asks
    /// leaves that to one who waits.
    async fn load<Q>(&self, query: &impl Fn() -> Q, hash: KeyHash, now: SystemTime) -> Arc<Loaded<R>>
    where
        Q: Future<Output = Result<Option<R>, StoreUnavailable>>,
    {
        // moka keeps values and hands errors around, so an answer that must not be kept there is an error to it.
        let ask = async { Err::<(), Loaded<R>>(self.ask(query, hash, now).await) };
        match self.loads.try_get_with(hash, ask).await {
            Err(loaded) => loaded,
            Ok(()) => Arc::new(self.ask(query, hash, now).await),
        }
    }

    async fn ask<Q>(&self, query: &impl Fn() -> Q, hash: KeyHash, now: SystemTime) -> Loaded<R>
    where
        Q: Future<Output = Result<Option<R>, StoreUnavailable>>,
    {
        let stamp = self.stamp(&hash);
        self.queries.fetch_add(1, Ordering::Relaxed);
        let answer = match query().await {
            Ok(Some(record)) => {
                let record = Arc::new(record);
                let usable_until = self.usable_until(&record, now);
                self.known.insert(hash, Known { record: Arc::clone(&record), stamp, confirmed: now, usable_until });
                self.unknown.remove(&hash);
                Ok(Some(record))
            }
            Ok(None) => {
                self.known.remove(&hash);
                self.unknown.insert(hash, Unknown { stamp, usable_until: now + self.settings.unknown_ttl });
                Ok(None)
            }
            Err(unavailable) => self.outlive(hash, now).map(Some).ok_or(unavailable),
        };
        Loaded { answer, stamp }
    }

    /// A key is confirmed anew when it ends: what was the end of a grace period to the old entry may be nothing to the
    /// store by then. A key that has ended is remembered as such, or its owner's retries would all be queries.
    fn usable_until(&self, record: &R, now: SystemTime) -> SystemTime {
        let end = now + self.settings.ttl;
        record.expires().filter(|expires| *expires > now).map_or(end, |expires| end.min(expires))
    }

    /// While the store is away, a confirmed key lives on if nobody revoked it and the bound allows. The store is asked
    /// again after a moment, not by every request.
    fn outlive(&self, hash: KeyHash, now: SystemTime) -> Option<Arc<R>> {
        let known = self.known.get(&hash)?;
        let stamp = self.stamp(&hash);
        let end = known.confirmed + self.settings.ttl + self.settings.max_stale;
        if known.stamp.stripe != stamp.stripe || self.settings.max_stale.is_zero() || end <= now {
            return None;
        }
        self.stale_served.fetch_add(1, Ordering::Relaxed);
        let usable_until = end.min(now + STORE_RETRY);
        let record = Arc::clone(&known.record);
        self.known.insert(hash, Known { stamp, usable_until, ..known });
        Some(record)
    }

    fn stamp(&self, hash: &KeyHash) -> Stamp {
        Stamp { stripe: self.stripe(hash).load(Ordering::SeqCst), epoch: self.epoch.load(Ordering::SeqCst) }
    }

    fn stripe(&self, hash: &KeyHash) -> &AtomicU32 {
        let [first, second, ..] = *hash.as_bytes();
        &self.stripes[usize::from(u16::from_be_bytes([first, second]))]
    }
}

/// A map that never holds more than `most` entries. The library would round up for each of its shards, of which it makes
/// more on larger machines.
pub(crate) fn bounded<T: Clone>(most: u64) -> quick_cache::sync::Cache<KeyHash, T> {
    let shards = if most < LEAST_SHARDED { 1 } else { SHARDS };
    let most = most - most % shards;
    let mut options = quick_cache::OptionsBuilder::new();
    let items = usize::try_from(most).unwrap_or(usize::MAX);
    options.shards(shards as usize).estimated_items_capacity(items).weight_capacity(most);
    let options = options.build().expect("both capacities are set");
    quick_cache::sync::Cache::with_options(options, quick_cache::UnitWeighter, Default::default(), Default::default())
}

/// Locks that hits of different keys share out among themselves.
const SHARDS: u64 = 64;
/// The library makes no shard of fewer than 32 entries.
const LEAST_SHARDED: u64 = 32 * SHARDS;

/// What the metrics page shows of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheFigures {
    /// Keys held.
    pub keys: u64,
    /// Unknown keys remembered.
    pub unknown: u64,
    /// Questions put to the store since the start.
    pub queries: u64,
    /// Answers given from memory because the store was away.
    pub stale_served: u64,
}

#[cfg(test)]
mod tests;
