//! `portcullis import litellm`: takes over the keys, teams and users of a LiteLLM database, so that its key strings go on
//! working here.
//!
//! The source is only read. A row that was taken over is marked with what was written for it: a second run writes nothing
//! for a row that is as it was, and never over a row that was changed here since.

mod litellm;
mod report;
mod take;

use std::collections::HashSet;
use std::io::stdout;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use portcullis_filters::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use self::litellm::Source;
use self::report::Report;
use self::take::Import;
use crate::app;
use crate::commands::check::EXIT_CONFIG;
use crate::config::{Overrides, Settings, process_environment};
use crate::store::{Store, read_elsewhere};

/// Take over what another gateway has.
#[derive(Args, Clone, Debug)]
pub struct ImportCommand {
    #[command(subcommand)]
    from: From,
}

#[derive(Clone, Debug, Subcommand)]
enum From {
    /// Keys, teams and users of a LiteLLM database.
    Litellm(LitellmArgs),
}

#[derive(Args, Clone, Debug)]
struct LitellmArgs {
    /// LiteLLM's database; better given in the environment than on the command line.
    #[arg(long, env = "LITELLM_DATABASE_URL", hide_env_values = true, value_name = "URL",
        value_parser = |text: &str| Ok::<_, std::convert::Infallible>(Secret::from(text)))]
    from: Secret,
    /// The configuration that names our own database; also PORTCULLIS_CONFIG.
    #[arg(short, long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Go on until interrupted: follow new, changed and deleted rows, and what is spent there.
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// Delete here what is gone there, even if that is most of all keys.
    #[arg(long)]
    delete_many: bool,
    /// Seconds between two looks of --watch.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

/// Runs the command.
///
/// # Errors
/// A database is away, or the configuration cannot be read.
pub fn run(command: ImportCommand) -> Result<ExitCode> {
    let From::Litellm(args) = command.from;
    let loaded = match Settings::load(args.config.as_deref(), &Overrides::default(), &process_environment) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln_line(&error.to_string());
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let control = app::control_runtime()?;
    let store = app::open_store(&loaded.settings, &control)?;
    control.block_on(async {
        store.migrate().await.context("our own database")?;
        let (ending, ends) = watch::channel(false);
        let watched = store.clone();
        let watching = tokio::spawn(async move { watched.watch(ends).await });
        let done = import(&args, &store).await;
        ending.send_replace(true);
        let _ = watching.await;
        done
    })
}

async fn import(args: &LitellmArgs, store: &Store) -> Result<ExitCode> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        // A run that is broken off leaves whole rows only.
        let done = tokio::select! {
            done = once(args, store) => done,
            _ = term.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        };
        match done {
            Ok(()) if !args.watch => return Ok(ExitCode::SUCCESS),
            Err(error) if !args.watch => return Err(error),
            Ok(()) => {}
            Err(error) => eprintln_line(&format!("portcullis: {error:#}; it is tried again")),
        }
        tokio::select! {
            () = sleep(Duration::from_secs(args.every)) => {}
            _ = term.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn once(args: &LitellmArgs, store: &Store) -> Result<()> {
    let client = read_elsewhere(args.from.expose()).await.context("LiteLLM's database")?;
    let source = Source::new(Arc::new(client));
    let mut report = Report::default();
    let mut import = Import {
        source: &source,
        store,
        dry_run: args.dry_run,
        delete_many: args.delete_many,
        report: &mut report,
        refused: HashSet::new(),
    };
    import.run().await?;
    Ok(report.print(args.dry_run, &mut stdout())?)
}

fn eprintln_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
