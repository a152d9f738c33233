//! SQL, once for both databases: each statement is made here and in the files below, and nowhere else is SQL written that
//! touches a key, a denial, a user or a team.
//!
//! Both take `$n` for a bound value, and values are always bound. What differs (the kept form of times and documents) is
//! in [`super::param`]; the text is the same.

pub(super) mod denials;
pub(super) mod imports;
pub(super) mod nodes;
pub(super) mod people;
pub(super) mod usage;

use std::borrow::Cow;
use std::time::SystemTime;

use portcullis_admin_api::store::{AuditRow, KeyRow, Replay};
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

use super::param::Param;

/// A statement and its values, in the order of their `$n`.
pub(super) struct Statement {
    pub(super) sql: Cow<'static, str>,
    pub(super) params: Vec<Param>,
    /// Whether the text is always the same, so that it is worth preparing once.
    pub(super) is_fixed: bool,
}

impl Statement {
    fn fixed(sql: impl Into<Cow<'static, str>>, params: Vec<Param>) -> Self {
        Self { sql: sql.into(), params, is_fixed: true }
    }

    pub(super) fn composed(sql: String, params: Vec<Param>) -> Self {
        Self { sql: Cow::Owned(sql), params, is_fixed: false }
    }
}

/// The columns of a [`KeyRow`], in the order in which `row::key_row` reads and [`key_params`] binds them.
pub(super) const KEY_COLUMNS: &str = "token, version, key_name, key_alias, user_id, team_id, organization_id, models, \
     allowed_routes, aliases, expires, blocked, spend, settings, rotation_count, last_rotation_at, created_at, \
     created_by, updated_at, updated_by, deleted_at, deleted_by, budget_reset_at";

/// The live key of a hash, or the one it was rotated to. One round trip.
pub(super) fn find(hash: KeyHash, now: SystemTime) -> Statement {
    Statement::fixed(
        "SELECT k.token, k.key_alias, k.user_id, k.team_id, k.organization_id, k.models, k.allowed_routes, k.aliases, \
         k.expires, k.blocked, NULL AS revoke_at, k.settings, k.spend, k.version \
         FROM virtual_keys k WHERE k.token = $1 AND k.deleted_at IS NULL \
         UNION ALL \
         SELECT k.token, k.key_alias, k.user_id, k.team_id, k.organization_id, k.models, k.allowed_routes, k.aliases, \
         k.expires, k.blocked, g.revoke_at, k.settings, k.spend, k.version \
         FROM grace_keys g JOIN virtual_keys k ON k.token = g.active_token \
         WHERE g.token = $1 AND g.revoke_at > $2 AND k.deleted_at IS NULL",
        vec![hash.into(), Param::Time(now)],
    )
}

/// Keeps a digest as that of the deployment's own master key unless there is one; returns the one that is kept.
pub(super) fn keep_master_key(digest: KeyHash) -> Statement {
    Statement::fixed(
        // The row's number is given: SQLite takes no notice of the default of an integer primary key.
        "INSERT INTO own_master_key (only_row, digest) VALUES (1, $1) ON CONFLICT (only_row) DO UPDATE SET only_row = 1 \
         RETURNING digest",
        vec![digest.into()],
    )
}

pub(super) fn key(token: KeyHash) -> Statement {
    let sql = format!("SELECT {KEY_COLUMNS} FROM virtual_keys WHERE token = $1");
    Statement::fixed(sql, vec![token.into()])
}

/// Where a hash that was rotated away leads. The cascade keeps a chain of rotations pointing at its end.
pub(super) fn successor(old: KeyHash) -> Statement {
    Statement::fixed("SELECT active_token FROM grace_keys WHERE token = $1", vec![old.into()])
}

pub(super) fn key_by_alias(alias: &str) -> Statement {
    let sql = format!("SELECT {KEY_COLUMNS} FROM virtual_keys WHERE key_alias = $1 AND deleted_at IS NULL");
    Statement::fixed(sql, vec![Param::Text(alias.to_owned())])
}

/// Live keys whose budget begins anew by now, at most so many.
pub(super) fn due_budgets(now: SystemTime, most: i64) -> Statement {
    let sql = format!(
        "SELECT {KEY_COLUMNS} FROM virtual_keys WHERE budget_reset_at <= $1 AND deleted_at IS NULL \
         ORDER BY budget_reset_at, token LIMIT $2"
    );
    Statement::fixed(sql, vec![Param::Time(now), Param::Integer(most)])
}

/// Live keys that end between these two times and of whose end nobody was told yet.
pub(super) fn ending_keys(now: SystemTime, until: SystemTime, most: i64) -> Statement {
    let sql = format!(
        "SELECT {KEY_COLUMNS} FROM virtual_keys k WHERE expires > $1 AND expires <= $2 AND deleted_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM expiry_notices n WHERE n.token = k.token AND n.expires = k.expires) \
         ORDER BY expires, token LIMIT $3"
    );
    Statement::fixed(sql, vec![Param::Time(now), Param::Time(until), Param::Integer(most)])
}

/// Notes that somebody is told of this end; no row: somebody was before.
pub(super) fn claim_notice(token: KeyHash, expires: SystemTime) -> Statement {
    Statement::fixed(
        "INSERT INTO expiry_notices (token, expires) VALUES ($1, $2) ON CONFLICT (token, expires) DO NOTHING \
         RETURNING token",
        vec![token.into(), Param::Time(expires)],
    )
}

pub(super) fn release_notice(token: KeyHash, expires: SystemTime) -> Statement {
    Statement::fixed(
        "DELETE FROM expiry_notices WHERE token = $1 AND expires = $2",
        vec![token.into(), Param::Time(expires)],
    )
}

