//! Reports of what calls took: LiteLLM's `/spend/logs`, `/global/spend` and `/user/daily/activity`, over the sums of each
//! day. Days are those of UTC.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::extract::State;
use axum::{Extension, Json};
use portcullis_filters::price::Cost;
use portcullis_filters::usage::Usage;
use serde_json::{Map, Value, json};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::keys::hash_of;
use crate::problem::Problem;
use crate::query::{Parameters, offset};
use crate::store::StoreError;
use crate::timestamp::{iso8601, now};

/// What was taken, as the store keeps it.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Sums, told apart by what the query names.
    async fn sums(&self, query: &SumQuery) -> Result<Vec<Sum>, StoreError>;

    /// Single calls, the newest first; none where they are not kept.
    async fn calls(&self, query: &CallQuery) -> Result<Vec<Call>, StoreError>;
}

/// What sums are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The day.
    Day,
    /// Who was charged: a key's hash, or a principal's id.
    Caller,
    /// The user.
    User,
    /// The team.
    Team,
    /// The model, by the name that counts for rights.
    Model,
    /// The provider.
    Provider,
}

/// Which sums. All conditions must hold; `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SumQuery {
    /// From this day on, in days since 1970.
    pub from: Option<i64>,
    /// Until this day, itself included.
    pub until: Option<i64>,
    /// Of one caller.
    pub caller: Option<String>,
    /// Of one user.
    pub user_id: Option<String>,
    /// Of one team.
    pub team_id: Option<String>,
    /// Of one model.
    pub model: Option<String>,
    /// What they are told apart by, in this order; nothing: one sum of all.
    pub by: Vec<By>,
    /// Whether the dearest come first, rather than in the order of `by`.
    pub dearest_first: bool,
    /// Sums to return at most.
    pub limit: u64,
}

/// What some calls took together. What they are not told apart by is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Days since 1970.
    pub day: i64,
    /// See [`By`].
    pub caller: String,
    /// See [`By`].
    pub user_id: String,
    /// See [`By`].
    pub team_id: String,
    /// See [`By`].
    pub model: String,
    /// See [`By`].
    pub provider: String,
    /// How many calls.
    pub requests: u64,
    /// Their tokens.
    pub usage: Usage,
    /// What they cost.
    pub cost: Cost,
}

/// Which calls. All conditions must hold; `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallQuery {
    /// One call.
    pub request_id: Option<String>,
    /// Of one caller.
    pub caller: Option<String>,
    /// Of one user.
    pub user_id: Option<String>,
    /// That began then or later.
    pub from: Option<SystemTime>,
    /// That began before.
    pub before: Option<SystemTime>,
    /// Calls to skip.
    pub offset: u64,
    /// Calls to return at most.
    pub limit: u64,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The request's id.
    pub request_id: String,
    /// When its answer began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Who was charged: a key's hash, or a principal's id.
    pub caller: String,
    /// The user, or nothing.
    pub user_id: String,
    /// The team, or nothing.
    pub team_id: String,
    /// The organisation, or nothing.
    pub organization_id: String,
    /// The customer, or nothing.
    pub end_user_id: String,
    /// The call, by the path behind `/v1`.
    pub call: String,
    /// The model.
    pub model: String,
    /// The provider's name for it.
    pub upstream_model: String,
    /// The provider.
    pub provider: String,
    /// Tokens.
    pub usage: Usage,
    /// What they cost.
    pub cost: Cost,
    /// Whether the tokens are an estimate.
    pub is_estimate: bool,
}

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const DAY: Duration = Duration::from_secs(86_400);

/// How far LiteLLM's reports without dates look back.
const MONTH: i64 = 30;

/// Sums that one report adds up at most.
const MOST_SUMS: u64 = 50_000;

/// Lists what calls took: the sums of each day between two dates, else single calls.
#[utoipa::path(get, path = "/spend/logs", tag = "spend", params(
    ("start_date" = Option<String>, Query, description = "2026-01-31"), ("end_date" = Option<String>, Query),
    ("summarize" = Option<bool>, Query, description = "Sums of days rather than calls; with both dates true by default"),
    ("api_key" = Option<String>, Query, description = "A key or its hash"), ("user_id" = Option<String>, Query),
    ("request_id" = Option<String>, Query), ("page" = Option<u64>, Query),
    ("page_size" = Option<u64>, Query, description = "1 to 1000; default 100")),
    responses((status = 200, description = "Days or calls")))]
