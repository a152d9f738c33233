//! One target under one load: what it cost, and how long its answers took.

use crate::load::{Limit, Load, LoadPlan, LoadReport, Pace, run};
use crate::result::{Measure, Sample};
use crate::scenario::{P99_BOUND_MS, Steady, Who};
use crate::target::Target;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often memory is looked at under a load.
const LOOK: Duration = Duration::from_millis(100);

/// How often the range of rates is halved.
const HALVINGS: u32 = 4;

/// How long a phase lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
}

/// The phases of a scenario.
pub(super) struct Phases<'a> {
    pub(super) steady: &'a Steady,
    pub(super) times: Times,
    pub(super) threads: usize,
    notes: RefCell<BTreeSet<String>>,
}

impl<'a> Phases<'a> {
    pub(super) fn new(steady: &'a Steady, times: Times, threads: usize) -> Self {
        Self { steady, times, threads, notes: RefCell::default() }
    }

    /// Brings a target into the state that is to be measured: connections made, and every key in use known to its cache.
    pub(super) fn warm(&self, target: &Target) -> anyhow::Result<()> {
        let mut plan = self.plan(target);
        plan.limit = Limit::Requests(match self.steady.who {
            Who::Keys { count } if target.gateway().is_some() => {
                plan.caller = plan.caller.in_turn();
                count
            }
            _ => 2 * self.steady.connections as u64,
        });
        self.note(target, &run(plan)?);
        Ok(())
    }

    /// All that one repetition measures.
    pub(super) fn sample(&self, target: &Target, closed_only: bool) -> anyhow::Result<Sample> {
        let mut sample = self.closed(target)?;
        let carried = sample.get(&Measure::Throughput).copied().unwrap_or_default();
        if carried < self.steady.rate {
            // It would only show how long the queue grows.
            let note =
                format!("{}: carries less than {} requests a second, so no latency", target.name, self.steady.rate);
            self.notes.borrow_mut().insert(note);
        } else if !closed_only {
            sample.append(&mut self.open(target)?);
            if self.steady.bounded {
                sample.insert(Measure::ThroughputWithinBound, self.rate_within_bound(target, carried)?);
            }
        }
        Ok(sample)
    }

    /// As many requests as the connections carry: throughput and processor time.
    fn closed(&self, target: &Target) -> anyhow::Result<Sample> {
        let load = Load::start(self.plan(target));
        let (measured_from, ends) = (load.measured_from(), load.measured_from() + self.times.measured);
        wait_until(measured_from);
        let before = Spent::by(target, &load);
        let memory = memory_until(target, ends);
        let spent = Spent::by(target, &load).since(&before);
        let report = load.finish()?;
        self.note(target, &report);
        let mut sample = Sample::new();
        sample.insert(Measure::Throughput, spent.answers as f64 / spent.wall.as_secs_f64());
        sample.insert(Measure::Answered, report.answered as f64);
        sample.insert(Measure::Wrong, report.wrong_count() as f64);
        if target.process.is_some() {
            sample.insert(Measure::CpuPerRequest, spent.cpu.as_secs_f64() * 1e6 / spent.answers.max(1) as f64);
            sample.insert(Measure::MemoryPeak, memory.iter().copied().fold(0.0, f64::max));
            sample.insert(Measure::MemorySteady, memory.last().copied().unwrap_or_default());
        }
        Ok(sample)
    }

    /// A constant rate: latency from the moment at which each request was to be sent.
    fn open(&self, target: &Target) -> anyhow::Result<Sample> {
        let report = self.at_rate(target, self.steady.rate)?;
        let quantiles = [(Measure::LatencyP50, 0.5), (Measure::LatencyP99, 0.99), (Measure::LatencyP999, 0.999)];
        Ok(quantiles.map(|(measure, share)| (measure, report.latency_ms(share))).into())
    }

    /// The highest rate up to `most` at which p99 stays within the bound, sought in a few halvings; 0 where none was found.
    fn rate_within_bound(&self, target: &Target, most: f64) -> anyhow::Result<f64> {
        let (mut within, mut beyond) = (0.0, most);
        for _ in 0..HALVINGS {
            let rate = f64::midpoint(within, beyond);
            let report = self.at_rate(target, rate)?;
            let held = report.wrong_count() == 0 && report.latency_ms(0.99) <= P99_BOUND_MS;
            *(if held { &mut within } else { &mut beyond }) = rate;
        }
        Ok(within)
    }

    fn at_rate(&self, target: &Target, per_second: f64) -> anyhow::Result<LoadReport> {
        let report = run(LoadPlan { pace: Pace::Open { per_second }, ..self.plan(target) })?;
        self.note(target, &report);
        Ok(report)
    }

    /// What went wrong, said once, and what must be known to read the figures.
    pub(super) fn notes(&self) -> Vec<String> {
        let bound = format!(
            "throughput within the bound: the highest rate with a p99 of at most {P99_BOUND_MS} ms, to a {}th of the throughput",
            1 << HALVINGS
        );
        self.steady.bounded.then_some(bound).into_iter().chain(self.notes.borrow().iter().cloned()).collect()
    }

    fn note(&self, target: &Target, report: &LoadReport) {
        for (wrong, count) in &report.wrong {
            self.notes.borrow_mut().insert(format!("{}: {count} answers wrong: {wrong}", target.name));
        }
    }

    fn plan(&self, target: &Target) -> LoadPlan {
        LoadPlan {
            connections: self.steady.connections,
            warm_up: self.times.warm_up,
            limit: Limit::For(self.times.measured),
            expected: target.expected,
            rewrites: target.rewrites,
            threads: self.threads,
            ..LoadPlan::new(target.addr, self.steady.shape(), target.caller.clone())
        }
    }
}

/// What had been spent at a moment, or between two.
struct Spent {
    cpu: Duration,
    answers: u64,
    at: Instant,
    wall: Duration,
}

impl Spent {
    fn by(target: &Target, load: &Load) -> Self {
        let cpu = target.process.as_ref().map_or(Duration::ZERO, |process| process.cpu());
        Self { cpu, answers: load.answered(), at: Instant::now(), wall: Duration::ZERO }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            answers: self.answers - before.answers,
            at: self.at,
            wall: self.at - before.at,
        }
    }
}

pub(super) fn resident_mib(target: &Target) -> f64 {
    target.process.as_ref().map_or(0.0, |process| process.rss_bytes() as f64 / f64::from(1 << 20))
}

fn memory_until(target: &Target, end: Instant) -> Vec<f64> {
    let mut looks = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(LOOK));
        looks.push(resident_mib(target));
        if left <= LOOK {
            return looks;
        }
    }
}

fn wait_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}
