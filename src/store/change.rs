//! A write to the keys as the list of statements that make it up: the same in both databases, one transaction each.
//!
//! Both backends take the epoch's lock before the first statement, so a write sees everything that earlier ones did and
//! nothing else happens in between. The audit row is one of the statements: it is committed with the write or not at all.

use portcullis_admin_api::store::{AuditRow, KeyRow, Rotation, StoreError};
use portcullis_filters::authn::virtual_key::KeyHash;

use super::param::kept;
use super::statement::{self, Statement};

/// A write under way.
pub(super) struct Change {
    steps: Vec<Step>,
    /// The hashes that it is known to touch. Those within a grace period of [`Self::active`] come on top.
    pub(super) touched: Vec<KeyHash>,
    /// The key whose grace hashes are touched as well: under its hash before the write.
    pub(super) active: KeyHash,
    /// The row as it will be stored.
    pub(super) row: KeyRow,
}

/// One statement of a write.
pub(super) struct Step {
    pub(super) statement: Statement,
    /// Why the whole write fails if this statement returns no row; `None` if it may.
    pub(super) otherwise: Option<StoreError>,
}

impl Change {
    /// A new key.
    pub(super) fn insert(row: KeyRow, audit: &AuditRow) -> Self {
        let row = KeyRow { version: 1, ..as_kept(row) };
        let steps = vec![
            must(statement::never_rotated_away(row.token), StoreError::TokenTaken),
            must(statement::insert_key(&row), StoreError::Conflict),
            may(statement::insert_audit(audit)),
        ];
        Self { steps, touched: vec![row.token], active: row.token, row }
    }

    /// Other values for a key that keeps its string.
    pub(super) fn replace(row: KeyRow, audit: &AuditRow) -> Self {
        let read = row.version;
        let row = KeyRow { version: read.saturating_add(1), ..as_kept(row) };
        let mut steps = vec![must(statement::update_key(row.token, read, &row), StoreError::Conflict)];
        steps.extend(row.deleted_at.map(|at| may(statement::end_grace(row.token, at))));
        steps.push(may(statement::insert_audit(audit)));
        Self { steps, touched: vec![row.token], active: row.token, row }
    }

    /// Another string for a key. The database moves older grace hashes along to the new one.
    pub(super) fn rotate(rotation: Rotation, audit: &AuditRow) -> Self {
        let Rotation { old, row, grace_until, replay } = rotation;
        let read = row.version;
        let row = KeyRow { version: read.saturating_add(1), ..as_kept(row) };
        let mut steps = vec![
            must(statement::never_rotated_away(row.token), StoreError::TokenTaken),
            must(statement::update_key(old, read, &row), StoreError::Conflict),
            may(statement::insert_grace(old, row.token, grace_until.unwrap_or(row.updated_at))),
        ];
        steps.extend(replay.map(|replay| may(statement::insert_replay(old, &replay))));
        steps.push(may(statement::insert_audit(audit)));
        Self { steps, touched: vec![old, row.token], active: old, row }
    }

    /// The statements, once.
    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }
}

fn must(statement: Statement, otherwise: StoreError) -> Step {
    Step { statement, otherwise: Some(otherwise) }
}

fn may(statement: Statement) -> Step {
    Step { statement, otherwise: None }
}

/// The row as it will be read back: times lose what is finer than a microsecond.
fn as_kept(row: KeyRow) -> KeyRow {
    KeyRow {
        expires: row.expires.map(kept),
        last_rotation_at: row.last_rotation_at.map(kept),
        created_at: kept(row.created_at),
        updated_at: kept(row.updated_at),
        deleted_at: row.deleted_at.map(kept),
        ..row
    }
}
