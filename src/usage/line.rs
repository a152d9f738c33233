//! A record as a line of the journal: JSON with short names, ended by a line feed. A line without its end was never whole.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::price::Cost;
use portcullis_filters::usage::Usage;
use serde::{Deserialize, Serialize};

use super::{Caller, UsageRecord};

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    began: u64,
    ended: u64,
    who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_user: Option<String>,
    call: String,
    model: String,
    upstream_model: String,
    provider: String,
    /// Input, of it cached, of it written to the cache, output, of it reasoning.
    tokens: [u64; 5],
    picodollars: u64,
    estimated: bool,
}

/// Longest text that is kept as it is, in bytes: the nine that name a day's sum make up one entry of an index, and
/// PostgreSQL takes some 2,700 bytes.
const LONGEST: usize = 200;

/// A text as the databases can keep and index it; any other by its hash. Identity providers and callers choose some of them,
/// and one that a database refuses would hold up everybody's.
fn kept(text: &str) -> String {
    let fits = text.len() <= LONGEST && !text.chars().any(char::is_control);
    if fits { text.to_owned() } else { format!("sha256:{}", KeyHash::of(text)) }
}

/// The record's line, with its end.
pub(super) fn write(record: &UsageRecord) -> Vec<u8> {
    let Usage { input, cached, cache_written, output, reasoning } = record.usage;
    let caller = &record.caller;
    let optional = |text: &Option<String>| text.as_deref().map(kept);
    let line = Line {
        id: kept(&record.id),
        began: micros(record.began),
        ended: micros(record.ended),
        who: kept(&caller.id),
        key: caller.key.map(|key| key.to_string()),
        user: optional(&caller.user_id),
        team: optional(&caller.team_id),
        organization: optional(&caller.organization_id),
        end_user: optional(&caller.end_user_id),
        call: kept(&record.call),
        model: kept(&record.model),
        upstream_model: kept(&record.upstream_model),
        provider: kept(&record.provider),
        tokens: [input, cached, cache_written, output, reasoning],
        picodollars: record.cost.0,
        estimated: record.is_estimate,
    };
    // Nothing in it can fail to be JSON.
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The records of a file, and how many lines of it cannot be read.
pub(super) fn read(file: &[u8]) -> (Vec<UsageRecord>, usize) {
    let whole = file.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut unreadable = usize::from(whole < file.len());
    let mut records = Vec::new();
    for line in file[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Line>(line).ok().and_then(record) {
            Some(record) => records.push(record),
            None => unreadable += 1,
        }
    }
    (records, unreadable)
}

fn record(line: Line) -> Option<UsageRecord> {
    let [input, cached, cache_written, output, reasoning] = line.tokens;
    Some(UsageRecord {
        id: line.id,
        began: UNIX_EPOCH + Duration::from_micros(line.began),
        ended: UNIX_EPOCH + Duration::from_micros(line.ended),
        caller: Caller {
            id: line.who,
            key: line.key.map(|key| key.parse()).transpose().ok()?,
            user_id: line.user,
            team_id: line.team,
            organization_id: line.organization,
            end_user_id: line.end_user,
        },
        call: line.call,
        model: line.model,
        upstream_model: line.upstream_model,
        provider: line.provider,
        usage: Usage { input, cached, cache_written, output, reasoning },
        cost: Cost(line.picodollars),
        is_estimate: line.estimated,
    })
}

fn micros(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