pub(crate) async fn spend_logs(
    State(state): State<AdminState>,
    Extension(who): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let (from, until) = (query.date("start_date"), query.date("end_date"));
    let single = query.text("summarize").is_some_and(|word| matches!(word.as_str(), "false" | "False" | "0"));
    let (caller, user_id, request_id) = (query.api_key(), query.text("user_id"), query.text("request_id"));
    let (page, size) = (query.count("page", 1, u64::MAX), query.count("page_size", 100, 1_000));
    query.finish()?;
    let user_id = who.narrowed(user_id)?;
    if from.is_some() && until.is_some() && !single && request_id.is_none() {
        let asked = SumQuery { from, until, caller, user_id, by: vec![By::Day, By::User, By::Model], ..all() };
        return Ok(Json(days(&sums(&state, asked).await?)));
    }
    let start = |day: i64| UNIX_EPOCH + DAY * u32::try_from(day.max(0)).unwrap_or(u32::MAX);
    let asked = CallQuery {
        request_id,
        caller,
        user_id,
        from: from.map(start),
        before: until.map(|day| start(day + 1)),
        offset: offset(page, size),
        limit: size,
    };
    let calls = state.reports.calls(&asked).await?;
    Ok(Json(calls.iter().map(call).collect()))
}

/// What was spent in all.
#[utoipa::path(get, path = "/global/spend", tag = "spend", responses((status = 200, description = "Dollars")))]
pub(crate) async fn global_spend(State(state): State<AdminState>, query: Parameters) -> Result<Json<Value>, Problem> {
    query.finish()?;
    let spend: f64 = sums(&state, all()).await?.iter().map(|sum| sum.cost.dollars()).sum();
    Ok(Json(json!({ "spend": spend, "max_budget": null })))
}

/// What was spent on each of the last thirty days.
#[utoipa::path(get, path = "/global/spend/logs", tag = "spend",
    params(("api_key" = Option<String>, Query, description = "A key or its hash")),
    responses((status = 200, description = "Days")))]
pub(crate) async fn global_spend_logs(
    State(state): State<AdminState>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let caller = query.api_key();
    query.finish()?;
    let found = sums(&state, SumQuery { caller, by: vec![By::Day], ..recent() }).await?;
    Ok(Json(found.iter().map(|sum| json!({ "date": date(sum.day), "spend": sum.cost.dollars() })).collect()))
}

/// The keys that spent most in the last thirty days.
#[utoipa::path(get, path = "/global/spend/keys", tag = "spend",
    params(("limit" = Option<u64>, Query, description = "1 to 100; default 10")),
    responses((status = 200, description = "Keys")))]
pub(crate) async fn global_spend_keys(
    State(state): State<AdminState>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let limit = query.count("limit", 10, 100);
    query.finish()?;
    let asked = SumQuery { by: vec![By::Caller], dearest_first: true, limit, ..recent() };
    let mut keys = Vec::new();
    for sum in sums(&state, asked).await? {
        let row = match hash_of(&sum.caller) {
            Some(hash) => state.store.key(hash).await?,
            None => None,
        };
        let (alias, name) = row.map(|row| (row.key_alias, row.key_name)).unwrap_or_default();
        let total = sum.cost.dollars();
        keys.push(json!({ "api_key": sum.caller, "key_alias": alias, "key_name": name, "total_spend": total }));
    }
    Ok(Json(keys.into()))
}

/// The models on which most was spent in the last thirty days.
#[utoipa::path(get, path = "/global/spend/models", tag = "spend",
    params(("limit" = Option<u64>, Query, description = "1 to 100; default 10")),
    responses((status = 200, description = "Models")))]
pub(crate) async fn global_spend_models(
    State(state): State<AdminState>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let limit = query.count("limit", 10, 100);
    query.finish()?;
    let asked = SumQuery { by: vec![By::Model], dearest_first: true, limit, ..recent() };
    let found = sums(&state, asked).await?;
    Ok(Json(found.iter().map(|sum| json!({ "model": sum.model, "total_spend": sum.cost.dollars() })).collect()))
}

