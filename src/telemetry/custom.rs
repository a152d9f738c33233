//! What the metrics page says of custom authentication.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// The figures of the worker processes.
pub struct CustomMetrics {
    /// Processes that have loaded the function.
    pub ready: IntGauge,
    /// Processes that are loading it.
    pub starting: IntGauge,
    /// Requests that a process has.
    pub busy: IntGauge,
    /// Requests that wait for one.
    pub waiting: IntGauge,
    /// Processes that were ever started.
    pub started: IntCounter,
    /// From the question to its answer.
    pub seconds: Histogram,
}

impl CustomMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let started = IntCounter::new(
            "portcullis_custom_workers_started_total",
            "Worker processes of custom authentication that were started",
        )?;
        registry.register(Box::new(started.clone()))?;
        let options = HistogramOpts::new(
            "portcullis_custom_seconds",
            "From a question to a custom authentication function to its answer",
        );
        let seconds = Histogram::with_opts(options.buckets(prometheus::exponential_buckets(0.000_1, 2.0, 18)?))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self {
            ready: gauge("portcullis_custom_workers_ready", "Worker processes that have loaded the function")?,
            starting: gauge("portcullis_custom_workers_starting", "Worker processes that are loading the function")?,
            busy: gauge("portcullis_custom_busy", "Requests that the function is asked about")?,
            waiting: gauge("portcullis_custom_waiting", "Requests that wait for a worker process")?,
            started,
            seconds,
        })
    }
}
