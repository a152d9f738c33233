//! The bounds of the HTTP layer: what a client may send, how slowly, and how much the process holds for all of them.

use std::time::Duration;

use ipnet::IpNet;

use super::field::Field;
use super::known::Known;
use super::reader::Section;

/// Sizes in bytes. `Default` of each is in `config/README.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// Request line and headers together.
    pub max_head_bytes: usize,
    /// Header lines.
    pub max_headers: usize,
    /// One request body; LiteLLM's `max_request_size_mb`.
    pub max_body_bytes: u64,
    /// How long a body may pause.
    pub body_timeout: Duration,
    /// Bodies held at the same time; beyond it requests are refused as overload. At least `max_body_bytes`.
    pub max_buffered_bytes: u64,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// Connections of clients at the same time.
    pub max_connections: usize,
    /// How long a stop waits for answers under way.
    pub stop_timeout: Duration,
    /// Who may say, in `X-Forwarded-For`, for whom a request comes; LiteLLM's `trusted_proxy_ranges`.
    pub trusted_proxies: Vec<IpNet>,
}

#[cfg(test)]
impl HttpSettings {
    /// What an empty configuration gets.
    pub(crate) fn for_tests() -> Self {
        super::read(None, std::path::Path::new(""), &super::Overrides::default(), &|_| None).0.http
    }
}

const MIB: u64 = 1 << 20;

/// Reads `portcullis.http` and the two keys of `general_settings` that belong to it.
pub(super) fn read(general: &Section<'_>, own: &Section<'_>) -> HttpSettings {
    let section = own.section("http", &Known::NOTHING_ELSE);
    let time = |key, seconds, default| section.time(key, seconds, Duration::from_secs(default));
    let max_body_bytes = general.whole("max_request_size_mb", 1..=10_240, 100) * MIB;
    let ranges = general.field("trusted_proxy_ranges").map(|field| field.items()).unwrap_or_default();
    let settings = HttpSettings {
        head_timeout: time("head_timeout", 1..=300, 10),
        max_head_bytes: section.size("max_head_size", 1024..=MIB, 32 * 1024) as usize,
        max_headers: section.whole("max_headers", 16..=1024, 100) as usize,
        max_body_bytes,
        body_timeout: time("body_timeout", 1..=3_600, 30),
        max_buffered_bytes: section.size("max_buffered_size", MIB..=1 << 40, max_body_bytes.max(512 * MIB)),
        keep_alive: time("keep_alive", 1..=3_600, 75),
        max_connections: section.whole("max_connections", 1..=1_000_000, 10_000) as usize,
        stop_timeout: time("stop_timeout", 0..=86_400, 60),
        trusted_proxies: ranges.iter().filter_map(range).collect(),
    };
    if settings.max_buffered_bytes < settings.max_body_bytes {
        section.mistake("max_buffered_size", "smaller than one body may be (general_settings.max_request_size_mb)");
    }
    settings
}

/// A range, or one address.
pub(super) fn range(field: &Field<'_>) -> Option<IpNet> {
    field.parsed(|text| {
        let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or(address).map_err(|_| "expected a range such as 10.0.0.0/8")
    })
}
