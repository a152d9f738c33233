//! Virtual keys as the management API sees them: how a key is found, shown and rewritten.
//!
//! One file an endpoint below; what they share stands here. A write is always read, change, replace if nobody else did
//! in between, so that two administrators never undo each other's work unseen.

pub(crate) mod block;
pub(crate) mod delete;
pub(crate) mod fields;
pub(crate) mod generate;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod material;
pub(crate) mod rotate;
pub mod rules;
pub(crate) mod update;
pub(crate) mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use http::StatusCode;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::keys::fields::{KEY_FIELDS, Place};
use crate::problem::{FieldProblem, Problem};
use crate::store::{AdminStore, KeyQuery, KeyRow, KeyStatus, StoreError};
use crate::timestamp::{iso8601, iso8601_or_null, now};

/// Who LiteLLM says made a key that the operator made with the master key.
pub(crate) const OPERATOR: &str = "default_user_id";

/// How often a write that lost against another one is tried again.
pub(crate) const ATTEMPTS: usize = 5;

/// A new row with nothing set.
pub(crate) fn blank(token: KeyHash, now: SystemTime, by: &str) -> KeyRow {
    KeyRow {
        token,
        version: 1,
        key_name: None,
        key_alias: None,
        user_id: None,
        team_id: None,
        organization_id: None,
        models: Vec::new(),
        allowed_routes: Vec::new(),
        aliases: BTreeMap::new(),
        expires: None,
        blocked: None,
        spend: 0.0,
        sets_spend: true,
        budget_reset_at: None,
        settings: Map::new(),
        rotation_count: 0,
        last_rotation_at: None,
        created_at: now,
        created_by: Some(by.to_owned()),
        updated_at: now,
        updated_by: Some(by.to_owned()),
        deleted_at: None,
        deleted_by: None,
    }
}

/// The hash that a management request means: of a key string, or the hash itself. Anything else is no key's.
pub(crate) fn hash_of(text: &str) -> Option<KeyHash> {
    if text.starts_with("sk-") { Some(KeyHash::of(text)) } else { text.parse().ok() }
}

/// The key that a management request names. A string that was rotated away still names its key: whoever finds it leaked
/// must be able to block that.
pub(crate) async fn find(store: &dyn AdminStore, token: KeyHash) -> Result<Option<KeyRow>, StoreError> {
    if let Some(row) = store.key(token).await? {
        return Ok(Some(row));
    }
    match store.successor(token).await? {
        Some(current) => store.key(current).await,
        None => Ok(None),
    }
}

/// The key that a request to change it names, if it lives.
async fn live(store: &dyn AdminStore, token: KeyHash) -> Result<KeyRow, Problem> {
    let row = find(store, token).await?;
    row.filter(|row| row.deleted_at.is_none()).ok_or_else(Problem::key_not_found)
}

/// What is done to a key: the word of the audit log, and the path that LiteLLM's permissions of team members name.
#[derive(Clone, Copy)]
pub(crate) struct Action {
    pub(crate) word: &'static str,
    pub(crate) permission: &'static str,
}

/// The key that a caller may do this to.
async fn theirs(state: &AdminState, caller: &Caller, token: KeyHash, permission: &str) -> Result<KeyRow, Problem> {
    match live(&*state.store, token).await {
        Ok(row) => {
            caller.manages_key(state, &row, permission).await?;
            Ok(row)
        }
        // Whether there is such a key is the operator's to know.
        Err(Problem::Refused(StatusCode::NOT_FOUND, ..)) if !caller.is_operator() => Err(Problem::not_yours()),
        Err(other) => Err(other),
    }
}

/// Changes a live key that the caller may change, and records it. `change` may run more than once.
pub(crate) async fn rewrite(
    state: &AdminState,
    caller: &Caller,
    token: KeyHash,
    action: Action,
    change: impl Fn(&mut KeyRow, SystemTime) -> Result<(), Problem>,
) -> Result<KeyRow, Problem> {
    for _ in 0..ATTEMPTS {
        let before = theirs(state, caller, token, action.permission).await?;
        let now = now();
        let mut after = before.clone();
        change(&mut after, now)?;
        if after.deleted_at.is_none() && after.blocked == before.blocked {
            caller.grants(state, &after).await?;
        }
        after.updated_at = now;
        after.updated_by = Some(caller.user_id());
        let audit =
            caller.audit(action.word, before.token, Some(&before), after.deleted_at.is_none().then_some(&after), now);
        match state.store.replace_key(after, audit).await {
            Err(StoreError::Conflict) => {}
            done => return Ok(done?),
        }
    }
    Err(Problem::contended("key"))
}

