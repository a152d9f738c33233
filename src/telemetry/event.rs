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
const TARGET: &str = "portcullis::request";

enum Value<'a> {
    Text(Cow<'a, str>),
    Address(IpAddr),
    Count(u64),
    Flag(bool),
    Millis(Duration),
}

impl RequestEvent<'_> {
    /// The line, with its end.
    #[must_use]
    pub fn line(&self, format: LogFormat) -> Vec<u8> {
        let mut line = Vec::with_capacity(1024);
        // Writing into memory does not fail.
        let _ = match format {
            LogFormat::Json => self.write_json(&mut line),
            LogFormat::Text => self.write_text(&mut line),
        };
        line.push(b'\n');
        line
    }

    fn write_json(&self, line: &mut Vec<u8>) -> io::Result<()> {
        line.extend_from_slice(b"{\"timestamp\":\"");
        write_now(line);
        line.extend_from_slice(b"\",\"level\":\"INFO\"");
        for (name, value) in self.known() {
            line.extend_from_slice(b",\"");
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\":");
            match value {
                Value::Text(text) => serde_json::to_writer(&mut *line, &text)?,
                Value::Address(_) => {
                    line.push(b'"');
                    value.write(line)?;
                    line.push(b'"');
                }
                bare => bare.write(line)?,
            }
        }
        write!(line, r#","target":"{TARGET}"}}"#)
    }

    fn write_text(&self, line: &mut Vec<u8>) -> io::Result<()> {
        write_now(line);
        write!(line, "  INFO {TARGET}:")?;
        for (name, value) in self.known() {
            line.push(b' ');
            line.extend_from_slice(name.as_bytes());
            line.push(b'=');
            value.write(line)?;
        }
        Ok(())
    }

    fn known(&self) -> impl Iterator<Item = (&'static str, Value<'_>)> {
        self.fields().into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    fn fields(&self) -> [(&'static str, Option<Value<'_>>); 19] {
        use Value::{Address, Count, Flag, Millis, Text};
        let ours = |text| Some(Text(Cow::Borrowed(text)));
        let theirs = |text| Some(Text(without_keys(text)));
        [
            ("method", theirs(self.method)),
            ("request.id", ours(self.id)),
            ("path", self.path.and_then(theirs)),
            ("source", self.source.map(Address)),
            ("status", self.status.map(|status| Count(status.into()))),
            ("principal.id", self.principal.as_deref().and_then(ours)),
            ("auth.method", self.auth_method.and_then(ours)),
            ("key.alias", self.key_alias.and_then(ours)),
            ("model", self.model.and_then(theirs)),
            ("stream", Some(Flag(self.stream))),
            ("upstream.name", self.upstream.and_then(ours)),
            ("upstream.status", self.upstream_status.map(|status| Count(status.into()))),
            ("attempts", Some(Count(self.attempts as u64))),
            ("denial", self.denial.and_then(ours)),
            ("cause", self.cause.as_deref().and_then(theirs)),
            ("failure", self.failure.as_deref().and_then(theirs)),
            ("bytes_sent", Some(Count(self.bytes_sent as u64))),
            ("ttfb_ms", self.first_byte.map(Millis)),
            ("duration_ms", Some(Millis(self.duration))),
        ]
    }
}

impl Value<'_> {
    /// As `tracing` shows it to people. Text is quoted and escaped, so that nobody writes a line of their own.
    fn write(&self, line: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Text(text) if is_plain(text) => {
                line.push(b'"');
                line.extend_from_slice(text.as_bytes());
                line.push(b'"');
                Ok(())
            }
            Self::Text(text) => write!(line, "{text:?}"),
            Self::Address(IpAddr::V4(address)) => {
                let [a, b, c, d] = address.octets().map(u64::from);
                write_count(line, a);
                for part in [b, c, d] {
                    line.push(b'.');
                    write_count(line, part);
                }
                Ok(())
            }
            Self::Address(IpAddr::V6(address)) => write!(line, "{address}"),
            Self::Count(count) => {
                write_count(line, *count);
                Ok(())
            }
            Self::Flag(flag) => line.write_all(if *flag { b"true" } else { b"false" }),
            Self::Millis(span) => {
                write_count(line, u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
                line.push(b'.');
                write_padded(line, span.subsec_micros() % 1000, 3);
                Ok(())
            }
        }
    }
}

/// Whether nothing in it needs an escape between quotes.
fn is_plain(text: &str) -> bool {
    // Without an early return, many bytes are compared at a time.
    text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\'))
}

/// This moment as `tracing` writes it (RFC 3339, microseconds, UTC).
fn write_now(line: &mut Vec<u8>) {
    let now = OffsetDateTime::now_utc();
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second, micros) = now.to_hms_micro();
    let parts = [
        (year.unsigned_abs(), 4, b'-'),
        (u8::from(month).into(), 2, b'-'),
        (day.into(), 2, b'T'),
        (hour.into(), 2, b':'),
        (minute.into(), 2, b':'),
        (second.into(), 2, b'.'),
        (micros, 6, b'Z'),
    ];
    for (number, digits, follows) in parts {
        write_padded(line, number, digits);
        line.push(follows);
    }
}

fn write_count(line: &mut Vec<u8>, count: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
}

/// A number with leading zeros. The standard library's formatter takes ten times as long for one, and every request
/// writes several.
fn write_padded(line: &mut Vec<u8>, number: u32, digits: usize) {
    let start = line.len();
    line.resize(start + digits, b'0');
    let mut rest = number;
    for digit in line[start..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
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
