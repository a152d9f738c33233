//! The production store: PostgreSQL through a bounded pool, with a bound on the time of everything.
//!
//! Whether the database is there is decided in one place, by the watch in [`link`]; while it is not, a look-up fails at
//! once. A connection belongs to the runtime that made it, so every query runs on the control runtime.

mod link;
mod tls;

use std::sync::Arc;
use std::time::Duration;
use std::vec::IntoIter;

use arc_swap::ArcSwapOption;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::future::try_join_all;
use portcullis_admin_api::store::StoreError;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::change::{Change, Step};
use super::invalidation::{Invalidation, Touched, message};
use super::param::Param;
use super::row::{Row, Unreadable};
use super::statement::{self, Statement};
use super::url::PostgresTarget;
use super::{Lane, StoreSettings};

pub(super) use self::link::CHANNEL;

/// A pool of connections to one database, and what is known of it.
#[derive(Clone)]
pub(super) struct Postgres(Arc<Inner>);

struct Inner {
    target: PostgresTarget,
    tls: MakeRustlsConnect,
    pool: Pool,
    link: watch::Sender<Link>,
    /// The connection that listens, while there is one.
    listening: ArcSwapOption<Client>,
    settings: StoreSettings,
    invalidation: Arc<Invalidation>,
    control: Handle,
}

/// Whether the database can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Link {
    /// Nobody tried yet: worth waiting for a moment.
    Starting,
    Up,
    /// Away, and why.
    Down(String),
}

impl Postgres {
    /// Prepares a pool; connects to nothing.
    pub(super) fn new(
        target: PostgresTarget,
        settings: StoreSettings,
        invalidation: Arc<Invalidation>,
        control: Handle,
    ) -> anyhow::Result<Self> {
        let tls = tls::connector(&target.verify)?;
        let mut config = target.config.clone();
        config.connect_timeout(settings.connect_timeout);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let session = session(settings.admin_timeout);
        let pool = Pool::builder(Manager::from_config(config, tls.clone(), recycling))
            .max_size(settings.pool_size)
            .wait_timeout(Some(settings.lookup_timeout))
            .create_timeout(Some(settings.connect_timeout))
            .recycle_timeout(Some(settings.lookup_timeout))
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(move |client, _| {
                let session = session.clone();
                Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
            }))
            .build()?;
        let (link, _) = watch::channel(Link::Starting);
        let listening = ArcSwapOption::empty();
        Ok(Self(Arc::new(Inner { target, tls, pool, link, listening, settings, invalidation, control })))
    }

    /// All rows of a statement.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        statement: Statement,
        decode: fn(&Row<'_>) -> Result<T, Unreadable>,
        lane: Lane,
    ) -> Result<Vec<T>, StoreError> {
        let this = self.clone();
        let bound = match lane {
            Lane::Lookup => self.0.settings.lookup_timeout,
            Lane::Admin | Lane::Watch => self.0.settings.admin_timeout,
        };
        self.on_control(async move {
            if matches!(lane, Lane::Watch) {
                let rows = this.query_beside(&statement, bound).await?;
                let decoded = rows.iter().map(|row| decode(&Row::Postgres(row))).collect::<Result<Vec<T>, _>>();
                return decoded.map_err(|error| Failure::from(error).into());
            }
            this.within(bound, async |client| {
                let rows = query(client, &statement).await?;
                Ok(rows.iter().map(|row| decode(&Row::Postgres(row))).collect::<Result<Vec<T>, _>>()?)
            })
            .await
        })
        .await
    }

    /// Commits a change, tells the other processes, and makes this one forget what it touched.
    pub(super) async fn write<T: Send + 'static>(&self, mut change: Change<T>) -> Result<T, StoreError> {
        let this = self.clone();
        self.on_control(async move {
            let (steps, also, touches) = (change.take_steps(), change.also.take(), &mut change.touched);
            let work = async move |client: &mut Object| commit(client, steps, also, touches).await;
            let done = this.within(this.0.settings.admin_timeout, work).await;
            match &done {
                Ok(epoch) => this.0.invalidation.committed(*epoch, &change.touched),
                // It may have failed after the commit.
                Err(_) => this.0.invalidation.forget(&change.touched),
            }
            done.map(change.answer)
        })
        .await
    }

    /// Does all statements in one transaction, unless `begin` returns no row: then nothing, and `None`. What each of them
    /// returns, of those that return something else than nothing.
    pub(super) async fn post<T: Send + 'static>(
        &self,
        begin: Statement,
        statements: Vec<Statement>,
        decode: fn(&Row<'_>) -> Result<T, Unreadable>,
    ) -> Result<Option<Vec<Vec<T>>>, StoreError> {
        let this = self.clone();
        self.on_control(async move {
            this.within(this.0.settings.admin_timeout, async |client| {
                let transaction = client.transaction().await?;
                let prepared = transaction.prepare_cached(&begin.sql).await?;
                if transaction.query(&prepared, &bound(&begin.params)).await?.is_empty() {
                    return Ok(None);
                }
                // Sent together: a batch of a thousand must not be a thousand round trips.
                let each = statements.iter().map(async |statement| {
                    let prepared = transaction.prepare_cached(&statement.sql).await?;
                    transaction.query(&prepared, &bound(&statement.params)).await
                });
                let returned = try_join_all(each).await?;
                let decoded = returned.iter().map(|rows| rows.iter().map(|row| decode(&Row::Postgres(row))).collect());
                let decoded = decoded.collect::<Result<Vec<Vec<T>>, Unreadable>>()?;
                transaction.commit().await?;
                Ok(Some(decoded))
            })
            .await
        })
        .await
    }

    /// A query on the connection that listens, beside the pool.
    async fn query_beside(
        &self,
        statement: &Statement,
        patience: Duration,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let Some(client) = self.0.listening.load_full() else {
            return Err(StoreError::Unavailable("not connected to the database".to_owned()));
        };
        let params = bound(&statement.params);
        match timeout(patience, client.query(&statement.sql as &str, &params)).await {
            Ok(rows) => Ok(rows.map_err(Failure::from)?),
            Err(_) => Err(late()),
        }
    }

    /// Runs `work` with a connection, all of it within `bound`. A connection whose work was given up is not used again:
    /// the server may still be busy with it.
    async fn within<T>(
        &self,
        bound: Duration,
        work: impl AsyncFnOnce(&mut Object) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let deadline = tokio::time::Instant::now() + bound;
        self.is_up(bound).await?;
        let mut client = tokio::time::timeout_at(deadline, self.0.pool.get())
            .await
            .map_err(|_| late())?
            .map_err(|error| StoreError::Unavailable(pool_failure(&error)))?;
        match tokio::time::timeout_at(deadline, work(&mut client)).await {
            Ok(done) => done.map_err(StoreError::from),
            Err(_) => {
                drop(Object::take(client));
                Err(late())
            }
        }
    }

    /// At once, but for the first moment of the process.
    async fn is_up(&self, patience: Duration) -> Result<(), StoreError> {
        let mut link = self.0.link.subscribe();
        let known = timeout(patience, link.wait_for(|link| *link != Link::Starting)).await;
        match known.as_ref().map(|known| known.as_deref()) {
            Ok(Ok(Link::Up)) => Ok(()),
            Ok(Ok(Link::Down(why))) => Err(StoreError::Unavailable(why.clone())),
            _ => Err(StoreError::Unavailable("not connected to the database yet".to_owned())),
        }
    }

    async fn on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.0.control.spawn(work).await;
        done.unwrap_or_else(|_| Err(StoreError::Unavailable("the query was given up".to_owned())))
    }
}