/// What each team spent in the last thirty days.
#[utoipa::path(get, path = "/global/spend/teams", tag = "spend", responses((status = 200, description = "Teams")))]
pub(crate) async fn global_spend_teams(
    State(state): State<AdminState>,
    query: Parameters,
) -> Result<Json<Value>, Problem> {
    query.finish()?;
    let found = sums(&state, SumQuery { by: vec![By::Day, By::Team], ..recent() }).await?;
    let of_teams = || found.iter().filter(|sum| !sum.team_id.is_empty());
    let (mut each_day, mut totals) = (BTreeMap::<i64, Map<String, Value>>::new(), BTreeMap::<&str, f64>::new());
    for sum in of_teams() {
        let spend = sum.cost.dollars();
        each_day.entry(sum.day).or_default().insert(sum.team_id.clone(), spend.into());
        *totals.entry(&sum.team_id).or_default() += spend;
    }
    let daily: Vec<Value> = each_day
        .into_iter()
        .map(|(day, mut spend)| {
            spend.insert("date".to_owned(), date(day).into());
            spend.into()
        })
        .collect();
    let teams: BTreeSet<&str> = totals.keys().copied().collect();
    let totals: Vec<_> = totals.iter().map(|(team, spend)| json!({ "team_id": team, "total_spend": spend })).collect();
    Ok(Json(json!({ "daily_spend": daily, "teams": teams, "total_spend_per_team": totals })))
}

/// What calls took on each day, told apart by model, provider and key.
#[utoipa::path(get, path = "/user/daily/activity", tag = "spend", params(
    ("start_date" = String, Query, description = "2026-01-31"), ("end_date" = String, Query),
    ("user_id" = Option<String>, Query), ("model" = Option<String>, Query),
    ("api_key" = Option<String>, Query, description = "A key or its hash"),
    ("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query, description = "Days, 1 to 1000; default 50")),
    responses((status = 200, description = "Days, the newest first")))]
pub(crate) async fn daily_activity(
    State(state): State<AdminState>,
    Extension(who): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let (from, until) = (query.date("start_date"), query.date("end_date"));
    let (caller, user_id, model) = (query.api_key(), query.text("user_id"), query.text("model"));
    let (page, size) = (query.count("page", 1, u64::MAX), query.count("page_size", 50, 1_000));
    query.finish()?;
    let user_id = who.narrowed(user_id)?;
    if from.is_none() || until.is_none() {
        return Err(Problem::invalid("start_date", "Give start_date and end_date, such as 2026-01-31"));
    }
    let by = vec![By::Day, By::Model, By::Provider, By::Caller];
    let found = sums(&state, SumQuery { from, until, caller, user_id, model, by, ..all() }).await?;
    let mut days = BTreeMap::<i64, Vec<&Sum>>::new();
    for sum in &found {
        days.entry(sum.day).or_default().push(sum);
    }
    let total_pages = (days.len() as u64).div_ceil(size);
    let skipped = usize::try_from(offset(page, size)).unwrap_or(usize::MAX);
    let shown = days.iter().rev().skip(skipped).take(usize::try_from(size).unwrap_or(usize::MAX));
    let results: Vec<_> = shown.map(|(day, sums)| activity(*day, sums)).collect();
    let mut metadata: Map<String, Value> = Map::new();
    for (name, value) in metrics(&found.iter().collect::<Vec<_>>()) {
        metadata.insert(format!("total_{name}"), value);
    }
    metadata.extend([
        ("page".to_owned(), page.into()),
        ("total_pages".to_owned(), total_pages.into()),
        ("has_more".to_owned(), (page < total_pages).into()),
    ]);
    Ok(Json(json!({ "results": results, "metadata": metadata })))
}

fn all() -> SumQuery {
    SumQuery { limit: MOST_SUMS + 1, ..SumQuery::default() }
}

fn recent() -> SumQuery {
    let today = now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs();
    SumQuery { from: Some(today as i64 - MONTH), ..all() }
}

async fn sums(state: &AdminState, query: SumQuery) -> Result<Vec<Sum>, Problem> {
    let found = state.reports.sums(&query).await?;
    if found.len() as u64 > MOST_SUMS {
        return Err(Problem::invalid("start_date", "Too much for one report: ask for fewer days, or for one key"));
    }
    Ok(found)
}

