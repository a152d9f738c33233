//! What nodes count in common, in Redis or Valkey: one script for each decision, in one round trip.
//!
//! Requests and tokens of a minute are sums. What is under way is each node's own word, so that nothing has to be given back
//! by whom it was not taken: a node says how much it has under way and how many takings it knew of by then; what was taken
//! for it since counts on top. A word that is lost or late is put right by the next one.
//!
//! A server that is slow, away or new never stops a request and never lifts a limit: whoever cannot ask in time is told
//! so, and the node enforces its share of the limit (`filters::limits`). After that the server is not asked until it
//! answers a probe and was told what passed meanwhile. One that has forgotten what it counted is asked again from the next
//! minute on. One server is meant, with replicas or without, not a cluster.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::limits::{LimitKind, SharedCounters, SharedLimit, Unreachable, Verdict};
use portcullis_filters::secret::Secret;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use tokio::sync::{Notify, oneshot};
use tokio::time::{interval, sleep, timeout};

mod ledger;

use ledger::{Entry, Ledger};

/// Where it is and how patiently it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// `redis://`, `rediss://` or `redis+unix://`, with user and password.
    pub url: Secret,
    /// What every name begins with.
    pub namespace: String,
    /// For how long a request waits for an answer.
    pub patience: Duration,
}

impl RedisSettings {
    /// Whether the URL can be one of Redis.
    ///
    /// # Errors
    /// Why not, without the URL.
    pub fn check(&self) -> Result<(), &'static str> {
        let url = self.url.expose();
        let known = ["redis://", "rediss://", "redis+unix://", "unix://"].iter().any(|scheme| url.starts_with(scheme));
        match known && Client::open(url).is_ok() {
            true => Ok(()),
            false => Err("expected an address like redis://:password@host:6379/0, rediss://... or redis+unix:///path"),
        }
    }
}

/// Counts in Redis. Cloning shares them.
#[derive(Clone)]
pub struct RedisCounters(Arc<Inner>);

struct Inner {
    client: Client,
    space: String,
    patience: Duration,
    /// `None` while it is not asked.
    link: ArcSwapOption<Link>,
    ledger: Mutex<Ledger>,
    /// There is something to be told.
    woken: Notify,
    take: Script,
    note: Script,
}

struct Link {
    connection: MultiplexedConnection,
    /// Names this node, and this connection of it: what an older one may still be doing at the server counts for nobody.
    node: String,
    /// Names what the server remembers: another name means that it began with nothing.
    memory: String,
    /// Questions without an answer, one after another. Of this connection: one that was put to the last one and is late says
    /// nothing against it.
    unanswered: AtomicU32,
    /// It is not asked any more.
    lost: Notify,
}

/// After so many questions without an answer it is not asked for a while.
const MOST_UNANSWERED: u32 = 5;

/// How long a server that does not answer is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a node says that it is there; what it has under way counts for ten seconds after that.
const BEAT: Duration = Duration::from_secs(2);

/// For what no request waits.
const LONG: Duration = Duration::from_secs(1);

/// Names in one call of a script: the server does nothing else meanwhile.
const BATCH: usize = 500;

