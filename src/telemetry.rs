//! What the process tells about itself: one wide event for each request, and the metrics page.
//!
//! No label grows with users: keys, models and paths are in the event, never on the metrics page. Nothing here ever
//! sees a credential, a query or a body.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_filters::cache::KeyCache;
use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// One request, told once, at its end. Field names are stable.
pub struct RequestEvent<'a> {
    /// The id that the caller got with the answer.
    pub id: &'a str,
    /// Method.
    pub method: &'a str,
    /// Canonical path, without the query; `None` where it was refused.
    pub path: Option<&'a str>,
    /// Where it came from, seen through trusted proxies.
    pub source: Option<IpAddr>,
    /// Status of the answer; `None` when none was written.
    pub status: Option<u16>,
    /// Who: a key's public id, or the master key's fixed word.
    pub principal: Option<&'a str>,
    /// How that was proven.
    pub auth_method: Option<&'static str>,
    /// The key's name.
    pub key_alias: Option<&'a str>,
    /// The model by the caller's name.
    pub model: Option<&'a str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Host and model of the deployment that served it.
    pub upstream: Option<String>,
    /// What the upstream answered.
    pub upstream_status: Option<u16>,
    /// Deployments that were tried.
    pub attempts: usize,
    /// Why it was refused.
    pub denial: Option<&'static str>,
    /// The same for operators' eyes.
    pub cause: Option<String>,
    /// What went wrong on the way.
    pub failure: Option<String>,
    /// Body bytes sent to the caller.
    pub bytes_sent: usize,
    /// From the head to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// From the head to the last byte of the answer.
    pub duration: Duration,
}

/// Event writer and metrics of a process.
pub struct Telemetry {
    registry: Registry,
    requests: IntCounterVec,
    denials: IntCounterVec,
    upstream_answers: IntCounterVec,
    retries: IntCounter,
    duration: Histogram,
    first_byte: Histogram,
    gauges: Gauges,
    cache: Arc<KeyCache>,
}

struct Gauges {
    cached_keys: IntGauge,
    unknown_keys: IntGauge,
    store_queries: IntGauge,
    stale_served: IntGauge,
}

impl Telemetry {
    /// Registers every metric.
    ///
    /// # Errors
    /// Two metrics of one name: a mistake in this file.
    pub fn new(cache: Arc<KeyCache>) -> prometheus::Result<Self> {
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
        let retries =
            IntCounter::new("portcullis_upstream_retries_total", "Deployments tried after a first one failed")?;
        registry.register(Box::new(retries.clone()))?;
        Ok(Self {
            requests: counters("portcullis_requests_total", "Requests by status class", "status")?,
            denials: counters("portcullis_denials_total", "Refused requests by reason", "reason")?,
            upstream_answers: counters(
                "portcullis_upstream_answers_total",
                "Answers of upstreams by status class",
                "status",
            )?,
            retries,
            duration: seconds(
                "portcullis_request_seconds",
                "From the head of a request to the last byte of its answer",
            )?,
            first_byte: seconds(
                "portcullis_first_byte_seconds",
                "From the head of a request to the first byte of its answer",
            )?,
            gauges: Gauges {
                cached_keys: gauge("portcullis_cached_keys", "Keys held in memory")?,
                unknown_keys: gauge("portcullis_unknown_keys", "Unknown keys remembered")?,
                store_queries: gauge("portcullis_store_queries", "Key look-ups put to the store since the start")?,
                stale_served: gauge("portcullis_stale_answers", "Keys served from memory while the store was away")?,
            },
            registry,
            cache,
        })
    }

    /// Logs and counts one request.
    pub fn request(&self, event: &RequestEvent<'_>) {
        self.requests.with_label_values(&[class(event.status)]).inc();
        if let Some(reason) = event.denial {
            self.denials.with_label_values(&[reason]).inc();
        }
        if event.upstream_status.is_some() {
            self.upstream_answers.with_label_values(&[class(event.upstream_status)]).inc();
        }
        self.retries.inc_by(event.attempts.saturating_sub(1) as u64);
        self.duration.observe(event.duration.as_secs_f64());
        if let Some(first_byte) = event.first_byte {
            self.first_byte.observe(first_byte.as_secs_f64());
        }
        tracing::info!(
            target: "portcullis::request",
            method = &*without_keys(event.method),
            request.id = event.id,
            path = event.path.map(without_keys).as_deref(),
            source = event.source.map(tracing::field::display),
            status = event.status,
            principal.id = event.principal,
            auth.method = event.auth_method,
            key.alias = event.key_alias,
            model = event.model.map(without_keys).as_deref(),
            stream = event.stream,
            upstream.name = event.upstream,
            upstream.status = event.upstream_status,
            attempts = event.attempts,
            denial = event.denial,
            cause = event.cause.as_deref().map(without_keys).as_deref(),
            failure = event.failure.as_deref().map(without_keys).as_deref(),
            bytes_sent = event.bytes_sent,
            ttfb_ms = event.first_byte.map(millis),
            duration_ms = millis(event.duration),
        );
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
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        String::from_utf8(page).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

/// What a caller wrote, without what looks like a key in it: paths of the management API hold keys, and people put them
/// where a model's name belongs.
fn without_keys(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("sk-") {
        let (before, key) = rest.split_at(at);
        let end = key.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(key.len());
        let inside_word = before.ends_with(|c: char| c.is_ascii_alphanumeric());
        shown.push_str(before);
        shown.push_str(if inside_word || end < SHORTEST_KEY { &key[..end] } else { "sk-..." });
        rest = &key[end..];
    }
    if shown.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(shown + rest) }
}

/// Shorter words behind `sk-` are placeholders.
const SHORTEST_KEY: usize = 8;

/// Starts writing events to standard error. Only our own crates speak: libraries repeat request lines and header bytes
/// in their messages, and those hold credentials.
pub fn start(json: bool, level: LevelFilter) {
    let ours = ["portcullis", "portcullis_filters", "portcullis_admin_api"];
    let directives = ours.iter().map(|name| format!("{name}={level}")).collect::<Vec<_>>().join(",");
    let filter = EnvFilter::builder().parse_lossy(directives);
    let events = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal();
    // A second start finds the first one in place: tests do that, and it is right as it is.
    let _ = if json { events.json().flatten_event(true).try_init() } else { events.with_ansi(colours).try_init() };
}

/// A fresh id for a request: 128 random bits.
#[must_use]
pub fn request_id() -> String {
    let mut bits = [0; 16];
    // Without randomness the id is not unique; a request is not refused for that.
    let _ = getrandom::fill(&mut bits);
    format!("{:032x}", u128::from_be_bytes(bits))
}

fn class(status: Option<u16>) -> &'static str {
    match status.map(|status| status / 100) {
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        _ => "none",
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::without_keys;

    #[test]
    fn keys_in_callers_words_are_not_logged() {
        for (text, logged) in [
            ("/key/sk-0123456789/regenerate", "/key/sk-.../regenerate"),
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("model forbidden: sk-0123456789", "model forbidden: sk-..."),
            ("desk-assistant-large", "desk-assistant-large"),
            ("sk-12", "sk-12"),
            ("sk-0123456789,sk-abcdefghij", "sk-...,sk-..."),
        ] {
            assert_eq!(without_keys(text), logged);
        }
    }
}