pub(super) fn forget_notices(before: SystemTime) -> Statement {
    Statement::fixed("DELETE FROM expiry_notices WHERE expires < $1", vec![Param::Time(before)])
}

/// Stores a row under its `version`.
pub(super) fn insert_key(row: &KeyRow) -> Statement {
    let sql = format!(
        "INSERT INTO virtual_keys ({KEY_COLUMNS}, alias_folded) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, \
         $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24) RETURNING version"
    );
    Statement::fixed(sql, key_params(row))
}

/// Writes `row` over the row of `token` if that still has the version `read`; touches no row otherwise.
pub(super) fn update_key(token: KeyHash, read: i64, row: &KeyRow) -> Statement {
    let mut params = key_params(row);
    params.extend([token.into(), Param::Integer(read), Param::Bool(row.sets_spend)]);
    Statement::fixed(
        "UPDATE virtual_keys SET token = $1, version = $2, key_name = $3, key_alias = $4, user_id = $5, team_id = $6, \
         organization_id = $7, models = $8, allowed_routes = $9, aliases = $10, expires = $11, blocked = $12, \
         spend = CASE WHEN $27 THEN $13 ELSE spend END, settings = $14, rotation_count = $15, last_rotation_at = $16, created_at = $17, \
         created_by = $18, updated_at = $19, updated_by = $20, deleted_at = $21, deleted_by = $22, budget_reset_at = $23, \
         alias_folded = $24 WHERE token = $25 AND version = $26 RETURNING version",
        params,
    )
}

fn key_params(row: &KeyRow) -> Vec<Param> {
    vec![
        row.token.into(),
        Param::Integer(row.version),
        (&row.key_name).into(),
        (&row.key_alias).into(),
        (&row.user_id).into(),
        (&row.team_id).into(),
        (&row.organization_id).into(),
        Param::Json(json!(row.models)),
        Param::Json(json!(row.allowed_routes)),
        Param::Json(json!(row.aliases)),
        row.expires.into(),
        row.blocked.map_or(Param::Null, Param::Bool),
        Param::Real(row.spend),
        Param::Json(Value::Object(row.settings.clone())),
        Param::Integer(row.rotation_count),
        row.last_rotation_at.into(),
        Param::Time(row.created_at),
        (&row.created_by).into(),
        Param::Time(row.updated_at),
        (&row.updated_by).into(),
        row.deleted_at.into(),
        (&row.deleted_by).into(),
        row.budget_reset_at.into(),
        row.key_alias.as_deref().map_or(Param::Null, |alias| Param::Text(folded(alias))),
    ]
}

/// One row if this hash never was a key that a rotation replaced.
pub(super) fn never_rotated_away(token: KeyHash) -> Statement {
    Statement::fixed(
        "SELECT 1 AS free WHERE NOT EXISTS (SELECT 1 FROM grace_keys WHERE token = $1)",
        vec![token.into()],
    )
}

/// The hashes that lead to this key.
pub(super) fn grace_tokens(active: KeyHash) -> Statement {
    Statement::fixed("SELECT token FROM grace_keys WHERE active_token = $1", vec![active.into()])
}

pub(super) fn insert_grace(old: KeyHash, active: KeyHash, until: SystemTime) -> Statement {
    Statement::fixed(
        "INSERT INTO grace_keys (token, active_token, revoke_at) VALUES ($1, $2, $3)",
        vec![old.into(), active.into(), Param::Time(until)],
    )
}

pub(super) fn end_grace(active: KeyHash, at: SystemTime) -> Statement {
    Statement::fixed(
        "UPDATE grace_keys SET revoke_at = $2 WHERE active_token = $1 AND revoke_at > $2",
        vec![active.into(), Param::Time(at)],
    )
}

pub(super) fn insert_replay(old: KeyHash, replay: &Replay) -> Statement {
    Statement::fixed(
        "INSERT INTO rotation_replays (old_token, request, salt, new_token) VALUES ($1, $2, $3, $4)",
        vec![old.into(), Param::Bytes(replay.request), Param::Bytes(replay.salt), replay.new.into()],
    )
}

pub(super) fn replay(old: KeyHash, request: [u8; 32]) -> Statement {
    Statement::fixed(
        "SELECT request, salt, new_token FROM rotation_replays WHERE old_token = $1 AND request = $2",
        vec![old.into(), Param::Bytes(request)],
    )
}

pub(super) fn insert_audit(row: &AuditRow) -> Statement {
    Statement::fixed(
        "INSERT INTO audit_log (happened_at, actor, changed_by, source, request_id, action, object_type, object_id, \
         fields_before, fields_after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        vec![
            Param::Time(row.at),
            Param::Text(row.actor.clone()),
            (&row.changed_by).into(),
            (&row.source).into(),
            (&row.request_id).into(),
            Param::Text(row.action.clone()),
            Param::Text(row.object_type.clone()),
            Param::Text(row.object_id.clone()),
            Param::Json(row.before.clone()),
            Param::Json(row.after.clone()),
        ],
    )
}

/// Takes the lock that puts all writes in one order, and counts this one.
pub(super) fn next_epoch() -> Statement {
    Statement::fixed("UPDATE change_epoch SET epoch = epoch + 1 RETURNING epoch", Vec::new())
}

pub(super) fn epoch() -> Statement {
    Statement::fixed("SELECT epoch FROM change_epoch", Vec::new())
}

/// The form in which aliases are compared without regard to case, the same in both databases.
pub(super) fn folded(text: &str) -> String {
    text.to_lowercase()
}