impl RedisCounters {
    /// Nothing is connected yet: [`Self::run`] does that.
    ///
    /// # Errors
    /// The URL is none of Redis.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let script = |own: &str| Script::new(&format!("{}{own}", include_str!("shared_counters/merge.lua")));
        Ok(Self(Arc::new(Inner {
            client: Client::open(settings.url.expose())?,
            space: format!("{{{}}}", settings.namespace), // in braces: all names in one slot
            patience: settings.patience,
            link: ArcSwapOption::empty(),
            ledger: Mutex::default(),
            woken: Notify::new(),
            take: script(include_str!("shared_counters/take.lua")),
            note: script(include_str!("shared_counters/note.lua")),
        })))
    }

    /// Connects, tells what is to be told, and connects again, for ever.
    pub async fn run(self) {
        let mut last: Option<Arc<Link>> = None;
        let mut is_new = true;
        loop {
            match self.0.connect(last.as_deref()).await {
                Ok(link) => {
                    let link = Arc::new(link);
                    let known = last.replace(Arc::clone(&link));
                    if known.is_some_and(|known| known.memory != link.memory) {
                        tracing::warn!(
                            "who counts for all nodes has forgotten this minute: it is asked from the next one on"
                        );
                        sleep(rest_of_minute()).await;
                        continue;
                    }
                    self.0.link.store(Some(Arc::clone(&link)));
                    tracing::info!("limits are counted with the other nodes");
                    let cause = self.0.tell(&link).await;
                    self.0.link.store(None);
                    tracing::warn!(cause, "limits are enforced in shares: who counts for all nodes does not answer");
                }
                Err(error) if is_new => {
                    tracing::warn!(cause = %error, "limits are enforced in shares: who counts for all nodes cannot be reached");
                }
                Err(_) => {}
            }
            is_new = false;
            sleep(PAUSE).await;
        }
    }
}

impl Inner {
    async fn connect(&self, last: Option<&Link>) -> Result<Link, RedisError> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(LONG)).set_response_timeout(Some(LONG));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let random = || format!("{:032x}", rand::random::<u128>());
        let mut link = Link {
            connection,
            node: random(),
            memory: String::new(),
            unanswered: AtomicU32::new(0),
            lost: Notify::new(),
        };
        let (nodes, memory) = (format!("{}:nodes", self.space), format!("{}:memory", self.space));
        let mut probe = redis::pipe();
        probe.cmd("SET").arg(&memory).arg(random()).arg("NX").ignore().get(&memory);
        probe.cmd("ZREM").arg(nodes).arg(last.map_or("", |last| &last.node)).ignore();
        // Whoever answers this late would not answer a request in time.
        let answered = timeout(self.patience, probe.query_async::<(String,)>(&mut link.connection)).await;
        (link.memory,) = answered.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.ledger().begin_anew();
        self.tell_all(&link).await?;
        Ok(link)
    }

    /// Until the connection is lost; why it is.
    async fn tell(&self, link: &Link) -> String {
        let mut beats = interval(BEAT);
        loop {
            tokio::select! {
                () = link.lost.notified() => return "questions are not answered in time".to_owned(),
                () = self.woken.notified() => {}
                _ = beats.tick() => {}
            }
            if let Err(error) = self.tell_all(link).await {
                return error.to_string();
            }
        }
    }

    /// Tells what is to be told, and that this node is there.
    async fn tell_all(&self, link: &Link) -> Result<(), RedisError> {
        loop {
            let batch = self.ledger().take_untold(BATCH, minute());
            match self.send(link, &batch).await {
                Ok(forgotten) => self.ledger().told(&batch, &forgotten),
                Err(error) => {
                    self.ledger().not_told(batch, minute());
                    return Err(error);
                }
            }
            if batch.len() < BATCH {
                return Ok(());
            }
        }
    }

    async fn send(&self, link: &Link, batch: &[(KeyHash, Entry)]) -> Result<Vec<u8>, RedisError> {
        let mut call = self.note.prepare_invoke();
        call.key(&self.space).arg(&link.node);
        for (name, entry) in batch {
            call.arg(name.to_string()).arg(entry.word()).arg(entry.requests).arg(entry.tokens);
        }
        call.invoke_async(&mut link.connection.clone()).await
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a name, and has it told.
    fn change(&self, name: KeyHash, change: impl FnOnce(&mut Entry)) {
        if self.ledger().change(name, minute(), change) {
            self.woken.notify_one();
        }
    }

    /// One question and its answer, for as long as that takes.
    async fn ask(&self, link: &Link, asked: &[SharedLimit]) -> Result<Verdict, RedisError> {
        let mut call = self.take.prepare_invoke();
        call.key(&self.space).arg(&link.node);
        for limit in asked {
            let bound = |most: Option<u64>| most.map_or_else(String::new, |most| most.to_string());
            let word = if limit.is_under_way() { self.ledger().word(limit.counted_as) } else { String::new() };
            call.arg(limit.counted_as.to_string());
            call.arg(bound(limit.rpm)).arg(bound(limit.tpm)).arg(bound(limit.parallel)).arg(limit.tokens).arg(word);
        }
        let answer: Vec<u64> = call.invoke_async(&mut link.connection.clone()).await?;
        let verdict = verdict(&answer).ok_or_else(|| io::Error::other("an answer that says nothing"))?;
        if verdict == Verdict::Taken {
            let mut ledger = self.ledger();
            asked.iter().filter(|limit| limit.is_under_way()).for_each(|limit| ledger.taken(limit));
        }
        Ok(verdict)
    }

    /// It is not asked until it answers a probe.
    fn is_lost(&self, link: &Arc<Link>) {
        let current = self.link.load();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            self.link.store(None);
            link.lost.notify_one();
        }
    }
}

