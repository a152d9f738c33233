//! Runs `curl` lines as a person types them, against the addresses in use.

use std::process::{Command, Stdio};

use portcullis_bench::gateway::Gateway;

/// What a command printed, and the status that the server answered with.
#[derive(Debug)]
pub(crate) struct Typed {
    pub(crate) status: u16,
    pub(crate) output: String,
}

impl Typed {
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.output).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

/// Runs one `curl` command through a shell. Its addresses are those of the documents; only they are replaced.
pub(crate) async fn curl(gateway: &Gateway, command: &str, variables: &[(&str, &str)]) -> Typed {
    let command = command
        .replace("127.0.0.1:4000", &gateway.data_addr().to_string())
        .replace("127.0.0.1:4001", &gateway.admin_addr().to_string());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(&command).stdin(Stdio::null());
    shell.envs(variables.iter().copied()).env("CURL_HOME", curl_settings(gateway));
    let output = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    let status = notes.trim().parse();
    Typed {
        status: status.unwrap_or_else(|_| panic!("{command}\n{notes}")),
        output: String::from_utf8(output.stdout).unwrap(),
    }
}

/// What a person's curl does not need and a test does: a bound, no proxy, and the status apart from the body.
fn curl_settings(gateway: &Gateway) -> &std::path::Path {
    let settings = "silent\nmax-time = 30\nnoproxy = \"*\"\nwrite-out = \"%{stderr}%{http_code}\"\n";
    std::fs::write(gateway.directory().join(".curlrc"), settings).unwrap();
    gateway.directory()
}

/// The commands in a text, each over all of its lines; a prompt in front is not part of one.
pub(crate) fn curl_lines(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let begun = line.trim_start().trim_start_matches("$ ");
        if open {
            let command = commands.last_mut().expect("a command is open");
            command.push('\n');
            command.push_str(line);
        } else if begun.starts_with("curl ") {
            commands.push(begun.to_owned());
        } else {
            continue;
        }
        let command = commands.last().expect("just pushed");
        open = line.ends_with('\\') || command.matches('\'').count() % 2 == 1;
    }
    commands
}
