//! `portcullis keys ...`: the management API from a terminal.
//!
//! A thin client of the same HTTP routes that LiteLLM's clients use: nothing here decides anything or opens the store,
//! so the command works against any node, and against LiteLLM itself. Keys may be given as `-` and then come from
//! standard input, because a command line ends up in the shell's history and in the process list.

mod table;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use portcullis_filters::secret::Secret;
use serde_json::{Map, Value, json};

use super::api::{Connection, secret, typed};

/// Manage virtual keys of a running proxy.
#[derive(Args, Clone, Debug)]
pub struct KeysCommand {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Make a key; its string is shown this once.
    Generate(Generate),
    /// List keys.
    List(List),
    /// Show what a key is.
    Info(Named),
    /// Refuse a key until it is unblocked.
    Block(Named),
    /// Let a blocked key be used again.
    Unblock(Named),
    /// End keys for good.
    Delete(Delete),
    /// Give a key a new string.
    Rotate(Rotate),
}

#[derive(Args, Clone, Debug)]
struct Generate {
    /// A name for the key; unique.
    #[arg(long)]
    alias: Option<String>,
    /// Models it may use, separated by commas; left out: all.
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// How long it lives, such as 24h, 30d, 1mo; left out: for ever.
    #[arg(long)]
    duration: Option<String>,
    /// Its owner.
    #[arg(long)]
    user: Option<String>,
    /// Its team.
    #[arg(long)]
    team: Option<String>,
    /// US dollars it may spend.
    #[arg(long)]
    max_budget: Option<f64>,
    /// Requests a minute.
    #[arg(long)]
    rpm: Option<u64>,
    /// Tokens a minute.
    #[arg(long)]
    tpm: Option<u64>,
    /// Any other field of /key/generate, as NAME=JSON; may be repeated.
    #[arg(long = "set", value_name = "NAME=JSON", value_parser = assignment)]
    set: Vec<(String, Value)>,
}

#[derive(Args, Clone, Debug)]
struct List {
    /// Only keys of this owner.
    #[arg(long)]
    user: Option<String>,
    /// Only keys of this team.
    #[arg(long)]
    team: Option<String>,
    /// Only keys whose alias contains this.
    #[arg(long)]
    search: Option<String>,
    /// active, expired, revoked or deleted.
    #[arg(long)]
    status: Option<String>,
    /// Which page, from 1.
    #[arg(long, default_value_t = 1)]
    page: u64,
    /// Keys on a page, at most 100.
    #[arg(long, default_value_t = 50)]
    size: u64,
}

#[derive(Args, Clone, Debug)]
struct Named {
    /// The key's hash or the key itself; `-` reads it from standard input.
    #[arg(value_name = "KEY", value_parser = secret)]
    named: Secret,
}

#[derive(Args, Clone, Debug)]
struct Delete {
    /// Hashes or keys; `-` reads one from standard input.
    #[arg(value_name = "KEY", required = true, value_parser = secret)]
    named: Vec<Secret>,
}

#[derive(Args, Clone, Debug)]
struct Rotate {
    #[command(flatten)]
    key: Named,
    /// How long the old string goes on working, such as 24h; left out: as the proxy is configured.
    #[arg(long)]
    grace_period: Option<String>,
}

/// Carries out the command against the proxy and prints the outcome. The exit status is 1 where the proxy did only a
/// part of what was asked.
///
/// # Errors
/// The proxy cannot be reached, or it refuses; the text says which and why, and holds no key.
pub fn run(command: KeysCommand) -> Result<ExitCode> {
    command.connection.warn()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    runtime.block_on(carry_out(command, &mut std::io::stdin().lock(), &mut std::io::stdout().lock()))
}

/// As [`run`], with the terminal as arguments.
///
/// # Errors
/// As [`run`].
pub async fn carry_out(command: KeysCommand, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<ExitCode> {
    let json = command.connection.json;
    let api = command.connection.open()?;
    let (answer, text): (Value, fn(&Value) -> String) = match command.action {
        Action::Generate(asked) => (api.post("/key/generate", &asked.fields()).await?, table::new_key),
        Action::List(asked) => (api.get("/key/list", &asked.query()).await?, table::keys),
        Action::Info(Named { named }) => {
            // Not in the query, where a key string would end up in logs.
            let asked = json!({ "keys": [typed(&named, input)?.expose()] });
            (api.post("/v2/key/info", &asked).await?["info"][0].take(), table::key)
        }
        Action::Block(Named { named }) => {
            (api.post("/key/block", &json!({ "key": typed(&named, input)?.expose() })).await?, table::key)
        }
        Action::Unblock(Named { named }) => {
            (api.post("/key/unblock", &json!({ "key": typed(&named, input)?.expose() })).await?, table::key)
        }
        Action::Delete(Delete { named }) => {
            let keys =
                named.iter().map(|key| Ok(typed(key, input)?.expose().to_owned())).collect::<Result<Vec<_>>>()?;
            (api.post("/key/delete", &json!({ "keys": keys })).await?, table::deletion)
        }
        Action::Rotate(Rotate { key, grace_period }) => {
            let mut asked = json!({ "key": typed(&key.named, input)?.expose() });
            if let Some(grace) = grace_period {
                asked["grace_period"] = grace.into();
            }
            (api.post_once("/key/regenerate", &asked).await?, table::new_key)
        }
    };
    if json {
        writeln!(out, "{answer:#}").context("printing")?;
    } else {
        write!(out, "{}", text(&answer)).context("printing")?;
    }
    let partly = answer["unknown_keys"].as_array().is_some_and(|unknown| !unknown.is_empty());
    Ok(if partly { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Generate {
    fn fields(self) -> Value {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Option<Value>| fields.extend(value.map(|value| (name.to_owned(), value)));
        set("key_alias", self.alias.map(Value::from));
        set("models", (!self.models.is_empty()).then(|| self.models.into()));
        set("duration", self.duration.map(Value::from));
        set("user_id", self.user.map(Value::from));
        set("team_id", self.team.map(Value::from));
        set("max_budget", self.max_budget.map(Value::from));
        set("rpm_limit", self.rpm.map(Value::from));
        set("tpm_limit", self.tpm.map(Value::from));
        fields.extend(self.set);
        fields.into()
    }
}

impl List {
    fn query(self) -> Vec<(&'static str, String)> {
        let filters =
            [("user_id", self.user), ("team_id", self.team), ("search", self.search), ("status", self.status)];
        let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let page = [("page", self.page.to_string()), ("size", self.size.to_string())];
        filters.chain(page).chain([("return_full_object", "true".to_owned())]).collect()
    }
}

fn assignment(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=JSON")?;
    let value = serde_json::from_str(value).map_err(|error| format!("{name}: not JSON: {error}"))?;
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests;
