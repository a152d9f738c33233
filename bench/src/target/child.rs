//! A server as a child process: started on a free port and the target's core, waited for until it serves, ended with its value.

use crate::process::Cores;
use anyhow::{Context, bail};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How often a start is tried again with another port, because somebody took the one that was free.
const STARTS: usize = 5;
/// How long a server may take to serve: Python on a busy core takes its time.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// What is run.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(String, String)>,
}

/// A running server.
#[derive(Debug)]
pub(super) struct ChildServer {
    child: Child,
    pid: u32,
    addr: SocketAddr,
    directory: TempDir,
}

impl ChildServer {
    /// Runs what `launch` says for an address and a directory, and waits until it serves there: until it answers `ready` with 200,
    /// or, without that, accepts connections.
    pub(super) async fn start(
        launch: impl Fn(SocketAddr, &Path) -> anyhow::Result<Launch>,
        ready: Option<&str>,
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let mut printed = String::new();
        for _ in 0..STARTS {
            let mut server = Self::spawn(&launch, cores)?;
            if server.serves(ready).await? {
                return Ok(server);
            }
            printed = server.log()?;
        }
        bail!("it ended before it served:\n{printed}")
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn spawn(launch: &impl Fn(SocketAddr, &Path) -> anyhow::Result<Launch>, cores: &Cores) -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("portcullis-bench-")?;
        let addr = free_addr()?;
        let Launch { program, arguments, environment } = launch(addr, directory.path())?;
        let log = std::fs::File::create(directory.path().join(LOG))?;
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .envs(environment)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let child = cores.in_target(|| command.spawn())?.with_context(|| format!("running {}", program.display()))?;
        let pid = child.id().context("a process that ended at once")?;
        Ok(Self { child, pid, addr, directory })
    }

    /// Whether it serves, as soon as it does; false when it ended before.
    async fn serves(&mut self, ready: Option<&str>) -> anyhow::Result<bool> {
        let client = crate::client::http().build()?;
        let url = ready.map(|path| format!("http://{}{path}", self.addr));
        let began = Instant::now();
        while began.elapsed() < START_TIMEOUT {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            let serves = match &url {
                Some(url) => client.get(url).send().await.is_ok_and(|answer| answer.status() == 200),
                None => tokio::net::TcpStream::connect(self.addr).await.is_ok(),
            };
            if serves {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("it did not serve within {START_TIMEOUT:?}:\n{}", self.log()?)
    }

    fn log(&self) -> std::io::Result<String> {
        std::fs::read_to_string(self.directory.path().join(LOG))
    }
}

/// Where its output goes.
const LOG: &str = "log";

fn free_addr() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
