//! The command line as data, and the plan of a run that follows from it.

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use portcullis_bench::process::Cores;
use portcullis_bench::run::{Absent, RunPlan};
use portcullis_bench::scenario::trial::{TRIALS, Trial};
use portcullis_bench::scenario::{SCENARIOS, Scenario, Set};
use portcullis_bench::target::{Manifest, TargetKind};
use portcullis_bench::upstream::UpstreamSettings;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Parser)]
#[command(version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measure, print the table, write results.json and the plots.
    Run(RunArguments),
    /// Say what changed from one results.json to another.
    Compare {
        /// The earlier one.
        before: PathBuf,
        /// The later one.
        after: PathBuf,
    },
    /// Print a results.json as Markdown.
    Markdown {
        /// The file.
        results: PathBuf,
    },
    /// Name the scenarios.
    List,
    /// Forward everything with Pingora and do nothing else.
    Passthrough {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Where to forward to.
        #[arg(long)]
        upstream: SocketAddr,
        /// Worker threads.
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
    /// Let ever more connections, one for each node that there could be, listen for changes on one PostgreSQL.
    Listeners(ListenersArguments),
    /// Answer fast in every dialect: what stands behind the targets of a run.
    Upstream(UpstreamSettings),
    /// Answer like OpenAI, Azure OpenAI, Anthropic and Gemini, and record every request (GET /__provider/requests).
    Provider {
        /// Port on 127.0.0.1; 0 takes a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
}

#[derive(Args)]
pub(crate) struct ListenersArguments {
    /// How many listen, in turn.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 30, 100])]
    pub(crate) listeners: Vec<usize>,
    /// Changes a second; 0 is as many as eight writers can commit.
    #[arg(long, value_delimiter = ',', default_values_t = [10.0, 100.0, 0.0])]
    pub(crate) rates: Vec<f64>,
    /// Seconds of each, at the rates that are given.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
}

#[derive(Args)]
pub(crate) struct RunArguments {
    /// Scenarios by name; see `list`.
    scenarios: Vec<String>,
    /// Which ones, where none is named.
    #[arg(long, value_enum, default_value_t = Set::Short)]
    set: Set,
    /// How often each target is measured in each scenario; the default is 10 in the full set, else 3.
    #[arg(long)]
    repetitions: Option<usize>,
    /// Seconds of each measured time; the default is 2 in the full set, else 1.
    #[arg(long)]
    seconds: Option<f64>,
    /// Where the results go.
    #[arg(long, default_value = "target/bench-results")]
    pub(crate) out: PathBuf,
    /// The gateway; without it, the one beside this program.
    #[arg(long)]
    portcullis: Option<PathBuf>,
    /// A further build of the gateway, measured beside the first one under this name.
    #[arg(long = "build", value_name = "NAME=PATH", value_parser = build)]
    builds: Vec<(String, PathBuf)>,
    /// A further gateway, described as those in bench/targets are.
    #[arg(long = "manifest", value_name = "FILE")]
    manifests: Vec<PathBuf>,
    /// Only these targets.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// Measure the gateway without its event for each request as well, as the target `portcullis-quiet`.
    #[arg(long)]
    quiet_too: bool,
    /// Only processor time and throughput, without the constant rate.
    #[arg(long)]
    closed_only: bool,
    /// Let target and harness share the cores.
    #[arg(long)]
    no_pin: bool,
}

impl RunArguments {
    pub(crate) fn plan(&self) -> anyhow::Result<RunPlan> {
        let scenarios = self.scenarios()?;
        let (targets, absent) = self.targets()?;
        let full = self.scenarios.is_empty() && self.set == Set::Full;
        Ok(RunPlan {
            set: if self.scenarios.is_empty() {
                format!("{:?}", self.set).to_lowercase()
            } else {
                self.scenarios.join(" ")
            },
            scenarios,
            trials: self.trials(),
            targets,
            absent,
            repetitions: self.repetitions.unwrap_or(if full { 10 } else { 3 }).max(1),
            measured: Duration::try_from_secs_f64(self.seconds.unwrap_or(if full { 2.0 } else { 1.0 }))
                .context("--seconds")?,
            decay: full,
            closed_only: self.closed_only,
            cores: Cores::divide(!self.no_pin)?,
        })
    }

    fn scenarios(&self) -> anyhow::Result<Vec<&'static Scenario>> {
        if self.scenarios.is_empty() {
            return Ok(SCENARIOS.iter().filter(|scenario| scenario.set <= self.set).collect());
        }
        let named = |name: &String| Scenario::named(name).with_context(|| format!("no scenario is called {name}"));
        self.scenarios.iter().filter(|name| Trial::named(name).is_none()).map(named).collect()
    }

    fn trials(&self) -> Vec<&'static Trial> {
        if self.scenarios.is_empty() {
            return TRIALS.iter().filter(|trial| trial.set <= self.set && !self.closed_only).collect();
        }
        self.scenarios.iter().filter_map(|name| Trial::named(name)).collect()
    }

    /// Those that can run, and those that cannot, with the reason.
    fn targets(&self) -> anyhow::Result<(Vec<TargetKind>, Vec<Absent>)> {
        let mut targets = self.own_targets()?;
        let mut absent = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut manifests = Manifest::read_all(&root.join("targets"))?;
        manifests.extend(self.manifests.iter().map(|file| Manifest::read(file)).collect::<anyhow::Result<Vec<_>>>()?);
        let names = || targets.iter().map(TargetKind::name).chain(manifests.iter().map(|other| other.name.as_str()));
        if let Some(unknown) = self.targets.iter().find(|wanted| names().all(|name| name != wanted.as_str())) {
            bail!("no target is called {unknown}; there are {}", names().collect::<Vec<_>>().join(", "));
        }
        let wanted = |name: &str| self.targets.is_empty() || self.targets.iter().any(|wanted| wanted == name);
        targets.retain(|kind| wanted(kind.name()));
        // Asking for a version runs the program, which takes some of them ten seconds.
        for manifest in manifests.into_iter().filter(|manifest| wanted(&manifest.name)) {
            match manifest.find(root.parent().unwrap_or(root)) {
                Ok(found) => targets.push(TargetKind::Other { manifest: Box::new(manifest), found }),
                Err(reason) => absent.push(Absent {
                    name: manifest.name,
                    reason: format!("{reason:#}"),
                    scenarios: manifest.scenarios,
                }),
            }
        }
        Ok((targets, absent))
    }

    fn own_targets(&self) -> anyhow::Result<Vec<TargetKind>> {
        let own = std::env::current_exe().context("asking for the path of this program")?;
        let portcullis = self.portcullis.clone().unwrap_or_else(|| own.with_file_name("portcullis"));
        if !portcullis.exists() {
            bail!("there is no gateway at {}; build it with the same profile", portcullis.display());
        }
        let build = |name: &str, binary: &PathBuf, events| {
            // Targets run in directories of their own.
            let binary = std::path::absolute(binary).unwrap_or_else(|_| binary.clone());
            TargetKind::Portcullis { name: name.to_owned(), binary, events }
        };
        let mut targets = vec![TargetKind::Provider, TargetKind::Passthrough { binary: own }];
        targets.push(build("portcullis", &portcullis, true));
        targets.extend(self.quiet_too.then(|| build("portcullis-quiet", &portcullis, false)));
        targets.extend(self.builds.iter().map(|(name, binary)| build(name, binary, true)));
        Ok(targets)
    }
}

fn build(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = argument.split_once('=').ok_or("NAME=PATH is wanted")?;
    Ok((name.to_owned(), path.into()))
}
