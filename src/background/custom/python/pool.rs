//! Which process a request goes to, and what becomes of both. One task holds all of it; everything that happens is an event.
//!
//! What must stay true: a request is begun in one process at most; one that was not begun in time goes to another process, so
//! that a function that blocks its process holds up only what it began itself; a process that does not let go of a request
//! gets no other one and ends; and a request is answered within its time, whatever happens.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_filters::authn::custom::CustomUnavailable;
use portcullis_filters::secret::Secret;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::OVERLOADED;
use super::log::Recent;
use super::process::{Message, Process, frame};
use crate::config::PythonSettings;
use crate::telemetry::CustomMetrics;

mod fleet;

use fleet::Fleet;

/// How often it is looked at what is late.
const LOOK: Duration = Duration::from_millis(25);
/// After this time a request that was not begun is given to another process.
const BEGIN_WITHIN: Duration = Duration::from_millis(100);
/// After this time a process that was told to let a request go is given up.
const LET_GO_WITHIN: Duration = Duration::from_millis(250);

/// What happens to the pool.
pub(super) enum Event {
    /// A request.
    Ask(u64, Box<Job>),
    /// Nobody waits for its answer any more.
    Left(u64),
    /// The file of the function may have changed.
    Renew,
    /// A process says something.
    Said(u64, Message),
    /// A process has ended.
    Ended(u64),
}

/// A request that waits for its answer.
pub(super) struct Job {
    frame: Vec<u8>,
    credential: Option<Secret>,
    reply: oneshot::Sender<Result<Vec<u8>, CustomUnavailable>>,
    asked: Instant,
    place: Place,
}

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    /// With this process since then. `asked_back`: it was not begun in time.
    Sent {
        process: u64,
        since: Instant,
        asked_back: bool,
    },
    Begun {
        process: u64,
    },
}

impl Job {
    pub(super) fn new(
        frame: Vec<u8>,
        credential: Option<Secret>,
        reply: oneshot::Sender<Result<Vec<u8>, CustomUnavailable>>,
    ) -> Self {
        Self { frame, credential, reply, asked: Instant::now(), place: Place::Waiting }
    }
}

/// The processes and the requests.
pub(super) struct Pool {
    settings: PythonSettings,
    metrics: Arc<CustomMetrics>,
    fleet: Fleet,
    jobs: HashMap<u64, Job>,
    waiting: VecDeque<u64>,
    recent: Arc<Recent>,
}

impl Pool {
    pub(super) fn new(settings: PythonSettings, metrics: Arc<CustomMetrics>) -> Self {
        Self {
            fleet: Fleet::default(),
            jobs: HashMap::new(),
            waiting: VecDeque::new(),
            recent: Arc::default(),
            settings,
            metrics,
        }
    }