fn late() -> StoreError {
    StoreError::Unavailable("the database did not answer in time".to_owned())
}

/// A connection to somebody else's database, by which nothing can be written.
///
/// # Errors
/// The URL is none, or the server does not let us in.
pub(super) async fn reading(url: &str) -> anyhow::Result<Client> {
    let target = PostgresTarget::parse(url)?;
    let tls = tls::connector(&target.verify)?;
    let (client, connection) = target.config.connect(tls).await.map_err(|error| anyhow::anyhow!(chain(&error)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(cause = %chain(&error), "the connection to the other database ended");
        }
    });
    client.batch_execute("SET default_transaction_read_only = on; SET timezone TO 'UTC'").await?;
    Ok(client)
}

/// What every connection of the pool is told first. The server ends by itself what this side no longer waits for.
fn session(bound: Duration) -> String {
    let bound = bound.as_millis();
    format!(
        "SET search_path TO portcullis; SET statement_timeout TO {bound}; \
         SET idle_in_transaction_session_timeout TO {bound}"
    )
}

/// Does the steps in one transaction; its epoch. What else it turns out to touch is added to `touched`.
async fn commit(
    client: &mut Object,
    mut steps: IntoIter<Step>,
    also: Option<Statement>,
    touched: &mut Touched,
) -> Result<i64, Failure> {
    let transaction = client.transaction().await?;
    let epoch = transaction.query_one(&statement::next_epoch().sql as &str, &[]).await?.try_get(0)?;
    if let Some(also) = also {
        let more = transaction.query(&also.sql as &str, &bound(&also.params)).await?;
        touched.and(more.iter().map(|row| Row::Postgres(row).hash(0)).collect::<Result<Vec<_>, _>>()?);
    }
    while let Some(step) = steps.next() {
        let prepared = transaction.prepare_cached(&step.statement.sql).await?;
        let returned = transaction.query(&prepared, &bound(&step.statement.params)).await?;
        if returned.is_empty() {
            step.found_nothing(&mut steps).map_err(Failure::Refused)?;
        }
    }
    transaction.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &message(epoch, touched)]).await?;
    transaction.commit().await?;
    Ok(epoch)
}

/// Statements of a fixed text are prepared once for each connection; listings come in too many forms for that.
async fn query(client: &Object, statement: &Statement) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
    if statement.is_fixed {
        let prepared = client.prepare_cached(&statement.sql).await?;
        client.query(&prepared, &bound(&statement.params)).await
    } else {
        client.query(&statement.sql as &str, &bound(&statement.params)).await
    }
}

fn bound(params: &[Param]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

/// What can go wrong with a query, on its way to a [`StoreError`].
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Refused(StoreError),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Unreadable(error) => Self::Unavailable(error.to_string()),
            Failure::Postgres(error) => match error.as_db_error() {
                Some(server) if *server.code() == SqlState::UNIQUE_VIOLATION => match server.constraint() {
                    Some("virtual_keys_live_alias") => Self::AliasTaken,
                    _ => Self::TokenTaken,
                },
                // The server's details may quote values; its message does not.
                Some(server) => Self::Unavailable(format!("{} ({})", server.message(), server.code().code())),
                None => Self::Unavailable(chain(&error)),
            },
        }
    }
}

fn pool_failure(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => chain(error),
        other => other.to_string(),
    }
}

/// An error with its causes, which is where the driver says what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
