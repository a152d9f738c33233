//! The embedded store: one SQLite file, worked on by threads of its own.
//!
//! SQLite blocks, so no proxy worker and no thread of a runtime ever runs it: one thread writes, one answers the hot
//! path, one answers listings, and a slow listing delays neither of the others. Another process may use the same file (an
//! upgrade does); its writes are seen through the epoch.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use anyhow::Context;
use portcullis_admin_api::store::StoreError;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, ffi};
use tokio::sync::oneshot;

use super::Lane;
use super::change::Change;
use super::invalidation::Invalidation;
use super::migrations;
use super::row::{self, Row, Unreadable};
use super::statement::{self, Statement};

/// How long a statement waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);

/// Questions that may wait for a thread; beyond it the store says that it is overloaded instead of growing.
const QUEUE: usize = 4096;

/// An open file and its threads. They end when the last handle is gone.
pub(super) struct Sqlite {
    writer: Worker,
    lookups: Worker,
    listings: Worker,
    invalidation: Arc<Invalidation>,
}

impl Sqlite {
    /// Opens or makes the file, and brings its schema up to date.
    pub(super) fn open(path: &Path, invalidation: Arc<Invalidation>) -> anyhow::Result<Self> {
        create_private(path).with_context(|| format!("opening {}", path.display()))?;
        let mut writer = connect(path)?;
        migrations::apply_to_sqlite(&mut writer).with_context(|| format!("migrating {}", path.display()))?;
        let epoch = writer.query_row(&statement::epoch().sql, [], |row| row.get(0)).context("reading the epoch")?;
        invalidation.start_over(epoch);
        let (lookups, listings) = (connect(path)?, connect(path)?);
        Ok(Self {
            writer: Worker::start("store-write", writer)?,
            lookups: Worker::start("store-lookup", lookups)?,
            listings: Worker::start("store-list", listings)?,
            invalidation,
        })
    }

    /// All rows of a statement.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        statement: Statement,
        decode: fn(&Row<'_>) -> Result<T, Unreadable>,
        lane: Lane,
    ) -> Result<Vec<T>, StoreError> {
        let worker = match lane {
            Lane::Lookup | Lane::Watch => &self.lookups,
            Lane::Admin => &self.listings,
        };
        worker.run(move |connection| rows(connection, &statement, decode).map_err(StoreError::from)).await
    }

    /// Commits a change and makes this process forget what it touched.
    pub(super) async fn write<T: Send + 'static>(&self, change: Change<T>) -> Result<T, StoreError> {
        let invalidation = Arc::clone(&self.invalidation);
        self.writer.run(move |connection| commit(connection, change, &invalidation)).await
    }

    /// As the other database's.
    pub(super) async fn post<T: Send + 'static>(
        &self,
        begin: Statement,
        statements: Vec<Statement>,
        decode: fn(&Row<'_>) -> Result<T, Unreadable>,
    ) -> Result<Option<Vec<Vec<T>>>, StoreError> {
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if rows(&transaction, &begin, |_| Ok(()))?.is_empty() {
                return Ok(None);
            }
            let each = statements.iter().map(|statement| rows(&transaction, statement, decode));
            let returned = each.collect::<Result<_, Failure>>()?;
            transaction.commit()?;
            Ok(Some(returned))
        };
        self.writer.run(move |connection| work(connection).map_err(|error: Failure| error.into())).await
    }

    /// The number of the newest write, whoever made it.
    pub(super) async fn epoch(&self) -> Result<i64, StoreError> {
        let found = self.read(statement::epoch(), row::number, Lane::Lookup).await?;
        found.into_iter().next().ok_or_else(|| StoreError::Unavailable("the epoch is missing".to_owned()))
    }
}

