//! `sse_long`: many open streams of paced events, as a chat with a slow model is. Each event says when it was sent, so its delay
//! on the way is known to the nanosecond, and an event that is lost, late or out of order cannot hide.

use std::time::{Duration, Instant};

use super::{Outcome, Stage};
use crate::load::{Limit, Load, LoadPlan, LoadReport, Pace};
use crate::message::{Dialect, Shape};
use crate::process::ProcessTree;
use crate::result::{Measure, Sample};
use crate::scenario::{Steady, USUAL};
use crate::target::{Ground, MODEL, Target};
use crate::upstream::{LoadProvider, UpstreamSettings};

const STREAMS: u64 = 1000;
const EVENTS: u32 = 100;
const GAP: Duration = Duration::from_millis(100);
/// All are open after two seconds, and their events do not fall together.
const OPENED_PER_SECOND: f64 = 500.0;
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn play(stage: &Stage<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let settings = UpstreamSettings { events: EVENTS, gap: GAP, ..UpstreamSettings::default() };
    let provider = LoadProvider::start(settings)?;
    let provider_key = UpstreamSettings::default().provider_key;
    let ground = Ground { cores: stage.cores, upstream: provider.addr(), provider_key };
    let connections = STREAMS as usize;
    for _ in 0..stage.repetitions {
        for kind in stage.targets {
            // Each time a new process: what the streams of the last repetition left behind is not idle memory.
            let steady = Steady { connections, ..USUAL };
            let target = stage.runtime.block_on(kind.start(&ground, &steady))?;
            let sample = measure(&target, outcome)?;
            outcome.record(&target.name, &target.version, sample);
        }
    }
    if provider.leaks() > 0 {
        outcome.note(format!("{} requests reached the provider with a wrong credential", provider.leaks()));
    }
    Ok(())
}

fn measure(target: &Target, outcome: &mut Outcome) -> anyhow::Result<Sample> {
    let process = target.process.as_ref();
    let (idle, spent) = (process.map(mebibytes), process.map(ProcessTree::cpu));
    let load = Load::start(LoadPlan {
        connections: STREAMS as usize,
        pace: Pace::Open { per_second: OPENED_PER_SECOND },
        warm_up: Duration::ZERO,
        limit: Limit::Requests(STREAMS),
        answer_timeout: GAP * EVENTS * 2,
        rewrites: target.rewrites,
        ..LoadPlan::new(target.addr, Shape::new(Dialect::OpenAiChat, true, 1024, MODEL), target.caller.clone())
    });
    let open = Instant::now() + Duration::from_secs_f64(STREAMS as f64 / OPENED_PER_SECOND);
    let (mut peak, mut steady) = (0.0_f64, 0.0);
    while !load.is_finished() {
        std::thread::sleep(LOOK);
        let now = process.map_or(0.0, mebibytes);
        peak = peak.max(now);
        // While all are open: the first one ends eight seconds after the last one began.
        if Instant::now() < open + GAP * EVENTS / 2 {
            steady = now;
        }
    }
    let report = load.finish()?;
    outcome.note_wrong(&target.name, &report);
    let mut sample = times(&report);
    if let (Some(process), Some(idle), Some(spent)) = (process, idle, spent) {
        let cpu = process.cpu().saturating_sub(spent).as_secs_f64() * 1e6;
        sample.insert(Measure::CpuPerRequest, cpu / STREAMS as f64);
        sample.insert(Measure::MemoryIdle, idle);
        sample.insert(Measure::MemoryPeak, peak);
        sample.insert(Measure::MemorySteady, steady);
        sample.insert(Measure::MemoryPerStream, (steady - idle) * 1024.0 / STREAMS as f64);
    }
    Ok(sample)
}

fn times(report: &LoadReport) -> Sample {
    let in_ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let quantile = |times: &hdrhistogram::Histogram<u64>, share| in_ms(times.value_at_quantile(share));
    [
        (Measure::FirstTokenP50, quantile(&report.first_event, 0.5)),
        (Measure::FirstTokenP99, quantile(&report.first_event, 0.99)),
        (Measure::TokenDelayP50, quantile(&report.event_delay, 0.5)),
        (Measure::TokenDelayP99, quantile(&report.event_delay, 0.99)),
        (Measure::TokenDelayMax, in_ms(report.event_delay.max())),
        (Measure::TokenGapP50, quantile(&report.event_gap, 0.5)),
        (Measure::TokenGapP99, quantile(&report.event_gap, 0.99)),
        (Measure::Answered, report.answered as f64),
        (Measure::Wrong, report.wrong_count() as f64),
    ]
    .into()
}

fn mebibytes(process: &ProcessTree) -> f64 {
    process.rss_bytes() as f64 / f64::from(1 << 20)
}
