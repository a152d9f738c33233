//! What is measured: a gateway as a child process in front of the fast provider, or that provider called directly.
//!
//! Each target is started for one scenario and ends with it, so that no scenario inherits another's memory or cache.

mod child;
mod keys;
pub mod manifest;
mod portcullis;

use crate::gateway::Gateway;
use crate::load::Caller;
use crate::process::{Cores, ProcessTree};
use crate::scenario::Steady;
use anyhow::Context;
use child::ChildServer;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The model that every request asks for.
pub const MODEL: &str = "gpt-4o-mini";

/// A target that can be started.
#[derive(Clone, Debug)]
pub enum TargetKind {
    /// No proxy: the provider called directly. What the harness itself can do, and the latency that others add to.
    Provider,
    /// See [`crate::passthrough`].
    Passthrough {
        /// This program.
        binary: PathBuf,
    },
    /// A build of the gateway.
    Portcullis {
        /// Under which name its figures stand.
        name: String,
        /// Its program.
        binary: PathBuf,
        /// Whether it writes an event for each request, as it does by default.
        events: bool,
    },
}

/// What all targets of a scenario stand on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Where they run.
    pub cores: Cores,
    /// The provider behind them.
    pub upstream: SocketAddr,
    /// The only credential that it takes.
    pub provider_key: String,
}

/// A target that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Target {
    /// See [`TargetKind::name`].
    pub name: String,
    /// The version that it gave of itself.
    pub version: String,
    /// Where requests go.
    pub addr: SocketAddr,
    /// What it costs; `None` for what has no process of its own.
    pub process: Option<ProcessTree>,
    /// Who calls it.
    pub caller: Caller,
    /// The status of a right answer.
    pub expected: u16,
    /// Keeps it running.
    running: Running,
}

#[derive(Debug)]
enum Running {
    Direct,
    Child(#[expect(dead_code, reason = "ends with the target")] Box<ChildServer>),
    Gateway(Box<Gateway>),
}

impl TargetKind {
    /// Under which its figures stand.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Provider => crate::report::CEILING,
            Self::Passthrough { .. } => crate::report::BASE,
            Self::Portcullis { name, .. } => name,
        }
    }

    /// Starts it with what the scenario needs in it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    ///
    /// # Panics
    ///
    /// When a gateway does not become ready: with what it printed.
    pub async fn start(&self, ground: &Ground, scenario: &Steady) -> anyhow::Result<Target> {
        let start = async {
            match self {
                Self::Provider => Ok(direct(ground)),
                Self::Passthrough { binary } => passthrough(binary, ground).await,
                Self::Portcullis { name, binary, events } => {
                    portcullis::start(name, binary, *events, ground, scenario).await
                }
            }
        };
        start.await.with_context(|| format!("starting {}", self.name()))
    }
}

impl Target {
    /// Empties the log that has grown under a load, where there is one.
    pub fn cut_log(&self) {
        if let Running::Gateway(gateway) = &self.running {
            gateway.cut_log();
        }
    }

    /// Key look-ups that it has put to its database since its start; `None` for a target that does not tell.
    pub async fn database_queries(&self) -> Option<f64> {
        let gateway = self.gateway()?;
        let request = gateway.admin_request(http::Method::GET, "/metrics").bearer_auth(portcullis::MASTER_KEY);
        let page = gateway.send(request).await.body;
        let page = String::from_utf8_lossy(&page);
        page.lines().find_map(|line| line.strip_prefix("portcullis_store_queries ")?.parse().ok())
    }

    /// The gateway itself, for scenarios that change it as it runs.
    #[must_use]
    pub fn gateway(&self) -> Option<&Gateway> {
        match &self.running {
            Running::Gateway(gateway) => Some(gateway),
            _ => None,
        }
    }
}

fn direct(ground: &Ground) -> Target {
    Target {
        name: crate::report::CEILING.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addr: ground.upstream,
        process: None,
        caller: Caller::bearer(&ground.provider_key),
        expected: 200,
        running: Running::Direct,
    }
}

async fn passthrough(binary: &std::path::Path, ground: &Ground) -> anyhow::Result<Target> {
    let upstream = ground.upstream.to_string();
    let arguments = |addr: SocketAddr| {
        ["passthrough", "--listen", &addr.to_string(), "--upstream", &upstream].map(Into::into).to_vec()
    };
    let child = ChildServer::start(binary, arguments, &ground.cores).await?;
    Ok(Target {
        name: crate::report::BASE.to_owned(),
        version: crate::passthrough::version(),
        addr: child.addr(),
        process: Some(ProcessTree::of(child.pid())),
        caller: Caller::bearer(&ground.provider_key),
        expected: 200,
        running: Running::Child(Box::new(child)),
    })
}
