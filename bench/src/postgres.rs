//! A real PostgreSQL of one's own: made in a temporary directory, reached by a Unix socket, gone afterwards.
//!
//! The server's programs are those on the machine; without any there is a panic that says so. A small shell waits on a pipe
//! from this process and stops the server when the pipe closes, so it is gone however this process ends. It does not wait for
//! the disk, so its writes cost less than those of a server that must survive a power cut.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running server, or one that can be started again where it was.
#[derive(Debug)]
pub struct PostgresServer {
    /// Data, socket and log.
    pub directory: PathBuf,
    /// Where `initdb`, `pg_ctl` and `postgres` are.
    pub programs: PathBuf,
    guard: Child,
    databases: AtomicU32,
}

impl PostgresServer {
    /// Whether this machine has a server's programs.
    #[must_use]
    pub fn is_installed() -> bool {
        programs().is_some()
    }

    /// Makes a new server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When this machine has no server's programs, or one of them fails.
    #[must_use]
    pub fn start() -> Self {
        let programs = programs()
            .expect("no PostgreSQL server on this machine: initdb is neither in PATH nor in /usr/lib/postgresql");
        let directory = private_directory();
        let data = directory.join("data");
        run(as_owner(&directory, &programs.join("initdb")).arg("-D").arg(&data).args([
            "--username=portcullis",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]));
        let stop = as_owner(&directory, &programs.join("pg_ctl"));
        let guard = Command::new("sh")
            .args([
                "-c",
                r#"read -r _; directory=$1; shift; "$@" stop -m immediate -D "$directory/data"; rm -rf "$directory""#,
                "guard",
            ])
            .arg(&directory)
            .arg(stop.get_program())
            .args(stop.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let server = Self { directory, programs, guard, databases: AtomicU32::new(0) };
        server.launch();
        server
    }

    /// Starts the server in its directory and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn launch(&self) {
        let options =
            format!("-k {} -c listen_addresses= -c fsync=off -c max_connections=200", self.directory.display());
        run(as_owner(&self.directory, &self.programs.join("pg_ctl"))
            .args(["start", "--wait", "--options", &options, "-D"])
            .arg(self.directory.join("data"))
            .arg("--log")
            .arg(self.directory.join("log")));
    }

    /// Ends it at once, with every connection to it. Its data stay, and [`PostgresServer::launch`] starts it again.
    ///
    /// # Panics
    ///
    /// When it was not running.
    pub fn stop(&self) {
        run(as_owner(&self.directory, &self.programs.join("pg_ctl"))
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.directory.join("data")));
    }

    /// A new, empty database; its URL.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub async fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let config: tokio_postgres::Config = self.url("postgres").parse().expect("own url");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("the server answers");
        let connection = tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a new database");
        drop(client);
        connection.await.expect("no panic").expect("an orderly end");
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql:///{database}?host={}&user=portcullis&sslmode=disable", self.directory.display())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    let number = |path: &PathBuf| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    versions.sort_by_key(number);
    let directories = versions.into_iter().rev().chain(std::env::split_paths(&path));
    directories
        .into_iter()
        .find(|directory| ["initdb", "pg_ctl", "postgres"].iter().all(|name| directory.join(name).is_file()))
}

fn private_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("portcullis-pg-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory).expect("a new directory");
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).expect("own directory");
    if is_root(&directory) {
        let owner = unprivileged();
        chown(&directory, Some(owner), Some(owner)).expect("root may give away");
    }
    directory
}

/// PostgreSQL refuses to run as root: root runs it as this user.
fn unprivileged() -> u32 {
    let id = |name: &str| Command::new("id").args(["-u", name]).output().ok().filter(|output| output.status.success());
    let found = id("postgres").or_else(|| id("nobody")).expect("a user other than root");
    String::from_utf8_lossy(&found.stdout).trim().parse().expect("id prints a number")
}

fn is_root(directory: &Path) -> bool {
    // A directory made by this process belongs to whoever runs it.
    directory.metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

/// The program, as the user that the server's directory belongs to.
///
/// # Panics
///
/// When there is no such directory.
pub fn as_owner(directory: &Path, program: &Path) -> Command {
    let owner = directory.metadata().expect("own directory").uid().to_string();
    let me =
        Command::new("id").arg("-u").output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let mut command = if me.is_ok_and(|me| me == owner) {
        Command::new(program)
    } else {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &owner, "--regid", &owner, "--clear-groups", "--"]).arg(program);
        command
    };
    command.current_dir(directory);
    command
}

/// Runs a program to its end. The server it may leave behind must not hold on to this process's output.
///
/// # Panics
///
/// When it cannot be run or fails.
pub fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
