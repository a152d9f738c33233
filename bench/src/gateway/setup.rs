//! What a gateway is started with, and its start: on ports that were free, tried again where somebody took one meanwhile.

use super::process::{Finished, Process};
use super::{CONFIG, Gateway, LOG, value_of};
use crate::credentials::Credentials;
use crate::process::Cores;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

/// How often a start is tried again with other ports, because somebody took the one that was free.
const STARTS: usize = 5;

/// What a gateway is started with.
#[derive(Debug)]
pub struct GatewaySetup {
    binary: PathBuf,
    arguments: Vec<OsString>,
    config: String,
    environment: Vec<(String, String)>,
    directory: TempDir,
    log_to_file: bool,
    cores: Option<Cores>,
}

impl GatewaySetup {
    /// A gateway of this binary with this configuration. In the text, `{dir}` stands for its own directory. The listeners are
    /// added by [`GatewaySetup::start`], unless the text has `{data}` and `{admin}` where their addresses belong.
    ///
    /// # Panics
    ///
    /// When there is no directory for temporary files.
    pub fn new(binary: impl Into<PathBuf>, config: &str) -> Self {
        let directory = TempDir::with_prefix("portcullis-").expect("a directory for temporary files");
        let (binary, config) = (binary.into(), config.to_owned());
        GatewaySetup {
            binary,
            arguments: Vec::new(),
            config,
            environment: Vec::new(),
            directory,
            log_to_file: false,
            cores: None,
        }
    }

    /// Adds an argument before `--config FILE`, which is always given.
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has its standard error in a file of its directory instead of in memory: for a load whose events would fill that.
    pub fn log_to_file(mut self) -> Self {
        self.log_to_file = true;
        self
    }

    /// Runs it on the target's core.
    pub fn on(mut self, cores: Cores) -> Self {
        self.cores = Some(cores);
        self
    }

    /// Its directory, for files that the configuration names.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    ///
    /// When it ends before, or is not ready within [`crate::PATIENCE`]: with what it printed.
    pub async fn start(self) -> Gateway {
        let mut output = String::new();
        for _ in 0..STARTS {
            let (mut process, config) = self.spawn();
            match process.ready().await {
                Ok(ready) => return self.gateway(process, ready, &config),
                Err(text) if text.contains("in use") => output = text,
                Err(text) => panic!("the gateway did not start:\n{text}"),
            }
        }
        panic!("the gateway found no free port:\n{output}");
    }

    /// Runs it to its own end: for configurations that it refuses.
    ///
    /// # Panics
    ///
    /// When it has not ended within [`crate::PATIENCE`].
    pub async fn run(self) -> Finished {
        self.spawn().0.finished().await
    }

    fn spawn(&self) -> (Process, String) {
        let config = with_listeners(&self.config, free_addr(), free_addr());
        let config = config.replace("{dir}", &self.directory().display().to_string());
        let path = self.directory().join(CONFIG);
        std::fs::write(&path, &config).expect("a writable directory");
        let arguments = [&self.arguments[..], &["--config".into(), path.into()]].concat();
        let log = self.log_to_file.then(|| {
            // Appended to, so that the file can be emptied under the gateway.
            let log = std::fs::OpenOptions::new().create(true).append(true).open(self.directory().join(LOG));
            log.expect("a writable directory")
        });
        let spawn = || Process::spawn(&self.binary, &arguments, &self.environment, self.directory(), log);
        let process = match &self.cores {
            Some(cores) => cores.in_target(spawn).expect("a core that was usable before"),
            None => spawn(),
        };
        (process, config)
    }

    fn gateway(self, process: Process, (data, admin): (SocketAddr, SocketAddr), config: &str) -> Gateway {
        let mut credentials = Credentials::default();
        credentials.configuration(config);
        let client = crate::client::http().redirect(reqwest::redirect::Policy::none()).build();
        Gateway {
            data,
            admin,
            process,
            client: client.expect("a client without settings of its own"),
            master_key: value_of(config, "master_key"),
            credentials: Mutex::new(credentials),
            providers: Mutex::default(),
            directory: self.directory,
        }
    }
}

fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback interface");
    listener.local_addr().expect("a bound socket")
}

/// The configuration with addresses for its listeners.
pub(super) fn with_listeners(config: &str, data: SocketAddr, admin: SocketAddr) -> String {
    if config.contains("{data}") {
        return config.replace("{data}", &data.to_string()).replace("{admin}", &admin.to_string());
    }
    let listen = format!("  listen:\n    data: {data}\n    admin: {admin}\n");
    match config.split_once("portcullis:\n").filter(|(before, _)| before.is_empty() || before.ends_with('\n')) {
        Some((before, after)) => format!("{before}portcullis:\n{listen}{after}"),
        None => format!("{}\nportcullis:\n{listen}", config.trim_end()),
    }
}
