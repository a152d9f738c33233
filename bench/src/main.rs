//! The command line of the bench: `portcullis-bench provider --port N` runs the fake provider for use by hand and by tests in
//! other languages.

use anyhow::Context;
use clap::{Parser, Subcommand};
use portcullis_bench::provider::Provider;
use std::io::Write;
use std::net::SocketAddr;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer like OpenAI, Azure OpenAI, Anthropic and Gemini, and record every request (GET /__provider/requests).
    Provider {
        /// Port on 127.0.0.1; 0 takes a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Provider { port } => serve_provider(port),
    }
}

fn serve_provider(port: u16) -> anyhow::Result<()> {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let provider = Provider::start_on(addr).with_context(|| format!("listening on {addr}"))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "portcullis-bench: provider ready addr={}", provider.addr())?;
    stdout.flush()?;
    // Everything happens on the provider's own threads; a signal ends the process.
    loop {
        std::thread::park();
    }
}
