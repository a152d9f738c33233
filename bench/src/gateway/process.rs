//! The child process: its output as a value that can be awaited, its signals, its memory, and a certain end.

use crate::within;
pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// What the environment of the test may hold but the gateway must not see.
const REMOVED: [&str; 11] = [
    "ANTHROPIC_API_KEY",
    "DATABASE_URL",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LITELLM_MASTER_KEY",
    "OPENAI_API_KEY",
    "PORTCULLIS_CONFIG",
    "http_proxy",
    "https_proxy",
];

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// What it printed, on both streams.
    pub output: String,
}

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: u32,
    printed: Arc<watch::Sender<Printed>>,
}

#[derive(Debug)]
struct Printed {
    text: Vec<u8>,
    closed_streams: usize,
}

impl Process {
    pub(super) fn spawn(
        binary: &Path,
        arguments: &[OsString],
        environment: &[(String, String)],
        directory: &Path,
        log: Option<std::fs::File>,
    ) -> Self {
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.map_or_else(Stdio::piped, Stdio::from));
        for name in REMOVED {
            command.env_remove(name);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("running {}: {error}", binary.display()));
        let stdout = child.stdout.take().expect("piped").into_owned_fd().expect("a pipe");
        let stderr = child.stderr.take().map(|stderr| stderr.into_owned_fd().expect("a pipe"));
        let closed_streams = usize::from(stderr.is_none());
        let printed = Arc::new(watch::Sender::new(Printed { text: Vec::new(), closed_streams }));
        for stream in stderr.into_iter().chain([stdout]) {
            let printed = printed.clone();
            std::thread::spawn(move || collect(stream.into(), &printed));
        }
        let pid = child.id().expect("a child that nobody has waited for");
        Process { child, pid, printed }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the line that names the listeners. `Err` is the output of a process that ended before.
    pub(super) async fn ready(&mut self) -> Result<(SocketAddr, SocketAddr), String> {
        let mut printed = self.printed.subscribe();
        let ready_or_ended =
            printed.wait_for(|printed| ready_line(&printed.text).is_some() || printed.closed_streams == 2);
        let ready = match tokio::time::timeout(crate::PATIENCE, ready_or_ended).await {
            Ok(printed) => ready_line(&printed.expect("the sender is held here").text),
            Err(_) => None,
        };
        if ready.is_none() {
            self.kill();
        }
        ready.ok_or_else(|| self.output())
    }

    pub(super) fn output(&self) -> String {
        String::from_utf8_lossy(&self.printed.borrow().text).into_owned()
    }

    pub(super) async fn printed(&self, text: &str, times: usize, patience: Duration) {
        let mut printed = self.printed.subscribe();
        let found =
            printed.wait_for(|printed| memchr::memmem::find_iter(&printed.text, text.as_bytes()).count() >= times);
        let found = tokio::time::timeout(patience, found).await.is_ok();
        assert!(found, "the gateway did not print {text:?} but:\n{}", self.output());
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(self.nix_pid(), signal).expect("a running child");
    }

    pub(super) async fn finished(&mut self) -> Finished {
        let status = within("the end of the gateway", self.child.wait()).await.expect("a child of this process");
        let mut printed = self.printed.subscribe();
        within("the end of its output", printed.wait_for(|printed| printed.closed_streams == 2))
            .await
            .expect("held here");
        Finished { status, output: self.output() }
    }

    /// Ends it whatever it does, if it has not ended.
    pub(super) fn kill(&mut self) {
        // A child that was waited for has no id any more, and its number may be somebody else's.
        if self.child.id().is_some() {
            self.child.start_kill().ok();
        }
    }

    /// A field of `/proc/PID/status`, in bytes; 0 after the end.
    pub(super) fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kibibytes = line.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1024
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.pid).expect("process ids are small"))
    }
}

fn collect(mut stream: std::fs::File, printed: &watch::Sender<Printed>) {
    let mut piece = [0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        printed.send_modify(|printed| printed.text.extend_from_slice(&piece[..length]));
    }
    printed.send_modify(|printed| printed.closed_streams += 1);
}

/// The addresses in `portcullis: ready data=ADDR admin=ADDR`, once the line is whole.
fn ready_line(output: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let text = String::from_utf8_lossy(output);
    let whole = &text[..=text.rfind('\n')?];
    let fields = whole.lines().find_map(|line| line.strip_prefix("portcullis: ready "))?;
    let addr = |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name)?.parse().ok());
    Some((addr("data=")?, addr("admin=")?))
}
