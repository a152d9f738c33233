//! The schema's history, embedded in the binary and applied at start by one process at a time.
//!
//! `migrations/README.md` holds the rules. A database that is newer than this binary is accepted: during an upgrade the
//! older binary goes on working, and may be started again.

use refinery_core::traits::sync::{Migrate, Query, Transaction};
use refinery_core::{Migration, Runner};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Names the lock among the advisory locks of a database that other programs use as well: "portcull" in ASCII.
const LOCK: i64 = 0x706f_7274_6375_6c6c;

/// Makes the schema `portcullis` and brings it up to date. `client` must be a session of its own.
pub(super) async fn apply_to_postgres(client: &mut tokio_postgres::Client) -> anyhow::Result<()> {
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    // Without the look beforehand, `IF NOT EXISTS` asks for the right to create even where there is nothing to do.
    if client.query_one("SELECT to_regnamespace('portcullis') IS NULL", &[]).await?.try_get(0)? {
        client.batch_execute("CREATE SCHEMA portcullis").await?;
    }
    lenient(postgres::migrations::runner()).run_async(client).await?;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(())
}

/// Brings the file up to date, all or nothing.
pub(super) fn apply_to_sqlite(connection: &mut rusqlite::Connection) -> anyhow::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut locked = Locked(&transaction);
    lenient(sqlite::migrations::runner()).run(&mut locked)?;
    transaction.commit()?;
    Ok(())
}

fn lenient(runner: Runner) -> Runner {
    runner.set_abort_missing(false)
}

/// A transaction for refinery that holds the file's write lock throughout. Its own driver takes a new one for each step,
/// and two processes that start together would both find a migration missing.
struct Locked<'a>(&'a rusqlite::Transaction<'a>);

impl Transaction for Locked<'_> {
    type Error = rusqlite::Error;

    fn execute<'a, T: Iterator<Item = &'a str>>(&mut self, queries: T) -> Result<usize, rusqlite::Error> {
        queries.map(|query| self.0.execute_batch(query)).try_fold(0, |count, done| done.map(|()| count + 1))
    }
}

impl Query<Vec<Migration>> for Locked<'_> {
    fn query(&mut self, query: &str) -> Result<Vec<Migration>, rusqlite::Error> {
        let mut statement = self.0.prepare(query)?;
        let applied = statement.query_map([], |row| {
            let (version, name): (_, String) = (row.get(0)?, row.get(1)?);
            let at: String = row.get(2)?;
            let at = OffsetDateTime::parse(&at, &Rfc3339).map_err(|error| foreign(2, error))?;
            let checksum: String = row.get(3)?;
            let checksum = checksum.parse().map_err(|error| foreign(3, error))?;
            Ok(Migration::applied(version, name, at, checksum))
        })?;
        applied.collect()
    }
}

impl Migrate for Locked<'_> {}

fn foreign(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
