//! One worker process: its start, its messages, its end.
//!
//! Its standard input is one end of a socket pair, so there is no socket file for anybody else to open, and when this process
//! ends the worker reads its end there. Of our environment it gets what a program needs to run, and what the operator named.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::log::{self, Recent};
use super::pool::Event;
use crate::config::{PythonSettings, process_environment};

/// Longest message of a worker, in bytes: an identity and its metadata.
const LONGEST_MESSAGE: usize = 1 << 20;

/// Variables without which programs do not find their files, languages and certificates. None of them is a secret.
const HARMLESS: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Both sources come as arguments, so that no file of ours has to lie on the machine.
const BOOTSTRAP: &str = "import sys, types\n\
    standins = types.ModuleType('portcullis_standins')\n\
    exec(compile(sys.argv[1], 'standins.py', 'exec'), standins.__dict__)\n\
    worker = {'__name__': 'portcullis_worker', 'standins': standins}\n\
    exec(compile(sys.argv[2], 'worker.py', 'exec'), worker)\n\
    sys.argv = ['portcullis']\n\
    worker['main']()";

/// What a worker says.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Message {
    /// The function is loaded.
    Ready,
    /// It cannot be loaded.
    Broken { cause: String },
    /// The event loop is alive.
    Pong,
    /// The function was begun for this request.
    Started { id: u64 },
    /// It was not, and will not be.
    TakenBack { id: u64 },
    /// It has ended for this request, without an answer.
    Cancelled { id: u64 },
    /// What it said, and what only the log may know of it.
    Answer { id: u64, answer: Value, cause: Option<String> },
}

/// A process that was started. Dropping it kills it.
pub(super) struct Process {
    pub(super) pid: u32,
    child: Child,
    frames: mpsc::UnboundedSender<Vec<u8>>,
}

impl Process {
    /// Starts one. What it says arrives as events with its number.
    pub(super) fn start(
        settings: &PythonSettings,
        number: u64,
        events: mpsc::UnboundedSender<Event>,
        recent: &Arc<Recent>,
    ) -> Result<Self> {
        let (ours, theirs) = StdUnixStream::pair().context("making a socket pair")?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&settings.python);
        command.args(["-u", "-B", "-c", BOOTSTRAP, include_str!("standins.py"), include_str!("worker.py")]);
        command.env_clear().current_dir(&settings.directory).process_group(0).kill_on_drop(true);
        command.envs(HARMLESS.iter().filter_map(|name| Some((name, process_environment(name)?))));
        // Importing LiteLLM would fetch its table of prices from the network first.
        command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        command.envs(settings.environment.iter().map(|(name, value)| (name, value.expose())));
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", settings.python.display()))?;
        let pid = child.id().unwrap_or_default();
        let printed: [Option<log::Stream>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in printed.into_iter().flatten() {
            tokio::spawn(log::follow(stream, pid, Arc::clone(recent)));
        }
        let (reader, writer) = UnixStream::from_std(ours)?.into_split();
        let (frames, queued) = mpsc::unbounded_channel();
        tokio::spawn(write(writer, queued));
        tokio::spawn(read(reader, number, events));
        let process = Self { pid, child, frames };
        process.tell(frame(&hello(settings)));
        Ok(process)
    }

    /// Sends a frame. One that cannot be sent is noticed by the reader.
    pub(super) fn tell(&self, frame: Vec<u8>) {
        let _ = self.frames.send(frame);
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.start_kill();
    }
}

fn hello(settings: &PythonSettings) -> Value {
    json!({
        "function": settings.handler,
        "directory": settings.directory,
        "memory": settings.memory,
        "body": settings.body,
    })
}

/// Four bytes of length, then JSON.
pub(super) fn frame(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

async fn write(mut writer: OwnedWriteHalf, mut queued: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = queued.recv().await {
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn read(mut reader: OwnedReadHalf, number: u64, events: mpsc::UnboundedSender<Event>) {
    while let Some(message) = message(&mut reader).await {
        if events.send(Event::Said(number, message)).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Ended(number));
}

/// `None`: it has ended, or says what no worker of ours says.
async fn message(reader: &mut OwnedReadHalf) -> Option<Message> {
    let length = usize::try_from(reader.read_u32().await.ok()?).ok()?;
    if length > LONGEST_MESSAGE {
        return None;
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).await.ok()?;
    serde_json::from_slice(&text).ok()
}
