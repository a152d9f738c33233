//! The gateway as a child process: started from a configuration on free ports, watched, signalled, measured, and searched for
//! credentials at its end.
//!
//! Each gateway has a directory of its own, which is also its working directory, so the embedded store of one test is not that of
//! another. When a gateway is dropped its files, its output and what its providers recorded are searched: no test has to ask.

mod process;

use crate::credentials::{Credentials, Leak};
use crate::provider::{Provider, Recorder};
use process::Process;
pub use process::{Finished, Signal};
use serde_json::Value;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use tempfile::TempDir;

/// The name of the configuration in the gateway's directory: the one file that may hold credentials.
const CONFIG: &str = "config.yaml";
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
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    data: SocketAddr,
    admin: SocketAddr,
    process: Process,
    client: reqwest::Client,
    master_key: Option<String>,
    credentials: Mutex<Credentials>,
    providers: Mutex<Vec<Recorder>>,
    directory: TempDir,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: bytes::Bytes,
}

impl Answer {
    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
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
        GatewaySetup { binary, arguments: Vec::new(), config, environment: Vec::new(), directory }
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
        let process = Process::spawn(&self.binary, &arguments, &self.environment, self.directory());
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

impl Gateway {
    /// Where clients connect.
    pub fn data_addr(&self) -> SocketAddr {
        self.data
    }

    /// Where the admin listener is.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// `http://` and the data address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.data)
    }

    /// Its directory: configuration and embedded store.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration as it runs, listeners included: write it again and send SIGHUP.
    pub fn config_path(&self) -> PathBuf {
        self.directory().join(CONFIG)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Begins a request to the data listener; [`Gateway::send`] sends it.
    pub fn request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.data))
    }

    /// Begins a request to the admin listener; [`Gateway::send`] sends it.
    pub fn admin_request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.admin))
    }

    /// Sends a request, reads the whole answer and searches it for credentials.
    ///
    /// # Panics
    ///
    /// When there is no whole answer within [`crate::PATIENCE`], or one with a credential in it.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = self.answer(request).await;
        let mut leaks = self.credentials().search("an answer's body", &answer.body);
        for (name, value) in &answer.headers {
            leaks.extend(self.credentials().search(&format!("an answer's header {name}"), value.as_bytes()));
        }
        assert_eq!(leaks, [], "status {}", answer.status);
        answer
    }

    /// Makes a key with `POST /key/generate` under the configured master key, and returns it.
    ///
    /// # Panics
    ///
    /// When the configuration has no literal master key, or the gateway does not answer with a key.
    pub async fn generate_key(&self, request: &Value) -> String {
        let master_key = self.master_key.as_deref().expect("a master_key in the configuration");
        let request = self.request(http::Method::POST, "/key/generate").bearer_auth(master_key).json(request);
        let answer = self.answer(request).await;
        let body = answer.json();
        let key = body["key"].as_str().unwrap_or_else(|| panic!("no key in {} {body}", answer.status));
        self.credentials().client(key);
        key.to_owned()
    }

    /// Adds a client's credential to those that are searched for.
    pub fn client_credential(&self, credential: &str) {
        self.credentials().client(credential);
    }

    /// Adds a provider's key that the configuration only refers to.
    pub fn provider_credential(&self, credential: &str) {
        self.credentials().provider(credential);
    }

    /// Adds a provider whose record is searched at the end, whatever was cleared from it.
    pub fn watch(&self, provider: &Provider) {
        self.providers.lock().expect("no holder panics").push(provider.recorder());
    }

    /// All that it printed so far, on both streams.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Waits until it has printed this.
    ///
    /// # Panics
    ///
    /// When it has not within [`crate::PATIENCE`].
    pub async fn printed(&self, text: &str) {
        self.process.printed(text).await;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end after a signal that ends it.
    ///
    /// # Panics
    ///
    /// When it has not ended within [`crate::PATIENCE`].
    pub async fn wait(&mut self) -> Finished {
        self.process.finished().await
    }

    /// Resident memory in bytes, now.
    pub fn rss_bytes(&self) -> u64 {
        self.process.memory("VmRSS")
    }

    /// The most resident memory it has had, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.process.memory("VmHWM")
    }

    /// Searches its metrics, ends it with SIGTERM and searches the rest; the orderly end of a test.
    ///
    /// # Panics
    ///
    /// When it does not end, ends with a failure, or a credential is found.
    pub async fn stop(mut self) {
        let metrics = self.answer(self.admin_request(http::Method::GET, "/metrics")).await;
        assert_eq!(self.credentials().search("the metrics", &metrics.body), []);
        self.signal(Signal::SIGTERM);
        let finished = self.wait().await;
        assert!(finished.status.success(), "{finished:?}");
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let exchange = async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(Answer { status, headers, body: response.bytes().await? })
        };
        let answer: Result<Answer, reqwest::Error> = crate::within("an answer of the gateway", exchange).await;
        answer.unwrap_or_else(|error| panic!("no answer: {error:?}\n{}", self.output()))
    }

    fn credentials(&self) -> MutexGuard<'_, Credentials> {
        self.credentials.lock().expect("no holder panics")
    }

    fn leaks(&self) -> Vec<Leak> {
        let credentials = self.credentials();
        let mut leaks = credentials.search("the gateway's output", self.output().as_bytes());
        leaks.extend(credentials.search_files(self.directory(), CONFIG).expect("its own directory"));
        let providers = self.providers.lock().expect("no holder panics");
        leaks.extend(providers.iter().flat_map(|provider| credentials.search_requests(&provider.history())));
        leaks
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.process.kill();
        // A test that failed already must show its own reason.
        if !std::thread::panicking() {
            assert_eq!(self.leaks(), [], "credentials where they must not be");
        }
    }
}

fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback interface");
    listener.local_addr().expect("a bound socket")
}

/// The configuration with addresses for its listeners.
fn with_listeners(config: &str, data: SocketAddr, admin: SocketAddr) -> String {
    if config.contains("{data}") {
        return config.replace("{data}", &data.to_string()).replace("{admin}", &admin.to_string());
    }
    let listen = format!("  listen:\n    data: {data}\n    admin: {admin}\n");
    match config.split_once("portcullis:\n").filter(|(before, _)| before.is_empty() || before.ends_with('\n')) {
        Some((before, after)) => format!("{before}portcullis:\n{listen}{after}"),
        None => format!("{}\nportcullis:\n{listen}", config.trim_end()),
    }
}

/// The literal value of a key that occurs once in a configuration.
fn value_of(config: &str, key: &str) -> Option<String> {
    let (_, value) = config.lines().find_map(|line| line.trim().split_once(": ").filter(|(name, _)| *name == key))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.starts_with("os.environ/") && !value.starts_with("file:")).then(|| value.to_owned())
}

#[cfg(test)]
mod tests;
