//! A real Redis (or Valkey) of one's own: in a temporary directory, reached by a Unix socket, gone afterwards.
//!
//! A small shell waits on a pipe from this process and ends the server when the pipe closes, so it is gone however this
//! process ends. Nothing is written to the disk: a server that is started again knows nothing.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A running server, or one that can be started again where it was.
#[derive(Debug)]
pub struct RedisServer {
    directory: TempDir,
    guard: Option<Child>,
    /// While it runs.
    server: Option<Pid>,
}

const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When this machine has none, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        let mut server = Self { directory: TempDir::new().expect("a directory"), guard: None, server: None };
        server.launch();
        server
    }

    /// `redis+unix://...`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}/socket", self.directory.path().display())
    }

    /// Starts it again, empty.
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    pub fn launch(&mut self) {
        let is_there = |name: &&&str| {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&paths).any(|path| path.join(name).is_file())
        };
        let program = PROGRAMS.iter().find(is_there).expect("neither redis-server nor valkey-server is in PATH");
        let guard = Command::new("sh")
            .args(["-c", r#""$@" & echo "pid $!"; exec 3<&0; read -r _ <&3; kill -KILL $!"#, "guard", program])
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "socket", "--dir"])
            .arg(self.directory.path())
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let printed = self.guard.insert(guard).stdout.take().expect("piped");
        let (mut pid, mut is_ready) = (None, false);
        for line in BufReader::new(printed).lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("pid ") {
                pid = number.parse().ok();
            }
            is_ready |= line.to_lowercase().contains("ready to accept connections");
            if is_ready && pid.is_some() {
                self.server = pid.map(Pid::from_raw);
                return;
            }
        }
        panic!("{program} does not start");
    }

    /// Ends it at once, with all that it knows.
    pub fn kill(&mut self) {
        self.server = None;
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }

    /// It keeps its connections and answers nothing.
    pub fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// It answers again, what was asked meanwhile too.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(self.server.expect("a server that runs"), signal).expect("our own process");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