/// LiteLLM's summary: each day with its users and models.
fn days(sums: &[Sum]) -> Value {
    let mut days = BTreeMap::<i64, (Cost, BTreeMap<&str, Cost>, BTreeMap<&str, Cost>)>::new();
    for sum in sums {
        let (total, users, models) = days.entry(sum.day).or_default();
        *total = total.plus(sum.cost);
        for part in [users.entry(&*sum.user_id).or_default(), models.entry(&*sum.model).or_default()] {
            *part = part.plus(sum.cost);
        }
    }
    let dollars = |parts: BTreeMap<&str, Cost>| -> Map<String, Value> {
        parts.into_iter().map(|(name, cost)| (name.to_owned(), cost.dollars().into())).collect()
    };
    let day = |(day, (total, users, models)): (i64, (Cost, _, _))| json!({ "startTime": date(day), "spend": total.dollars(), "users": dollars(users), "models": dollars(models) });
    days.into_iter().map(day).collect()
}

fn activity(day: i64, sums: &[&Sum]) -> Value {
    let part = |name: fn(&Sum) -> &str| -> Map<String, Value> {
        let mut parts = BTreeMap::<&str, Vec<&Sum>>::new();
        for sum in sums {
            parts.entry(name(sum)).or_default().push(sum);
        }
        let shown = |(name, sums): (&str, Vec<&Sum>)| {
            (name.to_owned(), json!({ "metrics": metrics(&sums), "metadata": {}, "api_key_breakdown": {} }))
        };
        parts.into_iter().map(shown).collect()
    };
    json!({
        "date": date(day),
        "metrics": metrics(sums),
        "breakdown": {
            "models": part(|sum| &sum.model),
            "model_groups": part(|sum| &sum.model),
            "providers": part(|sum| &sum.provider),
            "api_keys": part(|sum| &sum.caller),
            "mcp_servers": {},
            "entities": {},
        },
    })
}

fn metrics(sums: &[&Sum]) -> Map<String, Value> {
    let (mut usage, mut cost, mut requests) = (Usage::default(), Cost::default(), 0);
    for sum in sums {
        (usage, cost, requests) = (usage.plus(&sum.usage), cost.plus(sum.cost), requests + sum.requests);
    }
    let values = json!({
        "spend": cost.dollars(),
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": usage.cache_written,
        "total_tokens": usage.total(),
        // Failed calls take nothing and are in the metrics of the process.
        "successful_requests": requests,
        "failed_requests": 0,
        "api_requests": requests,
    });
    let Value::Object(values) = values else { return Map::new() };
    values
}

fn call(call: &Call) -> Value {
    json!({
        "request_id": call.request_id,
        "call_type": call.call,
        "api_key": call.caller,
        "spend": call.cost.dollars(),
        "total_tokens": call.usage.total(),
        "prompt_tokens": call.usage.input,
        "completion_tokens": call.usage.output,
        "startTime": iso8601(call.began),
        "endTime": iso8601(call.ended),
        "model": call.upstream_model,
        "model_group": call.model,
        "custom_llm_provider": call.provider,
        "user": call.user_id,
        "team_id": call.team_id,
        "organization_id": call.organization_id,
        "end_user": call.end_user_id,
        "status": "success",
        "metadata": {
            "cache_read_input_tokens": call.usage.cached,
            "cache_creation_input_tokens": call.usage.cache_written,
            "reasoning_tokens": call.usage.reasoning,
            "is_estimate": call.is_estimate,
        },
    })
}

fn date(day: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(day.saturating_mul(86_400)).map(OffsetDateTime::date);
    at.ok().and_then(|date| date.format(DATE).ok()).unwrap_or_default()
}

impl Parameters {
    /// A day, as days since 1970.
    fn date(&mut self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        let date = Date::parse(&text, DATE).ok();
        if date.is_none() {
            self.problem("date_parsing", name, "Input should be a date such as 2026-01-31");
        }
        date.map(|date| date.midnight().assume_utc().unix_timestamp() / 86_400)
    }

    /// A key or its hash, as callers are kept; other principals by their id.
    fn api_key(&mut self) -> Option<String> {
        let text = self.text("api_key")?;
        Some(hash_of(&text).map_or(text, |hash| hash.to_string()))
    }
}
