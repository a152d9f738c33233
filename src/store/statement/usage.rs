//! The statements by which what calls took is taken over, and read again.

use std::time::SystemTime;

use super::Statement;
use crate::store::param::Param;
use crate::store::usage::{Account, DayTotal};
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

/// Adds to what an account has spent; returns the sum, and of a key the hash that it has by now.
pub(in crate::store) fn spend(account: &Account, dollars: f64) -> Statement {
    let (condition, returned, mut params) = row_of(account);
    let table = table_of(account);
    let amount = params.len() + 1;
    params.push(Param::Real(dollars));
    let sql = format!("UPDATE {table} SET spend = spend + ${amount} WHERE {condition} RETURNING {returned}");
    Statement::fixed(sql, params)
}

/// What [`spend`] returns, as it is.
pub(in crate::store) fn spent(account: &Account) -> Statement {
    let (condition, returned, params) = row_of(account);
    let table = table_of(account);
    Statement::fixed(format!("SELECT {returned} FROM {table} WHERE {condition}"), params)
}

fn table_of(account: &Account) -> &'static str {
    match account {
        Account::User(_) => "users",
        Account::Team(_) => "teams",
        Account::Member { .. } => "team_members",
        Account::Key(_) => "virtual_keys",
    }
}

/// Which row it is, what is returned of it, and what is bound.
fn row_of(account: &Account) -> (&'static str, &'static str, Vec<Param>) {
    let text = |text: &String| Param::Text(text.clone());
    match account {
        Account::User(id) => ("user_id = $1", "spend", vec![text(id)]),
        Account::Team(id) => ("team_id = $1", "spend", vec![text(id)]),
        Account::Member { team_id, user_id } => {
            ("team_id = $1 AND user_id = $2", "spend", vec![text(team_id), text(user_id)])
        }
        // Under whatever hash it has by now.
        Account::Key(hash) => (
            "token = $1 OR token = (SELECT active_token FROM grace_keys WHERE token = $1)",
            "spend, token",
            vec![(*hash).into()],
        ),
    }
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
