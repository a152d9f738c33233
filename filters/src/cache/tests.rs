//! The cache against a store whose every answer the test decides, at times the test decides.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Notify;

use super::*;
use crate::policy::Policy;
use crate::principal::Role;

/// A store that answers from a table, and only when it is let.
#[derive(Default)]
struct Scripted {
    keys: Mutex<HashMap<KeyHash, Option<SystemTime>>>,
    away: Mutex<bool>,
    /// Where set, a look-up reads the table, says that it did, and then waits before it answers.
    held: Mutex<Option<(Arc<Notify>, Arc<Notify>)>>,
}

impl Scripted {
    fn with(hashes: &[KeyHash]) -> Arc<Self> {
        let store = Arc::new(Self::default());
        hashes.iter().for_each(|hash| store.put(*hash, None));
        store
    }

    fn put(&self, hash: KeyHash, expires: Option<SystemTime>) {
        self.keys.lock().unwrap().insert(hash, expires);
    }

    fn remove(&self, hash: KeyHash) {
        self.keys.lock().unwrap().remove(&hash);
    }

    fn go_away(&self, away: bool) {
        *self.away.lock().unwrap() = away;
    }

    /// From now on look-ups wait; returns (what says that one has read the table, what lets one answer).
    fn hold(&self) -> (Arc<Notify>, Arc<Notify>) {
        let pair = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        *self.held.lock().unwrap() = Some(pair.clone());
        pair
    }
}

impl KeyStore for Scripted {
    fn find(&self, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRecord>, StoreUnavailable>> {
        async move {
            let found = self.keys.lock().unwrap().get(&hash).copied();
            let away = *self.away.lock().unwrap();
            let held = self.held.lock().unwrap().take();
            if let Some((has_read, may_answer)) = held {
                has_read.notify_one();
                may_answer.notified().await;
            }
            if away { Err(StoreUnavailable("away".to_owned())) } else { Ok(found.map(|expires| record(hash, expires))) }
        }
        .boxed()
    }
}

fn record(id: KeyHash, expires: Option<SystemTime>) -> KeyRecord {
    let policy = Policy::new(&[], &[], Default::default());
    KeyRecord {
        id,
        alias: None,
        user_id: None,
        team_id: None,
        organization_id: None,
        policy,
        expires,
        blocked: false,
        limits: None,
    }
}

fn key(name: &str) -> KeyHash {
    KeyHash::of(name)
}

const T0: SystemTime = SystemTime::UNIX_EPOCH;

fn after(seconds: u64) -> SystemTime {
    T0 + Duration::from_secs(seconds)
}

/// A cache before a store, asked at given times. Times: 60 s for a key, 10 s for an absence, 600 s beyond an outage.
struct Asked {
    cache: Arc<KeyCache>,
    script: Arc<Scripted>,
    store: Arc<dyn KeyStore>,
}

impl Asked {
    fn new(script: Arc<Scripted>) -> Self {
        Self::with(script, CacheSettings::default())
    }

    fn with(script: Arc<Scripted>, settings: CacheSettings) -> Self {
        let store: Arc<dyn KeyStore> = Arc::clone(&script) as _;
        Self { cache: Arc::new(KeyCache::new(settings)), script, store }
    }

    /// Whether the key is found; `None` if the store is away.
    async fn finds(&self, hash: KeyHash, seconds: u64) -> Option<bool> {
        self.cache.find(&self.store, hash, after(seconds)).await.ok().map(|found| found.is_some())
    }