fn commit<T>(connection: &mut Connection, mut change: Change<T>, invalidation: &Invalidation) -> Result<T, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Failure::from)?;
    let epoch = rows(&transaction, &statement::next_epoch(), row::number)?;
    let epoch = epoch.into_iter().next().ok_or_else(|| StoreError::Unavailable("the epoch is missing".to_owned()))?;
    if let Some(also) = &change.also {
        change.touched.and(rows(&transaction, also, |row| row.hash(0))?);
    }
    let mut steps = change.take_steps();
    while let Some(step) = steps.next() {
        if rows(&transaction, &step.statement, |_| Ok(()))?.is_empty() {
            step.found_nothing(&mut steps)?;
        }
    }
    let done = transaction.commit().map_err(Failure::from);
    // Also after a failed commit: forgetting too much costs a query.
    match &done {
        Ok(()) => invalidation.wrote(epoch, &change.touched),
        Err(_) => invalidation.forget(&change.touched),
    }
    done?;
    Ok((change.answer)(epoch))
}

fn rows<T>(
    connection: &Connection,
    statement: &Statement,
    decode: fn(&Row<'_>) -> Result<T, Unreadable>,
) -> Result<Vec<T>, Failure> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    // By name: `$2` is a name to SQLite, which numbers names as it meets them.
    for (position, param) in statement.params.iter().enumerate() {
        if let Some(index) = prepared.parameter_index(&format!("${}", position + 1))? {
            prepared.raw_bind_parameter(index, param)?;
        }
    }
    let mut found = Vec::new();
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next()? {
        found.push(decode(&Row::Sqlite(row))?);
    }
    Ok(found)
}

/// What can go wrong inside a statement, on its way to a [`StoreError`].
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        if let Failure::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = &failure
            && error.code == ErrorCode::ConstraintViolation
        {
            // Besides the primary keys there is one unique index: that of the aliases.
            match error.extended_code {
                ffi::SQLITE_CONSTRAINT_PRIMARYKEY => return Self::TokenTaken,
                ffi::SQLITE_CONSTRAINT_UNIQUE => return Self::AliasTaken,
                _ => {}
            }
        }
        Self::Unavailable(failure.to_string())
    }
}

/// The file holds names and hashes of keys: nobody else on the machine needs to read it. SQLite gives its side files the
/// same mode.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Closing a file ends the locks that SQLite holds on it in this process, so an existing file is not opened here.
    if path.exists() { Ok(()) } else { options.open(path).map(drop) }
}

fn connect(path: &Path) -> anyhow::Result<Connection> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok::<_, rusqlite::Error>(connection)
    };
    open().with_context(|| format!("opening {}", path.display()))
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A thread that owns a connection and takes one job after another.
struct Worker {
    jobs: SyncSender<Job>,
}

impl Worker {
    fn start(name: &str, mut connection: Connection) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                job(&mut connection);
            }
        })?;
        Ok(Self { jobs })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody may be waiting any longer; the work is done all the same.
            let _ = reply.send(work(connection));
        });
        self.jobs.try_send(job).map_err(|error| {
            StoreError::Unavailable(match error {
                TrySendError::Full(_) => "too many queries are waiting".to_owned(),
                TrySendError::Disconnected(_) => "the store's thread has ended".to_owned(),
            })
        })?;
        answer.await.map_err(|_| StoreError::Unavailable("the store's thread has ended".to_owned()))?
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use portcullis_filters::cache::{CacheSettings, KeyCache};

    use super::*;

    #[test]
    fn the_file_and_its_side_files_are_the_owners_alone() {
        let path = std::env::temp_dir().join(format!("portcullis-private-{}.db", std::process::id()));
        let cache = Arc::new(KeyCache::new(CacheSettings::default()));
        let store = Sqlite::open(&path, Arc::new(Invalidation::new(cache))).unwrap();
        for side in ["", "-wal", "-shm"] {
            let file = format!("{}{side}", path.display());
            assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{file}");
            std::fs::remove_file(file).unwrap();
        }
        drop(store);
    }
}
