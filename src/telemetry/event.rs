//! The one wide event of each request, and its form as a line of the log.
//!
//! Field names are stable. The lines look like those that `tracing` writes for everything else; they are written here
//! because every request pays for its own.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;

use crate::config::LogFormat;
use crate::proxy::usage::Taken;

/// One request, told once, at its end.
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
    pub principal: Option<String>,
    /// How that was proven.
    pub auth_method: Option<&'static str>,
    /// The key's name.
    pub key_alias: Option<&'a str>,
    /// The model by the caller's name.
    pub model: Option<&'a str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Host and model of the deployment that served it.
    pub upstream: Option<&'a str>,
    /// What the upstream answered.
    pub upstream_status: Option<u16>,
    /// Deployments that were tried.
    pub attempts: usize,
    /// What it took.
    pub taken: Option<Taken>,
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

/// The source of these events, as filters of log collectors know it.
const TARGET: &[u8] = b"portcullis::request";

impl RequestEvent<'_> {
    /// The line, with its end.
    #[must_use]
    pub fn line(&self, format: LogFormat) -> Vec<u8> {
        let mut line = Line::begin(format);
        line.theirs("method", Some(self.method));
        line.text("request.id", Some(self.id));
        line.theirs("path", self.path);
        line.address("source", self.source);
        line.count("status", self.status.map(u64::from));
        line.text("principal.id", self.principal.as_deref());
        line.text("auth.method", self.auth_method);
        line.text("key.alias", self.key_alias);
        line.theirs("model", self.model);
        line.bare("stream", if self.stream { "true" } else { "false" });
        line.text("upstream.name", self.upstream);
        line.count("upstream.status", self.upstream_status.map(u64::from));
        line.count("attempts", Some(self.attempts as u64));
        if let Some(Taken { usage, cost, is_estimate }) = &self.taken {
            line.count("usage.input", Some(usage.input));
            line.count("usage.cached", Some(usage.cached).filter(|cached| *cached > 0));
            line.count("usage.output", Some(usage.output));
            line.count("cost.picodollars", cost.map(|cost| cost.0));
            line.bare("usage.estimated", if *is_estimate { "true" } else { "false" });
        }
        line.text("denial", self.denial);
        line.theirs("cause", self.cause.as_deref());
        line.theirs("failure", self.failure.as_deref());
        line.count("bytes_sent", Some(self.bytes_sent as u64));
        line.millis("ttfb_ms", self.first_byte);
        line.millis("duration_ms", Some(self.duration));
        line.end()
    }
}

/// A line in the making: each field is written straight into it, and one that is not known is left out.
struct Line {
    bytes: Vec<u8>,
    format: LogFormat,
}

impl Line {
    fn begin(format: LogFormat) -> Self {
        let mut line = Self { bytes: Vec::with_capacity(1024), format };
        let now = timestamp(OffsetDateTime::now_utc());
        match format {
            LogFormat::Json => line.put(&[b"{\"timestamp\":\"", &now, b"\",\"level\":\"INFO\""]),
            LogFormat::Text => line.put(&[&now, b"  INFO ", TARGET, b":"]),
        }
        line
    }

    fn end(mut self) -> Vec<u8> {
        if self.format == LogFormat::Json {
            self.put(&[b",\"target\":\"", TARGET, b"\"}"]);
        }
        self.bytes.push(b'\n');
        self.bytes
    }

    fn name(&mut self, name: &str) {
        match self.format {
            LogFormat::Json => self.put(&[b",\"", name.as_bytes(), b"\":"]),
            LogFormat::Text => self.put(&[b" ", name.as_bytes(), b"="]),
        }
    }

    /// Quoted and escaped, so that nobody writes a line of their own; in text as `tracing` shows it to people.
    fn text(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.name(name);
        // Writing into memory does not fail.
        let _ = match self.format {
            _ if is_plain(text) => {
                self.put(&[b"\"", text.as_bytes(), b"\""]);
                Ok(())
            }
            LogFormat::Json => serde_json::to_writer(&mut self.bytes, text).map_err(io::Error::from),
            LogFormat::Text => write!(self.bytes, "{text:?}"),
        };
    }

    /// Text that a caller may have written.
    fn theirs(&mut self, name: &str, text: Option<&str>) {
        self.text(name, text.map(without_keys).as_deref());
    }

    fn address(&mut self, name: &str, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        self.name(name);
        let quote: &[u8] = if self.format == LogFormat::Json { b"\"" } else { b"" };
        self.put(&[quote]);
        match address {
            IpAddr::V4(address) => {
                let mut dot: &[u8] = b"";
                for part in address.octets() {
                    self.put(&[dot, itoa::Buffer::new().format(part).as_bytes()]);
                    dot = b".";
                }
            }
            // Writing into memory does not fail.
            IpAddr::V6(address) => drop(write!(self.bytes, "{address}")),
        }
        self.put(&[quote]);
    }

