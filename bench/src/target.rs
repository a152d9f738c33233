//! What is measured: a gateway as a child process in front of the fast provider, or that provider called directly.
//!
//! Each target is started for one scenario and ends with it, so that no scenario inherits another's memory or cache.

mod child;
mod keys;
mod manifest;
mod portcullis;

pub(crate) use portcullis::version;

use crate::authoriser::Authoriser;
use crate::gateway::Gateway;
use crate::issuer::Issuer;
use crate::load::Caller;
use crate::process::{Cores, ProcessTree};
use crate::scenario::Steady;
use anyhow::Context;
use child::{ChildServer, Launch};
use http::{HeaderName, HeaderValue};
use manifest::Place;
pub use manifest::{Found, Manifest};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The model that every request asks for.
pub const MODEL: &str = "gpt-4o-mini";
/// What callers present to a gateway that is configured with one key.
const CLIENT_KEY: &str = "sk-bench-client-8f1e7c3a2b90";

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
    /// Somebody else's gateway.
    Other {
        /// How it is run and called.
        manifest: Box<Manifest>,
        /// Its program.
        found: Found,
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
    /// Whether the provider sees another body than was sent.
    pub rewrites: bool,
    /// Keeps it running.
    running: Running,
}

#[derive(Debug)]
enum Running {
    Direct,
    Child(#[expect(dead_code, reason = "ends with the target")] Box<ChildServer>),
    /// With the issuer whose tokens it takes and the hook that it asks, where a scenario has one.
    Gateway(
        Box<Gateway>,
        #[expect(dead_code, reason = "ends with the target")] Box<(Option<Issuer>, Option<Authoriser>)>,
    ),
}

impl TargetKind {
    /// Under which its figures stand.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Provider => crate::report::CEILING,
            Self::Passthrough { .. } => crate::report::BASE,
            Self::Portcullis { name, .. } => name,
            Self::Other { manifest, .. } => &manifest.name,
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
                Self::Other { manifest, found } => other(manifest, found, ground).await,
            }
        };
        start.await.with_context(|| format!("starting {}", self.name()))
    }
}

impl Target {
    /// Empties the log that has grown under a load, where there is one.
    pub fn cut_log(&self) {
        if let Running::Gateway(gateway, ..) = &self.running {
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
            Running::Gateway(gateway, ..) => Some(gateway),
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
        rewrites: false,
        running: Running::Direct,
    }
}

async fn passthrough(binary: &Path, ground: &Ground) -> anyhow::Result<Target> {
    let upstream = ground.upstream.to_string();
    let launch = |addr: SocketAddr, _: &Path| {
        let arguments =
            ["passthrough", "--listen", &addr.to_string(), "--upstream", &upstream].map(Into::into).to_vec();
        Ok(Launch { program: binary.to_owned(), arguments, environment: Vec::new() })
    };
    let child = ChildServer::start(launch, None, &ground.cores).await?;
    let caller = Caller::bearer(&ground.provider_key);
    Ok(served(crate::report::BASE, &crate::passthrough::version(), caller, child))
}

async fn other(manifest: &Manifest, found: &Found, ground: &Ground) -> anyhow::Result<Target> {
    let launch = |addr: SocketAddr, dir: &Path| {
        let prepared = manifest.prepare(&place(ground, addr, dir))?;
        let arguments = prepared.arguments.into_iter().map(Into::into).collect();
        // A name alone is looked for in PATH; anything else must hold in the target's own directory too.
        let named = found.program.components().nth(1).is_none();
        let program = if named { found.program.clone() } else { std::path::absolute(&found.program)? };
        Ok(Launch { program, arguments, environment: prepared.environment })
    };
    let child = ChildServer::start(launch, Some(&manifest.ready), &ground.cores).await?;
    let prepared = manifest.prepare(&place(ground, child.addr(), child.directory()))?;
    let caller = Caller::Fixed(HeaderName::try_from(&manifest.header)?, HeaderValue::try_from(prepared.credential)?);
    let target = served(&manifest.name, &found.version, caller, child);
    Ok(Target { rewrites: manifest.rewrites_bodies, ..target })
}

fn place<'a>(ground: &'a Ground, addr: SocketAddr, dir: &'a Path) -> Place<'a> {
    Place {
        port: addr.port(),
        upstream: ground.upstream,
        dir,
        client_key: CLIENT_KEY,
        provider_key: &ground.provider_key,
        model: MODEL,
        workers: 1,
    }
}

fn served(name: &str, version: &str, caller: Caller, child: ChildServer) -> Target {
    Target {
        name: name.to_owned(),
        version: version.to_owned(),
        addr: child.addr(),
        process: Some(ProcessTree::of(child.pid())),
        caller,
        expected: 200,
        rewrites: false,
        running: Running::Child(Box::new(child)),
    }
}
