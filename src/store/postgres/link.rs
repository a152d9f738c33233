//! The one connection that watches the database: it migrates, listens for other processes' writes, and knows whether
//! the database is there.
//!
//! Notifications end with the connection that listens, so a new connection means that anything may have been missed: it
//! listens first, then asks for the epoch, then drops all trust in the cache. The epoch is asked for again all the time,
//! for a pooler that swallows notifications and for a network that says nothing when it breaks.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};

use super::{Link, Postgres, chain};
use crate::store::invalidation::Invalidation;
use crate::store::migrations;
use crate::store::statement;

/// Where writes are announced.
pub(in crate::store) const CHANNEL: &str = "portcullis_changes";

/// How often the epoch is asked for: with [`GRACE`], the bound on a revocation whose notification was lost.
const POLL: Duration = Duration::from_millis(500);

/// How long a notification may lag behind its commit before it counts as lost.
const GRACE: Duration = Duration::from_millis(100);

/// How long the database may take to say its epoch before it counts as away.
const SILENCE: Duration = Duration::from_secs(2);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Postgres {
    /// Connects, and connects again, for ever.
    pub(in crate::store) async fn watch(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let was_up = match self.attach().await {
                Ok(attached) => {
                    tracing::info!("connected to the database");
                    self.0.listening.store(Some(Arc::clone(&attached.client)));
                    self.0.link.send_replace(Link::Up);
                    self.0.invalidation.denials.notify_one();
                    self.lost(attached.follow(&self.0.invalidation).await);
                    true
                }
                Err(error) => {
                    self.lost(error);
                    false
                }
            };
            pause = if was_up { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            sleep(pause).await;
        }
    }

    /// Brings the schema up to date and returns.
    pub(in crate::store) async fn migrate(&self) -> anyhow::Result<()> {
        self.attach().await.map(drop)
    }

    /// Says once that and why the database is away, and lets go of its connections.
    fn lost(&self, error: anyhow::Error) {
        let why = chain(error.as_ref());
        let is_news = self.0.link.send_if_modified(|link| {
            let is_news = !matches!(link, Link::Down(_));
            *link = Link::Down(why.clone());
            is_news
        });
        if is_news {
            tracing::error!(cause = %why, "the database is away: known keys go on, unknown keys are answered 503");
        }
        self.0.listening.store(None);
        self.0.pool.retain(|_, _| false);
    }

    async fn attach(&self) -> anyhow::Result<Attached> {
        let mut config = self.0.target.config.clone();
        config.connect_timeout(self.0.settings.connect_timeout);
        let connecting = timeout(self.0.settings.connect_timeout, config.connect(self.0.tls.clone()));
        let (mut client, connection) = connecting.await.context("connecting to the database")??;
        let driver = tokio::spawn(drive(connection, Arc::clone(&self.0.invalidation)));
        let guard = Driver(driver);
        client.batch_execute("SET search_path TO portcullis").await?;
        migrations::apply_to_postgres(&mut client).await.context("migrating the database")?;
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await.context("listening for changes")?;
        let attached = Attached { client: Arc::new(client), driver: guard };
        self.0.invalidation.start_over(attached.epoch().await?);
        Ok(attached)
    }
}

/// A connection that listens.
struct Attached {
    client: Arc<Client>,
    driver: Driver,
}

impl Attached {
    /// Compares epochs until the connection is lost, and says how.
    async fn follow(mut self, invalidation: &Invalidation) -> anyhow::Error {
        let mut ticks = interval(POLL);
        loop {
            tokio::select! {
                ended = &mut self.driver.0 => {
                    return ended.unwrap_or_else(|error| anyhow!(error).context("the connection's task failed"));
                }
                _ = ticks.tick() => {}
            }
            let epoch = match self.epoch().await {
                Ok(epoch) => epoch,
                Err(error) => return error,
            };
            if invalidation.is_behind(epoch) {
                sleep(GRACE).await;
                if invalidation.is_behind(epoch) {
                    tracing::warn!(epoch, "a notification was lost: everything cached is confirmed again");
                    invalidation.start_over(epoch);
                }
            }
        }
    }

    async fn epoch(&self) -> anyhow::Result<i64> {
        let question = statement::epoch();
        let asked = timeout(SILENCE, self.client.query_one(&question.sql as &str, &[]));
        let row = asked.await.context("the database does not answer")?.context("asking for the epoch")?;
        Ok(row.try_get(0)?)
    }
}

/// The task that moves a connection's bytes; ends with its owner.
struct Driver(JoinHandle<anyhow::Error>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Moves the connection's bytes and passes notifications on, until the connection ends.
async fn drive<T>(mut connection: Connection<Socket, T>, invalidation: Arc<Invalidation>) -> anyhow::Error
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut messages = pin!(stream::poll_fn(move |context| connection.poll_message(context)));
    while let Some(message) = messages.next().await {
        match message {
            Ok(AsyncMessage::Notification(notification)) if notification.channel() == CHANNEL => {
                invalidation.heard(notification.payload());
            }
            Ok(_) => {}
            Err(error) => return anyhow!(error).context("the connection to the database broke"),
        }
    }
    anyhow!("the database closed the connection")
}
