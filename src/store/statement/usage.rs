//! The statements by which what calls took is taken over, and read again.

use std::time::SystemTime;

use portcullis_filters::authn::virtual_key::KeyHash;

use super::Statement;
use crate::store::param::Param;
use crate::store::usage::DayTotal;
use crate::usage::UsageRecord;

/// Notes that the journal is posted through this number; no row: it was before.
pub(in crate::store) fn begin(journal: &str, number: u64, at: SystemTime) -> Statement {
    Statement::fixed(
        "INSERT INTO usage_journals (journal, posted_through, posted_at) VALUES ($1, $2, $3) \
         ON CONFLICT (journal) DO UPDATE SET posted_through = excluded.posted_through, posted_at = excluded.posted_at \
         WHERE usage_journals.posted_through < excluded.posted_through RETURNING journal",
        vec![Param::Text(journal.to_owned()), whole(number), Param::Time(at)],
    )
}

/// Adds to what a key has spent, under whatever hash it has by now; returns that hash and the sum.
pub(in crate::store) fn spend(key: KeyHash, dollars: f64) -> Statement {
    Statement::fixed(
        "UPDATE virtual_keys SET spend = spend + $2 \
         WHERE token = $1 OR token = (SELECT active_token FROM grace_keys WHERE token = $1) RETURNING token, spend",
        vec![key.into(), Param::Real(dollars)],
    )
}

/// What a key has spent, under whatever hash it has by now, and that hash.
pub(in crate::store) fn spent(key: KeyHash) -> Statement {
    Statement::fixed(
        "SELECT token, spend FROM virtual_keys \
         WHERE token = $1 OR token = (SELECT active_token FROM grace_keys WHERE token = $1)",
        vec![key.into()],
    )
}

/// Adds to a day.
pub(in crate::store) fn add_to_day(total: &DayTotal) -> Statement {
    let DayTotal { day, caller, model, upstream_model, provider, requests, usage, cost } = total;
    let text = |text: &Option<String>| Param::Text(text.clone().unwrap_or_default());
    Statement::fixed(
        // A provider that a caller chose may claim any number: a sum stops at its bound, or it could not be posted at all.
        "INSERT INTO usage_by_day (day, caller, user_id, team_id, organization_id, end_user_id, model, upstream_model, \
         provider, requests, input_tokens, cached_tokens, cache_written_tokens, output_tokens, reasoning_tokens, picodollars) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
         ON CONFLICT (day, caller, user_id, team_id, organization_id, end_user_id, model, upstream_model, provider) \
         DO UPDATE SET requests = usage_by_day.requests + excluded.requests, \
         input_tokens = usage_by_day.input_tokens + excluded.input_tokens, \
         cached_tokens = usage_by_day.cached_tokens + excluded.cached_tokens, \
         cache_written_tokens = usage_by_day.cache_written_tokens + excluded.cache_written_tokens, \
         output_tokens = usage_by_day.output_tokens + excluded.output_tokens, \
         reasoning_tokens = usage_by_day.reasoning_tokens + excluded.reasoning_tokens, \
         picodollars = CASE WHEN usage_by_day.picodollars > 9000000000000000000 - excluded.picodollars \
         THEN 9000000000000000000 ELSE usage_by_day.picodollars + excluded.picodollars END",
        vec![
            Param::Integer(*day),
            Param::Text(caller.id.clone()),
            text(&caller.user_id),
            text(&caller.team_id),
            text(&caller.organization_id),
            text(&caller.end_user_id),
            Param::Text(model.clone()),
            Param::Text(upstream_model.clone()),
            Param::Text(provider.clone()),
            whole(*requests),
            whole(usage.input),
            whole(usage.cached),
            whole(usage.cache_written),
            whole(usage.output),
            whole(usage.reasoning),
            whole(cost.0),
        ],
    )
}

/// Keeps one call.
pub(in crate::store) fn log(record: &UsageRecord) -> Statement {
    let text = |text: &Option<String>| Param::Text(text.clone().unwrap_or_default());
    let UsageRecord { caller, usage, .. } = record;
    Statement::fixed(
        "INSERT INTO usage_log (request_id, began_at, ended_at, caller, user_id, team_id, organization_id, end_user_id, \
         call, model, upstream_model, provider, input_tokens, cached_tokens, cache_written_tokens, output_tokens, \
         reasoning_tokens, picodollars, is_estimate) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) \
         ON CONFLICT (request_id) DO NOTHING",
        vec![
            Param::Text(record.id.clone()),
            Param::Time(record.began),
            Param::Time(record.ended),
            Param::Text(caller.id.clone()),
            text(&caller.user_id),
            text(&caller.team_id),
            text(&caller.organization_id),
            text(&caller.end_user_id),
            Param::Text(record.call.clone()),
            Param::Text(record.model.clone()),
            Param::Text(record.upstream_model.clone()),
            Param::Text(record.provider.clone()),
            whole(usage.input),
            whole(usage.cached),
            whole(usage.cache_written),
            whole(usage.output),
            whole(usage.reasoning),
            whole(record.cost.0),
            Param::Bool(record.is_estimate),
        ],
    )
}

/// Drops calls that began before this.
pub(in crate::store) fn forget_log(before: SystemTime) -> Statement {
    Statement::fixed("DELETE FROM usage_log WHERE began_at < $1", vec![Param::Time(before)])
}

/// The bound that the sums above have.
const MOST: i64 = 9_000_000_000_000_000_000;

fn whole(number: u64) -> Param {
    Param::Integer(i64::try_from(number).unwrap_or(MOST).min(MOST))
}
