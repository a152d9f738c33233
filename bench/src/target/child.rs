//! A server as a child process: started on a free port and the target's core, waited for until it accepts, ended with its value.

use crate::process::Cores;
use anyhow::{Context, bail};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How often a start is tried again with another port, because somebody took the one that was free.
const STARTS: usize = 5;

/// A running server.
#[derive(Debug)]
pub(super) struct ChildServer {
    child: Child,
    pid: u32,
    addr: SocketAddr,
    directory: TempDir,
}

impl ChildServer {
    /// Runs `binary` with the arguments for an address and waits until it accepts connections there.
    pub(super) async fn start(
        binary: &Path,
        arguments: impl Fn(SocketAddr) -> Vec<OsString>,
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let mut printed = String::new();
        for _ in 0..STARTS {
            let mut server = Self::spawn(binary, &arguments, cores)?;
            if server.accepts().await? {
                return Ok(server);
            }
            printed = std::fs::read_to_string(server.log())?;
        }
        bail!("{} ended before it accepted connections:\n{printed}", binary.display())
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    fn spawn(binary: &Path, arguments: &impl Fn(SocketAddr) -> Vec<OsString>, cores: &Cores) -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("portcullis-bench-")?;
        let addr = free_addr()?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let mut command = Command::new(binary);
        command
            .args(arguments(addr))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let child = cores.in_target(|| command.spawn())?.with_context(|| format!("running {}", binary.display()))?;
        let pid = child.id().context("a process that ended at once")?;
        Ok(Self { child, pid, addr, directory })
    }

    /// Whether it accepts connections, as soon as it does; false when it ended before.
    async fn accepts(&mut self) -> anyhow::Result<bool> {
        let began = Instant::now();
        while began.elapsed() < crate::PATIENCE {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if tokio::net::TcpStream::connect(self.addr).await.is_ok() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("no connection accepted within {:?}:\n{}", crate::PATIENCE, std::fs::read_to_string(self.log())?)
    }

    fn log(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }
}

fn free_addr() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
