//! A run: for each scenario the targets are started, warmed, and then measured in turn, repetition by repetition.
//!
//! Within a repetition the targets follow each other, every second time in the opposite order, so that what disturbs the machine
//! for a while disturbs all of them, and their ratio is taken there.

mod machine;
mod phase;
mod progress;

use crate::process::Cores;
use crate::report::CEILING;
use crate::result::{Measure, Run, Sample, ScenarioResult, TargetResult};
use crate::scenario::Scenario;
use crate::scenario::trial::{Stage, Trial};
use crate::target::{Ground, Target, TargetKind};
use crate::upstream::{LoadProvider, UpstreamSettings};
use anyhow::Context;
use phase::{Phases, Times};
use progress::Progress;
use std::time::Duration;

/// What to run and how long.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// The name of the choice, for the result.
    pub set: String,
    /// In this order.
    pub scenarios: Vec<&'static Scenario>,
    /// After the scenarios, in this order.
    pub trials: Vec<&'static Trial>,
    /// In this order.
    pub targets: Vec<TargetKind>,
    /// Other gateways that would take part but cannot.
    pub absent: Vec<Absent>,
    /// How often each target is measured in each scenario.
    pub repetitions: usize,
    /// Length of each measured time.
    pub measured: Duration,
    /// Whether memory is looked at once more ten seconds after the load.
    pub decay: bool,
    /// Whether the constant rate is left out, so that only processor time and throughput are measured.
    pub closed_only: bool,
    /// See [`Cores`].
    pub cores: Cores,
}

/// A gateway that cannot be measured here.
#[derive(Clone, Debug)]
pub struct Absent {
    /// Its name.
    pub name: String,
    /// Why not.
    pub reason: String,
    /// See [`crate::target::Manifest::scenarios`].
    pub scenarios: Vec<String>,
}

/// How long the memory of a target is left to decay.
const DECAY: Duration = Duration::from_secs(10);

impl RunPlan {
    /// Runs it all. The calling thread must be where the harness belongs ([`Cores::enter_harness`]).
    ///
    /// # Errors
    ///
    /// When a target cannot be started or the system gives no sockets or threads.
    pub fn run(&self) -> anyhow::Result<Run> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let progress = Progress::new(self.steps());
        let machine = machine::describe(&self.cores);
        let mut scenarios = Vec::new();
        for scenario in &self.scenarios {
            let result = self.scenario(scenario, &runtime, &progress);
            scenarios.push(result.with_context(|| format!("scenario {}", scenario.name))?);
        }
        let stage = Stage {
            cores: self.cores,
            targets: &self.targets,
            repetitions: self.repetitions,
            measured: self.measured,
            runtime: &runtime,
        };
        for trial in &self.trials {
            progress.says(trial.name, "under way");
            scenarios.push(trial.play(&stage).with_context(|| format!("scenario {}", trial.name))?);
            progress.step();
        }
        progress.end();
        Ok(Run { machine, set: self.set.clone(), scenarios })
    }

    fn scenario(
        &self,
        scenario: &Scenario,
        runtime: &tokio::runtime::Runtime,
        progress: &Progress,
    ) -> anyhow::Result<ScenarioResult> {
        let provider = LoadProvider::start(UpstreamSettings::default())?;
        let provider_key = UpstreamSettings::default().provider_key;
        let ground = Ground { cores: self.cores, upstream: provider.addr(), provider_key };
        let mut targets = Vec::new();
        for kind in self.targets.iter().filter(|kind| scenario.takes(kind)) {
            progress.says(scenario.name, &format!("starting {}", kind.name()));
            targets.push(Measured::new(runtime.block_on(kind.start(&ground, &scenario.steady))?));
        }
        let times = Times { warm_up: self.measured.mul_f64(0.25), measured: self.measured };
        let phases = Phases::new(&scenario.steady, times, self.threads());
        for measured in &targets {
            progress.says(scenario.name, &format!("warming {}", measured.target.name));
            phases.warm(&measured.target)?;
            progress.step();
        }
        for repetition in 0..self.repetitions {
            for measured in in_turn(&mut targets, repetition) {
                progress.says(scenario.name, &measured.target.name);
                let queries = runtime.block_on(measured.target.database_queries());
                let mut sample = phases.sample(&measured.target, self.closed_only)?;
                let queries_now = runtime.block_on(measured.target.database_queries());
                if let (Some(before), Some(now)) = (queries, queries_now) {
                    sample.insert(Measure::DatabaseQueries, now - before);
                }
                sample.insert(Measure::MemoryIdle, measured.idle_mib);
                measured.samples.push(sample);
                measured.target.cut_log();
                progress.step();
            }
        }
        if self.decay {
            progress.says(scenario.name, "waiting for memory to decay");
            std::thread::sleep(DECAY);
        }
        let mut notes = phases.notes();
        if !self.cores.pinned() {
            notes.push("targets and harness shared the cores".to_owned());
        }
        if cfg!(debug_assertions) {
            notes.push("the harness and passthrough are a debug build: no figure means anything".to_owned());
        }
        if provider.leaks() > 0 {
            notes.push(format!("{} requests reached the provider with a wrong credential", provider.leaks()));
        }
        let mut result = result(scenario, targets, notes, self.decay);
        let missed = self.absent.iter().filter(|absent| scenario.takes_others(&absent.scenarios));
        result.targets.extend(missed.map(absent));
        Ok(result)
    }

    fn threads(&self) -> usize {
        // The provider has a thread of its own and needs a core of its own where there is one.
        self.cores.harness_count.saturating_sub(1).max(1)
    }

    fn steps(&self) -> usize {
        let pairs =
            self.scenarios.iter().map(|scenario| self.targets.iter().filter(|kind| scenario.takes(kind)).count());
        pairs.sum::<usize>() * (self.repetitions + 1) + self.trials.len()
    }
}

