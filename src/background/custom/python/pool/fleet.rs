//! The processes: which may be given a request, which are given up, and when new ones start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::process::Process;
use super::note;

/// A process that dies younger than this is not started again at once.
const GROWN_UP: Duration = Duration::from_secs(1);
/// The first pause before a start after a failure, doubled each time.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For loading the function: some packages take their time.
const LOAD_WITHIN: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Fleet {
    /// By number, in the order in which they were started.
    members: BTreeMap<u64, Member>,
    next: u64,
    /// Which reading of the function's file counts; older ones serve until these are ready.
    generation: u64,
    failures: u32,
    not_before: Option<Instant>,
}

struct Member {
    process: Process,
    generation: u64,
    state: State,
    /// What it was given and has not settled.
    held: HashSet<u64>,
    /// What it was told to let go, since when.
    letting_go: HashMap<u64, Instant>,
    /// It has not begun something in time and has not been heard of since.
    slow: bool,
    born: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    /// Gets nothing new and ends when it has settled what it holds.
    Retired,
}

impl Fleet {
    /// Starts what is missing. How many were started.
    pub(super) fn fill(&mut self, wanted: usize, now: Instant, mut start: impl FnMut(u64) -> Result<Process>) -> u64 {
        let mut started = 0;
        while self.not_before.is_none_or(|at| at <= now) && self.current().count() < wanted {
            self.next += 1;
            match start(self.next) {
                Ok(process) => {
                    tracing::info!(target: "portcullis::custom_auth", worker = process.pid, "a worker starts");
                    self.members.insert(self.next, Member::new(process, self.generation, now));
                    started += 1;
                }
                Err(error) => {
                    tracing::error!(target: "portcullis::custom_auth", cause = format!("{error:#}"), "no worker can be started");
                    self.pause(now);
                }
            }
        }
        started
    }

    /// From now on the file counts as it is read next.
    pub(super) fn renew(&mut self) {
        self.generation += 1;
        self.failures = 0;
        self.not_before = None;
    }

    /// It has loaded the function. One of an older reading is not needed any more.
    pub(super) fn ready(&mut self, number: u64) {
        let Some(member) = self.members.get_mut(&number).filter(|member| member.state == State::Starting) else {
            return;
        };
        member.state = State::Ready;
        let generation = member.generation;
        tracing::info!(target: "portcullis::custom_auth", worker = member.process.pid, "a worker is ready");
        self.failures = 0;
        let older = |member: &&mut Member| member.generation < generation && member.state != State::Retired;
        if let Some(older) = self.members.values_mut().find(older) {
            older.retire();
        }
    }

    /// It cannot load the function. Where an older reading still serves, that one goes on counting.
    pub(super) fn broken(&mut self, number: u64, now: Instant) {
        let Some(member) = self.members.remove(&number) else { return };
        let serving = |older: &&Member| older.state == State::Ready && older.generation < member.generation;
        let older = self.members.values().filter(serving).map(|older| older.generation).max();
        match older {
            Some(older) if member.generation == self.generation => {
                tracing::error!(target: "portcullis::custom_auth", "the changed function is not used; the one before goes on");
                self.generation = older;
                self.members.retain(|_, member| member.state != State::Starting || member.generation == older);
            }
            _ => self.pause(now),
        }
    }

    pub(super) fn ended(&mut self, number: u64, now: Instant) {
        let Some(member) = self.members.remove(&number) else { return };
        match member.state {
            State::Retired => {}
            State::Starting => self.pause(now),
            State::Ready => {
                tracing::error!(target: "portcullis::custom_auth", worker = member.process.pid, "a worker has ended by itself");
                if now.duration_since(member.born) < GROWN_UP {
                    self.pause(now);
                }
            }
        }
    }

