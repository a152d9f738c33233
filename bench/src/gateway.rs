//! The gateway as a child process: started from a configuration on free ports, watched, signalled, measured, and searched for
//! credentials at its end.
//!
//! Each gateway has a directory of its own, which is also its working directory, so the embedded store of one test is not that of
//! another. When a gateway is dropped its files, its output and what its providers recorded are searched: no test has to ask.

mod process;
mod setup;

use crate::credentials::{Credentials, Leak};
use crate::provider::{Provider, Recorder};
use process::Process;
pub use process::{Finished, Signal};
use serde_json::Value;
pub use setup::GatewaySetup;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;

/// The name of the configuration in the gateway's directory: the one file that may hold credentials.
const CONFIG: &str = "config.yaml";
/// The name of its log there, where it goes to a file.
const LOG: &str = "log";

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
        self.printed_times(text, 1, crate::PATIENCE).await;
    }

    /// Waits until it has printed this so many times.
    ///
    /// # Panics
    ///
    /// When it has not within `patience`.
    pub async fn printed_times(&self, text: &str, times: usize, patience: Duration) {
        self.process.printed(text, times, patience).await;
    }

    /// Empties a log that goes to a file; what was in it is searched no more.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn cut_log(&self) {
        std::fs::File::create(self.directory().join(LOG)).expect("a writable directory");
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

/// The literal value of a key that occurs once in a configuration.
fn value_of(config: &str, key: &str) -> Option<String> {
    let (_, value) = config.lines().find_map(|line| line.trim().split_once(": ").filter(|(name, _)| *name == key))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.starts_with("os.environ/") && !value.starts_with("file:")).then(|| value.to_owned())
}

#[cfg(test)]
mod tests;