    /// Runs until nobody can ask any more; the processes end with it.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Event>) {
        let (say, mut said) = mpsc::unbounded_channel();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let quiet = self.jobs.is_empty() && self.fleet.is_quiet(self.settings.workers);
            let event = tokio::select! {
                event = asked.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
                event = said.recv() => event,
                _ = look.tick(), if !quiet => None,
            };
            let now = Instant::now();
            match event {
                Some(event) => self.take(event, now),
                None => self.look(now, &say),
            }
            self.hand_out(now);
            self.show();
        }
    }

    fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Ask(id, job) => self.ask(id, *job),
            Event::Left(id) => self.give_up(id, None, now),
            Event::Renew => self.fleet.renew(),
            Event::Said(process, message) => self.said(process, message, now),
            Event::Ended(process) => self.ended(process, now),
        }
    }

    fn ask(&mut self, id: u64, job: Job) {
        if self.waiting.len() >= self.settings.queue && !self.fleet.has_room(self.settings.concurrency) {
            return self.settle(job, Err(OVERLOADED));
        }
        if self.fleet.is_broken() {
            return self.settle(job, Err(CustomUnavailable("the function cannot be loaded")));
        }
        self.jobs.insert(id, job);
        self.waiting.push_back(id);
    }

    fn said(&mut self, process: u64, message: Message, now: Instant) {
        match message {
            Message::Ready => self.fleet.ready(process),
            Message::Broken { cause } => {
                let cause = self.recent.mask(&cause);
                tracing::error!(target: "portcullis::custom_auth", %cause, "the function cannot be loaded");
                self.fleet.broken(process, now);
            }
            Message::Pong => self.fleet.alive(process),
            Message::Started { id } => {
                self.fleet.alive(process);
                match self.jobs.get_mut(&id) {
                    Some(job) => job.place = Place::Begun { process },
                    // Given up on the way here.
                    None => self.fleet.let_go(process, id, "cancel", now),
                }
            }
            Message::TakenBack { id } => {
                self.fleet.slow(process);
                self.fleet.done(process, id);
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.place = Place::Waiting;
                    self.waiting.push_front(id);
                }
            }
            Message::Cancelled { id } => self.fleet.done(process, id),
            Message::Answer { id, answer, cause } => {
                self.fleet.alive(process);
                self.fleet.done(process, id);
                self.log(cause);
                // Only the process that has a request answers it.
                if self.jobs.get(&id).is_some_and(|job| job.is_at(process))
                    && let Some(job) = self.jobs.remove(&id)
                {
                    self.settle(job, Ok(answer.to_string().into_bytes()));
                }
            }
        }
    }

    /// What it began is lost, for it may have been done half way; the rest goes to others.
    fn ended(&mut self, process: u64, now: Instant) {
        self.fleet.ended(process, now);
        let lost: Vec<u64> = self.jobs.iter().filter(|(_, job)| job.is_at(process)).map(|(id, _)| *id).collect();
        for id in lost {
            match self.jobs.get_mut(&id) {
                Some(job) if job.place != (Place::Begun { process }) => {
                    job.place = Place::Waiting;
                    self.waiting.push_front(id);
                }
                _ => {
                    if let Some(job) = self.jobs.remove(&id) {
                        self.settle(job, Err(CustomUnavailable("the process that ran the function has ended")));
                    }
                }
            }
        }
    }

    /// Ends what is late, asks back what was not begun, and starts what is missing.
    fn look(&mut self, now: Instant, say: &mpsc::UnboundedSender<Event>) {
        let timeout = self.settings.timeout;
        let late: Vec<u64> =
            self.jobs.iter().filter(|(_, job)| now.duration_since(job.asked) >= timeout).map(|(id, _)| *id).collect();
        for id in late {
            self.give_up(id, Some(CustomUnavailable("the function does not answer in time")), now);
        }
        for (id, job) in &mut self.jobs {
            if let Place::Sent { process, since, asked_back: false } = job.place
                && now.duration_since(since) >= BEGIN_WITHIN
            {
                job.place = Place::Sent { process, since, asked_back: true };
                self.fleet.slow(process);
                self.fleet.tell(process, "take_back", *id);
            }
        }
        self.fleet.end_the_stubborn(now, LET_GO_WITHIN);
        let start = |number| Process::start(&self.settings, number, say.clone(), &self.recent);
        let started = self.fleet.fill(self.settings.workers, now, start);
        self.metrics.started.inc_by(started);
    }

    /// Nobody waits for it any more.
    fn give_up(&mut self, id: u64, why: Option<CustomUnavailable>, now: Instant) {
        let Some(job) = self.jobs.remove(&id) else { return };
        match job.place {
            Place::Waiting => self.waiting.retain(|waiting| *waiting != id),
            Place::Sent { process, .. } => self.fleet.let_go(process, id, "take_back", now),
            Place::Begun { process } => self.fleet.let_go(process, id, "cancel", now),
        }
        if let Some(why) = why {
            self.settle(job, Err(why));
        }
    }

    fn hand_out(&mut self, now: Instant) {
        while let Some(id) = self.waiting.front().copied() {
            let Some(job) = self.jobs.get_mut(&id) else {
                self.waiting.pop_front();
                continue;
            };
            if !self.fleet.has_room(self.settings.concurrency) {
                return;
            }
            // Known before the function has it, so that what it prints is masked however the tasks are scheduled.
            if let Some(credential) = &job.credential {
                self.recent.add(credential, now);
            }
            let Some(process) = self.fleet.take_on(id, self.settings.concurrency, &job.frame) else { return };
            job.place = Place::Sent { process, since: now, asked_back: false };
            self.waiting.pop_front();
        }
    }

    fn settle(&self, job: Job, answer: Result<Vec<u8>, CustomUnavailable>) {
        self.metrics.seconds.observe(job.asked.elapsed().as_secs_f64());
        // Whoever asked may have left meanwhile.
        let _ = job.reply.send(answer);
    }

    fn log(&self, cause: Option<String>) {
        if let Some(cause) = cause {
            let cause: String = self.recent.mask(&cause).chars().take(LONGEST_CAUSE).collect();
            tracing::warn!(target: "portcullis::custom_auth", %cause, "the function refused or failed");
        }
    }

    fn show(&self) {
        let (ready, starting) = self.fleet.counts();
        self.metrics.ready.set(ready);
        self.metrics.starting.set(starting);
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.waiting.set(count(self.waiting.len()));
        self.metrics.busy.set(count(self.jobs.len() - self.waiting.len().min(self.jobs.len())));
    }
}

/// Longest cause that is logged, in characters.
const LONGEST_CAUSE: usize = 1024;

impl Job {
    fn is_at(&self, process: u64) -> bool {
        match self.place {
            Place::Waiting => false,
            Place::Sent { process: at, .. } | Place::Begun { process: at } => at == process,
        }
    }
}

fn note(kind: &str, id: u64) -> Vec<u8> {
    frame(&json!({"kind": kind, "id": id}))
}
