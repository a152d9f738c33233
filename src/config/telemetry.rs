//! What the process says about itself: the log, and who may read the metrics.

use tracing::level_filters::LevelFilter;

use super::Overrides;
use super::known::Known;
use super::reader::{Reader, Section};

/// The log and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// The form of the log's lines.
    pub log_format: LogFormat,
    /// What is written at least this weighty.
    pub log_level: LevelFilter,
    /// Whether `/metrics` asks for a key; LiteLLM's `require_auth_for_metrics_endpoint`.
    pub metrics_need_key: bool,
}

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

const LEVELS: [(&str, LevelFilter); 8] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("critical", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("warning", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

pub(super) fn read(
    reader: &Reader<'_>,
    litellm: &Section<'_>,
    own: &Section<'_>,
    overrides: &Overrides,
) -> TelemetrySettings {
    let section = own.section("telemetry", &Known::NOTHING_ELSE);
    let usual_format = if litellm.flag("json_logs", false) { LogFormat::Json } else { LogFormat::Text };
    let format = section.field("log_format");
    let from_environment = reader.environment.variable("LITELLM_LOG").and_then(|word| level(&word));
    let configured = section.field("log_level").and_then(|field| field.choice(&LEVELS));
    TelemetrySettings {
        log_format: format
            .and_then(|field| field.choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]))
            .unwrap_or(usual_format),
        log_level: overrides.log_level.or(configured).or(from_environment).unwrap_or(LevelFilter::INFO),
        metrics_need_key: litellm.flag("require_auth_for_metrics_endpoint", true),
    }
}

fn level(word: &str) -> Option<LevelFilter> {
    LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
}