    fn queries(&self) -> u64 {
        self.cache.figures().queries
    }
}

#[tokio::test]
async fn five_hundred_requests_for_a_cold_key_make_one_query() {
    for hash in [key("known"), key("unknown")] {
        let asked = Asked::new(Scripted::with(&[key("known")]));
        let (_, may_answer) = asked.script.hold();
        let requests = join_all((0..500).map(|_| asked.finds(hash, 0)));
        let answered = async { may_answer.notify_one() };
        let (found, ()) = tokio::join!(requests, answered);
        assert!(found.iter().all(|found| *found == Some(hash == key("known"))));
        assert_eq!(asked.queries(), 1);
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_does_not_take_the_others_along() {
    let asked = Asked::new(Scripted::with(&[key("k")]));
    let (has_read, _never) = asked.script.hold();
    let (cache, store) = (Arc::clone(&asked.cache), Arc::clone(&asked.store));
    let first = tokio::spawn(async move { cache.find(&store, key("k"), T0).await });
    has_read.notified().await;
    let mut second = std::pin::pin!(asked.finds(key("k"), 0));
    assert_eq!(futures_util::poll!(&mut second), std::task::Poll::Pending, "it waits for the first one's answer");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(second.await, Some(true));
    assert_eq!(asked.queries(), 2);
}

#[tokio::test]
async fn a_key_is_confirmed_again_after_its_time() {
    let asked = Asked::new(Scripted::with(&[key("k")]));
    for (seconds, queries) in [(0, 1), (59, 1), (60, 2), (119, 2), (120, 3)] {
        assert_eq!(asked.finds(key("k"), seconds).await, Some(true));
        assert_eq!(asked.queries(), queries, "at {seconds} s");
    }
    for (seconds, queries) in [(0, 4), (9, 4), (10, 5)] {
        assert_eq!(asked.finds(key("absent"), seconds).await, Some(false));
        assert_eq!(asked.queries(), queries, "at {seconds} s");
    }
}

#[tokio::test]
async fn a_forgotten_key_is_asked_for_again() {
    let asked = Asked::new(Scripted::with(&[key("k")]));
    assert_eq!(asked.finds(key("k"), 0).await, Some(true));
    assert_eq!(asked.finds(key("new"), 0).await, Some(false));
    asked.script.remove(key("k"));
    asked.script.put(key("new"), None);
    asked.cache.forget(&[key("k"), key("new")]);
    assert_eq!(asked.finds(key("k"), 0).await, Some(false));
    assert_eq!(asked.finds(key("new"), 0).await, Some(true));
}

#[tokio::test]
async fn a_load_that_a_change_overtakes_is_not_believed() {
    for distrust in [false, true] {
        let asked = Asked::new(Scripted::with(&[key("k")]));
        let (has_read, may_answer) = asked.script.hold();
        let (cache, store) = (Arc::clone(&asked.cache), Arc::clone(&asked.store));
        let early = tokio::spawn(async move { cache.find(&store, key("k"), T0).await });
        has_read.notified().await;
        asked.script.remove(key("k"));
        if distrust {
            asked.cache.distrust_all()
        } else {
            asked.cache.forget(&[key("k")])
        }
        // This one arrives after the change and joins the load that began before it.
        let mut late = std::pin::pin!(asked.finds(key("k"), 0));
        assert_eq!(futures_util::poll!(&mut late), std::task::Poll::Pending);
        may_answer.notify_one();
        assert_eq!(late.await, Some(false), "distrust: {distrust}");
        assert_eq!(early.await.unwrap().unwrap(), None, "distrust: {distrust}");
        assert_eq!(asked.finds(key("k"), 0).await, Some(false));
    }
}

#[tokio::test]
async fn a_distrusted_key_is_confirmed_once() {
    let asked = Asked::new(Scripted::with(&[key("k")]));
    assert_eq!(asked.finds(key("k"), 0).await, Some(true));
    asked.cache.distrust_all();
    for _ in 0..3 {
        assert_eq!(asked.finds(key("k"), 0).await, Some(true));
    }
    assert_eq!(asked.queries(), 2);
}

#[tokio::test]
async fn an_absence_is_remembered_until_something_changed_it() {
    let asked = Asked::new(Scripted::with(&[]));
    let absent = |seconds| asked.cache.was_absent(&key("a"), after(seconds));
    assert!(!absent(0), "nobody said so");
    assert_eq!(asked.finds(key("a"), 0).await, Some(false));
    asked.script.go_away(true);
    asked.cache.distrust_all();
    assert_eq!(asked.finds(key("a"), 20).await, None, "a key is never unknown for that reason");
    assert_eq!([absent(20), absent(609), absent(610)], [true, true, false]);
    asked.cache.forget(&[key("a")]);
    assert!(!absent(20));
}

#[tokio::test]
async fn a_known_key_outlives_the_store_within_bounds() {
    let asked = Asked::new(Scripted::with(&[key("k")]));
    assert_eq!(asked.finds(key("k"), 0).await, Some(true));
    asked.script.go_away(true);
    asked.cache.distrust_all();
    for (seconds, queries) in [(1, 2), (1, 2), (2, 3), (659, 4), (660, 5)] {
        assert_eq!(asked.finds(key("k"), seconds).await, (seconds < 660).then_some(true), "at {seconds} s");
        assert_eq!(asked.queries(), queries, "at {seconds} s");
    }
    assert_eq!(asked.cache.figures().stale_served, 3);
    assert_eq!(asked.finds(key("unknown"), 1).await, None, "an absent store says nothing of a key");
    asked.script.go_away(false);
    assert_eq!(asked.finds(key("unknown"), 1).await, Some(false));
    assert_eq!(asked.finds(key("k"), 661).await, Some(true));
}

#[tokio::test]
async fn an_absence_does_not_outlive_the_store() {
    let asked = Asked::new(Scripted::with(&[]));
    assert_eq!(asked.finds(key("unknown"), 0).await, Some(false));
    asked.script.go_away(true);
    assert_eq!(asked.finds(key("unknown"), 9).await, Some(false));
    assert_eq!(asked.finds(key("unknown"), 10).await, None);
}

#[tokio::test]
async fn nothing_is_served_after_it_was_forgotten() {
    let asked = Asked::new(Scripted::with(&[key("k")]));
    assert_eq!(asked.finds(key("k"), 0).await, Some(true));
    asked.script.go_away(true);
    asked.cache.forget(&[key("k")]);
    assert_eq!(asked.finds(key("k"), 0).await, None);
}

#[tokio::test]
async fn a_forgetting_during_an_outage_counts_too() {
    let asked = Asked::new(Scripted::with(&[key("k")]));
    assert_eq!(asked.finds(key("k"), 0).await, Some(true));
    asked.script.go_away(true);
    let (has_read, may_answer) = asked.script.hold();
    let (cache, store) = (Arc::clone(&asked.cache), Arc::clone(&asked.store));
    let early = tokio::spawn(async move { cache.find(&store, key("k"), after(60)).await });
    has_read.notified().await;
    asked.cache.forget(&[key("k")]);
    may_answer.notify_one();
    assert!(early.await.unwrap().is_err(), "it was held, and then forgotten");
}

#[tokio::test]
async fn without_max_stale_an_outage_is_felt_at_once() {
    let settings = CacheSettings { max_stale: Duration::ZERO, ..CacheSettings::default() };
    let asked = Asked::with(Scripted::with(&[key("k")]), settings);
    assert_eq!(asked.finds(key("k"), 0).await, Some(true));
    asked.script.go_away(true);
    assert_eq!(asked.finds(key("k"), 59).await, Some(true), "within its time it needs no store");
    assert_eq!(asked.finds(key("k"), 60).await, None);
}

#[tokio::test]
async fn a_key_is_confirmed_when_it_ends_and_its_end_is_remembered() {
    let asked = Asked::new(Scripted::with(&[]));
    asked.script.put(key("graced"), Some(after(30)));
    asked.script.put(key("ended"), Some(after(30)));
    assert_eq!(asked.finds(key("graced"), 0).await, Some(true));
    assert_eq!(asked.finds(key("ended"), 0).await, Some(true));
    asked.script.remove(key("graced"));
    assert_eq!(asked.finds(key("graced"), 29).await, Some(true));
    assert_eq!(asked.finds(key("graced"), 30).await, Some(false), "a grace period that is over leaves nothing");
    let before = asked.queries();
    for _ in 0..3 {
        assert_eq!(asked.finds(key("ended"), 31).await, Some(true), "whoever asks sees that it has ended");
    }
    assert_eq!(asked.queries(), before + 1);
}

#[tokio::test]
async fn unknown_keys_are_bounded_and_push_no_good_key_out() {
    let settings = CacheSettings { max_keys: 400, max_unknown: 200, ..CacheSettings::default() };
    let good: Vec<KeyHash> = (0..100).map(|number| key(&format!("good{number}"))).collect();
    let asked = Asked::with(Scripted::with(&good), settings);
    for hash in &good {
        assert_eq!(asked.finds(*hash, 0).await, Some(true));
    }
    for number in 0..10_000 {
        assert_eq!(asked.finds(key(&number.to_string()), 0).await, Some(false));
    }
    assert!(asked.cache.figures().unknown <= 200, "{:?}", asked.cache.figures());
    assert_eq!(asked.queries(), 10_100);
    for hash in &good {
        assert_eq!(asked.finds(*hash, 1).await, Some(true));
    }
    assert_eq!(asked.queries(), 10_100, "every good key was still held");
}

#[test]
fn no_map_holds_more_than_it_may() {
    for most in [0, 1, 100, 2047, 2048, 5000, 10_001] {
        let map = bounded(most);
        for number in 0..3 * most + 10 {
            map.insert(key(&number.to_string()), ());
        }
        let held = map.len() as u64;
        assert!(held <= most && held * 10 >= most * 9, "{held} of {most}");
    }
}

#[tokio::test]
async fn users_and_teams_are_remembered_like_keys() {
    let cache = RecordCache::new(CacheSettings::default());
    let policy = Policy::new(&[], &[], Default::default());
    let user = UserRecord { id: "u".into(), role: Role::InternalUser, policy, limits: None };
    let (asked, away) = (Mutex::new(0), Mutex::new(false));
    let find = async |hash, seconds| {
        let query = async || {
            *asked.lock().unwrap() += 1;
            let found = (hash == key("user:u")).then(|| user.clone());
            if *away.lock().unwrap() { Err(StoreUnavailable("away".to_owned())) } else { Ok(found) }
        };
        cache.find_by(hash, after(seconds), query).await.ok().map(|found| found.is_some())
    };
    for (seconds, queries) in [(0, 1), (59, 1), (60, 2)] {
        assert_eq!(find(key("user:u"), seconds).await, Some(true));
        assert_eq!(*asked.lock().unwrap(), queries, "at {seconds} s");
    }
    assert_eq!(find(key("user:other"), 60).await, Some(false));
    *away.lock().unwrap() = true;
    cache.distrust_all();
    assert_eq!(find(key("user:u"), 61).await, Some(true), "the store confirmed it, and nobody spoke against it");
    assert_eq!(find(key("user:other"), 61).await, None);
    cache.forget(&[key("user:u")]);
    assert_eq!(find(key("user:u"), 61).await, None);
}