/// A target with what was found of it so far.
struct Measured {
    target: Target,
    idle_mib: f64,
    samples: Vec<Sample>,
}

impl Measured {
    fn new(target: Target) -> Self {
        let idle_mib = phase::resident_mib(&target);
        Self { target, idle_mib, samples: Vec::new() }
    }
}

fn in_turn(targets: &mut [Measured], repetition: usize) -> Box<dyn Iterator<Item = &mut Measured> + '_> {
    if repetition.is_multiple_of(2) { Box::new(targets.iter_mut()) } else { Box::new(targets.iter_mut().rev()) }
}

fn absent(absent: &Absent) -> TargetResult {
    let Absent { name, reason, .. } = absent.clone();
    TargetResult { target: name, version: String::new(), absent: Some(reason), samples: Vec::new() }
}

/// Takes what the targets have in common out of the samples: latencies over those of the provider.
fn result(scenario: &Scenario, targets: Vec<Measured>, notes: Vec<String>, decayed: bool) -> ScenarioResult {
    let direct: Vec<Sample> =
        targets.iter().find(|measured| measured.target.name == CEILING).map_or_else(Vec::new, |it| it.samples.clone());
    let targets = targets.into_iter().map(|mut measured| {
        if measured.target.process.is_some() {
            measured.samples.iter_mut().zip(&direct).for_each(|(sample, direct)| add_latency_over(sample, direct));
            if let (true, Some(last)) = (decayed, measured.samples.last_mut()) {
                last.insert(Measure::MemoryAfter, phase::resident_mib(&measured.target));
            }
        } else {
            measured.samples.iter_mut().for_each(|sample| sample.retain(|measure, _| *measure != Measure::MemoryIdle));
        }
        let Target { name, version, .. } = measured.target;
        TargetResult { target: name, version, absent: None, samples: measured.samples }
    });
    let targets = targets.collect();
    ScenarioResult { name: scenario.name.to_owned(), about: scenario.about.to_owned(), targets, notes }
}

fn add_latency_over(sample: &mut Sample, direct: &Sample) {
    let measures = [
        (Measure::LatencyP50, Measure::AddedP50),
        (Measure::LatencyP99, Measure::AddedP99),
        (Measure::LatencyP999, Measure::AddedP999),
    ];
    for (latency, added) in measures {
        if let (Some(all), Some(direct)) = (sample.get(&latency), direct.get(&latency)) {
            sample.insert(added, all - direct);
        }
    }
}