    fn count(&mut self, name: &str, count: Option<u64>) {
        let Some(count) = count else { return };
        self.bare(name, itoa::Buffer::new().format(count));
    }

    fn millis(&mut self, name: &str, span: Option<Duration>) {
        let Some(span) = span else { return };
        self.count(name, Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)));
        let mut fraction = *b".000";
        write_digits(&mut fraction[1..], span.subsec_micros() % 1000);
        self.bytes.extend_from_slice(&fraction);
    }

    fn bare(&mut self, name: &str, value: &str) {
        self.name(name);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }
}

/// Whether nothing in it needs an escape between quotes.
fn is_plain(text: &str) -> bool {
    // Without an early return, many bytes are compared at a time.
    text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\'))
}

/// A moment as `tracing` writes it (RFC 3339, microseconds, UTC).
fn timestamp(at: OffsetDateTime) -> [u8; 27] {
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, micros) = at.to_hms_micro();
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    write_digits(&mut text[..4], year.unsigned_abs());
    write_digits(&mut text[5..7], u8::from(month).into());
    write_digits(&mut text[8..10], day.into());
    write_digits(&mut text[11..13], hour.into());
    write_digits(&mut text[14..16], minute.into());
    write_digits(&mut text[17..19], second.into());
    write_digits(&mut text[20..26], micros);
    text
}

/// A number with leading zeros. The standard library's formatter takes ten times as long for one, and every request
/// writes several.
fn write_digits(place: &mut [u8], number: u32) {
    let mut rest = number;
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// What a caller wrote, without what looks like a key in it: paths of the management API hold keys, and people put them
/// where a model's name belongs.
fn without_keys(text: &str) -> Cow<'_, str> {
    // This question is answered far faster than where it stands.
    if !text.contains("sk-") {
        return Cow::Borrowed(text);
    }
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
    Cow::Owned(shown + rest)
}

/// Shorter words behind `sk-` are placeholders.
const SHORTEST_KEY: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> RequestEvent<'static> {
        RequestEvent {
            id: "0123",
            method: "POST",
            path: Some("/v1/chat/completions"),
            source: Some([192, 0, 2, 1].into()),
            status: Some(200),
            principal: Some("hash".to_owned()),
            auth_method: Some("virtual_key"),
            key_alias: Some("\"\nstatus=500 \u{202e}"),
            model: Some("gpt\u{1b}"),
            stream: true,
            upstream: Some("host/model"),
            upstream_status: Some(201),
            attempts: 2,
            taken: None,
            denial: None,
            cause: Some("sk-0123456789".to_owned()),
            failure: None,
            bytes_sent: 700,
            first_byte: Some(Duration::from_micros(1_050)),
            duration: Duration::from_nanos(12_345_678_999),
        }
    }

    #[test]
    fn a_json_line_holds_every_known_field_as_it_is() {
        let line = event().line(LogFormat::Json);
        let mut parsed: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let timestamp = parsed.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert!(timestamp.as_str().unwrap().ends_with('Z'), "{timestamp}");
        assert_eq!(
            parsed,
            serde_json::json!({
                "level": "INFO", "method": "POST", "request.id": "0123", "path": "/v1/chat/completions",
                "source": "192.0.2.1", "status": 200, "principal.id": "hash", "auth.method": "virtual_key",
                "key.alias": "\"\nstatus=500 \u{202e}", "model": "gpt\u{1b}", "stream": true,
                "upstream.name": "host/model", "upstream.status": 201, "attempts": 2, "cause": "sk-...",
                "bytes_sent": 700, "ttfb_ms": 1.05, "duration_ms": 12345.678, "target": "portcullis::request",
            })
        );
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn a_timestamp_is_rfc_3339_with_microseconds() {
        let at = time::macros::datetime!(2026-01-02 03:04:05.060_708 UTC);
        assert_eq!(timestamp(at), *b"2026-01-02T03:04:05.060708Z");
    }

    #[test]
    fn a_text_line_cannot_be_broken_by_what_is_in_it() {
        let line = String::from_utf8(event().line(LogFormat::Text)).unwrap();
        let (timestamp, rest) = line.split_once(' ').unwrap();
        assert!(timestamp.ends_with('Z'), "{timestamp}");
        assert_eq!(
            rest,
            r#" INFO portcullis::request: method="POST" request.id="0123" path="/v1/chat/completions" source=192.0.2.1 status=200 principal.id="hash" auth.method="virtual_key" key.alias="\"\nstatus=500 \u{202e}" model="gpt\u{1b}" stream=true upstream.name="host/model" upstream.status=201 attempts=2 cause="sk-..." bytes_sent=700 ttfb_ms=1.050 duration_ms=12345.678
"#
        );
    }

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
