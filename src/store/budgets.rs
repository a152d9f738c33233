//! Budgets that begin anew: what was spent is set to nothing when a budget's time is over, by whichever node comes first.

use std::time::SystemTime;

use portcullis_admin_api::duration::Span;
use portcullis_admin_api::store::{AuditRow, KeyRow, StoreError};
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

use super::change::Change;
use super::{Lane, Store, row, statement};

/// Who does it, in audit rows.
const ACTOR: &str = "budget_duration";

/// Budgets of one look. What is left is due at the next.
const BATCH: i64 = 500;

impl Store {
    /// Begins the budgets anew whose time is over; how many.
    ///
    /// # Errors
    /// The database is away; those that were begun by then are.
    pub async fn reset_budgets(&self, now: SystemTime) -> Result<usize, StoreError> {
        let due = self.0.read(statement::due_budgets(now, BATCH), row::key_row, Lane::Admin).await?;
        let mut begun = 0;
        for row in due {
            let (row, audit) = anew(row, now);
            match self.0.write(Change::replace(row, &audit)).await {
                Ok(_) => begun += 1,
                // Somebody else wrote it meanwhile, perhaps for the same reason.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(begun)
    }
}

fn anew(row: KeyRow, now: SystemTime) -> (KeyRow, AuditRow) {
    let span: Option<Span> =
        row.settings.get("budget_duration").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let (token, spend): (KeyHash, f64) = (row.token, row.spend);
    let row = KeyRow {
        spend: 0.0,
        sets_spend: true,
        budget_reset_at: span.and_then(|span| span.next_start(now)),
        updated_at: now,
        updated_by: Some(ACTOR.to_owned()),
        ..row
    };
    let audit = AuditRow {
        id: 0,
        at: now,
        actor: ACTOR.to_owned(),
        changed_by: None,
        source: None,
        request_id: None,
        action: "updated".to_owned(),
        object_type: "key".to_owned(),
        object_id: token.to_string(),
        before: json!({ "spend": spend }),
        after: json!({ "spend": 0.0 }),
    };
    (row, audit)
}
