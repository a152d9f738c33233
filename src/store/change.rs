//! A write as the list of statements that make it up: the same in both databases, one transaction each.
//!
//! Both backends take the epoch's lock before the first statement, so a write sees everything that earlier ones did and
//! nothing else happens in between. The audit row is one of the statements: it is committed with the write or not at all.

use std::time::SystemTime;
use std::vec::IntoIter;

use portcullis_admin_api::store::{AuditRow, DenialRow, KeyRow, Rotation, StoreError};
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::directory::Enrolment;

use super::invalidation::Touched;
use super::param::kept;
use super::statement::{self, Statement, denials, people};
use super::{directory, enrolments};

/// A write under way, and what it is answered with.
pub(super) struct Change<T> {
    steps: Vec<Step>,
    /// What it is known to touch. The hashes within a grace period of [`Self::active`] come on top.
    pub(super) touched: Touched,
    /// The key whose grace hashes are touched as well: under its hash before the write.
    pub(super) active: Option<KeyHash>,
    /// Makes the answer from the write's epoch.
    pub(super) answer: Box<dyn FnOnce(i64) -> T + Send>,
}

/// One statement of a write.
pub(super) struct Step {
    pub(super) statement: Statement,
    otherwise: Otherwise,
}

/// What happens if a statement returns no row.
enum Otherwise {
    /// Nothing: it may.
    GoOn,
    /// The next statement is left out.
    SkipNext,
    /// The whole write fails.
    Fail(StoreError),
}

impl Step {
    /// Draws the conclusion from a statement that returned no row; `rest` are the steps after this one.
    pub(super) fn found_nothing(self, rest: &mut IntoIter<Self>) -> Result<(), StoreError> {
        match self.otherwise {
            Otherwise::GoOn => Ok(()),
            Otherwise::SkipNext => {
                rest.next();
                Ok(())
            }
            Otherwise::Fail(error) => Err(error),
        }
    }
}

impl Change<KeyRow> {
    /// A new key.
    pub(super) fn insert(row: KeyRow, audit: &AuditRow) -> Self {
        let row = KeyRow { version: 1, ..as_kept(row) };
        let steps = vec![
            must(statement::never_rotated_away(row.token), StoreError::TokenTaken),
            must(statement::insert_key(&row), StoreError::Conflict),
            may(statement::insert_audit(audit)),
        ];
        Self::of_key(steps, vec![row.token], row.token, row)
    }

    /// Other values for a key that keeps its string.
    pub(super) fn replace(row: KeyRow, audit: &AuditRow) -> Self {
        let read = row.version;
        let row = KeyRow { version: read.saturating_add(1), ..as_kept(row) };
        let mut steps = vec![must(statement::update_key(row.token, read, &row), StoreError::Conflict)];
        steps.extend(row.deleted_at.map(|at| may(statement::end_grace(row.token, at))));
        steps.push(may(statement::insert_audit(audit)));
        Self::of_key(steps, vec![row.token], row.token, row)
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
        Self::of_key(steps, vec![old, row.token], old, row)
    }

    fn of_key(steps: Vec<Step>, touched: Vec<KeyHash>, active: KeyHash, row: KeyRow) -> Self {
        let row = KeyRow { sets_spend: false, ..row };
        Self { steps, touched: Touched::Records(touched), active: Some(active), answer: Box::new(|_| row) }
    }
}

impl Change<DenialRow> {
    /// A denial, over the one that was read.
    pub(super) fn deny(row: DenialRow, audit: &AuditRow) -> Self {
        let row = DenialRow {
            issued_until: row.issued_until.map(kept),
            until: kept(row.until),
            created_at: kept(row.created_at),
            allowed_at: row.allowed_at.map(kept),
            ..row
        };
        let write = if row.epoch == 0 { denials::insert(&row) } else { denials::update(&row) };
        let steps = vec![must(write, StoreError::Conflict), may(statement::insert_audit(audit))];
        let answer = Box::new(move |epoch| DenialRow { epoch, ..row });
        Self { steps, touched: Touched::DenyList, active: None, answer }
    }
}

impl Change<()> {
    /// Rows of users and teams that are not there yet, each with its audit row.
    pub(super) fn enrol(batch: &[Enrolment], at: SystemTime) -> Self {
        let each = |enrolment: &Enrolment| {
            let insert = Step { statement: people::enrol(enrolment, at), otherwise: Otherwise::SkipNext };
            [insert, may(statement::insert_audit(&enrolments::audit(enrolment, at)))]
        };
        let touched = batch.iter().map(directory::name_of).collect();
        Self {
            steps: batch.iter().flat_map(each).collect(),
            touched: Touched::Records(touched),
            active: None,
            answer: Box::new(|_| ()),
        }
    }
}

impl<T> Change<T> {
    /// The statements, once.
    pub(super) fn take_steps(&mut self) -> IntoIter<Step> {
        std::mem::take(&mut self.steps).into_iter()
    }
}

fn must(statement: Statement, otherwise: StoreError) -> Step {
    Step { statement, otherwise: Otherwise::Fail(otherwise) }
}

fn may(statement: Statement) -> Step {
    Step { statement, otherwise: Otherwise::GoOn }
}

/// The row as it will be read back: times lose what is finer than a microsecond.
fn as_kept(row: KeyRow) -> KeyRow {
    KeyRow {
        expires: row.expires.map(kept),
        budget_reset_at: row.budget_reset_at.map(kept),
        last_rotation_at: row.last_rotation_at.map(kept),
        created_at: kept(row.created_at),
        updated_at: kept(row.updated_at),
        deleted_at: row.deleted_at.map(kept),
        ..row
    }
}
