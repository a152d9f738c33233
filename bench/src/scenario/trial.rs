//! Scenarios in which something happens: a flood beside good traffic, a database that stops, a key that is revoked.
//!
//! Each compares conditions of one target within a repetition; a condition stands in the results as a target of its own, named
//! after both. What has a limit of its own (what one machine can offer, say) is said in the notes.

mod flood;
mod node;
mod outage;
mod reload;
mod revocation;
mod streams;

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::Set;
use crate::load::LoadReport;
use crate::postgres::PostgresServer;
use crate::process::Cores;
use crate::result::{Measure, Sample, ScenarioResult, TargetResult};
use crate::target::TargetKind;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Its name on the command line and in every output.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// The smallest set that it belongs to.
    pub set: Set,
    play: fn(&Stage<'_>, &mut Outcome) -> anyhow::Result<()>,
}

/// All trials, in the order in which a run goes through them.
pub const TRIALS: &[Trial] = &[
    Trial {
        name: "key_unknown_flood",
        about: "Good requests at 1,000 a second, alone and beside 10,000 a second that are refused; the keys are in PostgreSQL.",
        set: Set::Short,
        play: flood::play,
    },
    Trial {
        name: "sse_long",
        about: "1,000 open streams of 100 events, one every 100 ms; a request is a whole stream.",
        set: Set::Full,
        play: streams::play,
    },
    Trial {
        name: "database_stopped",
        about: "Known keys at 1,000 requests a second while PostgreSQL runs, is stopped, and comes back.",
        set: Set::Full,
        play: outage::play,
    },
    Trial {
        name: "revoke_under_load",
        about: "Two gateways on one PostgreSQL at 500 requests a second each: a key is blocked on one and tried on the other.",
        set: Set::Full,
        play: revocation::play,
    },
    Trial {
        name: "reload_under_load",
        about: "2,000 requests a second while the configuration changes and SIGHUP puts it in force, again and again.",
        set: Set::Full,
        play: reload::play,
    },
];

/// What a trial is given.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Where it runs.
    pub cores: Cores,
    /// What may take part.
    pub targets: &'a [TargetKind],
    /// How often each condition is measured.
    pub repetitions: usize,
    /// How long each time.
    pub measured: Duration,
    /// For what is not load.
    pub runtime: &'a Runtime,
}

/// What a trial found so far.
#[derive(Debug, Default)]
pub struct Outcome {
    conditions: Vec<TargetResult>,
    notes: Vec<String>,
}

impl Trial {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TRIALS.iter().find(|trial| trial.name == name)
    }

    /// Does it. The calling thread must be where the harness belongs.
    ///
    /// # Errors
    ///
    /// When a target cannot be started or the system gives no sockets or threads.
    ///
    /// # Panics
    ///
    /// When a gateway or the database does not become ready, or an answer never comes.
    pub fn play(&self, stage: &Stage<'_>) -> anyhow::Result<ScenarioResult> {
        let mut outcome = Outcome::default();
        (self.play)(stage, &mut outcome)?;
        let Outcome { conditions: targets, notes } = outcome;
        Ok(ScenarioResult { name: self.name.to_owned(), about: self.about.to_owned(), targets, notes })
    }
}

impl Stage<'_> {
    /// The gateways among the targets: name, program, and whether it writes an event for each request.
    fn gateways(&self) -> impl Iterator<Item = (&str, &Path, bool)> {
        self.targets.iter().filter_map(|kind| match kind {
            TargetKind::Portcullis { name, binary, events } => Some((name.as_str(), binary.as_path(), *events)),
            _ => None,
        })
    }

    /// A database server, or the reason in the outcome why there is none.
    fn database(&self, outcome: &mut Outcome) -> Option<PostgresServer> {
        if PostgresServer::is_installed() {
            return Some(PostgresServer::start());
        }
        let absent = Some("no PostgreSQL server on this machine".to_owned());
        let target = |name: &str| TargetResult {
            target: name.to_owned(),
            version: String::new(),
            absent: absent.clone(),
            samples: vec![],
        };
        outcome.conditions.extend(self.gateways().map(|(name, ..)| target(name)));
        None
    }
}

impl Outcome {
    /// One repetition of a condition.
    fn record(&mut self, condition: &str, version: &str, sample: Sample) {
        let known = self.conditions.iter().position(|known| known.target == condition);
        let at = known.unwrap_or_else(|| {
            let (target, version) = (condition.to_owned(), version.to_owned());
            self.conditions.push(TargetResult { target, version, absent: None, samples: vec![] });
            self.conditions.len() - 1
        });
        self.conditions[at].samples.push(sample);
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Says what went wrong, if anything did.
    fn note_wrong(&mut self, condition: &str, report: &LoadReport) {
        for (wrong, count) in &report.wrong {
            self.note(format!("{condition}: {count} answers wrong: {wrong}"));
        }
    }
}

/// What is taken of every load at a constant rate.
fn latencies(report: &LoadReport) -> Sample {
    [
        (Measure::LatencyP50, report.latency_ms(0.5)),
        (Measure::LatencyP99, report.latency_ms(0.99)),
        (Measure::LatencyP999, report.latency_ms(0.999)),
        (Measure::Answered, report.answered as f64),
        (Measure::Wrong, report.wrong_count() as f64),
    ]
    .into()
}
