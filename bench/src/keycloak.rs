//! A real Keycloak of one's own: started by `scripts/keycloak` in a temporary directory, reached on the loopback, gone
//! afterwards.
//!
//! The script finds, or downloads, what it needs; where it cannot there is a panic with its words. As with [`crate::postgres`], a
//! small shell waits on a pipe from this process and stops the server when the pipe closes, so it is gone however this process
//! ends.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/keycloak");

/// What is imported at the first start: the realm `litellm`.
pub const REALM: &str = include_str!("../../scripts/keycloak-realm.json");

/// A running server, or one that can be started again where it was.
#[derive(Debug)]
pub struct Keycloak {
    port: u16,
    url: String,
    guard: Child,
    directory: TempDir,
}

impl Keycloak {
    /// Starts a new server with nothing but the realm `litellm`, and waits until it answers: for half a minute on two busy cores.
    ///
    /// # Panics
    ///
    /// When it cannot be had on this machine, or does not start.
    #[must_use]
    pub fn start() -> Self {
        let directory = TempDir::with_prefix("portcullis-keycloak-").expect("a directory for temporary files");
        let guard = Command::new("sh")
            .args(["-c", r#"read -r _; "$1" stop --dir "$2"; rm -rf "$2""#, "guard", SCRIPT])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let port = lasting_port();
        let server = Self { port, url: format!("http://localhost:{port}"), guard, directory };
        server.launch();
        server
    }

    /// Starts the server in its directory and waits until it answers, under the URL that it had.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn launch(&self) {
        script(&["start", "--port", &self.port.to_string()], self.directory.path());
    }

    /// Stops it. Its data stay, and [`Keycloak::launch`] starts it again.
    ///
    /// # Panics
    ///
    /// When it cannot be stopped.
    pub fn stop(&self) {
        script(&["stop"], self.directory.path());
    }

    /// Where it is, without a slash at the end: also what the names of its issuers begin with.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// A free port outside the range that systems take ports from by themselves: while the server is stopped, nobody else gets it.
fn lasting_port() -> u16 {
    let ports = 20_000..32_000;
    let begin = ports.start + (std::process::id() % 12_000) as u16;
    let mut tried = (begin..ports.end).chain(ports.start..begin);
    tried.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).expect("a free port")
}

fn script(arguments: &[&str], directory: &Path) {
    let done = Command::new(SCRIPT).args(arguments).arg("--dir").arg(directory).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{SCRIPT}: {error}"));
    assert!(done.status.success(), "{SCRIPT} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
