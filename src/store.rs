//! Where keys, users, teams and the deny list are kept: opens the configured database, brings its schema up to date, hands
//! out the contracts.
//!
//! One set of statements ([`statement`], [`listing`], [`change`]) and one decoding ([`row`]) serve both databases; a
//! backend only moves them. What must stay true: a write returns after its commit and after this process forgot the
//! records it touched; a store that cannot be asked says so, and never says that a record does not exist.

mod budgets;
mod change;
mod denials;
mod directory;
mod enrolments;
mod imports;
mod invalidation;
mod keys;
mod listing;
mod migrations;
mod nodes;
mod notices;
mod param;
mod postgres;
mod row;
mod sqlite;
mod statement;
mod url;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join3;
use portcullis_admin_api::spend::Reports;
use portcullis_admin_api::store::{AdminStore, StoreError};
use portcullis_filters::authn::jwt::deny_list::DenyList;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyStore};
use portcullis_filters::cache::KeyCache;
use portcullis_filters::directory::Directory;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::interval;

use self::change::Change;
use self::denials::Denials;
use self::enrolments::Enrolments;
use self::invalidation::Invalidation;
use self::postgres::Postgres;
use self::row::{Row, Unreadable};
use self::sqlite::Sqlite;
use self::statement::Statement;
use self::url::PostgresTarget;

pub use self::imports::{ImportMark, ImportWrite};
pub use self::nodes::NodeBeat;
pub use self::url::{StoreUrl, StoreUrlError};

/// Which database, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where the keys are kept.
    pub url: StoreUrl,
    /// Connections to PostgreSQL at most, besides the one that listens. SQLite takes no notice.
    pub pool_size: usize,
    /// The bound on a look-up on the hot path, waiting for a connection included. PostgreSQL only.
    pub lookup_timeout: Duration,
    /// The bound on a question or a write of the management API. PostgreSQL only.
    pub admin_timeout: Duration,
    /// The bound on connecting. PostgreSQL only.
    pub connect_timeout: Duration,
}

impl StoreSettings {
    /// The defaults for this database: 10 connections, 1.5 s for a look-up, 10 s for management, 3 s to connect.
    #[must_use]
    pub fn new(url: StoreUrl) -> Self {
        Self {
            url,
            pool_size: 10,
            lookup_timeout: Duration::from_millis(1500),
            admin_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
        }
    }
}

/// A connection to another gateway's PostgreSQL, by which nothing can be written.
///
/// # Errors
/// The URL is none of PostgreSQL, or the server does not let us in.
pub async fn read_elsewhere(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    postgres::reading(url).await
}

/// An open store. Cloning shares it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// What the contracts are implemented on.
struct Inner {
    backend: Backend,
    invalidation: Arc<Invalidation>,
    denials: Denials,
    enrolments: Enrolments,
    control: Handle,
}

enum Backend {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

/// Who waits for an answer: a request of a client, somebody who administers, or this process for what others wrote. The last
/// must not stand in the queue of the first, or a flood of look-ups would delay revocations.
#[derive(Clone, Copy)]
enum Lane {
    Lookup,
    Admin,
    Watch,
}

impl Store {
    /// Opens the store. `cache` is told of every change; `control` is the runtime that database work runs on.
    ///
    /// A SQLite file is opened and migrated here. PostgreSQL is not even connected to: that is the first thing that
    /// [`Self::watch`] does, as often as it takes, so that the process starts without it.
    ///
    /// # Errors
    /// The file cannot be opened or migrated; the certificates that the URL names cannot be read.
    pub fn open(settings: StoreSettings, cache: Arc<KeyCache>, control: Handle) -> anyhow::Result<Self> {
        let invalidation = Arc::new(Invalidation::new(cache));
        let backend = match &settings.url {
            StoreUrl::Sqlite(path) => Backend::Sqlite(Sqlite::open(path, Arc::clone(&invalidation))?),
            StoreUrl::Postgres(url) => {
                let target = PostgresTarget::parse(url.expose())?;
                Backend::Postgres(Postgres::new(target, settings, Arc::clone(&invalidation), control.clone())?)
            }
        };
        let (denials, enrolments) = (Denials::new(), Enrolments::default());
        Ok(Self(Arc::new(Inner { backend, invalidation, denials, enrolments, control })))
    }

