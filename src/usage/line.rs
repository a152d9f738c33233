//! A record as a line of the journal: JSON with short names, ended by a line feed. A line without its end was never whole.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::price::Cost;
use portcullis_filters::usage::Usage;
use serde::{Deserialize, Serialize};

use super::{Caller, UsageRecord};

/// Borrowed, both ways: each call pays for one.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    began: u64,
    ended: u64,
    #[serde(borrow)]
    who: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyHash>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    team: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    organization: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    end_user: Option<Text<'a>>,
    #[serde(borrow)]
    call: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    upstream_model: Text<'a>,
    #[serde(borrow)]
    provider: Text<'a>,
    /// Input, of it cached, of it written to the cache, output, of it reasoning.
    tokens: [u64; 5],
    picodollars: u64,
    estimated: bool,
}

/// Borrowed where it holds no escape.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Longest text that is kept as it is, in bytes: the nine that name a day's sum make up one entry of an index, and
/// PostgreSQL takes some 2,700 bytes.
const LONGEST: usize = 200;

/// A text as the databases can keep and index it; any other by its hash. Identity providers and callers choose some of them,
/// and one that a database refuses would hold up everybody's.
fn kept(text: &str) -> Text<'_> {
    let fits = text.len() <= LONGEST && !text.chars().any(char::is_control);
    Text(if fits { text.into() } else { format!("sha256:{}", KeyHash::of(text)).into() })
}

/// The record's line, with its end.
pub(super) fn write(record: &UsageRecord) -> Vec<u8> {
    let Usage { input, cached, cache_written, output, reasoning } = record.usage;
    let caller = &record.caller;
    let line = Line {
        id: kept(&record.id),
        began: micros(record.began),
        ended: micros(record.ended),
        who: kept(&caller.id),
        key: caller.key,
        user: caller.user_id.as_deref().map(kept),
        team: caller.team_id.as_deref().map(kept),
        organization: caller.organization_id.as_deref().map(kept),
        end_user: caller.end_user_id.as_deref().map(kept),
        call: kept(&record.call),
        model: kept(&record.model),
        upstream_model: kept(&record.upstream_model),
        provider: kept(&record.provider),
        tokens: [input, cached, cache_written, output, reasoning],
        picodollars: record.cost.0,
        estimated: record.is_estimate,
    };
    // Nothing in it can fail to be JSON, and memory takes it.
    let mut bytes = Vec::with_capacity(512);
    let _ = serde_json::to_writer(&mut bytes, &line);
    bytes.push(b'\n');
    bytes
}

/// The records of a file, and how many lines of it cannot be read.
pub(super) fn read(file: &[u8]) -> (Vec<UsageRecord>, usize) {
    let whole = file.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut unreadable = usize::from(whole < file.len());
    let mut records = Vec::new();
    for line in file[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(line) => records.push(record(line)),
            Err(_) => unreadable += 1,
        }
    }
    (records, unreadable)
}

fn record(line: Line<'_>) -> UsageRecord {
    let [input, cached, cache_written, output, reasoning] = line.tokens;
    let text = |Text(text): Text<'_>| text.into_owned();
    UsageRecord {
        id: text(line.id),
        began: UNIX_EPOCH + Duration::from_micros(line.began),
        ended: UNIX_EPOCH + Duration::from_micros(line.ended),
        caller: Caller {
            id: text(line.who),
            key: line.key,
            user_id: line.user.map(text),
            team_id: line.team.map(text),
            organization_id: line.organization.map(text),
            end_user_id: line.end_user.map(text),
        },
        call: text(line.call),
        model: text(line.model),
        upstream_model: text(line.upstream_model),
        provider: text(line.provider),
        usage: Usage { input, cached, cache_written, output, reasoning },
        cost: Cost(line.picodollars),
        is_estimate: line.estimated,
    }
}

fn micros(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
