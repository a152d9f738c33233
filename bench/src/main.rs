//! The command line of the bench: `portcullis-bench run` measures, the other commands are what it runs or reads.

mod cli;

use anyhow::Context;
use clap::Parser;
use cli::{Arguments, Command};
use portcullis_bench::fanout::{self, FanOutPlan};
use portcullis_bench::postgres::PostgresServer;
use portcullis_bench::provider::Provider;
use portcullis_bench::scenario::SCENARIOS;
use portcullis_bench::scenario::trial::TRIALS;
use portcullis_bench::{passthrough, report, upstream};
use std::io::Write;
use std::net::SocketAddr;

/// The gateway's own, so that `passthrough` differs from it in nothing but what it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Compare { before, after } => {
            print(&report::compare(&report::read_json(&before)?, &report::read_json(&after)?))
        }
        Command::Markdown { results } => print(&report::markdown(&report::read_json(&results)?)),
        Command::List => list(),
        Command::Passthrough { listen, upstream, threads } => {
            passthrough::serve(listen, upstream, threads);
            Ok(())
        }
        Command::Listeners(arguments) => listeners(&arguments),
        Command::Upstream(settings) => upstream::serve(settings),
        Command::Provider { port } => serve_provider(port),
    }
}

fn run(arguments: &cli::RunArguments) -> anyhow::Result<()> {
    let plan = arguments.plan()?;
    plan.cores.enter_harness()?;
    let run = plan.run()?;
    print(&report::table(&run))?;
    std::fs::create_dir_all(&arguments.out).with_context(|| format!("making {}", arguments.out.display()))?;
    let file = arguments.out.join("results.json");
    report::write_json(&run, &file)?;
    report::plots(&run, &arguments.out)?;
    print(&format_args!("Written to {}", arguments.out.display()))
}

fn listeners(arguments: &cli::ListenersArguments) -> anyhow::Result<()> {
    let server = PostgresServer::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ms = |micros: u64| format!("{:.1}", micros as f64 / 1e3);
    let mut rows = Vec::new();
    for rate in &arguments.rates {
        let per_second = (*rate > 0.0).then_some(*rate);
        let changes = per_second.map_or(UNPACED_CHANGES, |rate| (rate * arguments.seconds).ceil() as usize);
        for listeners in &arguments.listeners {
            let plan = FanOutPlan { listeners: *listeners, changes, writers: 8, per_second };
            let url = runtime.block_on(server.database());
            let found = runtime.block_on(fanout::simulate(&url, plan))?;
            rows.push([
                listeners.to_string(),
                per_second.map_or_else(|| "unpaced".to_owned(), |rate| format!("{rate}/s")),
                format!("{:.0}", found.per_second),
                ms(found.commit.value_at_quantile(0.5)),
                ms(found.commit.value_at_quantile(0.99)),
                ms(found.heard.value_at_quantile(0.5)),
                ms(found.heard.value_at_quantile(0.99)),
                ms(found.heard.max()),
                found.unheard.to_string(),
            ]);
        }
    }
    let head = ["listeners", "changes", "committed/s", "commit p50 ms", "p99", "heard p50 ms", "p99", "max", "unheard"];
    print(&report::plain_table(head, rows))
}

/// How many changes are committed where no rate is given.
const UNPACED_CHANGES: usize = 2000;

fn print(text: &impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

fn list() -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let steady = SCENARIOS.iter().map(|scenario| (scenario.name, scenario.set, scenario.about));
    let trials = TRIALS.iter().map(|trial| (trial.name, trial.set, trial.about));
    for (name, set, about) in steady.chain(trials) {
        writeln!(stdout, "{name:<18} {:<6} {about}", format!("{set:?}").to_lowercase())?;
    }
    Ok(())
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
