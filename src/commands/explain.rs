//! `portcullis explain`: `/auth/explain` from a terminal, with the options of `curl`.
//!
//! Credentials may come from standard input (`--about -`, or a header whose value is `-`), since a command line ends up in the
//! shell's history.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use portcullis_filters::secret::Secret;
use serde_json::{Map, Value, json};

use super::api::{Connection, plain, secret, typed};

/// Ask a running proxy what would become of a request or a key.
#[derive(Args, Clone, Debug)]
pub struct ExplainCommand {
    #[command(flatten)]
    connection: Connection,
    /// The path of the request, with its query.
    #[arg(value_name = "PATH", required_unless_present = "about", conflicts_with = "about")]
    path: Option<String>,
    /// Its method; left out: POST with a body, GET without.
    #[arg(short = 'X', long, value_name = "METHOD", requires = "path")]
    method: Option<String>,
    /// A header field, as `Name: value`; `Name: -` reads the value from standard input. May be repeated.
    #[arg(short = 'H', long = "header", value_name = "FIELD", requires = "path", value_parser = secret)]
    headers: Vec<Secret>,
    /// The body.
    #[arg(short, long, value_name = "BODY", requires = "path")]
    data: Option<String>,
    /// The client's address.
    #[arg(long, value_name = "ADDRESS", requires = "path")]
    source: Option<String>,
    /// A key or its hash, in place of a request; `-` reads it from standard input.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    about: Option<Secret>,
    /// With --about: for which model.
    #[arg(long, requires = "about")]
    model: Option<String>,
}

/// Asks and prints. The exit status is 1 where the request would be refused.
///
/// # Errors
/// The proxy cannot be reached, or it refuses; the text says which and why, and holds no key.
pub fn run(command: ExplainCommand) -> Result<ExitCode> {
    command.connection.warn()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    runtime.block_on(carry_out(command, &mut std::io::stdin().lock(), &mut std::io::stdout().lock()))
}

/// As [`run`], with the terminal as arguments.
///
/// # Errors
/// As [`run`].
pub async fn carry_out(command: ExplainCommand, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<ExitCode> {
    let json = command.connection.json;
    let api = command.connection.clone().open()?;
    let answer = api.post("/auth/explain", &command.question(input)?).await?;
    if json {
        writeln!(out, "{answer:#}").context("printing")?;
    } else {
        write!(out, "{}", told(&answer)).context("printing")?;
    }
    Ok(if answer["outcome"] == "allowed" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl ExplainCommand {
    fn question(self, input: &mut dyn BufRead) -> Result<Value> {
        if let Some(about) = &self.about {
            return Ok(json!({"key": typed(about, input)?.expose(), "model": self.model}));
        }
        let mut headers: Map<String, Value> = Map::new();
        for field in &self.headers {
            let Some((name, value)) = field.expose().split_once(':') else { bail!("-H wants `Name: value`") };
            let value = typed(&value.trim().into(), input)?;
            let lines = headers.entry(name.trim()).or_insert_with(|| json!([]));
            lines.as_array_mut().into_iter().for_each(|lines| lines.push(value.expose().into()));
        }
        Ok(json!({"request": {
            "method": self.method, "path": self.path, "headers": headers, "body": self.data, "source": self.source,
        }}))
    }
}

/// One line a step, the outcome last.
fn told(answer: &Value) -> String {
    let text = |value: &Value| plain(value.as_str().unwrap_or("-"));
    let steps = answer["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let step =
        |step: &Value| format!("{:<14} {:<34} {}\n", text(&step["step"]), text(&step["rule"]), text(&step["result"]));
    let mut lines: String = steps.iter().map(step).collect();
    if let Some(principal) = answer["principal"].as_object() {
        let alias = principal["key_alias"].as_str().map(|alias| format!(", {}", plain(alias))).unwrap_or_default();
        lines += &format!("caller: {} by {}{alias}\n", text(&principal["id"]), text(&principal["method"]));
    }
    lines
        + &match answer["denial"].as_str() {
            None => format!("{}\n", text(&answer["outcome"])),
            Some(denial) => format!(
                "refused with {} ({denial}) by {}: {}\n",
                answer["status"],
                text(&answer["decided_by"]),
                text(&answer["cause"])
            ),
        }
}