    /// What the hot path asks: keys by hash.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.0) as Arc<dyn KeyStore>
    }

    /// What the decision on a token asks: users and teams, from memory where they are known.
    #[must_use]
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.0) as Arc<dyn Directory>
    }

    /// The tokens that are refused before their time is over. Empty until [`Self::watch`] has read it.
    #[must_use]
    pub fn deny_list(&self) -> Arc<DenyList> {
        Arc::clone(&self.0.denials.list)
    }

    /// Whether the deny list was read to its end once. From then on it stays what it was last, also while the store is away.
    #[must_use]
    pub fn deny_list_loaded(&self) -> watch::Receiver<bool> {
        self.0.denials.loaded.subscribe()
    }

    /// What the management API asks and writes.
    #[must_use]
    pub fn admin(&self) -> Arc<dyn AdminStore> {
        Arc::clone(&self.0) as Arc<dyn AdminStore>
    }

    /// What calls took, for reports.
    #[must_use]
    pub fn reports(&self) -> Arc<dyn Reports> {
        Arc::clone(&self.0) as Arc<dyn Reports>
    }

    /// Brings the schema up to date, and fails where [`Self::watch`] would try again.
    ///
    /// # Errors
    /// The database is away, refuses, or holds a schema that is not this program's.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        match &self.0.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(postgres) => {
                let postgres = postgres.clone();
                self.0.control.spawn(async move { postgres.migrate().await }).await?
            }
        }
    }

    /// Keeps `digest` as that of the master key that this deployment made for itself, unless it has one already; returns
    /// the one that counts.
    ///
    /// # Errors
    /// The database is away.
    pub async fn keep_master_key(&self, digest: KeyHash) -> Result<KeyHash, StoreError> {
        let kept = self.0.read(statement::keep_master_key(digest), |row| row.hash(0), Lane::Admin).await?;
        kept.into_iter().next().ok_or_else(|| StoreError::Unavailable("no digest came back".to_owned()))
    }

    /// The background part, until `shutdown` says true or its sender is gone: keeps the connection to PostgreSQL, makes the
    /// caches forget what other processes change, reads the deny list, and writes the users and teams that tokens enrol.
    /// Without it a PostgreSQL store never becomes available.
    pub async fn watch(&self, mut shutdown: watch::Receiver<bool>) {
        let inner = Arc::clone(&self.0);
        let mut following = self.0.control.spawn(async move {
            join3(inner.follow(), inner.follow_denials(), inner.follow_enrolments()).await;
        });
        tokio::select! {
            _ = shutdown.wait_for(|ending| *ending) => following.abort(),
            _ = &mut following => {}
        }
    }
}

/// How often the epoch of a SQLite file is looked at: the bound on a revocation that another process makes. There is
/// nobody to notify this one, and a look takes microseconds.
const POLL: Duration = Duration::from_millis(100);

impl Inner {
    async fn follow(&self) {
        match &self.backend {
            Backend::Postgres(postgres) => postgres.watch().await,
            Backend::Sqlite(sqlite) => {
                let mut ticks = interval(POLL);
                loop {
                    ticks.tick().await;
                    match sqlite.epoch().await {
                        Ok(epoch) if self.invalidation.is_behind(epoch) => self.invalidation.start_over(epoch),
                        Ok(_) => {}
                        Err(error) => tracing::warn!(cause = %error, "the epoch of the store cannot be read"),
                    }
                }
            }
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        statement: Statement,
        decode: fn(&Row<'_>) -> Result<T, Unreadable>,
        lane: Lane,
    ) -> Result<Vec<T>, StoreError> {
        match &self.backend {
            Backend::Postgres(postgres) => postgres.read(statement, decode, lane).await,
            Backend::Sqlite(sqlite) => sqlite.read(statement, decode, lane).await,
        }
    }

    async fn write<T: Send + 'static>(&self, change: Change<T>) -> Result<T, StoreError> {
        match &self.backend {
            Backend::Postgres(postgres) => postgres.write(change).await,
            Backend::Sqlite(sqlite) => sqlite.write(change).await,
        }
    }
}

#[cfg(test)]
mod tests;
