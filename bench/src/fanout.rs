//! What a change costs when many nodes listen for it: one PostgreSQL, as many listeners as there would be nodes, and writers
//! that commit what a management write commits (the epoch moved by one, a notification with the key that it touched).
//!
//! Only the nodes are left out: a listener here holds the connection that a node would, polls the epoch as a node does, and
//! notes when it heard of each change.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream;
use hdrhistogram::Histogram;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant as TokioInstant, interval, sleep_until, timeout_at};
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// A simulation.
#[derive(Clone, Copy, Debug)]
pub struct FanOutPlan {
    /// Connections that listen, one for each node.
    pub listeners: usize,
    /// Changes to commit in all.
    pub changes: usize,
    /// Connections that commit changes.
    pub writers: usize,
    /// Changes a second over all writers; `None`: as many as go.
    pub per_second: Option<f64>,
}

/// What came of it.
#[derive(Debug)]
pub struct FanOut {
    /// From the begin of a change's transaction to the answer to its commit, microseconds.
    pub commit: Histogram<u64>,
    /// From the begin of a change's transaction to a listener that heard of it, microseconds; each change counts once for each
    /// listener.
    pub heard: Histogram<u64>,
    /// Changes that some listener never heard of within ten seconds after the last commit, counted for each listener.
    pub unheard: usize,
    /// Changes committed a second.
    pub per_second: f64,
}

const CHANNEL: &str = "changes";

/// How often a node asks for the epoch, notifications or not.
const POLL: Duration = Duration::from_millis(500);

/// How long the last notification is waited for.
const LAST: Duration = Duration::from_secs(10);

/// Runs a simulation on an empty database.
///
/// # Errors
/// The database is away or refuses: most often because it allows fewer connections than there are listeners.
pub async fn simulate(url: &str, plan: FanOutPlan) -> Result<FanOut> {
    let (first, driver) = connect(url).await?;
    first
        .batch_execute(
            "DROP TABLE IF EXISTS epoch; CREATE TABLE epoch (epoch BIGINT NOT NULL); INSERT INTO epoch VALUES (0)",
        )
        .await?;
    let listeners = try_join_all((0..plan.listeners).map(|_| Listener::start(url, plan.changes))).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let writers = (0..plan.writers).map(|_| tokio::spawn(write(url.to_owned(), plan, Arc::clone(&next), start)));
    let mut begun = vec![None; plan.changes];
    let mut commit = Histogram::new(3)?;
    for writer in writers.collect::<Vec<_>>() {
        for (epoch, at, took) in writer.await?? {
            begun[epoch] = Some(at);
            commit.record(micros(took))?;
        }
    }
    let elapsed = start.elapsed();
    let until = TokioInstant::now() + LAST;
    let mut heard = Histogram::new(3)?;
    let mut unheard = 0;
    for listener in listeners {
        let found = listener.finish(until).await?;
        unheard += plan.changes - found.len();
        for (epoch, at) in found {
            let begun = begun.get(epoch).copied().flatten().context("a change that nobody made")?;
            heard.record(micros(at.saturating_duration_since(begun)))?;
        }
    }
    driver.abort();
    Ok(FanOut { commit, heard, unheard, per_second: plan.changes as f64 / elapsed.as_secs_f64() })
}

/// Commits changes until all are made. Returns each one's number, when its transaction began and how long it took.
async fn write(
    url: String,
    plan: FanOutPlan,
    next: Arc<AtomicUsize>,
    start: Instant,
) -> Result<Vec<(usize, Instant, Duration)>> {
    let (mut client, driver) = connect(&url).await?;
    let mut made = Vec::new();
    loop {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        if turn >= plan.changes {
            break;
        }
        if let Some(per_second) = plan.per_second {
            let due = start + Duration::from_secs_f64(turn as f64 / per_second);
            sleep_until(due.into()).await;
        }
        let begun = Instant::now();
        let transaction = client.transaction().await?;
        let row = transaction.query_one("UPDATE epoch SET epoch = epoch + 1 RETURNING epoch", &[]).await?;
        let epoch: i64 = row.try_get(0)?;
        let message = format!("{epoch} {turn:064x}");
        transaction.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &message]).await?;
        transaction.commit().await?;
        made.push((usize::try_from(epoch - 1)?, begun, begun.elapsed()));
    }
    driver.abort();
    Ok(made)
}

/// One node's connection.
struct Listener {
    heard: JoinHandle<Vec<(usize, Instant)>>,
    poll: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Listener {
    async fn start(url: &str, changes: usize) -> Result<Self> {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.context("connecting a listener")?;
        let (stop, mut stopped) = oneshot::channel();
        let heard = tokio::spawn(async move {
            let mut found = Vec::with_capacity(changes);
            let mut messages = pin!(stream::poll_fn(move |context| connection.poll_message(context)));
            while found.len() < changes {
                let message = tokio::select! {
                    message = messages.next() => message,
                    _ = &mut stopped => break,
                };
                let Some(Ok(message)) = message else { break };
                let AsyncMessage::Notification(change) = message else { continue };
                let epoch = change.payload().split(' ').next().and_then(|epoch| epoch.parse::<usize>().ok());
                found.extend(epoch.map(|epoch| (epoch.wrapping_sub(1), Instant::now())));
            }
            found
        });
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await.context("listening")?;
        let poll = tokio::spawn(async move {
            let mut ticks = interval(POLL);
            loop {
                ticks.tick().await;
                if client.query_one("SELECT epoch FROM epoch", &[]).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { heard, poll, stop })
    }

    /// Everything that was heard, waiting for the rest until then.
    async fn finish(mut self, until: TokioInstant) -> Result<Vec<(usize, Instant)>> {
        let found = match timeout_at(until, &mut self.heard).await {
            Ok(found) => found?,
            Err(_) => {
                ensure!(self.stop.send(()).is_ok(), "a listener ended by itself");
                self.heard.await?
            }
        };
        self.poll.abort();
        Ok(found)
    }
}

async fn connect(url: &str) -> Result<(Client, JoinHandle<()>)> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("connecting to the database")?;
    let driver = tokio::spawn(async move {
        // Its end shows at the client as well.
        let _ = connection.await;
    });
    Ok((client, driver))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::PostgresServer;

    #[tokio::test]
    async fn every_listener_hears_of_every_change_once() {
        let server = PostgresServer::start();
        let url = server.database().await;
        let plan = FanOutPlan { listeners: 20, changes: 50, writers: 4, per_second: None };
        let found = simulate(&url, plan).await.expect("a simulation");
        assert_eq!((found.commit.len(), found.heard.len(), found.unheard), (50, 20 * 50, 0));
        assert!(
            found.heard.min() > 0 && found.heard.max() < 10_000_000,
            "{} to {} µs",
            found.heard.min(),
            found.heard.max()
        );
    }

    #[tokio::test]
    async fn changes_come_at_the_rate_that_was_asked_for() {
        let server = PostgresServer::start();
        let url = server.database().await;
        let plan = FanOutPlan { listeners: 1, changes: 40, writers: 2, per_second: Some(200.0) };
        let found = simulate(&url, plan).await.expect("a simulation");
        assert!(found.per_second <= 210.0, "{} changes a second", found.per_second);
    }
}
