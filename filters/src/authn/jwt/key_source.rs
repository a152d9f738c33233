//! Where an issuer's keys come from, as the decision sees it: the set published last, and a way to ask for a newer one.
//!
//! Fetching is somebody else's work and never happens on the request path. A request whose token names a key that the
//! set lacks asks for one refresh and waits for it within a bound; while a refresh is not due, because one has just been
//! made, it is refused at once. So tokens with invented key names cost the key set's server one fetch a cool-down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::keys::KeySet;

/// Longest time that a request waits for a key set to be fetched.
pub const MAX_WAIT: Duration = Duration::from_secs(3);

/// The keys of one issuer, as they are now. Cloning shares them.
#[derive(Clone)]
pub struct KeySource {
    published: watch::Receiver<Published>,
    wanted: Arc<Notify>,
    generation: Arc<AtomicU64>,
}

/// The other end: whoever fetches publishes here.
pub struct KeyPublisher {
    published: watch::Sender<Published>,
    wanted: Arc<Notify>,
    generation: Arc<AtomicU64>,
}

/// What is known of an issuer's keys.
#[derive(Clone, Debug, Default)]
struct Published {
    /// `None`: never fetched, or too old to be trusted.
    set: Option<Arc<KeySet>>,
    /// Whether keys may be missing from the set because they could not be fetched.
    partial: bool,
    /// Counts the attempts that ended, well or badly.
    attempts: u64,
    /// Before this instant an unknown key causes no fetch.
    rests_until: Option<SystemTime>,
}

/// A publisher and the source that shows what it published: nothing yet.
#[must_use]
pub fn key_source() -> (KeyPublisher, KeySource) {
    let (sender, receiver) = watch::channel(Published::default());
    let (wanted, generation) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let source = KeySource { published: receiver, wanted: Arc::clone(&wanted), generation: Arc::clone(&generation) };
    (KeyPublisher { published: sender, wanted, generation }, source)
}

impl KeyPublisher {
    /// A fetch ended. `set` is what counts from now on: the new set, the old one while that may be used, or none. It is
    /// `complete` unless a part of it could not be had. `rests_until` is when an unknown key may cause the next fetch.
    pub fn publish(&self, set: Option<Arc<KeySet>>, complete: bool, rests_until: SystemTime) {
        self.published.send_modify(|published| {
            let same = match (&published.set, &set) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                (None, None) => true,
                _ => false,
            };
            published.set = set;
            published.partial = !complete;
            published.attempts += 1;
            published.rests_until = Some(rests_until);
            if !same {
                self.generation.fetch_add(1, Ordering::Release);
            }
        });
    }

    /// Waits until a request misses a key.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether nobody looks at this source any longer.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.published.is_closed()
    }

    /// Waits until nobody looks at this source any longer.
    pub async fn abandoned(&self) {
        self.published.closed().await;
    }
}

impl KeySource {
    /// Keys that never change: from the configuration.
    #[must_use]
    pub fn fixed(set: Arc<KeySet>) -> Self {
        let (publisher, source) = key_source();
        publisher.publish(Some(set), true, far_future());
        source
    }

    /// The set that counts now.
    #[must_use]
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.published.borrow().set.clone()
    }

    /// Whether keys may be missing from the set because they could not be fetched.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        let published = self.published.borrow();
        published.partial || published.set.is_none()
    }

    /// Changes whenever the set does. What was verified under another generation has to be looked at again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The set after one more fetch, or `None` where none is due or none ended in time.
    pub async fn newer(&self, now: SystemTime) -> Option<Arc<KeySet>> {
        let mut published = self.published.clone();
        let seen = {
            let latest = published.borrow();
            if latest.rests_until.is_some_and(|end| now < end) {
                return None;
            }
            latest.attempts
        };
        self.wanted.notify_one();
        let ended = timeout(MAX_WAIT, published.wait_for(|latest| latest.attempts > seen)).await;
        ended.ok()?.ok()?.set.clone()
    }
}

fn far_future() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)
}
