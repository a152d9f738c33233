//! Hands out the right to send: the n-th request and the moment at which it was to be sent.
//!
//! In an open loop a timer of the kernel sets tickets free as they come due, and idle connections take them in order. It is not
//! the runtime's own timer because that one ticks in milliseconds, which is as much as a proxy adds.

use super::{Limit, LoadPlan, Pace};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

/// The right to send one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// From when its latency counts.
    pub(super) due: Instant,
    /// Whether it is part of the measurement.
    pub(super) measured: bool,
}

/// All tickets of a load.
#[derive(Debug)]
pub(super) struct Tickets {
    pub(super) measured_from: Instant,
    pub(super) ends: Option<Instant>,
    began: Instant,
    pace: Pace,
    /// No ticket has this number or a higher one.
    end: u64,
    next: AtomicU64,
    answered: AtomicU64,
    /// A permit for each ticket of an open loop that has come due.
    due: Semaphore,
    /// After this nothing is sent any more, whatever is due.
    patience: Duration,
}

impl Tickets {
    pub(super) fn new(plan: &LoadPlan) -> Self {
        let began = Instant::now();
        let (ends, end) = match (plan.limit, plan.pace) {
            (Limit::Requests(requests), _) => (None, requests),
            (Limit::For(time), Pace::Closed) => (Some(began + plan.warm_up + time), u64::MAX),
            (Limit::For(time), Pace::Open { per_second }) => {
                (Some(began + plan.warm_up + time), due_after(plan.warm_up + time, per_second))
            }
        };
        Self {
            measured_from: began + plan.warm_up,
            ends,
            began,
            pace: plan.pace,
            end,
            next: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            due: Semaphore::new(0),
            patience: plan.answer_timeout,
        }
    }

    /// The next ticket, as soon as it is due; `None` when there are no more.
    pub(super) async fn take(&self) -> Option<Ticket> {
        let Pace::Open { per_second } = self.pace else {
            let (due, number) = (Instant::now(), self.next.fetch_add(1, Ordering::Relaxed));
            let over = number >= self.end || self.ends.is_some_and(|ends| due >= ends);
            return (!over).then(|| Ticket { number, due, measured: due >= self.measured_from });
        };
        self.due.acquire().await.ok()?.forget();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.began + Duration::from_secs_f64(number as f64 / per_second);
        (number < self.end).then(|| Ticket { number, due, measured: due >= self.measured_from })
    }

    /// Sets the tickets of an open loop free as they come due, until the last one; returns when all are taken, or a while later
    /// when connections are stuck.
    pub(super) async fn issue(&self) -> std::io::Result<()> {
        let Pace::Open { per_second } = self.pace else { return Ok(()) };
        let timer = Ticks::every(Duration::from_secs_f64(1.0 / per_second))?;
        let mut issued = 0;
        while issued < self.end {
            timer.tick().await?;
            let due = due_after(self.began.elapsed(), per_second).min(self.end);
            self.due.add_permits((due - issued) as usize);
            issued = due;
        }
        let last_due = self.ends.unwrap_or_else(Instant::now);
        while self.next.load(Ordering::Relaxed) < self.end && last_due.elapsed() < self.patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.due.close();
        Ok(())
    }

    pub(super) fn count_answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many came due and found no connection in the end.
    pub(super) fn never_sent(&self) -> u64 {
        match self.pace {
            Pace::Closed => 0,
            Pace::Open { .. } => self.end.saturating_sub(self.next.load(Ordering::Relaxed)),
        }
    }
}

/// How many tickets are due when this much time has passed; the first one at once.
fn due_after(time: Duration, per_second: f64) -> u64 {
    (time.as_secs_f64() * per_second).floor() as u64 + 1
}

/// A periodic timer with the resolution of the kernel's clock.
struct Ticks(AsyncFd<File>);

impl Ticks {
    #[expect(deprecated, reason = "a file owns its descriptor, which is all that the unsafe successor asks for")]
    fn every(period: Duration) -> std::io::Result<Self> {
        // Below this the timer itself would be the load; several tickets then come due at a tick.
        let period = period.max(Duration::from_micros(50));
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(TimeSpec::from(period)), TimerSetTimeFlags::empty())?;
        Ok(Self(AsyncFd::with_interest(File::from(OwnedFd::from(timer)), Interest::READABLE)?))
    }

    async fn tick(&self) -> std::io::Result<()> {
        let mut expirations = [0; 8];
        self.0.async_io(Interest::READABLE, |mut timer| timer.read(&mut expirations)).await?;
        Ok(())
    }
}
