//! The audit log: the row that every write leaves, and the endpoints that read the rows.
//!
//! Who did it is the principal that was proven. Whom the caller names in `litellm-changed-by` stands beside it and never
//! in its place. Metadata and callback settings may hold other systems' credentials, so rows are redacted.

use std::time::SystemTime;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use http::request::Parts;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

use crate::authenticate::Caller;
use crate::document::{AuditEntry, AuditPage};
use crate::keys::shown;
use crate::problem::Problem;
use crate::query::{Parameters, offset};
use crate::store::{AuditQuery, AuditRow, KeyRow};
use crate::timestamp::iso8601;
use crate::{AdminState, ClientAddress, RequestId};

/// Most rows on one page.
const MAX_PAGE: u64 = 100;

impl Caller {
    /// The row for something this caller does to a key.
    pub(crate) fn audit(
        &self,
        action: &'static str,
        key: KeyHash,
        before: Option<&KeyRow>,
        after: Option<&KeyRow>,
        now: SystemTime,
    ) -> AuditRow {
        let fields = |row: Option<&KeyRow>| row.map_or(Value::Null, |row| redacted(shown(row).into()));
        self.author().audit(action, "key", key.to_string(), (fields(before), fields(after)), now)
    }

    /// This caller as the author of rows.
    pub(crate) fn author(&self) -> Author {
        Author {
            actor: self.principal.id(),
            changed_by: self.changed_by.clone(),
            source: self.source.map(|address| address.to_string()),
            request_id: self.request_id.clone(),
        }
    }
}

/// Who does something, and what a row says of the request.
pub(crate) struct Author {
    actor: String,
    changed_by: Option<String>,
    source: Option<String>,
    request_id: Option<String>,
}

impl Author {
    /// Somebody whom no credential of the request's proves: what proved them is the request's own matter.
    pub(crate) fn proven_otherwise(actor: &str, request: &Parts) -> Self {
        let source = request.extensions.get::<ClientAddress>().and_then(|address| address.0);
        Self {
            actor: actor.to_owned(),
            changed_by: None,
            source: source.map(|address| address.to_string()),
            request_id: request.extensions.get::<RequestId>().map(|id| id.0.clone()),
        }
    }

    /// The row for something that they do. The fields, before and after, hold no secret.
    pub(crate) fn audit(
        &self,
        action: &str,
        object_type: &str,
        object_id: String,
        (before, after): (Value, Value),
        now: SystemTime,
    ) -> AuditRow {
        AuditRow {
            id: 0,
            at: now,
            actor: self.actor.clone(),
            changed_by: self.changed_by.clone(),
            source: self.source.clone(),
            request_id: self.request_id.clone(),
            action: action.to_owned(),
            object_type: object_type.to_owned(),
            object_id,
            before,
            after,
        }
    }
}

/// Replaces what may be a credential: texts under names that say so, and texts that look like an API key.
pub(crate) fn redacted(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(_) if names_a_secret(&name) => (name, REDACTED.into()),
                value => (name, redacted(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(redacted).collect(),
        // `sk-...37wQ` is how a key is shown, not a key.
        Value::String(text) if text.starts_with("sk-") && !text.starts_with("sk-...") => REDACTED.into(),
        other => other,
    }
}

const REDACTED: &str = "[redacted]";

fn names_a_secret(name: &str) -> bool {
    const MARKS: &[&str] =
        &["secret", "password", "passwd", "api_key", "apikey", "api-key", "authorization", "credential", "private_key"];
    let name = name.to_ascii_lowercase();
    MARKS.iter().any(|mark| name.contains(mark)) || name.ends_with("_token") || name.ends_with("access_key")
}

/// Lists the audit log, newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(
    ("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query, description = "1 to 100; default 10"),
    ("object_id" = Option<String>, Query, description = "A key's hash; `sub=...` of an issuer; a user's or team's id"),
    ("action" = Option<String>, Query,
        description = "created, updated, deleted, blocked, unblocked, rotated, denied or allowed"),
    ("changed_by" = Option<String>, Query, description = "Who was proven to have done it")),
    responses((status = 200, body = AuditPage)))]
pub(crate) async fn list_audit(State(state): State<AdminState>, mut query: Parameters) -> Result<Json<Value>, Problem> {
    let (page, size) = (query.count("page", 1, u64::MAX), query.count("page_size", 10, MAX_PAGE));
    let asked = AuditQuery {
        id: None,
        object_id: query.text("object_id"),
        action: query.text("action"),
        actor: query.text("changed_by"),
        offset: offset(page, size),
        limit: size,
    };
    query.finish()?;
    let found = state.store.audit(&asked).await?;
    Ok(Json(json!({
        "audit_logs": found.rows.iter().map(entry).collect::<Vec<_>>(),
        "total": found.total,
        "page": page,
        "page_size": size,
        "total_pages": found.total.div_ceil(size),
    })))
}

/// Shows one row of the audit log.
#[utoipa::path(get, path = "/audit/{id}", tag = "audit", params(("id" = String, Path)),
    responses((status = 200, body = AuditEntry), (status = 404, description = "No such row")))]
pub(crate) async fn show_audit(
    State(state): State<AdminState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let absent = || Problem::Refused(StatusCode::NOT_FOUND, "not_found_error", "No such audit row".into(), Some("id"));
    let id: i64 = id.parse().map_err(|_| absent())?;
    let found = state.store.audit(&AuditQuery { id: Some(id), limit: 1, ..AuditQuery::default() }).await?;
    found.rows.first().map(|row| Json(entry(row))).ok_or_else(absent)
}

fn entry(row: &AuditRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "updated_at": iso8601(row.at),
        "changed_by": row.actor,
        "litellm_changed_by": row.changed_by,
        "source": row.source,
        "request_id": row.request_id,
        "action": row.action,
        "table_name": table_name(&row.object_type),
        "object_id": row.object_id,
        "before_value": row.before,
        "updated_values": row.after,
    })
}

/// What LiteLLM calls the table of a kind of thing. It has none of denied tokens.
fn table_name(object_type: &str) -> &str {
    match object_type {
        "key" => "LiteLLM_VerificationToken",
        "user" => "LiteLLM_UserTable",
        "team" => "LiteLLM_TeamTable",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_no_credentials_of_other_systems() {
        let row = json!({
            "key_name": "sk-...37wQ",
            "tpm_limit": 5,
            "metadata": {"logging": [{"callback_vars": {"langfuse_secret_key": "s3", "host": "h", "Access_Token": "t"}}]},
            "config": {"anything": ["sk-abcdef", "plain"]},
        });
        let clean = json!({
            "key_name": "sk-...37wQ",
            "tpm_limit": 5,
            "metadata": {"logging": [{"callback_vars": {
                "langfuse_secret_key": "[redacted]", "host": "h", "Access_Token": "[redacted]"}}]},
            "config": {"anything": ["[redacted]", "plain"]},
        });
        assert_eq!(redacted(row), clean);
    }
}