impl SharedCounters for RedisCounters {
    fn take<'a>(&'a self, asked: &'a [SharedLimit]) -> BoxFuture<'a, Result<Verdict, Unreachable>> {
        async move {
            let inner = &self.0;
            let link = inner.link.load_full().ok_or(Unreachable)?;
            let (answers, answered) = oneshot::channel();
            let (counters, asked, asking) = (self.clone(), asked.to_vec(), Arc::clone(&link));
            // By itself, so that an answer is taken note of that comes too late, or for somebody who has gone away.
            tokio::spawn(async move {
                let answer = counters.0.ask(&asking, &asked).await;
                if let Err(Ok(Verdict::Taken)) = answers.send(answer) {
                    asked.iter().for_each(|limit| counters.give_back(limit));
                }
            });
            match timeout(inner.patience, answered).await {
                Ok(Ok(Ok(verdict))) => {
                    link.unanswered.store(0, Ordering::Release);
                    Ok(verdict)
                }
                Ok(_) => {
                    inner.is_lost(&link);
                    Err(Unreachable)
                }
                Err(_) => {
                    if link.unanswered.fetch_add(1, Ordering::AcqRel) + 1 >= MOST_UNANSWERED {
                        inner.is_lost(&link);
                    }
                    Err(Unreachable)
                }
            }
        }
        .boxed()
    }

    fn adopt(&self, limit: &SharedLimit) {
        self.0.change(limit.counted_as, |entry| {
            entry.requests += 1;
            if limit.is_under_way() {
                entry.begins(limit.tokens);
            }
        });
    }

    fn settle(&self, counted_as: KeyHash, held: u64, tokens: u64) {
        self.0.change(counted_as, |entry| {
            entry.gives_back(held);
            entry.tokens = entry.tokens.saturating_add(tokens);
        });
    }

    fn release(&self, counted_as: KeyHash, held: u64) {
        self.0.change(counted_as, |entry| {
            entry.gives_back(held);
            entry.ends();
        });
    }
}

impl RedisCounters {
    /// What was taken for somebody who waits no more.
    fn give_back(&self, limit: &SharedLimit) {
        self.0.change(limit.counted_as, |entry| {
            entry.requests -= 1;
            if limit.is_under_way() {
                entry.gives_back(limit.tokens);
                entry.ends();
            }
        });
    }
}

fn verdict(answer: &[u64]) -> Option<Verdict> {
    let kinds = [LimitKind::Requests, LimitKind::Tokens, LimitKind::Parallel];
    let index = |number: u64| usize::try_from(number.checked_sub(1)?).ok();
    match *answer {
        [0] => Some(Verdict::Taken),
        [which, what, seconds] => Some(Verdict::Refused {
            index: index(which)?,
            kind: *kinds.get(index(what)?)?,
            retry_after: Duration::from_secs(seconds),
        }),
        _ => None,
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn minute() -> u64 {
    since_1970().as_secs() / 60
}

fn rest_of_minute() -> Duration {
    Duration::from_secs((minute() + 1) * 60).saturating_sub(since_1970())
}
