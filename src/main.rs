//! The program: reads the command line, loads the configuration, runs what was asked for.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use portcullis::app::{self, Source};
use portcullis::cli::{Cli, Command, MigrateArgs, ServeArgs};
use portcullis::commands::{check, explain, import, keys};
use portcullis::config::{Overrides, Settings, process_environment};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve(args),
        Command::Check(args) => {
            check::check(&args, &process_environment, &mut stdout()).map(ExitCode::from).map_err(Into::into)
        }
        Command::Migrate(args) => migrate(&args),
        Command::Explain(command) => explain::run(*command),
        Command::Keys(command) => keys::run(*command),
        Command::Import(command) => import::run(*command),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(stderr(), "portcullis: {error:#}");
        ExitCode::FAILURE
    })
}

fn serve(args: ServeArgs) -> Result<ExitCode> {
    let source = Source { overrides: args.overrides(), path: args.config };
    match Settings::load(source.path.as_deref(), &source.overrides, &process_environment) {
        Ok(loaded) => app::serve(source, loaded).map(|()| ExitCode::SUCCESS),
        Err(error) => refuse(&error),
    }
}

fn migrate(args: &MigrateArgs) -> Result<ExitCode> {
    match Settings::load(args.config.as_deref(), &Overrides::default(), &process_environment) {
        Err(error) => refuse(&error),
        Ok(loaded) => {
            let control = app::control_runtime()?;
            let store = app::open_store(&loaded.settings, &control)?;
            control.block_on(store.migrate())?;
            writeln!(stdout(), "the schema is up to date")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn refuse(error: &portcullis::config::ConfigError) -> Result<ExitCode> {
    writeln!(stderr(), "{error}")?;
    Ok(ExitCode::from(check::EXIT_CONFIG))
}
