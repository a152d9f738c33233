//! What the process tells about itself: one wide event for each request, and the metrics page.
//!
//! No label grows with users: keys, models and paths are in the event, never on the metrics page. Nothing here ever
//! sees a credential, a query or a body.

use std::sync::Arc;

use portcullis_filters::cache::KeyCache;
use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use tracing::level_filters::LevelFilter;

use crate::config::{LogFormat, TelemetrySettings};

mod custom;
mod event;
mod log;

pub use custom::CustomMetrics;
pub use event::RequestEvent;
pub use log::{Log, start};

/// Event writer and metrics of a process.
pub struct Telemetry {
    registry: Registry,
    requests: ByStatus,
    denials: IntCounterVec,
    upstream_answers: ByStatus,
    retries: IntCounter,
    input_tokens: IntCounter,
    output_tokens: IntCounter,
    unpriced: IntCounter,
    duration: Histogram,
    first_byte: Histogram,
    /// Of custom authentication.
    pub custom: Arc<CustomMetrics>,
    gauges: Gauges,
    cache: Arc<KeyCache>,
    log: Log,
    /// The form of the events; `None` where the configured level leaves them out.
    events: Option<LogFormat>,
}

struct Gauges {
    cached_keys: IntGauge,
    unknown_keys: IntGauge,
    store_queries: IntGauge,
    stale_served: IntGauge,
    lost_lines: IntGauge,
}

impl Telemetry {
    /// Registers every metric.
    ///
    /// # Errors
    /// Two metrics of one name: a mistake in this file.
    pub fn new(cache: Arc<KeyCache>, log: Log, settings: &TelemetrySettings) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let seconds = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(prometheus::exponential_buckets(0.000_5, 2.0, 20)?);
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let tokens = counters("portcullis_tokens_total", "Tokens of answers by direction", "direction")?;
        Ok(Self {
            requests: by_status(&counters("portcullis_requests_total", "Requests by status class", "status")?),
            denials: counters("portcullis_denials_total", "Refused requests by reason", "reason")?,
            upstream_answers: by_status(&counters(
                "portcullis_upstream_answers_total",
                "Answers of upstreams by status class",
                "status",
            )?),
            retries: counter("portcullis_upstream_retries_total", "Deployments tried after a first one failed")?,
            input_tokens: tokens.with_label_values(&["input"]),
            output_tokens: tokens.with_label_values(&["output"]),
            unpriced: counter("portcullis_unpriced_calls_total", "Calls of models whose price nobody said")?,
            duration: seconds(
                "portcullis_request_seconds",
                "From the head of a request to the last byte of its answer",
            )?,
            first_byte: seconds(
                "portcullis_first_byte_seconds",
                "From the head of a request to the first byte of its answer",
            )?,
            custom: Arc::new(CustomMetrics::new(&registry)?),
            gauges: Gauges {
                cached_keys: gauge("portcullis_cached_keys", "Keys held in memory")?,
                unknown_keys: gauge("portcullis_unknown_keys", "Unknown keys remembered")?,
                store_queries: gauge("portcullis_store_queries", "Key look-ups put to the store since the start")?,
                stale_served: gauge("portcullis_stale_answers", "Keys served from memory while the store was away")?,
                lost_lines: gauge(
                    "portcullis_log_lines_lost",
                    "Log lines dropped because the log was read too slowly",
                )?,
            },
            registry,
            cache,
            log,
            events: (settings.log_level >= LevelFilter::INFO).then_some(settings.log_format),
        })
    }

    /// Logs and counts one request.
    pub fn request(&self, event: &RequestEvent<'_>) {
        self.requests[class(event.status)].inc();
        if let Some(reason) = event.denial {
            self.denials.with_label_values(&[reason]).inc();
        }
        if event.upstream_status.is_some() {
            self.upstream_answers[class(event.upstream_status)].inc();
        }
        self.retries.inc_by(event.attempts.saturating_sub(1) as u64);
        if let Some(taken) = &event.taken {
            self.input_tokens.inc_by(taken.usage.input);
            self.output_tokens.inc_by(taken.usage.output);
            self.unpriced.inc_by(u64::from(taken.cost.is_none()));
        }
        self.duration.observe(event.duration.as_secs_f64());
        if let Some(first_byte) = event.first_byte {
            self.first_byte.observe(first_byte.as_secs_f64());
        }
        if let Some(format) = self.events {
            self.log.add(&event.line(format));
        }
    }

    /// The metrics page in Prometheus' text form.
    ///
    /// # Errors
    /// The encoder refuses a metric: a mistake in this file.
    pub fn page(&self) -> prometheus::Result<String> {
        let figures = self.cache.figures();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.gauges.cached_keys.set(gauge(figures.keys));
        self.gauges.unknown_keys.set(gauge(figures.unknown));
        self.gauges.store_queries.set(gauge(figures.queries));
        self.gauges.stale_served.set(gauge(figures.stale_served));
        self.gauges.lost_lines.set(gauge(self.log.lost()));
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        String::from_utf8(page).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

/// A fresh id for a request: 128 random bits.
#[must_use]
pub fn request_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A counter for each class of statuses, found without looking up its label.
type ByStatus = [IntCounter; STATUS_CLASSES.len()];

/// The first is that of requests without an answer, the others by first digit.
const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

fn by_status(counters: &IntCounterVec) -> ByStatus {
    STATUS_CLASSES.map(|class| counters.with_label_values(&[class]))
}

fn class(status: Option<u16>) -> usize {
    let digit = usize::from(status.unwrap_or_default() / 100);
    if digit < STATUS_CLASSES.len() { digit } else { 0 }
}
