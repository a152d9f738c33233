//! The command line: `portcullis [serve] --config FILE` as LiteLLM's is called, and the commands beside it.
//!
//! Only parsing; `main` decides what each command does. The variables named here are read by clap, the rest of the
//! environment by `config/environment.rs`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::commands::explain::ExplainCommand;
use crate::commands::import::ImportCommand;
use crate::commands::keys::KeysCommand;
use crate::config::Overrides;

/// Edge authentication proxy for LLM traffic; takes the configuration of LiteLLM's proxy.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without one, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `serve`, which may stand without its name.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy (the default).
    Serve(ServeArgs),
    /// Say what is wrong with a configuration, or what it puts in force.
    Check(CheckArgs),
    /// Bring the database to this version's schema, and exit.
    Migrate(MigrateArgs),
    /// Ask a running proxy what would become of a request or a key, and which rule says so.
    Explain(Box<ExplainCommand>),
    /// Manage virtual keys of a running proxy.
    Keys(Box<KeysCommand>),
    /// Take over keys, teams and users of another gateway.
    Import(Box<ImportCommand>),
}

/// Options of `serve`; LiteLLM's names.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// A LiteLLM config.yaml; also PORTCULLIS_CONFIG.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Host of the data listener.
    #[arg(long)]
    pub host: Option<String>,
    /// Port of the data listener.
    #[arg(long)]
    pub port: Option<u16>,
    /// Worker threads of the data listener.
    #[arg(long = "num_workers", visible_alias = "threads", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Log more.
    #[arg(long, visible_alias = "detailed_debug")]
    pub debug: bool,
}

impl ServeArgs {
    /// What of it is a setting.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            host: self.host.clone(),
            port: self.port,
            threads: self.threads.map(usize::from),
            log_level: self.debug.then_some(LevelFilter::DEBUG),
        }
    }
}

/// Options of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The configuration to look at.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Options of `migrate`.
#[derive(Args, Clone, Debug)]
pub struct MigrateArgs {
    /// The configuration that names the database; also PORTCULLIS_CONFIG.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn litellms_command_line_is_understood() {
        for line in [
            "portcullis --config c.yaml --port 8000 --host 127.0.0.1 --num_workers 4 --detailed_debug",
            "portcullis serve -c c.yaml --port=8000 --host 127.0.0.1 --threads 4 --debug",
        ] {
            let cli = parse(line).unwrap();
            let Some(Command::Serve(args)) = cli.command.or(Some(Command::Serve(cli.serve))) else { panic!("{line}") };
            assert_eq!(args.config, Some(PathBuf::from("c.yaml")));
            let expected = Overrides {
                host: Some("127.0.0.1".to_owned()),
                port: Some(8000),
                threads: Some(4),
                log_level: Some(LevelFilter::DEBUG),
            };
            assert_eq!(args.overrides(), expected, "{line}");
        }
    }

    #[test]
    fn commands_and_nonsense() {
        assert!(parse("portcullis").unwrap().command.is_none());
        assert!(matches!(parse("portcullis check c.yaml").unwrap().command, Some(Command::Check(_))));
        for line in
            ["portcullis --num_workers 0", "portcullis --port 70000", "portcullis check", "portcullis --cofnig x"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