    /// Gives a request to the process that has least to do; `None`: none can take it.
    pub(super) fn take_on(&mut self, id: u64, concurrency: usize, frame: &[u8]) -> Option<u64> {
        let usable = |member: &Member| member.is_usable(concurrency);
        let (number, member) =
            self.members.iter_mut().filter(|(_, member)| usable(member)).min_by_key(|(_, member)| member.held.len())?;
        member.held.insert(id);
        member.process.tell(frame.to_vec());
        Some(*number)
    }

    pub(super) fn has_room(&self, concurrency: usize) -> bool {
        self.members.values().any(|member| member.is_usable(concurrency))
    }

    /// Nobody serves, and the last try to change that failed.
    pub(super) fn is_broken(&self) -> bool {
        self.failures > 0 && self.members.values().all(|member| member.state != State::Ready)
    }

    pub(super) fn tell(&self, number: u64, kind: &str, id: u64) {
        if let Some(member) = self.members.get(&number) {
            member.process.tell(note(kind, id));
        }
    }

    /// It must not go on with this request, and says when it does not: asked to `take_back` or to `cancel`.
    pub(super) fn let_go(&mut self, number: u64, id: u64, how: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(&number) {
            member.letting_go.entry(id).or_insert(now);
            member.process.tell(note(how, id));
        }
    }

    /// It has settled this request, in whatever way.
    pub(super) fn done(&mut self, number: u64, id: u64) {
        if let Some(member) = self.members.get_mut(&number) {
            member.held.remove(&id);
            member.letting_go.remove(&id);
        }
    }

    /// Its event loop turns.
    pub(super) fn alive(&mut self, number: u64) {
        if let Some(member) = self.members.get_mut(&number) {
            member.slow = false;
        }
    }

    /// It gets nothing more until its event loop turns again.
    pub(super) fn slow(&mut self, number: u64) {
        if let Some(member) = self.members.get_mut(&number)
            && !member.slow
        {
            member.slow = true;
            member.process.tell(note("ping", 0));
        }
    }

    /// Gives up who does not let go, and ends who has settled everything and is not needed.
    pub(super) fn end_the_stubborn(&mut self, now: Instant, within: Duration) {
        for member in self.members.values_mut() {
            let stubborn = member.letting_go.values().any(|since| now.duration_since(*since) >= within);
            let stuck = member.state == State::Starting && now.duration_since(member.born) >= LOAD_WITHIN;
            if (stubborn && member.state == State::Ready) || stuck {
                tracing::warn!(target: "portcullis::custom_auth", worker = member.process.pid, "a worker does not let go and is replaced");
                member.retire();
            }
            // What it was told to let go is settled for everybody else.
            let idle = member.held.iter().all(|id| member.letting_go.contains_key(id));
            if member.state == State::Retired && idle {
                member.process.kill();
            }
        }
    }

    /// Whether as many are ready as should be, and nothing is left to be seen to.
    pub(super) fn is_quiet(&self, wanted: usize) -> bool {
        let settled = |member: &Member| member.state == State::Ready && member.letting_go.is_empty() && !member.slow;
        self.members.len() == wanted && self.members.values().all(settled) && self.current().count() == wanted
    }

    /// Ready ones, and those that start.
    pub(super) fn counts(&self) -> (i64, i64) {
        let count = |state| self.members.values().filter(|member| member.state == state).count() as i64;
        (count(State::Ready), count(State::Starting))
    }

    fn current(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.generation == self.generation && member.state != State::Retired)
    }

    fn pause(&mut self, now: Instant) {
        let pause = PAUSE * 2_u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        self.not_before = Some(now + pause.min(LONGEST_PAUSE));
    }
}

impl Member {
    fn new(process: Process, generation: u64, born: Instant) -> Self {
        Self {
            process,
            generation,
            state: State::Starting,
            held: HashSet::new(),
            letting_go: HashMap::new(),
            slow: false,
            born,
        }
    }

    fn is_usable(&self, concurrency: usize) -> bool {
        self.state == State::Ready && !self.slow && self.held.len() < concurrency
    }

    fn retire(&mut self) {
        self.state = State::Retired;
    }
}
