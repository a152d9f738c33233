//! An empty database of either kind, stores opened on it, and the rows that the tests put in.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis::store::{Store, StoreSettings, StoreUrl};
use portcullis_admin_api::store::{AdminStore, AuditRow, KeyRow, StoreError};
use portcullis_bench::postgres::PostgresServer;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyRecord, KeyStore, StoreUnavailable};
use portcullis_filters::cache::{CacheSettings, KeyCache};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// An empty database, gone with the test.
pub(crate) struct Place {
    pub(crate) url: StoreUrl,
    _server: Option<Arc<PostgresServer>>,
    file: Option<PathBuf>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("portcullis-{}-{}.db", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let file = std::env::temp_dir().join(name);
        Self { url: StoreUrl::Sqlite(file.clone()), _server: None, file: Some(file) }
    }

    /// The server is shared by the tests that run at the same time.
    pub(crate) async fn postgres() -> Self {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        let server = {
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            let running = shared.upgrade();
            let server = running.unwrap_or_else(|| Arc::new(PostgresServer::start()));
            *shared = Arc::downgrade(&server);
            server
        };
        let url = StoreUrl::parse(&server.database().await).unwrap();
        Self { url, _server: Some(server), file: None }
    }

    /// Does something to the database that no store would do.
    pub(crate) async fn execute(&self, sql: &str) {
        match &self.url {
            StoreUrl::Sqlite(file) => rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap(),
            StoreUrl::Postgres(url) => {
                let connecting = tokio_postgres::connect(url.expose(), tokio_postgres::NoTls);
                let (client, connection) = connecting.await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&format!("SET search_path TO portcullis; {sql}")).await.unwrap();
            }
        }
    }

    /// One process's view of the database: a store, its cache, and the background part.
    pub(crate) fn node(&self) -> Node {
        Node::open(&self.url)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for side in ["", "-wal", "-shm"] {
            if let Some(file) = &self.file {
                let _ = std::fs::remove_file(format!("{}{side}", file.display()));
            }
        }
    }
}

/// What one process holds of a store.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) admin: Arc<dyn AdminStore>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) cache: Arc<KeyCache>,
    _running: watch::Sender<bool>,
}

impl Node {
    pub(crate) fn open(url: &StoreUrl) -> Self {
        let cache = Arc::new(KeyCache::new(CacheSettings::default()));
        let store = Store::open(StoreSettings::new(url.clone()), Arc::clone(&cache), Handle::current()).unwrap();
        let (running, shutdown) = watch::channel(false);
        let (admin, keys) = (store.admin(), store.keys());
        let watched = store.clone();
        tokio::spawn(async move { watched.watch(shutdown).await });
        Self { store, admin, keys, cache, _running: running }
    }

    /// What a request with this key would be told, through the cache.
    pub(crate) async fn find(&self, hash: KeyHash) -> Result<Option<Arc<KeyRecord>>, StoreUnavailable> {
        self.cache.find(&self.keys, hash, SystemTime::now()).await
    }

    pub(crate) async fn insert(&self, row: KeyRow) -> Result<KeyRow, StoreError> {
        let audit = audit("created", &row);
        self.admin.insert_key(row, audit).await
    }

    pub(crate) async fn replace(&self, row: KeyRow) -> Result<KeyRow, StoreError> {
        let audit = audit("updated", &row);
        self.admin.replace_key(row, audit).await
    }

    /// Asks until the answer is `wanted`; fails after ten seconds.
    pub(crate) async fn until(
        &self,
        hash: KeyHash,
        wanted: impl Fn(&Result<Option<Arc<KeyRecord>>, StoreUnavailable>) -> bool,
    ) {
        eventually(async || wanted(&self.find(hash).await)).await;
    }
}

/// Asks until it is so; fails after ten seconds.
pub(crate) async fn eventually(is_so: impl AsyncFn() -> bool) {
    let asking = async {
        let mut pace = tokio::time::interval(Duration::from_millis(1));
        while !is_so().await {
            pace.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking).await.expect("it is so within ten seconds");
}

/// A whole second in 2026 plus this many microseconds.
pub(crate) fn at(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_780_000_000) + Duration::from_micros(micros)
}

pub(crate) fn hash(name: &str) -> KeyHash {
    KeyHash::of(&format!("sk-{name}"))
}

/// A live key without any restriction.
pub(crate) fn row(name: &str) -> KeyRow {
    KeyRow {
        token: hash(name),
        version: 1,
        key_name: Some("sk-...abcd".to_owned()),
        key_alias: None,
        user_id: None,
        team_id: None,
        organization_id: None,
        models: Vec::new(),
        allowed_routes: Vec::new(),
        aliases: Default::default(),
        expires: None,
        blocked: None,
        spend: 0.0,
        sets_spend: false,
        budget_reset_at: None,
        settings: Default::default(),
        rotation_count: 0,
        last_rotation_at: None,
        created_at: at(0),
        created_by: Some("default_user_id".to_owned()),
        updated_at: at(0),
        updated_by: None,
        deleted_at: None,
        deleted_by: None,
    }
}

pub(crate) fn aliased(name: &str, alias: &str) -> KeyRow {
    KeyRow { key_alias: Some(alias.to_owned()), ..row(name) }
}

pub(crate) fn audit(action: &str, row: &KeyRow) -> AuditRow {
    AuditRow {
        id: 0,
        at: at(1),
        actor: "master".to_owned(),
        changed_by: None,
        source: Some("127.0.0.1".to_owned()),
        request_id: None,
        action: action.to_owned(),
        object_type: "key".to_owned(),
        object_id: row.token.to_string(),
        before: Value::Null,
        after: json!({"spend": row.spend}),
    }
}
