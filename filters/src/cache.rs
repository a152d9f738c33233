//! The layer between the decision and the key store: hot keys in memory, one query per cold key, misses bounded.
//!
//! What must stay true:
//! * A key that was [forgotten](KeyCache::forget) is asked of the store again, also if an older load of it is still
//!   under way. Each entry carries the generation of its stripe as it was *before* its load began; a forgetting bumps
//!   the stripe, so a late, old answer is recognised and dropped.
//! * Unknown keys live in a cache of their own: no flood of them can push a good key out.
//! * While the store is away, a key that it confirmed lives on for `max_stale`; an unknown one never passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::authn::virtual_key::{KeyHash, KeyRecord, KeyStore, StoreUnavailable};

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

/// Keys by full hash. Shared by the authenticator and by everyone who learns of a change.
pub struct KeyCache {
    settings: CacheSettings,
    known: moka::future::Cache<KeyHash, Entry>,
    unknown: moka::sync::Cache<KeyHash, Entry>,
    /// One counter for a slice of the hash space, bumped when a key of that slice changes. A neighbour in the slice pays
    /// one extra query; in return an entry needs no lock to be checked.
    stripes: Box<[AtomicU64]>,
    /// Bumped when changes may have been missed: every entry must be confirmed again before it is trusted.
    epoch: AtomicU64,
    queries: AtomicU64,
    stale_served: AtomicU64,
}

#[derive(Clone)]
struct Entry {
    found: Found,
    stripe: u64,
    epoch: u64,
    /// When the store last confirmed it.
    loaded: SystemTime,
    usable_until: SystemTime,
}

#[derive(Clone)]
enum Found {
    Known(Arc<KeyRecord>),
    Unknown,
    /// Never held: it only carries the failure to everyone who waited for this load.
    Unavailable(StoreUnavailable),
}

impl Entry {
    fn answer(&self) -> Result<Option<Arc<KeyRecord>>, StoreUnavailable> {
        match &self.found {
            Found::Known(record) => Ok(Some(Arc::clone(record))),
            Found::Unknown => Ok(None),
            Found::Unavailable(unavailable) => Err(unavailable.clone()),
        }
    }
}

/// How long an absent store is left alone for a key that is served from memory meanwhile.
const STORE_RETRY: Duration = Duration::from_secs(1);

const STRIPES: usize = 4096;

impl KeyCache {
    /// An empty cache.
    #[must_use]
    pub fn new(settings: CacheSettings) -> Self {
        // The times of moka bound memory only; whether an entry may be used is decided against the caller's clock.
        Self {
            known: moka::future::Cache::builder()
                .max_capacity(settings.max_keys)
                .time_to_live(settings.ttl + settings.max_stale)
                .build(),
            unknown: moka::sync::Cache::builder()
                .max_capacity(settings.max_unknown)
                .time_to_live(settings.unknown_ttl)
                .build(),
            stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            epoch: AtomicU64::new(0),
            queries: AtomicU64::new(0),
            stale_served: AtomicU64::new(0),
            settings,
        }
    }

    /// The key of this hash: from memory, else from the store with one query however many ask at once.
    ///
    /// # Errors
    /// The store is away and the key is not known here, or was confirmed too long ago.
    pub async fn find(
        &self,
        store: &Arc<dyn KeyStore>,
        hash: KeyHash,
        now: SystemTime,
    ) -> Result<Option<Arc<KeyRecord>>, StoreUnavailable> {
        let held = self.known.get(&hash).await;
        if let Some(entry) = held.as_ref().filter(|entry| self.is_usable(entry, &hash, now)) {
            return entry.answer();
        }
        if self.unknown.get(&hash).is_some_and(|entry| self.is_usable(&entry, &hash, now)) {
            return Ok(None);
        }
        let mut entry = self.load(store, hash, held.clone(), now).await;
        if !self.is_current(&entry, &hash) {
            // Joined a load that had begun before a change. The next one begins after this request did, so its answer
            // stands even if it is overtaken in turn.
            entry = self.load(store, hash, held, now).await;
        }
        entry.answer()
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
            self.unknown.invalidate(hash);
        }
    }

    /// Changes may have been missed: confirm every key before it is trusted again. Unlike [`Self::forget`] this says
    /// nothing against the keys, so they may outlive an absent store.
    pub fn distrust_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Counters for the metrics page.
    #[must_use]
    pub fn figures(&self) -> CacheFigures {
        CacheFigures {
            keys: self.known.entry_count(),
            unknown: self.unknown.entry_count(),
            queries: self.queries.load(Ordering::Relaxed),
            stale_served: self.stale_served.load(Ordering::Relaxed),
        }
    }

    /// Asks the store through moka, which lets one caller ask while the others wait for the same answer.
    async fn load(&self, store: &Arc<dyn KeyStore>, hash: KeyHash, held: Option<Entry>, now: SystemTime) -> Entry {
        let ask = async {
            let (stripe, epoch) = (self.generation(&hash), self.epoch.load(Ordering::SeqCst));
            self.queries.fetch_add(1, Ordering::Relaxed);
            let found = match store.find(hash).await {
                Ok(Some(record)) => Found::Known(Arc::new(record)),
                Ok(None) => Found::Unknown,
                Err(unavailable) => {
                    return self.outlive(held, &hash, now).unwrap_or(Entry {
                        found: Found::Unavailable(unavailable),
                        stripe,
                        epoch,
                        loaded: now,
                        usable_until: now,
                    });
                }
            };
            let ttl = if matches!(found, Found::Known(_)) { self.settings.ttl } else { self.settings.unknown_ttl };
            Entry { found, stripe, epoch, loaded: now, usable_until: now + ttl }
        };
        let entry = self.known.entry(hash).or_insert_with_if(ask, |entry| !self.is_usable(entry, &hash, now)).await;
        let entry = entry.into_value();
        if !matches!(entry.found, Found::Known(_)) {
            self.known.remove(&hash).await;
        }
        if matches!(entry.found, Found::Unknown) {
            self.unknown.insert(hash, entry.clone());
        }
        entry
    }

    /// While the store is away, a confirmed key lives on if nobody revoked it and the bound allows. The store is asked
    /// again after a moment, not by every request.
    fn outlive(&self, held: Option<Entry>, hash: &KeyHash, now: SystemTime) -> Option<Entry> {
        let held = held.filter(|entry| self.is_current(entry, hash) && matches!(entry.found, Found::Known(_)))?;
        let end = held.loaded + self.settings.ttl + self.settings.max_stale;
        if self.settings.max_stale.is_zero() || end <= now {
            return None;
        }
        self.stale_served.fetch_add(1, Ordering::Relaxed);
        let epoch = self.epoch.load(Ordering::SeqCst);
        Some(Entry { epoch, usable_until: end.min(now + STORE_RETRY), ..held })
    }

    fn is_usable(&self, entry: &Entry, hash: &KeyHash, now: SystemTime) -> bool {
        self.is_current(entry, hash) && entry.epoch == self.epoch.load(Ordering::SeqCst) && now < entry.usable_until
    }

    /// Whether no change of this key is known that the entry has not seen.
    fn is_current(&self, entry: &Entry, hash: &KeyHash) -> bool {
        entry.stripe == self.generation(hash)
    }

    fn generation(&self, hash: &KeyHash) -> u64 {
        self.stripe(hash).load(Ordering::SeqCst)
    }

    fn stripe(&self, hash: &KeyHash) -> &AtomicU64 {
        let [first, second, ..] = *hash.as_bytes();
        &self.stripes[usize::from(u16::from_be_bytes([first, second])) % STRIPES]
    }
}

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