/// The key as an answer shows it: every field that LiteLLM knows, given or not, and the columns. Holds no secret.
pub(crate) fn shown(row: &KeyRow) -> Map<String, Value> {
    let columns = json!({
        "token": row.token,
        "key_name": row.key_name,
        "key_alias": row.key_alias,
        "user_id": row.user_id,
        "team_id": row.team_id,
        "organization_id": row.organization_id,
        "models": row.models,
        "allowed_routes": row.allowed_routes,
        "aliases": row.aliases,
        "expires": iso8601_or_null(row.expires),
        "blocked": row.blocked,
        "spend": row.spend,
        "budget_reset_at": iso8601_or_null(row.budget_reset_at),
        "rotation_count": row.rotation_count,
        "last_rotation_at": iso8601_or_null(row.last_rotation_at),
        "created_at": iso8601(row.created_at),
        "created_by": row.created_by,
        "updated_at": iso8601(row.updated_at),
        "updated_by": row.updated_by,
        "litellm_budget_table": null,
    });
    let Value::Object(mut shown) = columns else { return Map::new() };
    for (name, value) in &row.settings {
        shown.entry(name).or_insert_with(|| value.clone());
    }
    for field in KEY_FIELDS.iter().filter(|field| field.place == Place::Settings) {
        shown.entry(field.name).or_insert_with(|| field.absent.value());
    }
    shown
}

/// As [`shown`], without the hash and with the key's state: the `info` of LiteLLM.
pub(crate) fn described(row: &KeyRow, now: SystemTime) -> Map<String, Value> {
    let mut info = shown(row);
    info.shift_remove("token");
    let status = match status(row, now) {
        KeyStatus::Active => "active",
        KeyStatus::Expired => "expired",
        KeyStatus::Revoked => "revoked",
        KeyStatus::Deleted => "deleted",
    };
    info.insert("status".to_owned(), status.into());
    if row.deleted_at.is_some() {
        info.insert("deleted_at".to_owned(), iso8601_or_null(row.deleted_at));
        info.insert("deleted_by".to_owned(), row.deleted_by.clone().into());
    }
    info
}

fn status(row: &KeyRow, now: SystemTime) -> KeyStatus {
    if row.deleted_at.is_some() {
        KeyStatus::Deleted
    } else if row.blocked == Some(true) {
        KeyStatus::Revoked
    } else if row.expires.is_some_and(|end| end <= now) {
        KeyStatus::Expired
    } else {
        KeyStatus::Active
    }
}

/// The only field of a small request body, a text; anything else in it is refused.
pub(crate) fn only_text(mut body: Map<String, Value>, name: &'static str) -> Result<String, Problem> {
    let mut problems = Vec::new();
    let text = match body.remove(name) {
        Some(Value::String(text)) => text,
        Some(_) => {
            problems.push(FieldProblem::new("string_type", &["body", name], "Input should be a valid string"));
            String::new()
        }
        None => {
            problems.push(FieldProblem::missing(&["body", name]));
            String::new()
        }
    };
    problems.extend(body.keys().map(|other| FieldProblem::unknown(&["body", other])));
    if problems.is_empty() { Ok(text) } else { Err(Problem::Fields(problems)) }
}

/// As [`only_text`], for a list of different texts, at least one and at most so many.
pub(crate) fn only_texts(
    mut body: Map<String, Value>,
    name: &'static str,
    most: usize,
) -> Result<BTreeSet<String>, Problem> {
    let given = body.remove(name).ok_or_else(|| Problem::field(FieldProblem::missing(&["body", name])))?;
    let texts: BTreeSet<String> = serde_json::from_value(given).map_err(|_| {
        Problem::field(FieldProblem::new("list_type", &["body", name], "Input should be a valid list of strings"))
    })?;
    if let Some(other) = body.keys().next() {
        return Err(Problem::field(FieldProblem::unknown(&["body", other])));
    }
    if texts.is_empty() || texts.len() > most {
        return Err(Problem::invalid(name, format!("Name between 1 and {most} in {name}")));
    }
    Ok(texts)
}

/// The newest keys that a query means, each with its hash: what a team or a user is shown with.
pub(crate) async fn newest(store: &dyn AdminStore, query: KeyQuery) -> Result<Vec<Map<String, Value>>, Problem> {
    let now = now();
    let asked = KeyQuery { descending: true, limit: MOST_NEWEST, now: Some(now), ..query };
    let with_hash = |key: &KeyRow| {
        let mut object = described(key, now);
        object.insert("token".to_owned(), key.token.to_string().into());
        object
    };
    Ok(store.keys(&asked).await?.rows.iter().map(with_hash).collect())
}

/// `/key/list` has the others.
const MOST_NEWEST: u64 = 100;
